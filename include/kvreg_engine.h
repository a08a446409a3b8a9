/**
 * @file kvreg_engine.h
 * What an engine is: a plug-in that keeps the contents of buckets beyond their end, in files, say.
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
 * @par What kvreg does
 * It keeps all keys in memory too, so an engine is not asked to read one; it gives each change its
 * revision; and it sees to it that a bucket's store is open once, and that one thread calls it at a
 * time. Stores of several buckets are called by several threads at once.
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
#define KVREG_ENGINE_ABI 1

/** What an engine can do: bits of `abilities`. */
enum {
    KVREG_ENGINE_EXCLUSIVE = 1 /**< One process has a store, and no other changes it meanwhile. It has
                                    `open`, `close`, `write`, `scan` and `destroy`. An engine must
                                    be able to do this. */
};

/** What a kvreg_engine_write does. */
enum {
    KVREG_ENGINE_PUT,    /**< The key has this value from here on. */
    KVREG_ENGINE_DELETE, /**< The key goes. It need not be there. */
    KVREG_ENGINE_CLEAR   /**< All keys go. */
};

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
    uint64_t revision;  /**< Of the change. The largest is kept, whatever becomes of its key. */
    int64_t expires_ms; /**< PUT: as of a kvreg_engine_entry; it is kvreg that looks at the clock. */
} kvreg_engine_write;

/** What kvreg offers to engines. They may be called from any thread, while a function of the engine
 *  runs. */
typedef struct kvreg_engine_host {
    uint32_t size;     /**< sizeof(kvreg_engine_host). */
    uint32_t reserved; /**< 0. */

    /** Hands over what `scan` has found: `out` is what it got. Any answer but KVREG_OK ends the scan,
     *  whose answer it is. */
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
} kvreg_engine_host;

/** A store that is to be opened, or erased. */
typedef struct kvreg_engine_open {
    uint32_t size;                 /**< sizeof(kvreg_engine_open). */
    uint32_t reserved;             /**< 0. */
    kvreg_text url;                /**< The whole URL, with its scheme. Parameters are the engine's:
                                        one that it does not know is KVREG_INVALID_ARGUMENT. */
    kvreg_text bucket;             /**< The name of the bucket: 1 to 255 bytes of UTF-8, no NUL. */
    uint64_t owner;                /**< The number of the registry: buckets of one may share what the
                                        URL names, and no others: KVREG_IO. */
    uint64_t max_value;            /**< The most bytes of a value. */
    const kvreg_engine_host *host; /**< Stays as it is for ever. */
} kvreg_engine_open;

/** The functions of an engine, which stay as they are for ever. A deadline is by the host's clock;
 *  INT64_MAX is none. */
struct kvreg_engine {
    uint32_t size;      /**< sizeof(kvreg_engine). */
    uint32_t abi;       /**< KVREG_ENGINE_ABI. */
    uint64_t abilities; /**< KVREG_ENGINE_EXCLUSIVE. */

    /** Opens the store of a bucket: with what is kept, or empty. KVREG_IO if it cannot be had before
     *  the deadline; KVREG_INVALID_ARGUMENT for a URL that cannot be. */
    kvreg_status (*open)(const kvreg_engine_open *open, int64_t deadline, void **store);

    /** Closes a store. Nothing is called for it any more, nor does it call the host. */
    void (*close)(void *store);

    /** Stores changes in their order: all of them or, with an error, none. It answers when they will
     *  be there after a crash, as far as the URL says that they are to be. KVREG_LIMIT if there is no
     *  room, KVREG_NO_MEMORY. KVREG_IO means that nobody knows what is stored: the bucket ends then,
     *  and one that is started in its place opens the store anew. */
    kvreg_status (*write)(void *store, const kvreg_engine_write *writes, size_t count,
                          int64_t deadline);

    /** Tells all that is kept, by the host's `found`, in whatever order. It is called once, before
     *  anything is written. */
    kvreg_status (*scan)(void *store, int64_t deadline, void *out);

    /** Erases what is kept of a bucket, whose store is not open. KVREG_NOT_FOUND if there is nothing.
     */
    kvreg_status (*destroy)(const kvreg_engine_open *open, int64_t deadline);

    /** This is a child of a fork: closes descriptors, and does nothing else. It is called in a handler
     *  of fork, perhaps again later, and is async-signal-safe. NULL if there is nothing to close. */
    void (*forked)(void);
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
