#ifndef KVREG_H
#define KVREG_H

/*
 * kvreg: a registry of named key-value buckets inside your process.
 *
 * A bucket is a server in the Erlang sense: it owns its state, handles one message at a
 * time, and can die alone. A registry maps names to buckets, monitors every bucket, and
 * never finds one that has ended.
 *
 *     kvreg_registry *registry;
 *     kvreg_bucket *shopping;
 *     kvreg_value milk = kvreg_int(1);
 *
 *     kvreg_registry_start(NULL, &registry);
 *     kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &shopping);
 *     kvreg_bucket_put(shopping, "milk", KVREG_NUL, &milk);
 *     kvreg_bucket_get(shopping, "milk", KVREG_NUL, &milk);      // clear what was read
 *     kvreg_value_clear(&milk);
 *     kvreg_bucket_stop(shopping);                               // the name is gone now
 *     kvreg_bucket_free(shopping);
 *     kvreg_registry_free(registry);
 *
 * CONVENTIONS
 *
 * Status. Every function that can fail returns a kvreg_status; KVREG_OK is 0. Outputs come
 * last. On failure handle outputs are NULL and value outputs are nil, so cleaning up is
 * always safe. There are no partial successes. kvreg_last_error gives a sentence for people.
 * When several statuses apply, the answer is the first of: FORKED, SHUT_DOWN, BAD_HANDLE,
 * WRONG_KIND, INVALID_ARGUMENT, NO_PROCESS, CALLING_SELF, LIMIT, TIMEOUT.
 *
 * Handles are opaque tokens, never addresses. Each handle obtained is freed exactly once
 * with its own _free; _free(NULL) is fine. A handle that is NULL, freed, made up or of
 * another kind is answered with a status, also when another thread frees it meanwhile.
 * Freeing a handle never ends a registered bucket or a registry with a name. A server that
 * nobody can reach any more stops: a registry without a name, or a bucket without a registry,
 * when its last handle is freed.
 *
 * Text and bytes are a pointer and a length in bytes; the length KVREG_NUL means that the
 * text ends at its NUL. They are copied before the function returns. Names of registries
 * and buckets: 1 to 255 bytes of UTF-8 without NUL. Keys: any bytes, 0 to 65,536. Values:
 * up to 512 MiB.
 *
 * Threads. Every function may be called from any thread; nothing is async-signal-safe, nor
 * async-cancel-safe. No function is a cancellation point, those that block included: a
 * pthread_cancel that is pending takes effect at the caller's next own one, and in a callback
 * that runs inside a function it is disabled.
 * Messages of one thread to one server are handled in the order sent. "Thread" is a thread
 * of the operating system: a goroutine or another task that moves between threads has no
 * such order.
 *
 * Blocking. A function that may block says so. It waits for its turn at the server, at most
 * for the timeout of the handle, in milliseconds: -1 for ever, 0 only if it need not wait,
 * 5000 at first. KVREG_TIMEOUT means withdrawn: the request has not run and never will. One
 * that never blocks waits for no turn, no callback and no message: it takes the time of its
 * own work, and for another thread's short change at most. Work that grows with what is stored
 * is said where it is done: to end a server is to free what it holds, on the calling thread, and
 * a put that finds its table full makes a larger one.
 *
 * The process. Nothing is started before it is needed: loading starts nothing, the first server
 * takes memory only, threads come with the first cast that has to wait and with the first
 * listener: KVREG_IO if the system refuses them, and the next call that needs them tries again.
 * They are named "kvreg" and block all signals. Nothing is printed, unless the
 * environment variable KVREG_LOG names a level (error, warn, info, debug) at first use: then
 * lines go to stderr. A process may exit at any time, with work in flight. After fork, _Fork, or
 * the system call alone, and in any handler of fork, the child gets KVREG_FORKED for every handle
 * it inherited, frees of those succeed and do nothing, and what it starts itself works (after
 * _Fork: as far as the C library does). A callback of an update_cast that forks ends the child when it
 * returns there, as a thread that returns does.
 *
 * Callbacks must return. Throwing, longjmp, pthread_exit and cancellation out of one are
 * not supported; use kvreg_bucket_update_begin where user code may do so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if UINTPTR_MAX != 0xffffffffffffffffu
#error "kvreg supports 64-bit platforms only"
#endif

#define KVREG_VERSION_MAJOR 0
#define KVREG_VERSION_MINOR 1
#define KVREG_VERSION_PATCH 0
/* As kvreg_version_number gives the library's: 0x00MMmmpp. */
#define KVREG_VERSION_NUMBER \
    (KVREG_VERSION_MAJOR << 16 | KVREG_VERSION_MINOR << 8 | KVREG_VERSION_PATCH)

/* As the length of a text: it ends at its NUL. */
#define KVREG_NUL SIZE_MAX

/* Handles. The types are never defined: a handle is a token of 64 bits, not an address. */
typedef struct kvreg_registry kvreg_registry;
typedef struct kvreg_bucket kvreg_bucket;
typedef struct kvreg_update kvreg_update;
typedef struct kvreg_items kvreg_items;
typedef struct kvreg_inbox kvreg_inbox;
typedef struct kvreg_listener kvreg_listener;

