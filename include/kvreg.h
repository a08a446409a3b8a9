#ifndef KVREG_H
#define KVREG_H

/**
 * @file kvreg.h
 * kvreg: a registry of named key-value buckets inside your process. This header is the reference
 * of the C interface.
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
 * @par Status
 * Every function that can fail returns a kvreg_status; KVREG_OK is 0. Outputs come last. On
 * failure handle outputs are NULL and value outputs are nil, so cleaning up is always safe. There
 * are no partial successes. kvreg_last_error gives a sentence for people.
 *
 * @par Which status
 * When several statuses apply, the answer is the first of: FORKED, SHUT_DOWN, BAD_HANDLE (NULL
 * included), WRONG_KIND, INVALID_ARGUMENT (NULL outputs, bad lengths, bad UTF-8), NO_PROCESS,
 * CALLING_SELF, a LIMIT that is known beforehand, TIMEOUT. Then comes what the work itself finds:
 * NOT_FOUND, WRONG_TYPE, CONFLICT, LIMIT, NO_MEMORY, IO.
 *
 * @par Handles
 * A handle is an opaque token, never an address. Each handle obtained is freed exactly once with
 * its own _free; _free(NULL) is fine. A handle that is NULL, freed, made up or of another kind is
 * answered with a status, also when another thread frees it meanwhile. Freeing a handle never
 * ends a registered bucket or a registry with a name. A server that nobody can reach any more
 * stops: a registry without a name, or a bucket without a registry, when its last handle is freed.
 *
 * @par Text and bytes
 * They are a pointer and a length in bytes; the length KVREG_NUL means that the text ends at its
 * NUL. They are copied before the function returns. Names of registries and buckets have 1 to 255
 * bytes of UTF-8 without NUL. Keys have any bytes, 0 to 65,536. Values have up to 512 MiB.
 *
 * @par Clearing
 * "Clear it" in what follows means: release what the function gave with kvreg_value_clear or
 * kvreg_event_clear, once.
 *
 * @par Threads
 * Every function may be called from any thread; nothing is async-signal-safe, nor
 * async-cancel-safe. No function is a cancellation point, those that block included: a
 * pthread_cancel that is pending takes effect at the caller's next own one, and in a callback that
 * runs inside a function it is disabled. Messages of one thread to one server are handled in the
 * order sent. "Thread" is a thread of the operating system: a goroutine or another task that moves
 * between threads has no such order.
 *
 * @par Blocking
 * A function that may block says so. It waits for its turn at the server, at most for the timeout
 * of the handle, in milliseconds: -1 for ever, 0 only if it need not wait, 5000 at first.
 * KVREG_TIMEOUT means withdrawn: the request has not run and never will. A function that never
 * blocks waits for no turn, no callback and no message: it takes the time of its own work, and
 * waits for another thread's short change at most. Where the work grows with what is stored, the
 * function says so: to end a server is to free what it holds, on the calling thread. A put that
 * finds its table full makes a larger one.
 *
 * @par The process
 * Nothing is started before it is needed. Loading starts nothing, the first server takes memory
 * only, threads come with the first cast that has to wait and with the first listener. If the
 * system refuses them, the answer is KVREG_IO, and the next call that needs them tries again.
 * Threads are named "kvreg" and block all signals. Nothing is printed, unless the environment
 * variable KVREG_LOG names a level (error, warn, info, debug) at first use: then lines go to
 * stderr. A process may exit at any time, with work in flight.
 *
 * @par Fork
 * After fork, _Fork, or the system call alone, and in any handler of fork, the child gets
 * KVREG_FORKED for every handle it inherited, and to free those succeeds and does nothing. What the
 * child starts itself works (after _Fork: as far as the C library does). A callback of an
 * update_cast that forks ends the child when it returns there, as a thread that returns does.
 *
 * @par Callbacks
 * A callback must return. Throwing, longjmp, pthread_exit and cancellation out of one are not
 * supported; use kvreg_bucket_update_begin where user code may do so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if UINTPTR_MAX != 0xffffffffffffffffu
#error "kvreg supports 64-bit platforms only"
#endif

/** @name Version of this header
 *  @{ */

/** It changes when programs have to be compiled again. */
#define KVREG_VERSION_MAJOR 0
/** It rises when something is added. */
#define KVREG_VERSION_MINOR 1
/** It rises when nothing of the interface changes. */
#define KVREG_VERSION_PATCH 0

/** The version as a number, 0x00MMmmpp, as kvreg_version_number gives the library's. */
#define KVREG_VERSION_NUMBER \
    (KVREG_VERSION_MAJOR << 16 | KVREG_VERSION_MINOR << 8 | KVREG_VERSION_PATCH)

/** @} */

/** As the length of a text: the text ends at its NUL. */
#define KVREG_NUL SIZE_MAX

/** @name Handles
 *  The types are never defined: a handle is a token of 64 bits, not an address.
 *  @{ */

typedef struct kvreg_registry kvreg_registry; /**< A registry. */
typedef struct kvreg_bucket kvreg_bucket;     /**< A bucket. */
typedef struct kvreg_update kvreg_update;     /**< An update that has begun. */
typedef struct kvreg_items kvreg_items;       /**< A snapshot of keys and values, or of names. */
typedef struct kvreg_inbox kvreg_inbox;       /**< An inbox. */
typedef struct kvreg_listener kvreg_listener; /**< A listener. */
typedef struct kvreg_server kvreg_server;     /**< A server: a user's, a bucket or a registry. */
typedef struct kvreg_turn kvreg_turn;         /**< The right to run a server's handlers, until it is
                                                   ended. */
typedef struct kvreg_reply kvreg_reply;       /**< A caller who waits for a later answer. */
typedef struct kvreg_engine kvreg_engine;     /**< No handle, but a struct of kvreg_engine.h. */

/** @} */

/** @name Statuses, reasons and verdicts
 *  The numbers never change; new ones are added at the end.
 *  @{ */

/** What a function answers: KVREG_OK to KVREG_TOO_SMALL. */
typedef int32_t kvreg_status;

/** The values of a kvreg_status. */
enum {
    KVREG_OK,               /**< It was done. */
    KVREG_NOT_FOUND,        /**< No such name or key. */
    KVREG_ALREADY_STARTED,  /**< The name is taken; or kvreg_configure came too late. */
    KVREG_NO_PROCESS,       /**< The server had ended: not delivered. */
    KVREG_SERVER_DOWN,      /**< The server ended while it had the request. */
    KVREG_TIMEOUT,          /**< Withdrawn: it has not run and never will. */
    KVREG_OUTCOME_UNKNOWN,  /**< Another thread had begun and would finish it, or a cluster was given
                                 it and did not answer in time. */
    KVREG_CALLING_SELF,     /**< The caller would wait for itself. */
    KVREG_BAD_HANDLE,       /**< The handle is NULL, freed, or made up. */
    KVREG_WRONG_KIND,       /**< A live handle of another kind. */
    KVREG_INVALID_ARGUMENT, /**< NULL output, bad length, bad UTF-8, unknown constant. */
    KVREG_WRONG_TYPE,       /**< The value has another type than was asked for. */
    KVREG_CONFLICT,         /**< The key is not as the call expects; nothing was changed. */
    KVREG_LIMIT,            /**< A limit is reached; nothing was changed. */
    KVREG_NO_MEMORY,        /**< There is no memory; nothing was changed. */
    KVREG_ABORTED,          /**< The update or the server said KVREG_ABORT. */
    KVREG_FORKED,           /**< The handle was inherited through fork. */
    KVREG_SHUT_DOWN,        /**< It came after kvreg_shutdown. */
    KVREG_UNSUPPORTED,      /**< Not on this platform, or not in this version. */
    KVREG_IO,               /**< The operating system refused; see kvreg_last_os_error. */
    KVREG_INTERNAL,         /**< A caught panic in kvreg itself: a bug. */
    KVREG_TOO_SMALL         /**< The caller's buffer is too small; the needed length is set. */
};

/** Why a server ended (Erlang's exit reasons). */
typedef int32_t kvreg_reason;

/** The values of a kvreg_reason. */
enum {
    KVREG_REASON_NORMAL,   /**< It was stopped, after all that was queued. */
    KVREG_REASON_SHUTDOWN, /**< It was told to end, in good order. */
    KVREG_REASON_KILLED,   /**< It was ended at once. */
    KVREG_REASON_CRASHED,  /**< A handler panicked, or a callback said KVREG_CRASH. */
    KVREG_REASON_NOPROC    /**< It had ended before it was monitored. */
};

/** What an update decides, or a handler of a server. */
typedef int32_t kvreg_verdict;

/** The values of a kvreg_verdict. */
enum {
    KVREG_KEEP,     /**< Leave the value as it is. */
    KVREG_STORE,    /**< Store *next. */
    KVREG_REMOVE,   /**< Delete the key. */
    KVREG_ABORT,    /**< Change nothing; the caller gets KVREG_ABORTED. */
    KVREG_CRASH,    /**< End the bucket, with the reason KVREG_REASON_CRASHED. */
    KVREG_STOP,     /**< Of a server only, as the two that follow: as KVREG_KEEP, then the server
                         ends, with the reason KVREG_REASON_NORMAL. */
    KVREG_LATER,    /**< The answer of the call comes by kvreg_reply_send. */
    KVREG_UNHANDLED /**< The server does not know this message. */
};

/** @} */

/** @name Numbers of values, events and logs
 *  New ones are added at the end.
 *  @{ */

/** Types of values. */
enum {
    KVREG_NIL,    /**< No value beside the type. */
    KVREG_BOOL,   /**< as.boolean */
    KVREG_INT,    /**< as.integer */
    KVREG_FLOAT,  /**< as.real */
    KVREG_STRING, /**< as.text, which is UTF-8 */
    KVREG_BYTES,  /**< as.text */
    KVREG_ABSENT  /**< The key is absent: told by kvreg_bucket_get_many and
                       kvreg_bucket_update_begin. To store it is KVREG_INVALID_ARGUMENT. */
};

/** Types of events. */
enum {
    KVREG_EVENT_DOWN,    /**< A monitored server ended. */
    KVREG_EVENT_LOG,     /**< The library logged something; see kvreg_inbox_subscribe_logs. */
    KVREG_EVENT_LOST,    /**< So many other events did not fit; a DOWN is never lost. */
    KVREG_EVENT_CHANGE,  /**< A watched key was changed, or is one of the present keys. */
    KVREG_EVENT_RESET,   /**< What was known of the keys of a watch is to be forgotten. */
    KVREG_EVENT_CURRENT, /**< The keys of a watch have been told, as of a revision or later. */
    KVREG_EVENT_MAIL,    /**< Mail waits at a server by turns, and nobody has its turn; `reference`
                              is the key of its options. */
    KVREG_EVENT_REPLY,   /**< A request was answered: `status`, and `value` if that is KVREG_OK;
                              `detail` is what was said of KVREG_ABORTED. */
    KVREG_EVENT_STORE    /**< The store of a watched bucket is out of reach, or in reach again. */
};

/** Levels of KVREG_EVENT_STORE, and of kvreg_bucket_stats. */
enum {
    KVREG_STORE_UP,  /**< In reach. */
    KVREG_STORE_AWAY /**< Out of reach: calls wait for it, and what changed meanwhile is told later. */
};

/** Levels of KVREG_EVENT_CHANGE: what became of the key. */
enum {
    KVREG_CHANGE_PUT,    /**< It was stored. Of a name: a bucket has it now. */
    KVREG_CHANGE_DELETE, /**< It was deleted. */
    KVREG_CHANGE_EXPIRE, /**< Its time to live was over. */
    KVREG_CHANGE_EVICT   /**< It was taken out to make room. */
};

/** Levels of log events; a lower number is more important. */
enum {
    KVREG_LOG_ERROR, /**< A server was killed or crashed, or a bucket stays down. */
    KVREG_LOG_WARN,  /**< A subscriber was cut off, a callback is stuck, and so on. */
    KVREG_LOG_INFO,  /**< A bucket was started again; a listener listens. */
    KVREG_LOG_DEBUG  /**< A registry got a message that it does not expect. */
};

/** @} */

/** @name Flags
 *  @{ */

/** Flags of kvreg_registry_create and kvreg_registry_create_with. */
enum {
    KVREG_CREATE_EXCLUSIVE = 1 /**< KVREG_ALREADY_STARTED if there is a bucket of the name. */
};

/** Flags of kvreg_server_options. */
enum {
    KVREG_SERVER_WANTS_TERMINATE = 1, /**< It gets KVREG_MESSAGE_TERMINATE before it ends. */
    KVREG_SERVER_HAND_OVER = 2        /**< Nothing of it runs on a caller's thread: calls are
                                           messages for the callback threads, or for the loop that
                                           serves it. */
};

/** Flags of kvreg_server_begin. */
enum {
    KVREG_BEGIN_NOW = 1 /**< Never waits: KVREG_TIMEOUT if somebody has the turn. */
};

