/**
 * @file kvreg_engine.h
 * What an engine is: a plug-in that keeps the contents of buckets beyond their end, in files or on
 * a cluster, say.
 * Programs that use stores need this header no more than they need the engine's: they name a store by
 * its URL in kvreg_bucket_options. It is for those who write an engine.
 *
 *     static const kvreg_engine engine = {
 *         .size = sizeof engine, .abi = KVREG_ENGINE_ABI, .abilities = KVREG_ENGINE_EXCLUSIVE,
 *         .open = open_store, .close = close_store, .write = write_store, .scan = scan_store,
 *         .destroy = destroy_store, .forked = close_files,
 *     };
 *
 *     kvreg_engine_register("dir", KVREG_NUL, &engine);           // dir:PATH is a store from here on
 *
 * or, in a shared object that kvreg_engine_load loads, or that is called libkvreg_dir.so and lies
 * beside kvreg's own library:
 *
 *     kvreg_status kvreg_engine_init(uint32_t abi, kvreg_engine_add_fn *add) {
 *         return add("dir", KVREG_NUL, &engine);
 *     }
 *
 * There are two kinds, which `abilities` tells apart: an engine is of one of them.
 *
 * @par Exclusive stores (KVREG_ENGINE_EXCLUSIVE)
 * One process has a store, as it has a file. kvreg keeps all keys in memory too, so an engine is not
 * asked to read one; it gives each change its revision; and it sees to it that a bucket's store is
 * open once, and that one thread calls it at a time. Stores of several buckets are called by several
 * threads at once.
 *
 * @par Shared stores (KVREG_ENGINE_SHARED)
 * Others change them too, of this process and of others. kvreg keeps nothing: it asks the engine for
 * each read and each change, from any thread, many at once, and has what changes told by a watch,
 * where a program watches a bucket or reads a copy. It is the store that gives revisions: those of a
 * store rise with each change, in the order in which it took them.
 *
 * @par What an engine does
 * It answers a status, and never throws, nor prints, nor ends the process. It may block, but calls
 * nothing of kvreg but the host's functions. What it is given is borrowed for the call. Texts that
 * it gives need no NUL at their end, and are copied before the host's function returns.
 *
 * @par Forks
 * In a child of a fork no function of the engine is called but `forked`, and nothing of the stores
 * that were open is touched: an engine has its files closed on exec, and closes them in `forked`.
 */
#ifndef KVREG_ENGINE_H
#define KVREG_ENGINE_H

#include "kvreg.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The version of what follows: an engine of another one is refused, KVREG_UNSUPPORTED. */
#define KVREG_ENGINE_ABI 2

/** What an engine can do: bits of `abilities`. */
enum {
    KVREG_ENGINE_EXCLUSIVE = 1, /**< One process has a store, and no other changes it meanwhile. The
                                     engine has `open`, `close`, `write`, `scan` and `destroy`. */
    KVREG_ENGINE_SHARED = 2,    /**< Others change a store too. The engine has all functions but
                                     `forked`, which may be NULL. Not with KVREG_ENGINE_EXCLUSIVE. */
    KVREG_ENGINE_BATCHES = 4,   /**< Shared: `write` takes more than one change, all or none. */
    KVREG_ENGINE_TTL = 8        /**< Shared: a key may have a time to live. */
};

/** What a kvreg_engine_write does. */
enum {
    KVREG_ENGINE_PUT,    /**< The key has this value from here on. */
    KVREG_ENGINE_DELETE, /**< The key goes. It need not be there. */
    KVREG_ENGINE_CLEAR   /**< All keys go. Exclusive stores alone are asked for it. */
};

/** In the place of `expected`: whatever revision the key has, or none. */
#define KVREG_ENGINE_ANY UINT64_MAX

/** A key with all that is kept of it. */
typedef struct kvreg_engine_entry {
    uint32_t size;      /**< sizeof(kvreg_engine_entry). */
    uint32_t reserved;  /**< 0. */
    kvreg_text key;     /**< Any bytes, 0 to 65,536. */
    kvreg_value value;  /**< Its text, if it is one, is borrowed. */
    uint64_t revision;  /**< Of the change that stored it. */
    int64_t expires_ms; /**< When the key goes, in milliseconds since 1970; -1: never. */
} kvreg_engine_entry;

/** One change, as it is to be stored. */
typedef struct kvreg_engine_write {
    uint32_t size;      /**< sizeof(kvreg_engine_write). */
    uint32_t kind;      /**< KVREG_ENGINE_PUT to KVREG_ENGINE_CLEAR. */
    kvreg_text key;     /**< CLEAR: "". */
    kvreg_value value;  /**< PUT: to be stored, type and bytes; else nil. */
    uint64_t revision;  /**< Exclusive: of the change. The largest is kept, whatever becomes of its
                             key. Shared: 0. */
    int64_t expires_ms; /**< PUT: as of a kvreg_engine_entry. Exclusive: it is kvreg that looks at the
                             clock. Shared: it is the store, which may round up to whole seconds. */
    uint64_t expected;  /**< Shared: the revision that the key must have for anything to be done, 0 if
                             it must be absent; else KVREG_CONFLICT. KVREG_ENGINE_ANY: no condition.
                             Exclusive: KVREG_ENGINE_ANY. */
} kvreg_engine_write;