/* What a function answers. The numbers never change; new ones are added at the end. */
typedef int32_t kvreg_status;
enum {
    KVREG_OK,
    KVREG_NOT_FOUND,        /* no such name or key */
    KVREG_ALREADY_STARTED,  /* the name is taken; or kvreg_configure came too late */
    KVREG_NO_PROCESS,       /* the server had ended: not delivered */
    KVREG_SERVER_DOWN,      /* the server ended while it had the request */
    KVREG_TIMEOUT,          /* withdrawn: it has not run and never will */
    KVREG_OUTCOME_UNKNOWN,  /* another thread had begun and would finish it */
    KVREG_CALLING_SELF,     /* the caller would wait for itself */
    KVREG_BAD_HANDLE,       /* NULL, freed, or made up */
    KVREG_WRONG_KIND,       /* a live handle of another kind */
    KVREG_INVALID_ARGUMENT, /* NULL output, bad length, bad UTF-8, unknown constant */
    KVREG_WRONG_TYPE,       /* the value has another type than was asked for */
    KVREG_CONFLICT,         /* reserved for compare-and-swap */
    KVREG_LIMIT,            /* a limit is reached; nothing was changed */
    KVREG_NO_MEMORY,        /* nothing was changed */
    KVREG_ABORTED,          /* the update said KVREG_ABORT */
    KVREG_FORKED,           /* the handle was inherited through fork */
    KVREG_SHUT_DOWN,        /* after kvreg_shutdown */
    KVREG_UNSUPPORTED,      /* not on this platform, or not in this version */
    KVREG_IO,               /* the operating system refused */
    KVREG_INTERNAL,         /* a caught panic in kvreg itself: a bug */
    KVREG_TOO_SMALL         /* the caller's buffer; the needed length is set */
};

/* Why a server ended (Erlang's exit reasons). */
typedef int32_t kvreg_reason;
enum {
    KVREG_NORMAL,   /* stopped, after all that was queued */
    KVREG_SHUTDOWN, /* told to end, in good order */
    KVREG_KILLED,
    KVREG_CRASHED,  /* a handler panicked or a callback said KVREG_CRASH */
    KVREG_NOPROC    /* it had ended before it was monitored */
};

/* What an update decides. */
typedef int32_t kvreg_verdict;
enum {
    KVREG_KEEP,   /* leave the value as it is */
    KVREG_STORE,  /* store *next */
    KVREG_REMOVE, /* delete the key */
    KVREG_ABORT,  /* change nothing; the caller gets KVREG_ABORTED */
    KVREG_CRASH   /* end the bucket: reason KVREG_CRASHED */
};

/* Types of values. */
enum {
    KVREG_NIL,
    KVREG_BOOL,
    KVREG_INT,
    KVREG_FLOAT,
    KVREG_STRING,
    KVREG_BYTES,
    KVREG_ABSENT /* told of an absent key, by kvreg_bucket_get_many and kvreg_bucket_update_begin;
                    not to be stored: KVREG_INVALID_ARGUMENT */
};

/* Types of events. */
enum {
    KVREG_EVENT_DOWN, /* a monitored server ended */
    KVREG_EVENT_LOG,  /* kvreg_inbox_subscribe_logs */
    KVREG_EVENT_LOST  /* this many other events did not fit in the inbox; a DOWN is never lost */
};

/* Levels of log events. */
enum { KVREG_LOG_ERROR, KVREG_LOG_WARN, KVREG_LOG_INFO, KVREG_LOG_DEBUG };

/* Flags of kvreg_registry_create. */
enum { KVREG_EXCLUSIVE = 1 };

/* Flags of kvreg_inbox_demonitor. */
enum { KVREG_FLUSH = 1 };

typedef struct kvreg_text {
    const char *data; /* NUL-terminated too; "" when there is no text */
    size_t len;       /* bytes, without the NUL */
} kvreg_text;

/*
 * A value: 32 bytes, immutable. What an inline constructor below makes borrows its text; what
 * a function returned owns it until kvreg_value_clear. It may be moved bitwise; of the
 * copies of a value that was read, exactly one is cleared. Text that was read is followed by
 * a NUL that len does not count, and stays valid and unchanged until then, whatever happens
 * to the bucket.
 */
typedef struct kvreg_value {
    uint32_t type; /* KVREG_NIL ... KVREG_ABSENT */
    uint32_t reserved;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const uint8_t *data;
            size_t len;
        } text; /* KVREG_STRING (UTF-8) and KVREG_BYTES */
    } as;
    uint64_t private_; /* kvreg's own: copy it, do not change it */
} kvreg_value;

/* A key and its value, for batches. The key is borrowed. */
typedef struct kvreg_pair {
    const void *key;
    size_t key_len;
    kvreg_value value;
} kvreg_pair;

/*
 * Keys with values of one type, as columns: for bindings, which have them so, or make them so in
 * fewer steps than pairs. Set size to sizeof. All is borrowed; the arrays need no alignment.
 */
typedef struct kvreg_columns {
    uint32_t size;
    uint32_t type;              /* of all values */
    size_t count;
    const void *keys;           /* one after the other, with nothing between */
    const uint64_t *key_lens;   /* bytes of each */
    const void *values;         /* BOOL: uint8_t each, 0 or 1; INT: int64_t; FLOAT: double; STRING
                                   and BYTES: one after the other; NIL: not looked at */
    const uint64_t *value_lens; /* STRING and BYTES: bytes of each */
} kvreg_columns;

/* What kvreg_inbox_receive gives; release it with kvreg_event_clear. */
typedef struct kvreg_event {
    uint32_t type;      /* KVREG_EVENT_... */
    int32_t reason;     /* DOWN: why the server ended */
    uint32_t level;     /* LOG: KVREG_LOG_... */
    uint32_t reserved;
    uint64_t reference; /* DOWN: what kvreg_inbox_monitor gave */
    uint64_t count;     /* LOST: how many */
    kvreg_text name;    /* DOWN: of the bucket, if it has one; LOG: the server that speaks */
    kvreg_text detail;  /* DOWN: of the exit, if any; LOG: the message */
    uint64_t private_[4];
} kvreg_event;