/** Flags of kvreg_server_send. */
enum {
    KVREG_SEND_NEXT = 1 /**< Before all that waits; from inside the server's own turn only. */
};

/** Flags of kvreg_inbox_demonitor and kvreg_server_demonitor. */
enum {
    KVREG_DEMONITOR_FLUSH = 1 /**< Remove a DOWN that waits already, too. */
};

/** Times to live of keys, in milliseconds, that are no number of them. */
enum {
    KVREG_TTL_KEEP = -2,   /**< That which the key has; the bucket's default if it is absent. */
    KVREG_TTL_NEVER = -1,  /**< None: the key stays for ever. */
    KVREG_TTL_DEFAULT = 0  /**< The bucket's default. */
};

/** @} */

#ifndef KVREG_NO_OLD_NAMES
/** @name Old names
 *  Programs that were written with them still compile. New ones define KVREG_NO_OLD_NAMES before
 *  they include this header: then the compiler finds a KVREG_SHUTDOWN that was meant to be
 *  KVREG_SHUT_DOWN.
 *  @{ */

#define KVREG_NORMAL KVREG_REASON_NORMAL       /**< Old name of KVREG_REASON_NORMAL. */
#define KVREG_SHUTDOWN KVREG_REASON_SHUTDOWN   /**< Old name of KVREG_REASON_SHUTDOWN. */
#define KVREG_KILLED KVREG_REASON_KILLED       /**< Old name of KVREG_REASON_KILLED. */
#define KVREG_CRASHED KVREG_REASON_CRASHED     /**< Old name of KVREG_REASON_CRASHED. */
#define KVREG_NOPROC KVREG_REASON_NOPROC       /**< Old name of KVREG_REASON_NOPROC. */
#define KVREG_EXCLUSIVE KVREG_CREATE_EXCLUSIVE /**< Old name of KVREG_CREATE_EXCLUSIVE. */
#define KVREG_FLUSH KVREG_DEMONITOR_FLUSH      /**< Old name of KVREG_DEMONITOR_FLUSH. */

/** @} */
#endif

/** @name Values and events
 *  @{ */

/** Text that the library gives. */
typedef struct kvreg_text {
    const char *data; /**< NUL-terminated too; "" when there is no text. */
    size_t len;       /**< Bytes, without the NUL. */
} kvreg_text;

/**
 * A value: 32 bytes, immutable. A value that an inline constructor below makes borrows its text. A
 * value that a function returned owns its text until kvreg_value_clear. It may be moved bitwise;
 * of the copies of a value that was read, exactly one is cleared. Text that was read is followed
 * by a NUL that len does not count, and stays valid and unchanged until it is cleared, whatever
 * happens to the bucket.
 */
typedef struct kvreg_value {
    uint32_t type;     /**< KVREG_NIL to KVREG_ABSENT. */
    uint32_t reserved; /**< Not looked at. */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const uint8_t *data;
            size_t len;
        } text;        /**< Of KVREG_STRING (UTF-8) and KVREG_BYTES. */
    } as;              /**< What the value is, by its type. */
    uint64_t private_; /**< The library's own: copy it, do not change it. */
} kvreg_value;

/** A key and its value, for batches. The key is borrowed. */
typedef struct kvreg_pair {
    const void *key;   /**< Any bytes. */
    size_t key_len;    /**< 0 to 65,536, or KVREG_NUL. */
    kvreg_value value; /**< The value to store, or the one that was read. */
} kvreg_pair;

/**
 * A key's value, and what is known of it, as kvreg_bucket_get_entry gives it. Set size to sizeof, or
 * use kvreg_entry_init. Cleared by kvreg_value_clear(&entry.value).
 */
typedef struct kvreg_entry {
    uint32_t size;     /**< sizeof(kvreg_entry). */
    uint32_t reserved; /**< 0. */
    kvreg_value value; /**< The value. */
    uint64_t revision; /**< Of the change that stored it: the later a change of a bucket, or of those
                            that had its name, the larger. Never 0. */
    int64_t ttl_ms;    /**< How long the key is still there, in milliseconds, 1 at least;
                            KVREG_TTL_NEVER: for ever. */
} kvreg_entry;

/** What a kvreg_op does. */
enum {
    KVREG_OP_PUT,       /**< Stores `value`. */
    KVREG_OP_DELETE,    /**< Takes the key out. */
    KVREG_OP_PUT_IF,    /**< Stores `value` if the revision of the key is `expected`; 0: if the key
                             is absent. */
    KVREG_OP_DELETE_IF, /**< Takes the key out if its revision is `expected`. */
    KVREG_OP_ADD        /**< Adds `delta` to the integer under the key. */
};

/**
 * One of the changes of kvreg_bucket_apply. Set size to sizeof, or use kvreg_op_init; the sizes of
 * all must be the same. Key and value are borrowed.
 */
typedef struct kvreg_op {
    uint32_t size;        /**< sizeof(kvreg_op). */
    uint32_t op;          /**< KVREG_OP_PUT to KVREG_OP_ADD. */
    const void *key;      /**< Any bytes. */
    size_t key_len;       /**< 0 to 65,536, or KVREG_NUL. */
    kvreg_value value;    /**< PUT, PUT_IF: the value to store. */
    uint64_t expected;    /**< PUT_IF, DELETE_IF: the revision that the key must have. */
    int64_t delta;        /**< ADD: what is added. */
    int64_t ttl_ms;       /**< PUT, PUT_IF: as of kvreg_bucket_put_entry. */
    uint64_t revision;    /**< Filled on KVREG_OK: the revision of this change. */
    uint64_t private_[4]; /**< The library's own. */
} kvreg_op;

/**
 * Which keys kvreg_bucket_scan gives. Set size to sizeof, or use kvreg_scan_options_init: then all.
 */
typedef struct kvreg_scan_options {
    uint32_t size;      /**< sizeof(kvreg_scan_options). */
    uint32_t flags;     /**< KVREG_KEYS_ONLY, or 0. */
    const void *prefix; /**< Keys that begin so; NULL: with anything. */
    size_t prefix_len;  /**< 0 to 65,536, or KVREG_NUL. */
    const void *after;  /**< Keys above this one, which need not be there; NULL: from the first. */
    size_t after_len;   /**< As prefix_len. */
    uint64_t limit;     /**< At most so many keys, the smallest; 0: all. */
} kvreg_scan_options;

/**
 * Many keys with values of one type, as columns. A program in another language often has its data
 * so, or makes columns in fewer steps than pairs. Set size to sizeof, or use kvreg_columns_init.
 * All is borrowed; the arrays need no alignment.
 */
typedef struct kvreg_columns {
    uint32_t size;              /**< sizeof(kvreg_columns). */
    uint32_t type;              /**< The type of all values. */
    size_t count;               /**< How many keys there are. */
    const void *keys;           /**< The keys, one after the other, with nothing between. */
    const uint64_t *key_lens;   /**< The bytes of each key. */
    const void *values;         /**< BOOL: a uint8_t each, 0 or 1; INT: int64_t; FLOAT: double;
                                     STRING and BYTES: one after the other; NIL: not looked at. */
    const uint64_t *value_lens; /**< STRING and BYTES: the bytes of each value. */
} kvreg_columns;

/**
 * What kvreg_inbox_receive gives; release it with kvreg_event_clear. A field that the type of the
 * event does not name is 0, "" or nil.
 */
typedef struct kvreg_event {
    uint32_t type;        /**< KVREG_EVENT_DOWN to KVREG_EVENT_STORE. */
    int32_t reason;       /**< DOWN: why the server ended, a kvreg_reason. */
    uint32_t level;       /**< LOG: KVREG_LOG_ERROR to KVREG_LOG_DEBUG; CHANGE: KVREG_CHANGE_PUT to
                               KVREG_CHANGE_EVICT; STORE: KVREG_STORE_UP or KVREG_STORE_AWAY. */
    int32_t status;       /**< REPLY: the answer of the request, a kvreg_status. */
    uint64_t reference;   /**< DOWN: what kvreg_inbox_monitor or kvreg_inbox_watch gave; CHANGE,
                               RESET, CURRENT, STORE: what kvreg_inbox_watch gave. */
    uint64_t count;       /**< LOST: how many events. */
    uint64_t revision;    /**< CHANGE: of the change; CURRENT: what changed up to it is known. */
    kvreg_text name;      /**< DOWN: of the server, if it has one; LOG: the server that speaks;
                               CHANGE: the key, which may be any bytes. */
    kvreg_text detail;    /**< DOWN: of the exit, if any; LOG: the message. */
    kvreg_value value;    /**< CHANGE: of the key; nil if it has none any more. */
    uint64_t private_[8]; /**< The library's own. */
} kvreg_event;

/**
 * Decides an update. `current` is the value of the key, valid until the callback returns, or NULL
 * if the key is absent. For KVREG_STORE the callback sets `*next`, which is nil when it is called,
 * and must stay readable until the update returns; kvreg_value_copy_text copies text into it, and
 * `*next = *current` is fine. It runs while the server waits: it must return. It may call kvreg,
 * except into its own bucket (KVREG_CALLING_SELF); plain reads of that bucket are allowed, and see
 * the state before the update.
 */
typedef kvreg_verdict (*kvreg_update_fn)(void *user_data, const kvreg_value *current,
                                         kvreg_value *next);

/** Types of messages to a server. */
enum {
    KVREG_MESSAGE_INIT,     /**< By turns: it was started again, and is to begin. */
    KVREG_MESSAGE_CALL,     /**< A request whose caller waits for the answer. */
    KVREG_MESSAGE_CAST,     /**< A request without an answer. */
    KVREG_MESSAGE_INFO,     /**< Any other message: sent, or of a timer. */
    KVREG_MESSAGE_DOWN,     /**< A server that it monitors ended. */
    KVREG_MESSAGE_TERMINATE /**< It is about to end; see KVREG_SERVER_WANTS_TERMINATE. */
};

/**
 * What a server is told. Before kvreg_turn_next set size to sizeof, or use kvreg_message_init;
 * then clear it with kvreg_message_clear. What a handler gets is borrowed until it returns. Tag
 * and texts end in a NUL that their lengths do not count. To keep a value, use kvreg_value_clone.
 */
typedef struct kvreg_message {
    uint32_t size;             /**< sizeof(kvreg_message). */
    uint32_t type;             /**< KVREG_MESSAGE_INIT to KVREG_MESSAGE_TERMINATE. */
    int32_t reason;            /**< DOWN, TERMINATE: the kvreg_reason. */
    uint32_t reserved;         /**< 0. */
    uint64_t reference;        /**< DOWN: of the monitor. INFO: of the timer, else 0. */
    kvreg_text tag;            /**< What is asked. DOWN: the name of who ended. */
    const kvreg_value *values; /**< The arguments. DOWN, TERMINATE: the detail, if there is one. */
    size_t count;              /**< How many. */
    kvreg_server *self;        /**< The server that handles it: borrowed, not to be freed. NULL if
                                    there was no memory for it. */
    uint64_t private_[4];      /**< The library's own. */
} kvreg_message;

/**
 * Makes the state of a server, or refuses to: KVREG_KEEP, KVREG_ABORT or KVREG_CRASH. The server
 * may be found by its name already, but does nothing else. `*state` is NULL and `*detail` nil
 * when it is called; a text in `*detail` says why it refused, and is borrowed as `next` of a
 * kvreg_update_fn is.
 */
typedef kvreg_verdict (*kvreg_init_fn)(kvreg_server *self, void *argument, void **state,
                                       kvreg_value *detail);

/**
 * Handles a message, while the server does nothing else. `*reply` is nil when it is called. It is
 * the answer of a call (KVREG_KEEP, KVREG_STOP), or a text that says why (KVREG_ABORT,
 * KVREG_CRASH), and is borrowed as `next` of a kvreg_update_fn is. The handler must return. It
 * may call the library, except into its own server (KVREG_CALLING_SELF).
 */
typedef kvreg_verdict (*kvreg_handle_fn)(void *state, const kvreg_message *message,
                                         kvreg_value *reply);

/** @} */

/** @name Options
 *  Make them by the inline initialisers below, or set size to sizeof and all else to 0: in every
 *  field 0 is the default, which is told here. Limits that are reached answer KVREG_LIMIT, with
 *  nothing changed.
 *
 *  They grow at their end in later versions. A smaller size is that of an older header: what it
 *  lacks has its default. A larger one is that of a newer header: the library takes it if all that
 *  it does not know is 0, else it answers KVREG_UNSUPPORTED, and nothing was done.
 *  @{ */

/** When a bucket that ended is started again, empty, under its name (OTP's restart). */
enum {
    KVREG_TEMPORARY, /**< Never. */
    KVREG_TRANSIENT, /**< After KVREG_REASON_KILLED and KVREG_REASON_CRASHED. */
    KVREG_PERMANENT  /**< Always, after kvreg_bucket_stop too; kvreg_registry_remove ends it. */
};

