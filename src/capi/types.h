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