/*
 * Decides an update. current is the value of the key, valid until the callback returns, or
 * NULL if the key is absent. For KVREG_STORE set *next (nil when called), which must stay
 * readable until the update returns; kvreg_value_copy_text copies text into it, and
 * *next = *current is fine. It runs while the server waits: it must return, and may call
 * kvreg, except into the same bucket (KVREG_CALLING_SELF; plain reads are allowed and see
 * the state before the update).
 */
typedef kvreg_verdict (*kvreg_update_fn)(void *user_data, const kvreg_value *current,
                                         kvreg_value *next);

/* When a bucket that ended is started again, empty, under its name (OTP's restart). */
enum {
    KVREG_TEMPORARY, /* never */
    KVREG_TRANSIENT, /* after KVREG_KILLED and KVREG_CRASHED */
    KVREG_PERMANENT  /* always, after kvreg_bucket_stop too; kvreg_registry_remove ends it */
};

/*
 * Options. Make them by the inline initialisers below, or set size to sizeof and all else to 0:
 * in every field 0 is the default, which is told here. Limits that are reached answer
 * KVREG_LIMIT, with nothing changed.
 *
 * They grow at their end in later versions. A smaller size is that of an older header: what it
 * lacks has its default. A larger one is that of a newer header: the library takes it if all that
 * it does not know is 0, else it answers KVREG_UNSUPPORTED, and nothing was done.
 */

/* kvreg_configure. */
typedef struct kvreg_options {
    uint32_t size;
    uint32_t worker_threads;    /* drain mailboxes, serve listeners; 2 */
    uint32_t callback_threads;  /* at most, for callbacks of update_cast; 16,384 */
    uint32_t max_monitors;      /* of one inbox; 1,048,576 */
    int64_t default_timeout_ms; /* of new handles; 5,000; -1 for ever */
    const char *thread_name;    /* of these threads, 1 to 15 bytes; "kvreg" */
} kvreg_options;

/* kvreg_registry_create_with, and of buckets created without options of their own. */
typedef struct kvreg_bucket_options {
    uint32_t size;
    uint32_t restart;           /* KVREG_TEMPORARY ... */
    uint32_t max_restarts;      /* more within the period, and it stays down; 3 */
    uint32_t restart_period_ms; /* 5,000 */
    uint64_t max_mailbox;       /* messages that wait; 1,048,576 */
    uint64_t max_keys;          /* no limit */
    uint64_t max_bytes;         /* of keys and values, 8 for a number; what waits in casts
                                   counts too; no limit. Each key takes some 100 bytes of
                                   memory beside. */
    uint64_t max_value;         /* bytes of one value; 536,870,912, which is also the most */
} kvreg_bucket_options;

/* kvreg_registry_start. */
typedef struct kvreg_registry_options {
    uint32_t size;
    uint32_t reserved;
    const char *name; /* what kvreg_registry_whereis finds it by; NULL: it has none */
    size_t name_len;
    const kvreg_bucket_options *bucket; /* of buckets created without their own */
    uint64_t max_buckets;               /* creations that wait count too; no limit */
    uint64_t max_bytes;                 /* as of a bucket, in all together; no limit */
    uint64_t max_mailbox;               /* messages at the registry itself; 1,048,576 */
} kvreg_registry_options;

/* kvreg_listener_start. */
typedef struct kvreg_listener_options {
    uint32_t size;
    uint32_t max_connections; /* 1,024; one more gets ERROR and is closed */
    uint64_t max_line;        /* bytes of a request; 65,536; a longer one is a failure */
    uint64_t max_backlog;     /* bytes that wait for a subscriber who does not read, before
                                 it is cut off; 1,048,576 */
    int64_t idle_timeout_ms;  /* from one request to the end of the next, and for a reply to
                                 be taken: then it is closed; 300,000; -1 for ever */
    uint32_t unix_mode;       /* of the file of a unix socket: who may connect; 0600 */
    uint32_t reserved;
    const char *password;     /* a connection is closed unless its first line is AUTH and this;
                                 1 to 1,024 bytes, no NUL and no line break; none */
    size_t password_len;      /* KVREG_NUL: up to its NUL */
} kvreg_listener_options;

/*
 * Facts. Set size to sizeof; a failure leaves the rest as it was. They grow as options do: no more
 * is written than size says, and what an older library does not know stays as it was, which is 0
 * by the inline initialisers.
 */

/* kvreg_bucket_info. */
typedef struct kvreg_bucket_stats {
    uint32_t size;
    int32_t last_exit; /* why the bucket of this name before this one ended; -1: none did */
    uint64_t keys;
    uint64_t bytes;    /* of keys and values, 8 for a number */
    uint64_t mailbox;  /* messages that wait */
    uint64_t handled;  /* messages handled: calls, casts and updates, not plain reads */
    uint64_t restarts; /* of the bucket of this name */
} kvreg_bucket_stats;

/* kvreg_registry_info. */
typedef struct kvreg_registry_stats {
    uint32_t size;
    int32_t last_exit; /* why it ended the last time it came back; -1: it never ended */
    uint64_t buckets;
    uint64_t keys;     /* in all buckets, while each is looked at */
    uint64_t bytes;
    uint64_t mailbox;  /* messages that wait at the registry itself */
    uint64_t handled;  /* messages it handled itself: creations and so on, not lookups */
    uint64_t restarts; /* how often it came back */
} kvreg_registry_stats;