/** What a shared store tells by the host's `tell`. */
enum {
    KVREG_ENGINE_TOLD_PUT,     /**< To a watch: the key has this value since this revision. */
    KVREG_ENGINE_TOLD_DELETE,  /**< To a watch: the key went, by a change of this revision. */
    KVREG_ENGINE_TOLD_EXPIRE,  /**< To a watch: its time to live was over; also a change. */
    KVREG_ENGINE_TOLD_RESET,   /**< To a watch: what was told is void, and all is told anew: the first
                                    that a watch is told, and where it cannot go on. */
    KVREG_ENGINE_TOLD_CURRENT, /**< To a watch: after a reset, all that there was has been told, as of
                                    this revision. What follows are changes. */
    KVREG_ENGINE_TOLD_UP,      /**< Of a store: it is in reach again. */
    KVREG_ENGINE_TOLD_AWAY,    /**< Of a store: it is out of reach. Calls wait for it. */
    KVREG_ENGINE_TOLD_DELETED  /**< Of a store: others erased it. The bucket ends,
                                    KVREG_REASON_SHUTDOWN, "deleted". */
};

/** What is told. What its type does not name is 0, "" or nil. */
typedef struct kvreg_engine_event {
    uint32_t size;      /**< sizeof(kvreg_engine_event). */
    uint32_t type;      /**< KVREG_ENGINE_TOLD_PUT to KVREG_ENGINE_TOLD_DELETED. */
    kvreg_text key;     /**< PUT, DELETE, EXPIRE. */
    kvreg_value value;  /**< PUT. */
    uint64_t revision;  /**< PUT, DELETE, EXPIRE, CURRENT. They rise from one to the next, but for
                             those between RESET and CURRENT, which may come in any order. */
    int64_t expires_ms; /**< PUT: as of a kvreg_engine_entry. */
} kvreg_engine_event;

/** What kvreg offers to engines. They may be called from any thread: `found`, `last_revision` and
 *  `explain` while a function of the engine runs, by its thread. None of them waits for the engine,
 *  nor for long. */
typedef struct kvreg_engine_host {
    uint32_t size;     /**< sizeof(kvreg_engine_host). */
    uint32_t reserved; /**< 0. */

    /** Hands over what `scan`, or `get`, has found: `out` is what it got. Any answer but KVREG_OK ends
     *  the scan, whose answer it is. */
    kvreg_status (*found)(void *out, const kvreg_engine_entry *entry);

    /** Tells the largest revision that was ever stored, where no entry has it any more: once, in
     *  `scan`. */
    kvreg_status (*last_revision)(void *out, uint64_t revision);

    /** Says for people why the function that runs on this thread is about to fail: a sentence without
     *  a full stop, which kvreg_last_error and the log have. `os_error` is the system's number,
     *  which kvreg_last_os_error gives, or 0. */
    void (*explain)(const char *text, size_t len, int32_t os_error);

    /** The time by which deadlines are told, in nanoseconds. */
    int64_t (*clock_ns)(void);

    /** Tells how a change ended that `send` took, as `write` would have answered: `sent` is what it
     *  got. Once for each, from any thread, in `send` too; before `close` returns at the latest. */
    void (*done)(void *sent, kvreg_status status, uint64_t revision);

    /** Tells a watch something, or of a store: `told` is what `watch` got, or the `listener` of its
     *  kvreg_engine_open. From one thread at a time for each, and not after `unwatch`, or `close`,
     *  returned. */
    void (*tell)(void *told, const kvreg_engine_event *event);
} kvreg_engine_host;

/** A store that is to be opened, or erased. */
typedef struct kvreg_engine_open {
    uint32_t size;                 /**< sizeof(kvreg_engine_open). */
    uint32_t reserved;             /**< 0. */
    kvreg_text url;                /**< The whole URL, with its scheme. Parameters are the engine's:
                                        one that it does not know is KVREG_INVALID_ARGUMENT. */
    kvreg_text bucket;             /**< The name of the bucket: 1 to 255 bytes of UTF-8, no NUL. */
    uint64_t owner;                /**< The number of the registry: buckets of one may share what the
                                        URL of an exclusive store names, and no others: KVREG_IO. */
    uint64_t max_value;            /**< The most bytes of a value. */
    const kvreg_engine_host *host; /**< Stays as it is for ever. */
    void *listener;                /**< What `tell` is told of the store by; NULL for `destroy`. */
} kvreg_engine_open;

/** The functions of an engine, which stay as they are for ever. A deadline is by the host's clock;
 *  INT64_MAX is none. */
struct kvreg_engine {
    uint32_t size;      /**< sizeof(kvreg_engine). */
    uint32_t abi;       /**< KVREG_ENGINE_ABI. */
    uint64_t abilities; /**< KVREG_ENGINE_EXCLUSIVE, or KVREG_ENGINE_SHARED and what it has beside. */

