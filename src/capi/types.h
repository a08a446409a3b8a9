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