/* kvreg_live_counts: what lives in the library now. */
typedef struct kvreg_live {
    uint32_t size;
    uint32_t reserved;
    uint64_t registries; /* servers that have not ended */
    uint64_t buckets;
    uint64_t registry_handles; /* handles that were not freed */
    uint64_t bucket_handles;
    uint64_t update_handles;
    uint64_t items_handles;
    uint64_t inbox_handles;
    uint64_t listener_handles;
} kvreg_live;

/* Inline initialisers of options and facts: the defaults. */
static inline kvreg_options kvreg_options_init(void) {
    kvreg_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}
static inline kvreg_bucket_options kvreg_bucket_options_init(void) {
    kvreg_bucket_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}
static inline kvreg_registry_options kvreg_registry_options_init(void) {
    kvreg_registry_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}
static inline kvreg_listener_options kvreg_listener_options_init(void) {
    kvreg_listener_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}
static inline kvreg_bucket_stats kvreg_bucket_stats_init(void) {
    kvreg_bucket_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    return stats;
}
static inline kvreg_registry_stats kvreg_registry_stats_init(void) {
    kvreg_registry_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    return stats;
}

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast" /* C has no other */
#endif

/* Inline constructors of values; they borrow what they point to. */
static inline kvreg_value kvreg_nil(void) {
    kvreg_value value;
    memset(&value, 0, sizeof value);
    return value;
}
static inline kvreg_value kvreg_bool(bool boolean) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_BOOL;
    value.as.boolean = boolean;
    return value;
}
static inline kvreg_value kvreg_int(int64_t integer) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_INT;
    value.as.integer = integer;
    return value;
}
static inline kvreg_value kvreg_float(double real) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_FLOAT;
    value.as.real = real;
    return value;
}
/* UTF-8, checked when it is stored. */
static inline kvreg_value kvreg_string(const char *data, size_t len) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_STRING;
    value.as.text.data = (const uint8_t *)data;
    value.as.text.len = len == KVREG_NUL && data != NULL ? strlen(data) : len;
    return value;
}
static inline kvreg_value kvreg_bytes(const void *data, size_t len) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_BYTES;
    value.as.text.data = (const uint8_t *)data;
    value.as.text.len =
        len == KVREG_NUL && data != NULL ? strlen((const char *)data) : len;
    return value;
}

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif


#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The library's version, "major.minor.patch": static.
 */
const char *kvreg_version_string(void);

/**
 * The same as a number: 0x00MMmmpp.
 */
uint32_t kvreg_version_number(void);

/**
 * The name of a status, "KVREG_OK"; of an unknown number "KVREG_UNKNOWN". Static.
 */
const char *kvreg_status_name(kvreg_status status);

/**
 * What a status means, in a few words. Static, never NULL.
 */
const char *kvreg_status_message(kvreg_status status);

/**
 * Copies the text of the last failing call on this thread into `buffer`, cut to `capacity`
 * bytes with its NUL; empty if none failed. For people: programs use the status. `buffer` may
 * be NULL if `capacity` is 0. Returns the full length in bytes, without the NUL.
 */
size_t kvreg_last_error(char *buffer, size_t capacity);

/**
 * Sets what holds for the whole process, before anything else is called; afterwards, and a
 * second time, KVREG_ALREADY_STARTED. It need not be called. `options` may be NULL: the
 * defaults. Starts nothing. Never blocks.
 */
kvreg_status kvreg_configure(const kvreg_options *options);

/**
 * Ends everything: all registries and buckets, reason SHUTDOWN; all listeners and handles; the
 * library's threads, which it waits for at most `timeout_ms` milliseconds (-1 for ever):
 * KVREG_TIMEOUT means that callbacks were still running then, and are left alone;
 * kvreg_last_error names their buckets. Afterwards frees and
 * clears still succeed, values stay valid, and everything else answers KVREG_SHUT_DOWN. It
 * need not be called: a process may just exit. From inside a callback: KVREG_CALLING_SELF.
 * Blocks.
 */
kvreg_status kvreg_shutdown(int64_t timeout_ms);

/**
 * Counts what lives in the library now: servers that have not ended and handles that were
 * not freed. Fills as much of `live` as its `size` says. Never blocks.
 */
kvreg_status kvreg_live_counts(kvreg_live *live);

/**
 * Releases what a function returned in `value`, and makes it nil; may be called twice on the
 * same variable, and on a value that owns nothing. NULL is fine. Never blocks; works after
 * kvreg_shutdown too.
 */
void kvreg_value_clear(kvreg_value *value);

/**
 * Copies text into a value: the way for an update callback to store text that does not
 * outlive it. The type becomes KVREG_STRING, unless it is KVREG_BYTES. Inside a callback the
 * library keeps the copy until the update is done and the value owns nothing; elsewhere the
 * value owns it, to be released with kvreg_value_clear. What the value held is not released.
 * Never blocks.
 */
kvreg_status kvreg_value_copy_text(kvreg_value *value, const void *data, size_t len);

/**
 * Starts a registry. `options` may be NULL: the defaults. KVREG_ALREADY_STARTED if another
 * registry has the name it asks for. Never blocks.
 */
kvreg_status kvreg_registry_start(const kvreg_registry_options *options, kvreg_registry **registry);

/**
 * Gives the registry that is registered under a name in this process, or KVREG_NOT_FOUND:
 * how a host and its plug-ins meet. Never blocks.
 */
kvreg_status kvreg_registry_whereis(const char *name, size_t name_len, kvreg_registry **registry);