/** How a bucket finds keys by their order, which kvreg_bucket_scan gives. */
enum {
    KVREG_UNORDERED, /**< A scan looks at every key. */
    KVREG_ORDERED    /**< A scan looks at what it gives; a new key costs more. */
};

/** What becomes of a write that would pass max_keys or max_bytes. */
enum {
    KVREG_REFUSE, /**< KVREG_LIMIT. */
    KVREG_EVICT   /**< Keys that are little used are taken out until there is room. KVREG_LIMIT: one
                       value, or one batch, that alone is too large; a cast that has to wait, for
                       which nothing makes room when it is posted; and a full registry, where the
                       bucket that is written has no keys left. */
};

/** Where a bucket that has a store reads. Where all keys are in memory, as they are with files, both
 *  are the same. */
enum {
    KVREG_READ_STORE, /**< What is stored. */
    KVREG_READ_COPY   /**< A copy in this process, at the speed of memory. It may be behind what others
                           changed, and never goes back; what a thread changed its own reads find. */
};

/** Options of the process, for kvreg_configure. */
typedef struct kvreg_options {
    uint32_t size;              /**< sizeof(kvreg_options). */
    uint32_t worker_threads;    /**< They drain mailboxes and serve listeners; 2. */
    uint32_t callback_threads;  /**< At most so many, for callbacks of update_cast; 16,384. */
    uint32_t max_monitors;      /**< Of one inbox; 1,048,576. */
    int64_t default_timeout_ms; /**< Of new handles; 5,000, and 15,000 of buckets on a cluster; -1 for
                                     ever. */
    const char *thread_name;    /**< Of these threads, 1 to 15 bytes; "kvreg". */
} kvreg_options;

/**
 * Options of a bucket, for kvreg_registry_create_with and kvreg_bucket_start_with, and of buckets
 * that a registry creates without options of their own.
 */
typedef struct kvreg_bucket_options {
    uint32_t size;              /**< sizeof(kvreg_bucket_options). */
    uint32_t restart;           /**< KVREG_TEMPORARY to KVREG_PERMANENT. */
    uint32_t max_restarts;      /**< More within the period, and it stays down; 3. */
    uint32_t restart_period_ms; /**< 5,000. */
    uint64_t max_mailbox;       /**< Messages that wait; 1,048,576. */
    uint64_t max_keys;          /**< Keys; no limit. */
    uint64_t max_bytes;         /**< Bytes of keys and values, 8 for a number; what waits in casts
                                     counts too; no limit. Each key takes some 100 bytes of memory
                                     beside. */
    uint64_t max_value;         /**< Bytes of one value; 536,870,912, which is also the most. */
    uint32_t order;             /**< KVREG_UNORDERED or KVREG_ORDERED; changes the speed alone. */
    uint32_t on_full;           /**< KVREG_REFUSE or KVREG_EVICT, which takes up to 20 bytes of
                                     memory more for each key. */
    int64_t default_ttl_ms;     /**< The time to live of keys that are stored without one of their
                                     own, in milliseconds, 100 years at most; none. */
    const char *store;          /**< The URL of the store that keeps the contents beyond the end of
                                     the bucket; NULL: none, they are in memory alone. Only a bucket
                                     with a name has one. */
    size_t store_len;           /**< Bytes of the URL, or KVREG_NUL. */
    uint32_t reads;             /**< KVREG_READ_STORE or KVREG_READ_COPY. */
    uint32_t reserved;          /**< 0. */
} kvreg_bucket_options;

/** Flags of kvreg_scan_options and kvreg_watch_options. */
enum {
    KVREG_KEYS_ONLY = 1, /**< Without values: these are nil. */
    KVREG_ONLY_NEW = 2,  /**< Of a watch: at first the present keys are not told. */
    KVREG_ONE_KEY = 4    /**< Of a watch: the prefix is a key, and the only one. */
};

/** Options of a watch, for kvreg_inbox_watch. */
typedef struct kvreg_watch_options {
    uint32_t size;        /**< sizeof(kvreg_watch_options). */
    uint32_t flags;       /**< KVREG_KEYS_ONLY, KVREG_ONLY_NEW, KVREG_ONE_KEY. */
    const void *prefix;   /**< Keys that begin with this; NULL: all. */
    size_t prefix_len;    /**< Bytes of the prefix, or KVREG_NUL. */
    uint64_t max_pending; /**< Changes of the whole bucket that a watch may be behind before it begins
                               anew; 65,536, which is also the most. */
} kvreg_watch_options;

/** Options of a registry, for kvreg_registry_start. */
typedef struct kvreg_registry_options {
    uint32_t size;                      /**< sizeof(kvreg_registry_options). */
    uint32_t reserved;                  /**< 0. */
    const char *name;                   /**< kvreg_registry_whereis finds it by this; NULL: none. */
    size_t name_len;                    /**< Bytes of the name, or KVREG_NUL. */
    const kvreg_bucket_options *bucket; /**< Of buckets created without their own. */
    uint64_t max_buckets;               /**< Creations that wait count too; no limit. */
    uint64_t max_bytes;                 /**< As of a bucket, in all together; no limit. */
    uint64_t max_mailbox;               /**< Messages at the registry itself; 1,048,576. */
    uint64_t max_servers;               /**< User's servers; no limit. */
} kvreg_registry_options;

/**
 * Options of a server that the program writes, for kvreg_registry_start_server and
 * kvreg_server_start. With `handle` it is one by callbacks. Without `init`, `handle` and `drop`
 * it is one by turns: only a thread that has begun a turn runs what it does.
 */
typedef struct kvreg_server_options {
    uint32_t size;              /**< sizeof(kvreg_server_options). */
    uint32_t flags;             /**< KVREG_SERVER_WANTS_TERMINATE, KVREG_SERVER_HAND_OVER. */
    uint32_t restart;           /**< As of a bucket. */
    uint32_t max_restarts;      /**< As of a bucket. */
    uint32_t restart_period_ms; /**< As of a bucket. */
    uint32_t shutdown_ms;       /**< What KVREG_MESSAGE_TERMINATE may take; 5,000. */
    uint64_t max_mailbox;       /**< Messages that wait, and places of DOWNs and timers;
                                     1,048,576. */
    uint64_t max_bytes;         /**< Bytes of tags and values that wait; no limit. */
    uint64_t max_value;         /**< Bytes of one value; 536,870,912, which is also the most. */
    kvreg_init_fn init;         /**< NULL: the state is `argument`, and the server is
                                     KVREG_TEMPORARY. */
    kvreg_handle_fn handle;     /**< NULL: by turns. */
    void (*drop)(void *state);  /**< May be NULL. Called once for each `init` that said KVREG_KEEP,
                                     when no handler of that state runs any more. */
    void *argument;             /**< Of `init`. */
    void (*destroy)(void *argument); /**< May be NULL. Called once, when no `init` can come any
                                          more, and if the server was not started. */
    kvreg_inbox *inbox;         /**< By turns: gets KVREG_EVENT_MAIL when mail waits; may be
                                     NULL. */
    uint64_t owner;             /**< The program's own number: by it a binding knows its servers. */
    uint64_t key;               /**< The program's own number: by it, it finds the server's
                                     object. */
} kvreg_server_options;

/** Options of a listener, for kvreg_listener_start. */
typedef struct kvreg_listener_options {
    uint32_t size;            /**< sizeof(kvreg_listener_options). */
    uint32_t max_connections; /**< 1,024; one more gets ERROR and is closed. */
    uint64_t max_line;        /**< Bytes of a request; 65,536; a longer one is a failure. */
    uint64_t max_backlog;     /**< Bytes that wait for a subscriber who does not read, before it is
                                   cut off; 1,048,576. */
    int64_t idle_timeout_ms;  /**< From one request to the end of the next, and for a reply to be
                                   taken: then it is closed; 300,000; -1 for ever. */
    uint32_t unix_mode;       /**< Of the file of a unix socket: who may connect; 0600. */
    uint32_t reserved;        /**< 0. */
    const char *password;     /**< A connection is closed unless its first line is AUTH and this;
                                   1 to 1,024 bytes, no NUL and no line break; none. */
    size_t password_len;      /**< KVREG_NUL: up to its NUL. */
} kvreg_listener_options;

/** @} */

/** @name Facts
 *  Make them by the inline initialisers below, or set size to sizeof. A failure leaves the rest as
 *  it was. They grow at their end in later versions: no more is written than size says, and what
 *  an older library does not know stays as it was, which is 0 by the inline initialisers.
 *  @{ */

/** What not every store can do: bits of `lacks`. */
enum {
    KVREG_LACKS_BATCHES = 1, /**< Several changes at once: kvreg_bucket_put_many, kvreg_bucket_apply. */
    KVREG_LACKS_TTL = 2,     /**< Times to live. */
    KVREG_LACKS_WHOLE = 4    /**< All keys at one instant: kvreg_bucket_clear, kvreg_bucket_save,
                                  kvreg_bucket_restore. */
};

/** Facts about a bucket, which kvreg_bucket_info tells. */
typedef struct kvreg_bucket_stats {
    uint32_t size;     /**< sizeof(kvreg_bucket_stats). */
    int32_t last_exit; /**< The kvreg_reason of the last bucket of this name; -1: there was none. */
    uint64_t keys;     /**< Keys. */
    uint64_t bytes;    /**< Bytes of keys and values, 8 for a number. */
    uint64_t mailbox;  /**< Messages that wait. */
    uint64_t handled;  /**< Messages handled: calls, casts and updates, not plain reads. */
    uint64_t restarts; /**< Of the bucket of this name. */
    uint64_t hits;     /**< Reads that found their key; counted with KVREG_EVICT only. */
    uint64_t misses;   /**< Reads that did not; counted with KVREG_EVICT only. */
    uint64_t expired;  /**< Keys whose time to live was over. */
    uint64_t evicted;  /**< Keys that were taken out to make room. */
    uint64_t order;    /**< KVREG_UNORDERED or KVREG_ORDERED. */
    char store[16];    /**< What the URL of its store begins with, up to the colon, as "file"; "" if
                            its contents are in memory alone. */
    uint32_t store_level; /**< KVREG_STORE_UP or KVREG_STORE_AWAY. */
    uint32_t lacks;       /**< What its store cannot do, KVREG_UNSUPPORTED: KVREG_LACKS_BATCHES to
                               KVREG_LACKS_WHOLE. */
} kvreg_bucket_stats;

/** Facts about a registry, which kvreg_registry_info tells. */
typedef struct kvreg_registry_stats {
    uint32_t size;     /**< sizeof(kvreg_registry_stats). */
    int32_t last_exit; /**< The kvreg_reason of its last end before it came back; -1: none. */
    uint64_t buckets;  /**< Buckets. */
    uint64_t keys;     /**< Keys in all buckets, while each is looked at. */
    uint64_t bytes;    /**< Bytes in all buckets, while each is looked at. */
    uint64_t mailbox;  /**< Messages that wait at the registry itself. */
    uint64_t handled;  /**< Messages it handled itself: creations and so on, not lookups. */
    uint64_t restarts; /**< How often it came back. */
} kvreg_registry_stats;

/** Facts about a server, which kvreg_server_info tells. */
typedef struct kvreg_server_stats {
    uint32_t size;     /**< sizeof(kvreg_server_stats). */
    int32_t last_exit; /**< The kvreg_reason of the last server of this name; -1: there was none. */
    uint64_t mailbox;  /**< Messages that wait. */
    uint64_t bytes;    /**< Bytes of tags and values that wait; of a bucket, those it holds. */
    uint64_t handled;  /**< Messages handled. */
    uint64_t restarts; /**< Of the server of this name. */
    uint64_t owner;    /**< Of its options. */
    uint64_t key;      /**< Of its options. */
    uint64_t turn_ms;  /**< How long its turn has been held, in milliseconds; 0 if nobody has it. */
} kvreg_server_stats;

/** What lives in the library now, which kvreg_live_counts tells. */
typedef struct kvreg_live {
    uint32_t size;             /**< sizeof(kvreg_live). */
    uint32_t reserved;         /**< 0. */
    uint64_t registries;       /**< Registries that have not ended. */
    uint64_t buckets;          /**< Buckets that have not ended. */
    uint64_t registry_handles; /**< Handles of registries that were not freed. */
    uint64_t bucket_handles;   /**< Handles of buckets that were not freed. */
    uint64_t update_handles;   /**< Handles of updates that were not freed. */
    uint64_t items_handles;    /**< Handles of snapshots that were not freed. */
    uint64_t inbox_handles;    /**< Handles of inboxes that were not freed. */
    uint64_t listener_handles; /**< Handles of listeners that were not freed. */
    uint64_t servers;          /**< User's servers that have not ended. */
    uint64_t server_handles;   /**< Handles of user's servers that were not freed. */
    uint64_t turn_handles;     /**< Turns that were not ended. */
    uint64_t reply_handles;    /**< Answers that were put off, and neither sent nor freed. */
} kvreg_live;