    /** Opens the store of a bucket: with what is kept, or empty. KVREG_IO if it cannot be had before
     *  the deadline; KVREG_INVALID_ARGUMENT for a URL that cannot be, or a name that a shared store
     *  cannot have. */
    kvreg_status (*open)(const kvreg_engine_open *open, int64_t deadline, void **store);

    /** Closes a store. Nothing is called for it any more, nor does it call the host. A shared store
     *  has seen to all that `send` took, by the deadlines of these, when it returns. */
    void (*close)(void *store);

    /** Stores changes in their order: all of them or, with an error, none.
     *  @par Exclusive
     *  It answers when they will be there after a crash, as far as the URL says that they are to be.
     *  KVREG_LIMIT if there is no room, KVREG_NO_MEMORY. KVREG_IO means that nobody knows what is
     *  stored: the bucket ends then, and one that is started in its place opens the store anew.
     *  `*revision` is not looked at.
     *  @par Shared
     *  `*revision` is that of the first, and each other one has the next. KVREG_TIMEOUT: it was not
     *  handed over, and never will be; KVREG_OUTCOME_UNKNOWN: it was, and was not answered in time;
     *  until then the engine repeats it by itself, so that it is done once. KVREG_CONFLICT by
     *  `expected`; KVREG_LIMIT by the limits of the store; KVREG_INVALID_ARGUMENT for a key that it
     *  cannot have; KVREG_UNSUPPORTED for what it cannot do, now or ever; KVREG_IO for another refusal.
     *  All of them but KVREG_OUTCOME_UNKNOWN say that nothing was done. */
    kvreg_status (*write)(void *store, const kvreg_engine_write *writes, size_t count,
                          int64_t deadline, uint64_t *revision);

    /** Tells all that is kept, by the host's `found`, in whatever order.
     *  @par Exclusive
     *  It is called once, before anything is written, and asked for all keys.
     *  @par Shared
     *  Those of `which` suffice; more do no harm, nor does it matter that they are of no one instant.
     *  KVREG_TIMEOUT at the deadline. */
    kvreg_status (*scan)(void *store, const kvreg_scan_options *which, int64_t deadline, void *out);

    /** Erases what is kept of a bucket, whose store is not open. KVREG_NOT_FOUND if there is nothing.
     */
    kvreg_status (*destroy)(const kvreg_engine_open *open, int64_t deadline);

    /** This is a child of a fork: closes descriptors, and does nothing else. It is called in a handler
     *  of fork, perhaps again later, and is async-signal-safe. NULL if there is nothing to close. */
    void (*forked)(void);

    /** Shared: tells the entry of a key, by the host's `found`, as the latest of the answered changes
     *  have made it. KVREG_NOT_FOUND if it is absent, KVREG_TIMEOUT at the deadline. */
    kvreg_status (*get)(void *store, const kvreg_text *key, int64_t deadline, void *out);

    /** Shared: how many keys there are, and the revision of the last change, 0 if there was none.
     *  KVREG_TIMEOUT at the deadline. */
    kvreg_status (*count)(void *store, int64_t deadline, uint64_t *count, uint64_t *revision);

    /** Shared: as `write`, without waiting: KVREG_OK if it was taken, and then the host's `done` tells
     *  what became of it. Changes that one thread sends are done in that order, and so is what it
     *  asks for by other functions once they are done. */
    kvreg_status (*send)(void *store, const kvreg_engine_write *writes, size_t count,
                         int64_t deadline, void *sent);

    /** Shared: tells all that is kept, and then what changes, to `watcher` by the host's `tell`: first
     *  KVREG_ENGINE_TOLD_RESET, then the keys that are there, KVREG_ENGINE_TOLD_CURRENT, and changes,
     *  of which those of a key may be left out that a later one has overtaken. After the store was
     *  out of reach it goes on where it was, or is reset. Does not wait. */
    kvreg_status (*watch)(void *store, void *watcher, void **watch);

    /** Shared: ends a watch. Nothing is told to it any more when this returns. */
    void (*unwatch)(void *watch);

    /** Shared: the bucket has ended, and `close` comes when nobody is in a function of the store any
     *  more: who waits in one is let go at once, KVREG_TIMEOUT or KVREG_OUTCOME_UNKNOWN. What `send`
     *  took goes on. */
    void (*interrupt)(void *store);

    /** Shared: which of KVREG_ENGINE_BATCHES and KVREG_ENGINE_TTL this store has, if that hangs on its
     *  server; at most those of the engine. */
    uint64_t (*abilities_of)(void *store);
};

/** Registers an engine for a scheme, as kvreg_engine_register does. */
typedef kvreg_status kvreg_engine_add_fn(const char *scheme, size_t scheme_len,
                                         const kvreg_engine *engine);

/** What an engine's shared object exports, under this name: it adds its engines. `abi` is
 *  KVREG_ENGINE_ABI of the library that loads it. */
kvreg_status kvreg_engine_init(uint32_t abi, kvreg_engine_add_fn *add);

#ifdef __cplusplus
}
#endif

#endif