/**
 * Gives another handle to the same registry, with the timeout of this one. Never blocks.
 */
kvreg_status kvreg_registry_clone(kvreg_registry *registry, kvreg_registry **clone);

/**
 * Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if it
 * need not wait. Other handles keep theirs. Never blocks.
 */
kvreg_status kvreg_registry_set_timeout(kvreg_registry *registry, int64_t timeout_ms);

/**
 * Gives the bucket of that name, and starts it if there is none: a call. With
 * KVREG_EXCLUSIVE in `flags` (else 0): KVREG_ALREADY_STARTED if there is one. `bucket` may be
 * NULL. Blocks for its turn.
 */
kvreg_status kvreg_registry_create(kvreg_registry *registry,
                                   const char *name,
                                   size_t name_len,
                                   uint32_t flags,
                                   kvreg_bucket **bucket);

/**
 * The same with options for a bucket that is started now; one that is there keeps its own.
 * NULL: those of the registry. Blocks for its turn.
 */
kvreg_status kvreg_registry_create_with(kvreg_registry *registry,
                                        const char *name,
                                        size_t name_len,
                                        uint32_t flags,
                                        const kvreg_bucket_options *options,
                                        kvreg_bucket **bucket);

/**
 * Starts a bucket of that name unless there is one: a cast. A call or lookup of the same
 * thread after it finds the bucket. Never blocks.
 */
kvreg_status kvreg_registry_create_cast(kvreg_registry *registry,
                                        const char *name,
                                        size_t name_len);

/**
 * Gives the bucket that has the name now, or KVREG_NOT_FOUND. A bucket of which anybody has
 * learned that it ended is not found. Blocks only while casts of this thread to the registry
 * are queued.
 */
kvreg_status kvreg_registry_lookup(kvreg_registry *registry,
                                   const char *name,
                                   size_t name_len,
                                   kvreg_bucket **bucket);

/**
 * Ends the bucket of that name for good, reason SHUTDOWN, whatever its restart option (OTP's
 * terminate_child): what is queued there is dropped. KVREG_NOT_FOUND if there is none. Blocks
 * for the registry's turn.
 */
kvreg_status kvreg_registry_remove(kvreg_registry *registry, const char *name, size_t name_len);

/**
 * Counts the names. Blocks only while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_count(kvreg_registry *registry, size_t *count);

/**
 * Gives a snapshot of the names: keys of type KVREG_STRING, values nil. Blocks only for its
 * own copying by others, and while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_names(kvreg_registry *registry, kvreg_items **names);

/**
 * Sends the registry an info of up to 65,536 bytes: a message that it does not expect. It is logged at debug and
 * dropped, as in the guide. Never blocks.
 */
kvreg_status kvreg_registry_send(kvreg_registry *registry,
                                 const void *message,
                                 size_t message_len);

/**
 * Carries out one line of the text protocol (CREATE, PUT, GET, DELETE; see the README), with
 * or without its line break; NULL with the length 0 is an empty one. `reply` is what a
 * connection would get, "NOT FOUND" and "UNKNOWN COMMAND" included: a STRING, or BYTES if it is
 * not UTF-8, with CRLF after each line; to be cleared. A failure has its status:
 * KVREG_INVALID_ARGUMENT for a name or key that cannot be, KVREG_UNSUPPORTED for a value with a
 * line break. Blocks like a call.
 */
kvreg_status kvreg_registry_execute(kvreg_registry *registry,
                                    const char *line,
                                    size_t line_len,
                                    kvreg_value *reply);

/**
 * Ends all buckets, reason SHUTDOWN, then the registry; returns when all are gone. From
 * inside a callback of one of its buckets, or if one waits for that: KVREG_CALLING_SELF. The
 * handle is freed separately. Blocks for its turn.
 */
kvreg_status kvreg_registry_stop(kvreg_registry *registry);

/**
 * Ends the registry at once (OTP's Process.exit), with its buckets, reason SHUTDOWN. After
 * KVREG_KILLED and KVREG_CRASHED it comes back, empty, behind its handles and its name, before
 * this returns (one_for_all); its monitors get their DOWN and do not carry over. KVREG_NORMAL
 * does nothing, KVREG_NOPROC is KVREG_INVALID_ARGUMENT. `detail` is as in kvreg_bucket_exit.
 * Takes the time to free what its buckets hold, and never waits for a turn.
 */
kvreg_status kvreg_registry_exit(kvreg_registry *registry,
                                 int32_t reason,
                                 const char *detail,
                                 size_t detail_len);

/**
 * Tells what there is to know about the registry; fills as much of `stats` as its `size`
 * says. Blocks only while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_info(kvreg_registry *registry, kvreg_registry_stats *stats);

/**
 * Frees the handle. A registry without a name stops, with its buckets, when its last handle is
 * freed: that takes the time to free what they hold, about 0.1 us a key. One with a name runs
 * on. NULL is fine. Never blocks.
 */
kvreg_status kvreg_registry_free(kvreg_registry *registry);

/**
 * Starts a bucket without a registry; it stops when its last handle is freed. Never blocks.
 */
kvreg_status kvreg_bucket_start(kvreg_bucket **bucket);

/**
 * Gives another handle to the same bucket, with the timeout of this one. Never blocks.
 */
kvreg_status kvreg_bucket_clone(kvreg_bucket *bucket, kvreg_bucket **clone);

/**
 * Stores a value under a key, over an older one. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put(kvreg_bucket *bucket,
                              const void *key,
                              size_t key_len,
                              const kvreg_value *value);

/**
 * Gives the value of a key, to be cleared, or KVREG_NOT_FOUND. Does not wait for a running
 * handler: it sees the last committed state. Blocks only while casts of this thread to the
 * bucket are queued.
 */