/** @} */

/** @name Inline initialisers
 *  Each gives a struct with its size set and all else 0, which is the default of every option.
 *  @{ */

/** Gives options of the process. */
static inline kvreg_options kvreg_options_init(void) {
    kvreg_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives options of a bucket. */
static inline kvreg_bucket_options kvreg_bucket_options_init(void) {
    kvreg_bucket_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives options of a watch. */
static inline kvreg_watch_options kvreg_watch_options_init(void) {
    kvreg_watch_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives options of a registry. */
static inline kvreg_registry_options kvreg_registry_options_init(void) {
    kvreg_registry_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives options of a server. */
static inline kvreg_server_options kvreg_server_options_init(void) {
    kvreg_server_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives a message, to be filled. */
static inline kvreg_message kvreg_message_init(void) {
    kvreg_message message;
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    return message;
}

/** Gives facts about a server, to be filled. */
static inline kvreg_server_stats kvreg_server_stats_init(void) {
    kvreg_server_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    return stats;
}

/** Gives options of a listener. */
static inline kvreg_listener_options kvreg_listener_options_init(void) {
    kvreg_listener_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives facts about a bucket, to be filled. */
static inline kvreg_bucket_stats kvreg_bucket_stats_init(void) {
    kvreg_bucket_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    return stats;
}

/** Gives facts about a registry, to be filled. */
static inline kvreg_registry_stats kvreg_registry_stats_init(void) {
    kvreg_registry_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    return stats;
}

/** Gives counts of what lives, to be filled. */
static inline kvreg_live kvreg_live_init(void) {
    kvreg_live live;
    memset(&live, 0, sizeof live);
    live.size = sizeof live;
    return live;
}

/** Gives an entry whose value is nil, to be filled. */
static inline kvreg_entry kvreg_entry_init(void) {
    kvreg_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.size = sizeof entry;
    return entry;
}

/** Gives a change that stores nil. */
static inline kvreg_op kvreg_op_init(void) {
    kvreg_op op;
    memset(&op, 0, sizeof op);
    op.size = sizeof op;
    return op;
}

/** Gives options of a scan of all keys. */
static inline kvreg_scan_options kvreg_scan_options_init(void) {
    kvreg_scan_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/** Gives columns without keys, whose values are nil. */
static inline kvreg_columns kvreg_columns_init(void) {
    kvreg_columns columns;
    memset(&columns, 0, sizeof columns);
    columns.size = sizeof columns;
    return columns;
}

/** @} */

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast" /* C has no other */
#endif

/** @name Buckets and registries as servers
 *  Handles of servers of any kind: the same handle by another type, which is freed once. What
 *  concerns life and death takes any of them. To call, to cast and to begin a turn is
 *  KVREG_UNSUPPORTED for these; what is sent to them is logged and dropped.
 *  @{ */

/** Gives the handle of a bucket as one of a server. */
static inline kvreg_server *kvreg_bucket_as_server(kvreg_bucket *bucket) {
    return (kvreg_server *)(void *)bucket;
}

/** Gives the handle of a registry as one of a server. */
static inline kvreg_server *kvreg_registry_as_server(kvreg_registry *registry) {
    return (kvreg_server *)(void *)registry;
}

/** @} */

/** @name Inline constructors of values
 *  They borrow what they point to.
 *  @{ */

/** Gives nil. */
static inline kvreg_value kvreg_nil(void) {
    kvreg_value value;
    memset(&value, 0, sizeof value);
    return value;
}

/** Gives a truth value. */
static inline kvreg_value kvreg_bool(bool boolean) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_BOOL;
    value.as.boolean = boolean;
    return value;
}

/** Gives an integer. */
static inline kvreg_value kvreg_int(int64_t integer) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_INT;
    value.as.integer = integer;
    return value;
}

/** Gives a floating-point number. */
static inline kvreg_value kvreg_float(double real) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_FLOAT;
    value.as.real = real;
    return value;
}

/** Gives a text of UTF-8, which is checked when it is stored. `len` may be KVREG_NUL. */
static inline kvreg_value kvreg_string(const char *data, size_t len) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_STRING;
    value.as.text.data = (const uint8_t *)data;
    value.as.text.len = len == KVREG_NUL && data != NULL ? strlen(data) : len;
    return value;
}

/** Gives bytes. `len` may be KVREG_NUL. */
static inline kvreg_value kvreg_bytes(const void *data, size_t len) {
    kvreg_value value = kvreg_nil();
    value.type = KVREG_BYTES;
    value.as.text.data = (const uint8_t *)data;
    value.as.text.len =
        len == KVREG_NUL && data != NULL ? strlen((const char *)data) : len;
    return value;
}

/** @} */

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif


#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/** @name The library
 *  @{ */

/**
 * Gives the library's version as text, "major.minor.patch". The text is static. Never blocks.
 */
const char *kvreg_version_string(void);

/**
 * Gives the library's version as a number, 0x00MMmmpp, as KVREG_VERSION_NUMBER is the header's.
 * Never blocks.
 */
uint32_t kvreg_version_number(void);

/**
 * Sets what holds for the whole process. It comes before any other function of the library:
 * afterwards, and a second time, it answers KVREG_ALREADY_STARTED. A program need not call it.
 * `options` may be NULL, which means the defaults. It starts nothing. Never blocks.
 */
kvreg_status kvreg_configure(const kvreg_options *options);

/**
 * Ends everything: all registries and buckets, with the reason KVREG_REASON_SHUTDOWN, all
 * listeners, all handles, and the library's threads. It waits for these threads for at most
 * `timeout_ms` milliseconds (-1 for ever). KVREG_TIMEOUT means that callbacks were still running
 * then; they are left alone, and kvreg_last_error names their buckets.
 *
 * Afterwards frees and clears still succeed, values stay valid, and every other function answers
 * KVREG_SHUT_DOWN. A program need not call it: a process may just exit. From inside a callback it
 * answers KVREG_CALLING_SELF. Blocks.
 */
kvreg_status kvreg_shutdown(int64_t timeout_ms);

/**
 * Counts what lives in the library now: servers that have not ended, and handles that were not
 * freed. It fills as much of `live` as its `size` says. Never blocks.
 */
kvreg_status kvreg_live_counts(kvreg_live *live);

/** @} */

/** @name Names of statuses, reasons and verdicts; errors
 *  @{ */

/**
 * Gives the name of a status, as "KVREG_OK", and "KVREG_UNKNOWN" for any other number. The text
 * is static. Never blocks.
 */
const char *kvreg_status_name(kvreg_status status);

/**
 * Says in a few words what a status means. The text is static, and never NULL. Never blocks.
 */
const char *kvreg_status_message(kvreg_status status);

/**
 * Gives the name of a reason, as "KVREG_REASON_KILLED", and "KVREG_UNKNOWN" for any other number.
 * The text is static. Never blocks.
 */
const char *kvreg_reason_name(kvreg_reason reason);

/**
 * Gives the name of a verdict, as "KVREG_STORE", and "KVREG_UNKNOWN" for any other number. The
 * text is static. Never blocks.
 */
const char *kvreg_verdict_name(kvreg_verdict verdict);

/**
 * Copies the text of the last failing call of this thread into `buffer`, cut to `capacity` bytes
 * with its NUL. The text is empty if no call failed. It is for people; programs use the status.
 * `buffer` may be NULL if `capacity` is 0. Returns the full length in bytes, without the NUL.
 * Never blocks.
 */
size_t kvreg_last_error(char *buffer, size_t capacity);

/**
 * Gives the operating system's error number of the last failing call of this thread: errno, or
 * GetLastError on Windows. It is 0 if that call did not answer KVREG_IO, if the system gave no
 * number, or if no call failed. A call that succeeds leaves it as it is. Never blocks.
 */
int32_t kvreg_last_os_error(void);

/** @} */

/** @name Values
 *  @{ */

/**
 * Releases what a function returned in `value`, and makes the value nil. It may be called twice
 * on one variable, and on a value that owns nothing. NULL is fine. It works after kvreg_shutdown
 * too. Never blocks.
 */
void kvreg_value_clear(kvreg_value *value);

/**
 * Copies text into a value. This is how an update's callback stores text that does not outlive
 * the callback. The type becomes KVREG_STRING, unless it is KVREG_BYTES. Inside a callback the
 * library keeps the copy until the update is done, and the value owns nothing. Elsewhere the
 * value owns the copy, and kvreg_value_clear releases it. What the value held before is not
 * released. Never blocks.
 */
kvreg_status kvreg_value_copy_text(kvreg_value *value, const void *data, size_t len);

/** @} */

/** @name Registries: start and handles
 *  @{ */

/**
 * Starts a registry. `options` may be NULL, which means the defaults. It answers
 * KVREG_ALREADY_STARTED if another registry has the name that the options ask for. Never blocks.
 */
kvreg_status kvreg_registry_start(const kvreg_registry_options *options, kvreg_registry **registry);

/**
 * Finds the registry that is registered under a name in this process, or answers KVREG_NOT_FOUND.
 * This is how a host and its plug-ins meet. Never blocks.
 */
kvreg_status kvreg_registry_whereis(const char *name, size_t name_len, kvreg_registry **registry);

/**
 * Gives another handle to the registry, with the timeout of this handle. Never blocks.
 */
kvreg_status kvreg_registry_clone(kvreg_registry *registry, kvreg_registry **clone);

/**
 * Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if the call
 * need not wait. Other handles keep theirs. Never blocks.
 */
kvreg_status kvreg_registry_set_timeout(kvreg_registry *registry, int64_t timeout_ms);

/** @} */

/** @name Registries: buckets by name
 *  @{ */

/**
 * Gives the bucket of that name, and starts one if there is none: a call. With
 * KVREG_CREATE_EXCLUSIVE in `flags` (else 0) it answers KVREG_ALREADY_STARTED if there is one.
 * `bucket` may be NULL. Blocks for its turn.
 */
kvreg_status kvreg_registry_create(kvreg_registry *registry,
                                   const char *name,
                                   size_t name_len,
                                   uint32_t flags,
                                   kvreg_bucket **bucket);

/**
 * Gives the bucket of that name, and starts one with `options` if there is none: a call. A bucket
 * that is there keeps its own options. `options` may be NULL, which means those of the registry.
 * `flags` and `bucket` are as in kvreg_registry_create. Blocks for its turn.
 */
kvreg_status kvreg_registry_create_with(kvreg_registry *registry,
                                        const char *name,
                                        size_t name_len,
                                        uint32_t flags,
                                        const kvreg_bucket_options *options,
                                        kvreg_bucket **bucket);

/**
 * As kvreg_registry_remove, of a bucket; and erases what a store keeps of it, so that the next bucket
 * of that name is empty. Of a name that no bucket has it erases what the store of the registry's own
 * bucket options keeps. KVREG_NOT_FOUND if there is neither. Blocks for its turn, and for the store.
 */
kvreg_status kvreg_registry_erase(kvreg_registry *registry,
                                  const char *name,
                                  size_t name_len);

/**
 * Starts a bucket of that name unless there is one: a cast. A later call or lookup of the same
 * thread finds the bucket. Never blocks.
 */
kvreg_status kvreg_registry_create_cast(kvreg_registry *registry,
                                        const char *name,
                                        size_t name_len);

/**
 * Gives the bucket that has the name now, or answers KVREG_NOT_FOUND. It never finds a bucket of
 * which anybody has learned that it ended. Blocks only while casts of this thread to the registry
 * are queued.
 */
kvreg_status kvreg_registry_lookup(kvreg_registry *registry,
                                   const char *name,
                                   size_t name_len,
                                   kvreg_bucket **bucket);

/**
 * Ends the bucket of that name for good, with the reason KVREG_REASON_SHUTDOWN, whatever its
 * restart option (OTP's terminate_child). What is queued at the bucket is dropped. It answers
 * KVREG_NOT_FOUND if there is no such bucket. Blocks for the registry's turn.
 */
kvreg_status kvreg_registry_remove(kvreg_registry *registry, const char *name, size_t name_len);

/**
 * Counts the names. Blocks only while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_count(kvreg_registry *registry, size_t *count);

/**
 * Gives a snapshot of the names: its keys are of type KVREG_STRING, its values nil. Blocks only
 * while another thread copies the names, and while casts of this thread to the registry are
 * queued.
 */
kvreg_status kvreg_registry_names(kvreg_registry *registry, kvreg_items **names);

/** @} */

/** @name Registries: messages
 *  @{ */

/**
 * Sends the registry an info of up to 65,536 bytes: a message that it does not expect. The
 * registry logs it at debug and drops it, as in the Elixir guide. Never blocks.
 */
kvreg_status kvreg_registry_send(kvreg_registry *registry, const void *message, size_t message_len);

/**
 * Carries out one line of the text protocol (CREATE, PUT, GET, DELETE; see the README), with or
 * without its line break. NULL with the length 0 is an empty line. `reply` is what a connection
 * would get, "NOT FOUND" and "UNKNOWN COMMAND" included: a KVREG_STRING, or KVREG_BYTES if it is
 * not UTF-8, with CRLF after each line; clear it. A failure answers its status:
 * KVREG_INVALID_ARGUMENT for a name or key that cannot be, KVREG_UNSUPPORTED for a value with a
 * line break. Blocks like a call.
 */
kvreg_status kvreg_registry_execute(kvreg_registry *registry,
                                    const char *line,
                                    size_t line_len,
                                    kvreg_value *reply);

/** @} */

/** @name Registries: end and facts
 *  @{ */

/**
 * Ends all buckets and servers, with the reason KVREG_REASON_SHUTDOWN, then the registry, and
 * returns when all are gone. It answers KVREG_CALLING_SELF from inside a callback of one of its
 * buckets, or if one of them waits for that callback. A handler that runs in a server which is
 * killed, because it does not want KVREG_MESSAGE_TERMINATE or takes too long to end, is not waited
 * for: `drop` is called when it has returned. It does not free the handle. Blocks for its turn.
 */
kvreg_status kvreg_registry_stop(kvreg_registry *registry);

/**
 * Ends the registry at once (OTP's Process.exit), and its buckets with the reason
 * KVREG_REASON_SHUTDOWN. After KVREG_REASON_KILLED and KVREG_REASON_CRASHED the registry comes
 * back, empty, behind its handles and its name, before this function returns (one_for_all). Its
 * monitors get their DOWN, and do not carry over. KVREG_REASON_NORMAL does nothing;
 * KVREG_REASON_NOPROC is KVREG_INVALID_ARGUMENT. `detail` is as in kvreg_bucket_exit. It takes
 * the time to free what the buckets hold, and never waits for a turn.
 */
kvreg_status kvreg_registry_exit(kvreg_registry *registry,
                                 kvreg_reason reason,
                                 const char *detail,
                                 size_t detail_len);

/**
 * Tells facts about the registry. It fills as much of `stats` as its `size` says. Blocks only
 * while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_info(kvreg_registry *registry, kvreg_registry_stats *stats);

/**
 * Frees the handle. A registry without a name stops, with its buckets, when its last handle is
 * freed; this takes the time to free what they hold, about 0.1 us a key. A registry with a name
 * runs on. NULL is fine. Never blocks.
 */
kvreg_status kvreg_registry_free(kvreg_registry *registry);

/** @} */

/** @name Buckets: start and handles
 *  @{ */

/**
 * Starts a bucket without a registry, with the default options. The bucket stops when its last
 * handle is freed. Never blocks.
 */
kvreg_status kvreg_bucket_start(kvreg_bucket **bucket);

/**
 * Starts a bucket without a registry, with options. The bucket stops when its last handle is
 * freed. `options` may be NULL, which means the defaults. Their `restart` must be
 * KVREG_TEMPORARY, else the answer is KVREG_INVALID_ARGUMENT: there is no registry that would
 * start the bucket again. So `max_restarts` and `restart_period_ms` have no effect. Never blocks.
 */
kvreg_status kvreg_bucket_start_with(const kvreg_bucket_options *options, kvreg_bucket **bucket);

/**
 * Gives another handle to the bucket, with the timeout of this handle. Never blocks.
 */
kvreg_status kvreg_bucket_clone(kvreg_bucket *bucket, kvreg_bucket **clone);

/**
 * Sets the timeout of calls through this handle, in milliseconds: -1 for ever, 0 only if the call
 * need not wait. Other handles keep theirs. Never blocks.
 */
kvreg_status kvreg_bucket_set_timeout(kvreg_bucket *bucket, int64_t timeout_ms);

/**
 * Gives the name that the bucket is registered under, also after its end; clear it. It is nil if
 * the bucket has no name. Never blocks.
 */
kvreg_status kvreg_bucket_name(kvreg_bucket *bucket, kvreg_value *name);

/**
 * Tells facts about the bucket. It fills as much of `stats` as its `size` says. Blocks only while
 * casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_info(kvreg_bucket *bucket, kvreg_bucket_stats *stats);

/**
 * Frees the handle. A registered bucket goes on. A bucket without a registry ends with its last
 * handle; this takes the time to free what it holds, about 0.1 us a key. NULL is fine. Never
 * blocks.
 */
kvreg_status kvreg_bucket_free(kvreg_bucket *bucket);

/** @} */

/** @name Buckets: end and links
 *  @{ */

/**
 * Stops the bucket, with the reason KVREG_REASON_NORMAL, after what is queued. When it returns,
 * the bucket is gone, and its name too (OTP's GenServer.stop). It answers KVREG_SERVER_DOWN if
 * the bucket ended meanwhile for another reason. It does not free the handle. Blocks for its
 * turn.
 */
kvreg_status kvreg_bucket_stop(kvreg_bucket *bucket);

/**
 * Ends the bucket at once (OTP's Process.exit). What is queued is dropped, a caller who waits
 * there gets KVREG_SERVER_DOWN, and the name is gone when the function returns. A callback that
 * is running is not interrupted, but its change is discarded. KVREG_REASON_NORMAL does nothing;
 * KVREG_REASON_NOPROC is KVREG_INVALID_ARGUMENT. `detail` is UTF-8 of up to 65,536 bytes for the
 * DOWN; it may be NULL with the length 0. It takes the time to free what the bucket holds, and
 * never waits for a turn.
 */
kvreg_status kvreg_bucket_exit(kvreg_bucket *bucket,
                               kvreg_reason reason,
                               const char *detail,
                               size_t detail_len);

/**
 * Links two buckets (Erlang's link): when one ends with any reason but KVREG_REASON_NORMAL, so
 * does the other, with that reason. To link two buckets twice is to link them once; to link a
 * bucket to itself does nothing. It answers KVREG_NO_PROCESS if either has ended. Links do not
 * carry over to a restarted bucket. Never blocks.
 */
kvreg_status kvreg_bucket_link(kvreg_bucket *bucket, kvreg_bucket *other);

/**
 * Takes the link between two buckets away. It does nothing if there is none. Never blocks.
 */
kvreg_status kvreg_bucket_unlink(kvreg_bucket *bucket, kvreg_bucket *other);

/** @} */

/** @name Buckets: one key
 *  @{ */

/**
 * Stores a value under a key, over an older one: a call. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put(kvreg_bucket *bucket,
                              const void *key,
                              size_t key_len,
                              const kvreg_value *value);

/**
 * Gives the value of a key, or answers KVREG_NOT_FOUND; clear the value. It does not wait for a
 * running handler: it sees the last committed state. Blocks only while casts of this thread to
 * the bucket are queued.
 */
kvreg_status kvreg_bucket_get(kvreg_bucket *bucket,
                              const void *key,
                              size_t key_len,
                              kvreg_value *value);

/**
 * Takes a key out and gives its value, or answers KVREG_NOT_FOUND; clear the value. `old` may be
 * NULL. Blocks for its turn.
 */
kvreg_status kvreg_bucket_delete(kvreg_bucket *bucket,
                                 const void *key,
                                 size_t key_len,
                                 kvreg_value *old);

/** @} */

/** @name Buckets: casts
 *  @{ */

/**
 * Stores a value under a key: a cast. It is done at once or later; a later call or read of the
 * same thread sees it. It answers KVREG_LIMIT if the mailbox is full. Never blocks.
 */
kvreg_status kvreg_bucket_put_cast(kvreg_bucket *bucket,
                                   const void *key,
                                   size_t key_len,
                                   const kvreg_value *value);

/**
 * Takes a key out if it is there: a cast. It is done at once or later; a later call or read of
 * the same thread sees it. It answers KVREG_LIMIT if the mailbox is full. Never blocks.
 */
kvreg_status kvreg_bucket_delete_cast(kvreg_bucket *bucket, const void *key, size_t key_len);

/** @} */

/** @name Buckets: many keys
 *  @{ */

/**
 * Counts the keys; a write in flight may count or not. Blocks only while casts of this thread to
 * the bucket are queued.
 */
kvreg_status kvreg_bucket_count(kvreg_bucket *bucket, size_t *count);

/**
 * Takes all keys out, at one instant. Blocks for its turn.
 */
kvreg_status kvreg_bucket_clear(kvreg_bucket *bucket);

/**
 * Gives a snapshot of all keys and values. Blocks only while another thread copies the bucket,
 * and while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_items(kvreg_bucket *bucket, kvreg_items **items);

/**
 * Stores many values in one message: all of them or none. Of equal keys the last one counts.
 * Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_many(kvreg_bucket *bucket, const kvreg_pair *pairs, size_t count);

/**
 * Fills the values of many pairs as they are at one instant. An absent key gets KVREG_ABSENT.
 * Each value is overwritten without being released; clear each. Blocks only while another thread
 * copies the bucket, and while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_many(kvreg_bucket *bucket, kvreg_pair *pairs, size_t count);

/**
 * Stores many values of one type in one message: all of them or none, as kvreg_bucket_put_many
 * does. Of equal keys the last one counts. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_columns(kvreg_bucket *bucket, const kvreg_columns *columns);

/** @} */

/** @name Buckets: one key, by the type of its value
 *  @{ */

/**
 * Stores an integer under a key, as kvreg_bucket_put does. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_int(kvreg_bucket *bucket,
                                  const void *key,
                                  size_t key_len,
                                  int64_t integer);

/**
 * Stores a floating-point number under a key, as kvreg_bucket_put does. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_float(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    double real);

/**
 * Stores a text of UTF-8 under a key, as kvreg_bucket_put does. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_string(kvreg_bucket *bucket,
                                     const void *key,
                                     size_t key_len,
                                     const char *data,
                                     size_t len);

/**
 * Stores bytes under a key, as kvreg_bucket_put does. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_bytes(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    const void *data,
                                    size_t len);

/**
 * Gives the integer under a key, as kvreg_bucket_get does. It answers KVREG_WRONG_TYPE if the
 * value is no integer. Blocks only while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_int(kvreg_bucket *bucket,
                                  const void *key,
                                  size_t key_len,
                                  int64_t *integer);

/**
 * Gives the floating-point number under a key, as kvreg_bucket_get does. It answers
 * KVREG_WRONG_TYPE if the value is no floating-point number. Blocks only while casts of this
 * thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_float(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    double *real);

/**
 * Copies the text or bytes under a key into `buffer`, without a NUL, as kvreg_bucket_get does,
 * and sets `len` to their length in bytes. It answers KVREG_TOO_SMALL if that is more than
 * `capacity`, and sets `len` nevertheless; and KVREG_WRONG_TYPE if the value is neither text nor
 * bytes. What `buffer` holds then is undefined, if others write the key meanwhile. It may be NULL
 * if `capacity` is 0, and must not overlap the key. Blocks only while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_bytes(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    void *buffer,
                                    size_t capacity,
                                    size_t *len);

/**
 * Gives the value of a key, as kvreg_bucket_get does, but without memory of its own where it can.
 * A text of at most `capacity` bytes is copied into `buffer`, without a NUL, and `value` borrows
 * it there. A longer one is to be cleared; to clear any other does nothing. What `buffer` holds
 * beside that text, or after a failure, is undefined. It may be NULL if `capacity` is 0, and must
 * not overlap the key. Blocks only while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_into(kvreg_bucket *bucket,
                                   const void *key,
                                   size_t key_len,
                                   void *buffer,
                                   size_t capacity,
                                   kvreg_value *value);

/** @} */

/** @name Buckets: revisions and conditions
 *  @{ */

/**
 * Gives the value of a key with its revision, as kvreg_bucket_get does, or answers
 * KVREG_NOT_FOUND; clear `entry->value`. Set `entry->size` before, or use kvreg_entry_init. Both
 * are of the same change. `entry->ttl_ms` is what is left of the key's time to live, 1 at least,
 * or KVREG_TTL_NEVER. Blocks only while casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_get_entry(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    kvreg_entry *entry);

/**
 * Stores a value, as kvreg_bucket_put does, with a time to live, and tells the revision of that
 * change. `ttl_ms` is in milliseconds, 100 years at most; or KVREG_TTL_DEFAULT, that of the
 * bucket's options, as kvreg_bucket_put; KVREG_TTL_NEVER; or KVREG_TTL_KEEP, what the key has, and
 * the bucket's if it is absent. When its time is over no read and no condition sees the key, and
 * within 2 s it is gone from memory. The clock goes on while the machine is suspended.
 * `revision` may be NULL; it is 0 on failure. Blocks for its turn.
 */
kvreg_status kvreg_bucket_put_entry(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    const kvreg_value *value,
                                    int64_t ttl_ms,
                                    uint64_t *revision);

/**
 * Stores a value only if the revision of the key is `expected`, in one step; 0 means: only if the
 * key is absent. If it is not so the answer is KVREG_CONFLICT, and nothing has changed. A revision
 * that no change has yet is a conflict too. For the rest it is as kvreg_bucket_put_entry. Blocks
 * for its turn.
 */
kvreg_status kvreg_bucket_put_if(kvreg_bucket *bucket,
                                 const void *key,
                                 size_t key_len,
                                 const kvreg_value *value,
                                 uint64_t expected,
                                 int64_t ttl_ms,
                                 uint64_t *revision);

/**
 * Gives a key another time to live, in milliseconds, or KVREG_TTL_NEVER: a change, with a new
 * revision. KVREG_TTL_KEEP and KVREG_TTL_DEFAULT are KVREG_INVALID_ARGUMENT; if the key is absent
 * the answer is KVREG_NOT_FOUND. `revision` may be NULL; it is 0 on failure. Blocks for its turn.
 */
kvreg_status kvreg_bucket_expire(kvreg_bucket *bucket,
                                 const void *key,
                                 size_t key_len,
                                 int64_t ttl_ms,
                                 uint64_t *revision);

/**
 * Takes a key out only if its revision is `expected`, in one step, and gives its value; clear the
 * value. If it has another one the answer is KVREG_CONFLICT, if it is absent KVREG_NOT_FOUND. An
 * `expected` of 0 is KVREG_INVALID_ARGUMENT. `old` may be NULL. Blocks for its turn.
 */
kvreg_status kvreg_bucket_delete_if(kvreg_bucket *bucket,
                                    const void *key,
                                    size_t key_len,
                                    uint64_t expected,
                                    kvreg_value *old);

/**
 * Stores a value only if the key has the value `expected`, in one step: of the same type, with the
 * same bytes; floating-point numbers are compared by their bits. `expected` NULL means that the
 * key is absent; `value` NULL takes the key out. If it is not as expected the answer is
 * KVREG_CONFLICT, and nothing has changed. To store the same value again is a change; where an
 * absent key stays absent there is none, and the revision is 0. `revision` may be NULL. Blocks for
 * its turn.
 */
kvreg_status kvreg_bucket_put_if_equal(kvreg_bucket *bucket,
                                       const void *key,
                                       size_t key_len,
                                       const kvreg_value *expected,
                                       const kvreg_value *value,
                                       uint64_t *revision);

/**
 * Adds `delta` to the integer under a key, in one step, and gives the sum; a key that is absent
 * counts as 0. It answers KVREG_WRONG_TYPE if the value is no INT, and KVREG_LIMIT if the sum has
 * no room in 64 bits; then nothing has changed. `sum` may be NULL. Blocks for its turn.
 */
kvreg_status kvreg_bucket_add_int(kvreg_bucket *bucket,
                                  const void *key,
                                  size_t key_len,
                                  int64_t delta,
                                  int64_t *sum);

/**
 * Gives the revision of the bucket's last change, or 0 if it was never changed. Blocks only while
 * casts of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_revision(kvreg_bucket *bucket, uint64_t *revision);

/**
 * Makes several changes in one step: all of them or none. Each is told what an earlier one made of
 * its key, and readers see what was before, or what all have made of it. Each has a revision of its
 * own, rising in their order, with no other change between; `revision` of each is filled on
 * KVREG_OK only.
 *
 * What they ask is as the functions for one key do: KVREG_OP_PUT as kvreg_bucket_put_entry,
 * KVREG_OP_DELETE as kvreg_bucket_delete, which answers KVREG_NOT_FOUND for an absent key,
 * KVREG_OP_PUT_IF and KVREG_OP_DELETE_IF as kvreg_bucket_put_if and kvreg_bucket_delete_if, and
 * KVREG_OP_ADD as kvreg_bucket_add_int. A key that an earlier one changed has a revision that
 * nobody can expect: that is KVREG_CONFLICT. A limit is asked for all of them together.
 *
 * If one refuses, the answer is its status, `*failed` is its index, the first if there are several,
 * and nothing has changed; for a limit it is the first with which the limit was passed. If none is
 * to blame `*failed` is `count`. `failed` may be NULL. Keys and values are borrowed. Blocks for its
 * turn.
 */
kvreg_status kvreg_bucket_apply(kvreg_bucket *bucket, kvreg_op *ops, size_t count, size_t *failed);

/** @} */

/** @name Buckets: files
 *  @{ */

/**
 * Writes all keys, as they are at one instant, into a file: values, revisions, and when the time of
 * each is over. Others go on meanwhile, as with kvreg_bucket_items. The path is UTF-8. A new file is
 * written in the same folder, brought to the disk, and put in the place of an old one: a crash at
 * any moment leaves the old file or the new one. KVREG_IO if the system refuses; see
 * kvreg_last_os_error. Then the old file is as before. Blocks for the disk, and as kvreg_bucket_items
 * does.
 */
kvreg_status kvreg_bucket_save(kvreg_bucket *bucket,
                               const char *path,
                               size_t path_len);

/**
 * Stores all keys of a file that kvreg_bucket_save wrote, in one step, in a bucket that has no keys:
 * KVREG_CONFLICT if it has. They get new revisions, in the order of the saved ones; a key whose time
 * is over is left out. KVREG_IO if the file is damaged in any way, or the system refuses;
 * KVREG_UNSUPPORTED if it is of a newer format; KVREG_LIMIT if a limit is reached: then the bucket
 * is empty as before. Blocks for the disk, and for its turn.
 */
kvreg_status kvreg_bucket_restore(kvreg_bucket *bucket,
                                  const char *path,
                                  size_t path_len);

/** @} */

/** @name Updates
 *  @{ */

/**
 * Updates a key by a callback, which runs on this thread, exactly once, while the bucket does
 * nothing else (Elixir's Agent.get_and_update). What it decides is done before this function
 * returns. The answer is KVREG_ABORTED for KVREG_ABORT, KVREG_SERVER_DOWN for KVREG_CRASH, and
 * KVREG_INVALID_ARGUMENT, with nothing changed, for a value that cannot be stored and for any
 * verdict beyond KVREG_CRASH. The callback may update other buckets: a thread holds at most 256
 * turns at once, then the answer is KVREG_LIMIT. Blocks for its turn.
 */
kvreg_status kvreg_bucket_update(kvreg_bucket *bucket,
                                 const void *key,
                                 size_t key_len,
                                 kvreg_update_fn update,
                                 void *user_data);

/**
 * Updates a key by a callback, later, on one of the library's threads: a cast. `destroy` may be
 * NULL; it is called with `user_data` exactly once on every path, failed ones too, and after the
 * callback if that ran. From then on `next` need not be readable any more. It is not called in a
 * forked child nor at process exit. The answer is KVREG_LIMIT if the mailbox is full. Never
 * blocks.
 */
kvreg_status kvreg_bucket_update_cast(kvreg_bucket *bucket,
                                      const void *key,
                                      size_t key_len,
                                      kvreg_update_fn update,
                                      void *user_data,
                                      void (*destroy)(void *user_data));

/**
 * Begins an update without a callback. It gives the value of the key, or one of type KVREG_ABSENT
 * if the key is absent; clear it. `current` may be NULL. It also gives a handle that has the
 * bucket's turn until it is ended or freed. Until then this thread counts as being inside the
 * bucket: its calls there get KVREG_CALLING_SELF.
 *
 * Any thread may end the update, but the turn stays that of the thread that began it. When that
 * thread ends, the update is ended with KVREG_ABORT and its handle is freed, in the second round
 * of destructors of the thread's pthread keys. The answer is KVREG_LIMIT if this thread holds 256
 * turns, or if the destructors of its pthread keys run. Blocks for its turn.
 */
kvreg_status kvreg_bucket_update_begin(kvreg_bucket *bucket,
                                       const void *key,
                                       size_t key_len,
                                       kvreg_value *current,
                                       kvreg_update **update);

/**
 * Ends an update: does what was decided, gives the turn back and frees the handle, whatever it
 * answers. `next` is read for KVREG_STORE only. The answers are those of kvreg_bucket_update. Any
 * thread may end an update. Never waits for a turn.
 */
kvreg_status kvreg_update_end(kvreg_update *update, kvreg_verdict verdict, const kvreg_value *next);

/**
 * Gives up an update, as kvreg_update_end with KVREG_ABORT does, and frees the handle. NULL is
 * fine. Never blocks.
 */
kvreg_status kvreg_update_free(kvreg_update *update);

/** @} */

/** @name Servers: start and find
 *  @{ */

/**
 * Starts a server that the program writes (OTP's GenServer), under a name that it shares with no
 * bucket. It is synchronous: the name is taken, then `init` runs on this thread, under the new
 * server's turn, then this returns. Who finds the name meanwhile and calls it waits. If `init`
 * refuses, the name is free again before the answer: KVREG_ABORTED, or KVREG_SERVER_DOWN for
 * KVREG_CRASH, with its text in kvreg_last_error.
 *
 * Of a server by turns `turn` is given, which is its first: make the state, and end it with the
 * verdict. Of one by callbacks it is NULL, and `turn` may be NULL. `server` may be NULL.
 *
 * If there is a server of the name, that is given, once it has begun, and nothing is started,
 * `turn` is NULL, and `destroy` is called; with KVREG_CREATE_EXCLUSIVE in `flags` (else 0) the
 * answer is KVREG_ALREADY_STARTED. If a bucket has the name it is KVREG_WRONG_KIND. Blocks for its
 * turn, and for `init`.
 */
kvreg_status kvreg_registry_start_server(kvreg_registry *registry,
                                         const char *name,
                                         size_t name_len,
                                         uint32_t flags,
                                         const kvreg_server_options *options,
                                         kvreg_server **server,
                                         kvreg_turn **turn);

/**
 * Starts a server without a registry: it stops when its last handle is freed. Its `restart` must
 * be KVREG_TEMPORARY, else the answer is KVREG_INVALID_ARGUMENT. All else is as in
 * kvreg_registry_start_server. Blocks for `init`.
 */
kvreg_status kvreg_server_start(const kvreg_server_options *options,
                                kvreg_server **server,
                                kvreg_turn **turn);

/**
 * Gives the server that has the name now, or answers KVREG_NOT_FOUND; KVREG_WRONG_KIND if a bucket
 * has it. Blocks only while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_lookup_server(kvreg_registry *registry,
                                          const char *name,
                                          size_t name_len,
                                          kvreg_server **server);

/**
 * Gives a snapshot of the names of the servers that users wrote: its keys are of type
 * KVREG_STRING, its values nil. kvreg_registry_names gives those of buckets. Blocks only while
 * another thread copies the names, and while casts of this thread to the registry are queued.
 */
kvreg_status kvreg_registry_servers(kvreg_registry *registry, kvreg_items **names);

/**
 * Gives a handle to the server whose turn this thread took last, of those that it has: by a
 * handler, or by kvreg_server_begin. The answer is KVREG_NO_PROCESS if it has none. Never blocks.
 */
kvreg_status kvreg_server_self(kvreg_server **server);

/**
 * Gives another handle to the server, of any kind, with the timeout of this handle. Never blocks.
 */
kvreg_status kvreg_server_clone(kvreg_server *server, kvreg_server **clone);

/**
 * Sets the timeout of calls through this handle, of a server of any kind, in milliseconds: -1 for
 * ever, 0 only if the call need not wait. Other handles keep theirs. Never blocks.
 */
kvreg_status kvreg_server_set_timeout(kvreg_server *server, int64_t timeout_ms);

/**
 * Gives the name of a server of any kind, after its end too; nil if it has none. Clear it. Never
 * blocks.
 */
kvreg_status kvreg_server_name(kvreg_server *server, kvreg_value *name);

/**
 * Tells facts about a server of any kind. It fills as much of `stats` as its `size` says. Never
 * blocks.
 */
kvreg_status kvreg_server_info(kvreg_server *server, kvreg_server_stats *stats);

/**
 * Frees a handle of a server of any kind. A server without a registry stops when its last handle
 * is freed. The handle that a message brings is not to be freed: KVREG_BAD_HANDLE. NULL is fine.
 * Never blocks.
 */
kvreg_status kvreg_server_free(kvreg_server *server);

/**
 * Calls a server: sends it a message, and waits for the answer, which is to be cleared; `reply`
 * may be NULL. `tag` is what is asked, 1 to 255 bytes of UTF-8 without NUL; `values` are the
 * arguments, up to 255, and may be NULL if there are none. `reply` may be one of them: it is
 * written when they were read, on failure too, and what it had is not released.
 *
 * A server by callbacks handles it on this thread, after what was queued before. Otherwise, and
 * with KVREG_SERVER_HAND_OVER, it is a message, for another thread to handle. What the verdict
 * says is the answer: KVREG_ABORTED for KVREG_ABORT, with the text in kvreg_last_error,
 * KVREG_SERVER_DOWN for KVREG_CRASH, KVREG_UNSUPPORTED for KVREG_UNHANDLED. KVREG_TIMEOUT: it has
 * not run, and never will; KVREG_OUTCOME_UNKNOWN: another thread had begun, or the answer was put
 * off. Blocks for its turn, and for the answer.
 */
kvreg_status kvreg_server_call(kvreg_server *server,
                               const char *tag,
                               size_t tag_len,
                               const kvreg_value *values,
                               size_t count,
                               kvreg_value *reply);

/**
 * Calls the server that has the name now, with the timeout of the registry's handle: it follows
 * restarts, where a handle of a server is that of one process. The answer is KVREG_NOT_FOUND if
 * there is none, KVREG_WRONG_KIND if a bucket has the name; all else is as in kvreg_server_call.
 * Blocks for its turn, and for the answer.
 */
kvreg_status kvreg_registry_call(kvreg_registry *registry,
                                 const char *name,
                                 size_t name_len,
                                 const char *tag,
                                 size_t tag_len,
                                 const kvreg_value *values,
                                 size_t count,
                                 kvreg_value *reply);

/**
 * Sends a server a message without waiting: a cast. It is handled on another thread, or by who
 * calls the server first: a later call of this thread comes after it. Tag and values are as in
 * kvreg_server_call. The answer is KVREG_LIMIT if the mailbox is full. Never blocks.
 */
kvreg_status kvreg_server_cast(kvreg_server *server,
                               const char *tag,
                               size_t tag_len,
                               const kvreg_value *values,
                               size_t count);

/**
 * Sends a server an info: any other message. With KVREG_SEND_NEXT in `flags` (else 0) it comes
 * before all that waits (OTP's continue): that is for a server's own turn, elsewhere the answer is
 * KVREG_INVALID_ARGUMENT. A bucket and a registry log it at debug and drop it. All else is as in
 * kvreg_server_cast. Never blocks.
 */
kvreg_status kvreg_server_send(kvreg_server *server,
                               uint32_t flags,
                               const char *tag,
                               size_t tag_len,
                               const kvreg_value *values,
                               size_t count);

/**
 * Sends a server an info after `delay_ms` milliseconds, whose `reference` is that of the message.
 * Its place in the mailbox is kept from now on: the answer is KVREG_LIMIT if there is none left. A
 * timer ends with its server, and never keeps it alive; the time goes on while the machine is
 * suspended. Only user's servers have timers: else the answer is KVREG_UNSUPPORTED. `reference`
 * may be NULL. Never blocks.
 */
kvreg_status kvreg_server_send_after(kvreg_server *server,
                                     int64_t delay_ms,
                                     const char *tag,
                                     size_t tag_len,
                                     const kvreg_value *values,
                                     size_t count,
                                     uint64_t *reference);

/**
 * Takes a timer back. `left_ms`, which may be NULL, is what was left of its time. The answer is
 * KVREG_NOT_FOUND if it has come already, or never was there. Never blocks.
 */
kvreg_status kvreg_server_cancel(kvreg_server *server, uint64_t reference, int64_t *left_ms);

/**
 * Calls a server without waiting: the answer comes into `inbox`, as KVREG_EVENT_REPLY with this
 * reference. Its status is that of kvreg_server_call; past the timeout of the handle it is
 * KVREG_TIMEOUT, or KVREG_OUTCOME_UNKNOWN if it had begun. The place of the event is kept: the
 * answer is KVREG_LIMIT if the inbox has none left, or the mailbox is full. Never blocks.
 */
kvreg_status kvreg_server_request(kvreg_server *server,
                                  const char *tag,
                                  size_t tag_len,
                                  const kvreg_value *values,
                                  size_t count,
                                  kvreg_inbox *inbox,
                                  uint64_t *reference);

/** @} */

/** @name Servers: messages
 *  @{ */

/**
 * Releases what kvreg_turn_next gave, and empties the message. It may be called twice on one
 * variable. NULL is fine. It works after kvreg_shutdown too. Never blocks.
 */
void kvreg_message_clear(kvreg_message *message);

/**
 * Puts the answer of a call off: it comes by kvreg_reply_send, from any thread, and the verdict is
 * KVREG_LATER. By callbacks it is called from the handler of the message, by turns before the
 * message is answered; else the answer is KVREG_INVALID_ARGUMENT, as for what is no call, and for
 * a second time. Never blocks.
 */
kvreg_status kvreg_message_defer(const kvreg_message *message, kvreg_reply **reply);

/**
 * Gives another value with the same content, to be cleared by itself: a large text is shared. It
 * is how an argument of a message is kept. The answer is KVREG_INVALID_ARGUMENT for what is no
 * value. Never blocks.
 */
kvreg_status kvreg_value_clone(const kvreg_value *value, kvreg_value *clone);

/**
 * Answers a call that was put off, and frees the handle, whatever it answers. `verdict` is
 * KVREG_KEEP, with the answer in `value`, or KVREG_ABORT, with a text that says why, or NULL; any
 * other is KVREG_INVALID_ARGUMENT, and an answer that is no value too: then the caller gets
 * KVREG_ABORTED. The answer is KVREG_NO_PROCESS if nobody waits any more: the caller has left, or
 * its server has ended. Any thread may call it. Never blocks.
 */
kvreg_status kvreg_reply_send(kvreg_reply *reply, kvreg_verdict verdict, const kvreg_value *value);

/**
 * Frees the handle. If no answer was sent the caller gets KVREG_ABORTED. NULL is fine. Never
 * blocks.
 */
kvreg_status kvreg_reply_free(kvreg_reply *reply);

/** @} */

/** @name Servers: turns
 *  @{ */

/**
 * Begins a turn of a server by turns: from here to its end this thread counts as being inside the
 * server, and its calls there get KVREG_CALLING_SELF. `waiting`, which may be NULL, is how many
 * messages came before it: handle them first, by kvreg_turn_next and kvreg_turn_answer, until that
 * is KVREG_NOT_FOUND. What comes after it is for the next turn.
 *
 * With KVREG_BEGIN_NOW in `flags` (else 0) it never waits: the answer is KVREG_TIMEOUT if somebody
 * has the turn. On a server by callbacks, a bucket or a registry it is KVREG_UNSUPPORTED. It is
 * KVREG_LIMIT if this thread holds 256 turns, or if the destructors of its pthread keys run. A
 * turn whose thread ends before it is ended with KVREG_CRASH. Blocks for its turn.
 */
kvreg_status kvreg_server_begin(kvreg_server *server,
                                uint32_t flags,
                                uint64_t *waiting,
                                kvreg_turn **turn);

/**
 * Gives the next message that waited when the turn began, or that was sent with KVREG_SEND_NEXT
 * since: clear it. The answer is KVREG_NOT_FOUND if there is no more, KVREG_TIMEOUT if the time of
 * the handle that began the turn is up: then end it with KVREG_ABORT, and the rest stays queued.
 * It is KVREG_SERVER_DOWN if the server has ended. A message before it that was not answered is
 * kept; a call that was not answered is KVREG_CRASH. Never blocks.
 */
kvreg_status kvreg_turn_next(kvreg_turn *turn, kvreg_message *message);

/**
 * Says what becomes of the message that kvreg_turn_next gave last, as a handler by callbacks does:
 * `reply` is the answer of a call, or a text that says why, and may be NULL. For KVREG_LATER the
 * call was deferred by kvreg_message_defer. The answer is KVREG_NOT_FOUND if there is no message
 * that was not answered, and KVREG_INVALID_ARGUMENT for an unknown verdict and an answer that is
 * no value, which is KVREG_CRASH. Never blocks.
 */
kvreg_status kvreg_turn_answer(kvreg_turn *turn, kvreg_verdict verdict, const kvreg_value *reply);

/**
 * Puts off the answer of the call that the turn was begun for: it comes into `inbox`, as
 * KVREG_EVENT_REPLY with this reference, when `reply` is sent. The answer is KVREG_LIMIT if the
 * inbox has no place left. Never blocks.
 */
kvreg_status kvreg_turn_defer(kvreg_turn *turn,
                              kvreg_inbox *inbox,
                              uint64_t *reference,
                              kvreg_reply **reply);

/**
 * Gives a turn back, and frees its handle, whatever it answers. With KVREG_KEEP and KVREG_ABORT
 * the server goes on; KVREG_STOP ends it, reason KVREG_REASON_NORMAL, and KVREG_CRASH, reason
 * KVREG_REASON_CRASHED, with `detail`; any other is KVREG_INVALID_ARGUMENT, and KVREG_CRASH. Of
 * the turn that a start gave, or whose message is KVREG_MESSAGE_INIT, KVREG_KEEP begins the
 * server; with KVREG_ABORT and KVREG_CRASH it has failed to begin, and its name is free when this
 * returns. The answer is KVREG_SERVER_DOWN if the server ended meanwhile. Any thread may end a
 * turn. Never waits.
 */
kvreg_status kvreg_turn_end(kvreg_turn *turn,
                            kvreg_verdict verdict,
                            const char *detail,
                            size_t detail_len);

/**
 * Gives up a turn, as kvreg_turn_end with KVREG_CRASH does, and frees the handle. NULL is fine.
 * Never waits.
 */
kvreg_status kvreg_turn_free(kvreg_turn *turn);

/**
 * Takes a turn from its thread: it is no thread's from now on, for tasks that move between
 * threads. So it is not ended with a thread, and a call into the server waits for it whoever makes
 * it. Never blocks.
 */
kvreg_status kvreg_turn_detach(kvreg_turn *turn);

/** @} */

/** @name Servers: life and death
 *  @{ */

/**
 * Monitors a server of any kind: its end gives this inbox exactly one KVREG_EVENT_DOWN, as
 * kvreg_inbox_monitor and kvreg_inbox_monitor_registry do. Never blocks.
 */
kvreg_status kvreg_inbox_monitor_server(kvreg_inbox *inbox,
                                        kvreg_server *server,
                                        uint64_t *reference);

/**
 * Has a user's server told of the end of a server of any kind: `watcher` gets one message of type
 * KVREG_MESSAGE_DOWN with this reference; at once, with the reason KVREG_REASON_NOPROC, if it has
 * ended already. Its place in the mailbox is kept: the answer is KVREG_LIMIT if there is none
 * left. A bucket and a registry watch nobody: KVREG_UNSUPPORTED. Never blocks.
 */
kvreg_status kvreg_server_monitor(kvreg_server *watcher, kvreg_server *target, uint64_t *reference);

/**
 * Takes a monitor back: no DOWN of it comes any more. With KVREG_DEMONITOR_FLUSH in `flags` (else
 * 0) a DOWN that waits in the mailbox is removed too. An unknown reference is fine. Never blocks.
 */
kvreg_status kvreg_server_demonitor(kvreg_server *watcher, uint64_t reference, uint32_t flags);

/**
 * Withdraws a request: no KVREG_EVENT_REPLY of it comes any more, nor remains. The answer is
 * KVREG_OUTCOME_UNKNOWN if the server had begun it, and KVREG_NOT_FOUND if it was answered
 * already, or never sent. Never blocks.
 */
kvreg_status kvreg_inbox_abandon(kvreg_inbox *inbox, uint64_t reference);

/**
 * Links two servers of any kinds: when one ends abnormally, so does the other. The answer is
 * KVREG_NO_PROCESS if one has ended. Never blocks.
 */
kvreg_status kvreg_server_link(kvreg_server *server, kvreg_server *other);

/**
 * Takes a link away, if there is one. Never blocks.
 */
kvreg_status kvreg_server_unlink(kvreg_server *server, kvreg_server *other);

/**
 * Stops a server of any kind with the reason KVREG_REASON_NORMAL, after what is queued, and
 * returns when it is gone; a registry as kvreg_registry_stop does. A server with
 * KVREG_SERVER_WANTS_TERMINATE gets that first. Of a server by turns, and with
 * KVREG_SERVER_HAND_OVER, who serves it stops it. The answer is KVREG_SERVER_DOWN if it ended for
 * another reason meanwhile. It does not free the handle. Blocks for its turn.
 */
kvreg_status kvreg_server_stop(kvreg_server *server);

/**
 * Ends a server of any kind at once (OTP's Process.exit), without KVREG_MESSAGE_TERMINATE: what is
 * queued is dropped, a running handler is not interrupted, and its answer is dropped. Reason and
 * detail are as in kvreg_bucket_exit, and a registry comes back as after kvreg_registry_exit.
 * Never waits for a turn.
 */
kvreg_status kvreg_server_exit(kvreg_server *server,
                               kvreg_reason reason,
                               const char *detail,
                               size_t detail_len);

/** @} */

/** @name Buckets: scans
 *  @{ */

/**
 * Gives keys and values in the order of their bytes, a shorter key before one that it begins, as
 * they are at one instant: those that begin with a prefix, that lie above another key, or all. NULL
 * for `options` means all. With a limit it gives the smallest, and the next page is had with the
 * last key of this one as `after`: over all pages each key comes at most once, and one that is
 * there all the time comes. With KVREG_KEYS_ONLY the values are nil. In a bucket with
 * KVREG_ORDERED a page costs what it gives; otherwise each scan looks at every key, and sorts what
 * it gives. Writers wait for a part of it at most, and for no longer than 5 ms. A scan takes memory
 * for what it gives. Blocks only while another thread changes or copies the bucket, and while casts
 * of this thread to the bucket are queued.
 */
kvreg_status kvreg_bucket_scan(kvreg_bucket *bucket,
                               const kvreg_scan_options *options,
                               kvreg_items **items);

/** @} */

/** @name Snapshots
 *  @{ */

/**
 * Gives the next item of a snapshot, or answers KVREG_NOT_FOUND at its end. The key is of type
 * KVREG_BYTES, or of KVREG_STRING if it is a name. Clear the key and the value; `value` may be
 * NULL. Threads may share a snapshot: each item goes to one of them. Never blocks.
 */
kvreg_status kvreg_items_next(kvreg_items *items, kvreg_value *key, kvreg_value *value);

/**
 * As kvreg_items_next, with the revision of the key and what was left of its time to live at the
 * instant of the snapshot; clear `key` and `entry->value`. Set `entry->size` before, or use
 * kvreg_entry_init. A name has the revision 0, and is there for ever. Never blocks.
 */
kvreg_status kvreg_items_next_entry(kvreg_items *items, kvreg_value *key, kvreg_entry *entry);

/**
 * Tells how many items of a snapshot are left to be given: at first, how many it has. Never blocks.
 */
kvreg_status kvreg_items_count(kvreg_items *items, size_t *count);

/**
 * Frees a snapshot, which takes the time to free its items. NULL is fine. Never blocks.
 */
kvreg_status kvreg_items_free(kvreg_items *items);

/** @} */

/** @name Inboxes: open and monitor
 *  @{ */

/**
 * Opens an inbox: a mailbox of the caller's own, where events wait until they are received. It
 * belongs to no registry, and any thread may use it. Never blocks.
 */
kvreg_status kvreg_inbox_open(kvreg_inbox **inbox);

/**
 * Monitors a bucket (Elixir's Process.monitor): its end gives this inbox exactly one
 * KVREG_EVENT_DOWN with this reference and the reason. If the bucket has ended already, the event
 * comes at once, with the reason KVREG_REASON_NOPROC. Each call makes a monitor of its own. The
 * place of its DOWN is kept, so that it is never lost; the answer is KVREG_LIMIT beyond 1,048,576
 * monitors, or as many as kvreg_configure was told. Never blocks.
 */
kvreg_status kvreg_inbox_monitor(kvreg_inbox *inbox, kvreg_bucket *bucket, uint64_t *reference);

/**
 * Monitors a registry: its end gives this inbox exactly one KVREG_EVENT_DOWN with this reference
 * and the reason. If the registry has ended already, the event comes at once, with the reason
 * KVREG_REASON_NOPROC. Each call makes a monitor of its own, and the answer is KVREG_LIMIT beyond
 * 1,048,576 of them, or as many as kvreg_configure was told. A registry that comes back is not
 * monitored any more. Never blocks.
 */
kvreg_status kvreg_inbox_monitor_registry(kvreg_inbox *inbox,
                                          kvreg_registry *registry,
                                          uint64_t *reference);

/**
 * Takes a monitor back: no DOWN of it comes any more. With KVREG_DEMONITOR_FLUSH in `flags` (else
 * 0) a DOWN that waits already is removed too. An unknown reference is fine. Never blocks.
 */
kvreg_status kvreg_inbox_demonitor(kvreg_inbox *inbox, uint64_t reference, uint32_t flags);

/**
 * Lets the inbox get what the library logs from now on at `max_level` (KVREG_LOG_ERROR to
 * KVREG_LOG_DEBUG) or a more important level, as KVREG_EVENT_LOG. To call it again changes the
 * level. Up to 1,024 such events wait; those that do not fit arrive as one KVREG_EVENT_LOST with
 * their count. Never blocks.
 */
kvreg_status kvreg_inbox_subscribe_logs(kvreg_inbox *inbox, uint32_t max_level);

/** @} */

/** @name Inboxes: receive and end
 *  @{ */

/**
 * Gives the next event; clear it. Each event goes to one receiver. The answer is KVREG_TIMEOUT if
 * none came within `timeout_ms` milliseconds (-1 for ever, 0 at once), and KVREG_BAD_HANDLE if
 * another thread frees the inbox meanwhile. From inside a callback, or between the begin and the
 * end of an update, it is KVREG_CALLING_SELF unless `timeout_ms` is 0. Blocks.
 */
kvreg_status kvreg_inbox_receive(kvreg_inbox *inbox, int64_t timeout_ms, kvreg_event *event);

/**
 * Gives up to `capacity` events, which is at least 1, and in `count` how many: clear each. It waits
 * for the first as kvreg_inbox_receive, with the same answers, and takes no more than what waits
 * then. What was received before a failure is given, with KVREG_OK; the failure is told by the next
 * call, if it lasts. Without an event `count` is 0. Blocks.
 */
kvreg_status kvreg_inbox_receive_many(kvreg_inbox *inbox,
                                      int64_t timeout_ms,
                                      kvreg_event *events,
                                      size_t capacity,
                                      size_t *count);

/**
 * Gives a file descriptor that is readable while events wait: for poll, epoll and event loops.
 * Only poll it. It is closed with the inbox, but stays readable from kvreg_shutdown to the end of
 * the process. On Linux; elsewhere the answer is KVREG_UNSUPPORTED, and Windows has
 * kvreg_inbox_handle. Never blocks.
 */
kvreg_status kvreg_inbox_fd(kvreg_inbox *inbox, int *fd);

/**
 * Gives the HANDLE of a Windows event that is signalled while events wait: for
 * WaitForSingleObject, WaitForMultipleObjects and event loops. Only wait for it: the inbox sets,
 * resets and closes it. To wait does not reset it, so it wakes all who wait, at once if events
 * wait already. Free the inbox when nobody waits for the event any more. It stays signalled from
 * kvreg_shutdown to the end of the process, and no child process inherits it. On Windows;
 * elsewhere the answer is KVREG_UNSUPPORTED, and Linux has kvreg_inbox_fd. Never blocks.
 */
kvreg_status kvreg_inbox_handle(kvreg_inbox *inbox, void **handle);

/**
 * Frees the inbox with what waits in it, and takes its monitors back. Threads that receive from
 * it get KVREG_BAD_HANDLE. NULL is fine. Never blocks.
 */
kvreg_status kvreg_inbox_free(kvreg_inbox *inbox);

/** @} */

/** @name Inboxes: watch
 *  @{ */

/**
 * Watches keys of a bucket: NULL options are all keys. Events with this reference come to the
 * inbox: KVREG_EVENT_RESET, which says that nothing is known; the present keys, each as a
 * KVREG_EVENT_CHANGE with KVREG_CHANGE_PUT; KVREG_EVENT_CURRENT, when all that changed up to its
 * revision is known; and then each change. What is overtaken before it is received may be left
 * out, but never the last change of a key. A watch that falls behind begins anew, with
 * KVREG_EVENT_RESET and the present keys, and so it does when the bucket was cleared.
 *
 * A watch is a monitor too: its last event is one KVREG_EVENT_DOWN with this reference, with the
 * reason KVREG_REASON_NOPROC at once if the bucket has ended already. What was not received by then
 * is dropped. Its place is kept, so the answer is KVREG_LIMIT beyond as many as there may be
 * monitors. The first watch of a bucket takes 4 MiB. Free it with kvreg_inbox_unwatch or with the
 * inbox; kvreg_inbox_demonitor leaves it alone. Blocks while the bucket is changed, and after casts
 * of the calling thread.
 */
kvreg_status kvreg_inbox_watch(kvreg_inbox *inbox,
                               kvreg_bucket *bucket,
                               const kvreg_watch_options *options,
                               uint64_t *reference);

/**
 * Watches the names of a registry's buckets, as kvreg_inbox_watch the keys of one: values are nil,
 * a bucket that is created or started again is a KVREG_CHANGE_PUT, and one that has gone a
 * KVREG_CHANGE_DELETE. The prefix is that of names. A registry that comes back after a crash is
 * not watched any more: its end is the KVREG_EVENT_DOWN. Blocks while the names are changed, and
 * after casts of the calling thread.
 */
kvreg_status kvreg_inbox_watch_names(kvreg_inbox *inbox,
                                     kvreg_registry *registry,
                                     const kvreg_watch_options *options,
                                     uint64_t *reference);

/**
 * Takes a watch back: nothing of it arrives or remains, its KVREG_EVENT_DOWN included. An unknown
 * reference is fine. Never blocks.
 */
kvreg_status kvreg_inbox_unwatch(kvreg_inbox *inbox, uint64_t reference);

/**
 * Releases what kvreg_inbox_receive gave in `event`, its value included, and empties the event.
 * It may be called twice on one variable. NULL is fine. It works after kvreg_shutdown too. Never
 * blocks.
 */
void kvreg_event_clear(kvreg_event *event);

/** @} */

/** @name Listeners
 *  @{ */

/**
 * Serves the text protocol (see the README) of a registry, on the library's threads, over TCP or
 * over a unix socket. `address` is NUL-terminated: "127.0.0.1:4040" or "[::1]:4040". A port alone
 * is on loopback; port 0 is any that is free; NULL is "127.0.0.1:4040". "unix:PATH" is a unix
 * socket: a file that only its owner can use unless `options` say otherwise. The file of a socket
 * at which nobody listens is replaced; any other file is KVREG_IO. The file is removed when the
 * listener stops, if it is still the listener's. A unix socket is KVREG_UNSUPPORTED on Windows.
 * `options` may be NULL.
 *
 * The listener stops with its registry, and keeps it running as a handle does. The answer is
 * KVREG_IO if the system refuses, and kvreg_last_os_error tells why. Who can connect, and knows
 * the password if there is one, can change everything. Blocks for half a second at most, and only
 * if another process has the lock of the directory of a unix socket.
 */
kvreg_status kvreg_listener_start(kvreg_registry *registry,
                                  const char *address,
                                  const kvreg_listener_options *options,
                                  kvreg_listener **listener);

/**
 * Gives the address that the listener listens on, "127.0.0.1:4040" or "unix:PATH", as a
 * KVREG_STRING; clear it. It works after the listener's end too. Never blocks.
 */
kvreg_status kvreg_listener_address(kvreg_listener *listener, kvreg_value *address);

/**
 * Stops listening and closes all connections. When it returns, the address is free. It does not
 * free the handle; to stop a listener again is fine. Blocks until the library's threads have done
 * so.
 */
kvreg_status kvreg_listener_stop(kvreg_listener *listener);

/**
 * Frees the handle, and stops the listener without waiting for it. NULL is fine. Never blocks.
 */
kvreg_status kvreg_listener_free(kvreg_listener *listener);

/** @} */

/** @name Stores: engines
 *  @{ */

/**
 * Registers an engine, which kvreg_engine.h describes, for the stores whose URLs begin with
 * `scheme` and a colon. The struct, and what it points to, stay as they are for ever. A scheme has
 * 1 to 15 bytes of a-z, 0-9 and -. KVREG_ALREADY_STARTED if it has an engine; KVREG_UNSUPPORTED for
 * an engine of another version. A child of a fork has the engines of its parent. Never blocks.
 */
kvreg_status kvreg_engine_register(const char *scheme,
                                   size_t scheme_len,
                                   const kvreg_engine *engine);

/**
 * Loads the engines of a shared object, by its path in UTF-8, and has it register them. Those that
 * come with kvreg need it only where they do not lie beside kvreg's own library. KVREG_IO if it
 * cannot be loaded, KVREG_UNSUPPORTED if it is no engine, or one of another version;
 * KVREG_ALREADY_STARTED if one is there for its scheme. It stays loaded. Blocks for the disk.
 */
kvreg_status kvreg_engine_load(const char *path, size_t path_len);

/** @} */

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/**
 * Tells whether the library in use has all that this header declares: KVREG_OK if it has, and
 * KVREG_UNSUPPORTED if it is older, or of another major version. It is for programs that find the
 * library at run time: a program that was linked to a newer library, and calls what an older one
 * lacks, is not loaded with the older one at all. Never blocks.
 */
static inline kvreg_status kvreg_version_check(void) {
    uint32_t number = kvreg_version_number();
    return number >> 16 == KVREG_VERSION_MAJOR && number >> 8 >= KVREG_VERSION_NUMBER >> 8
        ? KVREG_OK
        : KVREG_UNSUPPORTED;
}

#endif /* KVREG_H */