kvreg_status kvreg_bucket_get(kvreg_bucket *bucket,
                              const void *key,
                              size_t key_len,
                              kvreg_value *value);

/**
 * Takes a key out and gives its value, to be cleared, or KVREG_NOT_FOUND. `old` may be NULL.
 * Blocks for its turn.
 */
kvreg_status kvreg_bucket_delete(kvreg_bucket *bucket,
                                 const void *key,
                                 size_t key_len,
                                 kvreg_value *old);

/**
 * Stores a value: a cast. It may be done at once or later; a call or read of the same thread
 * after it sees it. Never blocks. KVREG_LIMIT if the mailbox is full.
 */
kvreg_status kvreg_bucket_put_cast(kvreg_bucket *bucket,
                                   const void *key,
                                   size_t key_len,
                                   const kvreg_value *value);

/**
 * Takes a key out if it is there: a cast. Never blocks. KVREG_LIMIT if the mailbox is full.
 */
kvreg_status kvreg_bucket_delete_cast(kvreg_bucket *bucket, const void *key, size_t key_len);

/**
 * Stores many values in one message: all or none. Of equal keys the last one counts. Blocks
 * for its turn.
 */
kvreg_status kvreg_bucket_put_many(kvreg_bucket *bucket, const kvreg_pair *pairs, size_t count);

/**
 * Fills the values of many pairs as they are at one instant; an absent key gets KVREG_ABSENT.
 * Each value is overwritten, not released, and to be cleared. Blocks only for other such
 * copying, and while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_many(kvreg_bucket *bucket, kvreg_pair *pairs, size_t count);

/**
 * Counts the keys; a write in flight may count or not. Blocks only while casts of this
 * thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_count(kvreg_bucket *bucket, size_t *count);

/**
 * Takes all keys out, at one instant. Blocks for its turn.
 */
kvreg_status kvreg_bucket_clear(kvreg_bucket *bucket);

/**
 * Gives a snapshot of keys and values. Blocks only for other such copying, and while casts
 * of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_items(kvreg_bucket *bucket, kvreg_items **items);

/**
 * Gives the name the bucket is registered under, to be cleared: after its end too; nil if it
 * has none. Never blocks.
 */
kvreg_status kvreg_bucket_name(kvreg_bucket *bucket, kvreg_value *name);

/**
 * Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if it
 * need not wait. Other handles keep theirs. Never blocks.
 */
kvreg_status kvreg_bucket_set_timeout(kvreg_bucket *bucket, int64_t timeout_ms);

/**
 * Stops the bucket, reason NORMAL, after what is queued; when it returns the bucket is gone
 * and its name too (OTP's GenServer.stop). KVREG_SERVER_DOWN if it ended meanwhile for another
 * reason. The handle is freed separately. Blocks for its turn.
 */
kvreg_status kvreg_bucket_stop(kvreg_bucket *bucket);

/**
 * Ends the bucket at once (OTP's Process.exit): what is queued is dropped, who waits there
 * gets KVREG_SERVER_DOWN, and the name is gone when it returns. A callback that is running is
 * not interrupted, but its change is discarded. KVREG_NORMAL does nothing, KVREG_NOPROC is
 * KVREG_INVALID_ARGUMENT. `detail` is UTF-8 of up to 65,536 bytes for the DOWN, and may be
 * NULL with length 0. Takes the time to free what the bucket holds, and never waits for a turn.
 */
kvreg_status kvreg_bucket_exit(kvreg_bucket *bucket,
                               int32_t reason,
                               const char *detail,
                               size_t detail_len);

/**
 * Links two buckets: when one ends abnormally (any reason but KVREG_NORMAL), so does the other,
 * with the same reason (Erlang's link). Linking twice is once; a bucket to itself is nothing.
 * KVREG_NO_PROCESS if either has ended. Links do not carry over to a restarted bucket. Never
 * blocks.
 */
kvreg_status kvreg_bucket_link(kvreg_bucket *bucket, kvreg_bucket *other);

/**
 * Takes a link away; without one it does nothing. Never blocks.
 */
kvreg_status kvreg_bucket_unlink(kvreg_bucket *bucket, kvreg_bucket *other);

/**
 * Tells what there is to know about the bucket; fills as much of `stats` as its `size` says.
 * Blocks only while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_info(kvreg_bucket *bucket, kvreg_bucket_stats *stats);

/**
 * Frees the handle; a registered bucket goes on, and of one without a registry the last handle
 * ends it: that takes the time to free what it holds, about 0.1 us a key. NULL is fine. Never
 * blocks.
 */
kvreg_status kvreg_bucket_free(kvreg_bucket *bucket);

/**
 * Stores many values in one message, as kvreg_bucket_put_many does: all or none; of equal keys
 * the last one counts. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_columns(kvreg_bucket *bucket, const kvreg_columns *columns);

/**
 * Stores an integer, as kvreg_bucket_put does.
 */
kvreg_status kvreg_bucket_put_int(kvreg_bucket *bucket,
                                  const void *key,
                                  size_t key_len,
                                  int64_t integer);

/**
 * Stores a floating-point number, as kvreg_bucket_put does.
 */
kvreg_status kvreg_bucket_put_float(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    double real);

/**
 * Stores a text of UTF-8, as kvreg_bucket_put does.
 */
kvreg_status kvreg_bucket_put_string(kvreg_bucket *bucket,
                                     const void *key,
                                     size_t key_len,
                                     const char *data,
                                     size_t len);

/**
 * Stores bytes, as kvreg_bucket_put does.
 */
kvreg_status kvreg_bucket_put_bytes(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    const void *data,
                                    size_t len);

/**
 * Gives an integer, as kvreg_bucket_get does; KVREG_WRONG_TYPE if the value is none.
 */
kvreg_status kvreg_bucket_get_int(kvreg_bucket *bucket,
                                  const void *key,
                                  size_t key_len,
                                  int64_t *integer);

/**
 * Gives a floating-point number, as kvreg_bucket_get does; KVREG_WRONG_TYPE if the value is
 * none.
 */
kvreg_status kvreg_bucket_get_float(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    double *real);

/**
 * Copies text or bytes into `buffer`, as kvreg_bucket_get does, without a NUL, and sets `len`
 * to their length in bytes. KVREG_TOO_SMALL if that is more than `capacity`: `len` is set all
 * the same, and nothing is copied. KVREG_WRONG_TYPE if the value is neither. `buffer` may be
 * NULL if `capacity` is 0.
 */
kvreg_status kvreg_bucket_get_bytes(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    void *buffer,
                                    size_t capacity,
                                    size_t *len);

/**
 * Gives the value of a key, as kvreg_bucket_get does, without memory of its own where it can: a
 * text of at most `capacity` bytes is copied into `buffer`, without a NUL, and `value` borrows
 * it there. A longer one is to be cleared; to clear any other does nothing. What `buffer` holds
 * beside that text, or after a failure, is undefined. It may be NULL if `capacity` is 0.
 */
kvreg_status kvreg_bucket_get_into(kvreg_bucket *bucket,
                                   const void *key,
                                   size_t key_len,
                                   void *buffer,
                                   size_t capacity,
                                   kvreg_value *value);

/**
 * Updates a key by a callback: it runs on this thread, exactly once, while the bucket does
 * nothing else (Agent.get_and_update). What it decides is done before this returns:
 * KVREG_ABORTED for KVREG_ABORT, KVREG_SERVER_DOWN for KVREG_CRASH, KVREG_INVALID_ARGUMENT,
 * with nothing changed, for a verdict or a value that cannot be. The callback may update other
 * buckets: a thread holds at most 256 turns at once, then KVREG_LIMIT. Blocks for its turn.
 */
kvreg_status kvreg_bucket_update(kvreg_bucket *bucket,
                                 const void *key,
                                 size_t key_len,
                                 kvreg_update_fn update,
                                 void *user_data);

/**
 * Updates a key by a callback, later, on one of the library's threads: a cast. `destroy` (may
 * be NULL) is called with `user_data` exactly once on every path, failed ones too, after the
 * callback if that ran; then `next` need not be readable any more. Not called in a forked
 * child nor at process exit. Never blocks. KVREG_LIMIT if the mailbox is full.
 */
kvreg_status kvreg_bucket_update_cast(kvreg_bucket *bucket,
                                      const void *key,
                                      size_t key_len,
                                      kvreg_update_fn update,
                                      void *user_data,
                                      void (*destroy)(void *user_data));

/**
 * Begins an update without a callback: gives the value of the key, to be cleared (KVREG_ABSENT
 * if the key is absent; `current` may be NULL), and a handle that has the bucket's turn until
 * it is ended or freed. Until then this thread counts as being inside the bucket: its calls there
 * get KVREG_CALLING_SELF. Any thread may end the update, but the turn stays that of the thread
 * that began it: when this ends, the update is ended with KVREG_ABORT and its handle is freed,
 * in the second round of destructors of its pthread keys. KVREG_LIMIT if this thread holds 256
 * turns, or if the destructors of its pthread keys run. Blocks for its turn.
 */
kvreg_status kvreg_bucket_update_begin(kvreg_bucket *bucket,
                                       const void *key,
                                       size_t key_len,
                                       kvreg_value *current,
                                       kvreg_update **update);

/**
 * Ends an update: does what was decided, gives the turn back and frees the handle, whatever
 * it answers. `next` is read for KVREG_STORE only. The answers are those of
 * kvreg_bucket_update. Any thread may end an update. Never waits for a turn.
 */
kvreg_status kvreg_update_end(kvreg_update *update, int32_t verdict, const kvreg_value *next);

/**
 * Gives up an update: the same as ending it with KVREG_ABORT. NULL is fine. Never blocks.
 */
kvreg_status kvreg_update_free(kvreg_update *update);

/**
 * Gives the next item of a snapshot, or KVREG_NOT_FOUND at its end: the key as KVREG_BYTES
 * (a name as KVREG_STRING) and the value, each to be cleared; `value` may be NULL. Threads
 * may share a snapshot: each item goes to one of them. Never blocks.
 */
kvreg_status kvreg_items_next(kvreg_items *items, kvreg_value *key, kvreg_value *value);

/**
 * Frees a snapshot: that takes the time to free its items. NULL is fine. Never blocks.
 */
kvreg_status kvreg_items_free(kvreg_items *items);

/**
 * Opens an inbox: a mailbox of the caller's own, where events wait until they are received.
 * It belongs to no registry, and any thread may use it. Never blocks.
 */
kvreg_status kvreg_inbox_open(kvreg_inbox **inbox);

/**
 * Monitors a bucket (Process.monitor): its end gives this inbox exactly one
 * KVREG_EVENT_DOWN with this reference and the reason; at once, reason KVREG_NOPROC, if it has
 * ended. Each call is a monitor of its own. The place of its DOWN is kept, so that it is never
 * lost: KVREG_LIMIT beyond 1,048,576. Never blocks.
 */
kvreg_status kvreg_inbox_monitor(kvreg_inbox *inbox, kvreg_bucket *bucket, uint64_t *reference);

/**
 * The same for a registry.
 */
kvreg_status kvreg_inbox_monitor_registry(kvreg_inbox *inbox,
                                          kvreg_registry *registry,
                                          uint64_t *reference);

/**
 * Takes a monitor back: no DOWN of it comes any more. With KVREG_FLUSH in `flags` (else 0) one
 * that waits already is removed too. An unknown reference is fine. Never blocks.
 */
kvreg_status kvreg_inbox_demonitor(kvreg_inbox *inbox, uint64_t reference, uint32_t flags);

/**
 * From now on the inbox gets what the library logs at `max_level` (KVREG_LOG_...) or a more
 * important level, as KVREG_EVENT_LOG. Calling it again changes the level. Up to 1,024 such
 * events wait; what does not fit arrives as one KVREG_EVENT_LOST with a count. Never blocks.
 */
kvreg_status kvreg_inbox_subscribe_logs(kvreg_inbox *inbox, uint32_t max_level);

/**
 * Gives the next event, to be cleared; each goes to one receiver. KVREG_TIMEOUT if none came
 * within `timeout_ms` milliseconds (-1 for ever, 0 at once). Another thread's
 * kvreg_inbox_free wakes it: KVREG_BAD_HANDLE. From inside a callback, or between the begin and
 * the end of an update, with a timeout other than 0: KVREG_CALLING_SELF. Blocks.
 */
kvreg_status kvreg_inbox_receive(kvreg_inbox *inbox, int64_t timeout_ms, kvreg_event *event);

/**
 * Gives a file descriptor that is readable while events wait: for poll, epoll and event
 * loops. Only poll it; it is closed with the inbox, but readable from kvreg_shutdown to the end
 * of the process. On Linux; elsewhere KVREG_UNSUPPORTED, and kvreg_inbox_handle on Windows.
 * Never blocks.
 */
kvreg_status kvreg_inbox_fd(kvreg_inbox *inbox, int *fd);

/**
 * Gives the HANDLE of a Windows event that is signalled while events wait: for
 * WaitForSingleObject, WaitForMultipleObjects and event loops. It is reset by hand, not by
 * waiting, so that it wakes all who wait, at once if events wait already. Only wait for it: it is
 * set, reset and closed by the inbox; free the inbox when nobody waits for it any more. It is
 * signalled from kvreg_shutdown to the end of the process. No child process inherits it. On
 * Windows; elsewhere KVREG_UNSUPPORTED, and kvreg_inbox_fd on Linux. Never blocks.
 */
kvreg_status kvreg_inbox_handle(kvreg_inbox *inbox, void **handle);

/**
 * Frees the inbox with what waits in it, and takes its monitors back; wakes its receivers
 * with KVREG_BAD_HANDLE. NULL is fine. Never blocks.
 */
kvreg_status kvreg_inbox_free(kvreg_inbox *inbox);

/**
 * Releases what kvreg_inbox_receive gave in `event`, and empties it; may be called twice on
 * the same variable. NULL is fine. Never blocks; works after kvreg_shutdown too.
 */
void kvreg_event_clear(kvreg_event *event);

/**
 * Serves the text protocol (see the README) of a registry, on the library's threads: over TCP,
 * or over a unix socket. `address` is NUL-terminated: "127.0.0.1:4040" or "[::1]:4040"; a port
 * alone is on loopback; port 0 is any that is free. NULL: "127.0.0.1:4040". "unix:PATH" is a
 * unix socket: a file that only the owner can use unless `options` say otherwise. The file of
 * a socket that nobody listens at is replaced, any other is KVREG_IO; it is removed when the
 * listener stops, if it is still the same. On Windows: KVREG_UNSUPPORTED. `options` may be
 * NULL. The listener stops with its registry, and keeps it running like a handle. KVREG_IO if
 * the system refuses. Who can connect, and knows the password if there is one, can change
 * everything. Blocks for half a second at most, and only if another process has the lock of
 * the directory of a unix socket.
 */
kvreg_status kvreg_listener_start(kvreg_registry *registry,
                                  const char *address,
                                  const kvreg_listener_options *options,
                                  kvreg_listener **listener);

/**
 * Gives the address it listens on, "127.0.0.1:4040" or "unix:PATH": a STRING, to be cleared.
 * After its end too. Never blocks.
 */
kvreg_status kvreg_listener_address(kvreg_listener *listener, kvreg_value *address);

/**
 * Stops listening and closes all connections; when it returns the address is free. The handle is
 * freed separately; stopping again is fine. Blocks until the library's threads have done so.
 */
kvreg_status kvreg_listener_stop(kvreg_listener *listener);

/**
 * Frees the handle, and stops the listener without waiting for it. NULL is fine. Never
 * blocks.
 */
kvreg_status kvreg_listener_free(kvreg_listener *listener);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/*
 * KVREG_OK if the library in use has all that this header declares. KVREG_UNSUPPORTED if it is
 * older, or of another major version. For programs that find the library at run time: one that
 * was linked to a newer library, and calls what an older one lacks, is not loaded with that at
 * all. Never blocks.
 */
static inline kvreg_status kvreg_version_check(void) {
    uint32_t number = kvreg_version_number();
    return number >> 16 == KVREG_VERSION_MAJOR && number >> 8 >= KVREG_VERSION_NUMBER >> 8
        ? KVREG_OK
        : KVREG_UNSUPPORTED;
}

#endif /* KVREG_H */
