/* Misuse: stores, whose engine refuses now and then. */
#ifndef MISUSE_STORES_H
#define MISUSE_STORES_H

#include <kvreg_engine.h>

#include "outputs.h"

/* How often the engine was asked: it refuses by that. */
static atomic_ulong engine_calls;

static kvreg_status some_refusal(unsigned long every) {
    unsigned long call = atomic_fetch_add(&engine_calls, 1);
    if (call % every != every - 1) return KVREG_OK;
    static const kvreg_status refusals[] = {KVREG_LIMIT, KVREG_NO_MEMORY, KVREG_IO, KVREG_INTERNAL};
    return refusals[call / every % 4];
}

static const kvreg_engine_host *_Atomic engine_host;

static kvreg_status engine_open(const kvreg_engine_open *open, int64_t deadline, void **store) {
    CHECK(open->size >= sizeof *open && open->bucket.len != 0 && open->host->size != 0);
    CHECK(deadline > 0);
    engine_host = open->host;
    *store = &engine_calls;
    kvreg_status status = some_refusal(7);
    if (status != KVREG_OK) open->host->explain("it does not like the number", 27, 5);
    return status;
}

static void engine_close(void *store) { CHECK(store == &engine_calls); }

static kvreg_status engine_write(void *store, const kvreg_engine_write *writes, size_t count,
                                 int64_t deadline, uint64_t *revision) {
    CHECK(store == &engine_calls && count != 0 && deadline == INT64_MAX && revision != NULL);
    for (size_t i = 0; i < count; i++)
        CHECK(writes[i].size == sizeof *writes && writes[i].kind <= KVREG_ENGINE_CLEAR &&
              writes[i].revision != 0 && writes[i].expected == KVREG_ENGINE_ANY);
    return some_refusal(50);
}

/* Some entries; now and then one that is none. */
static kvreg_status engine_scan(void *store, const kvreg_scan_options *which, int64_t deadline,
                                void *out) {
    kvreg_engine_entry entry = {.size = sizeof entry, .key = {"k", 1}, .expires_ms = -1};
    CHECK(store == &engine_calls && deadline == INT64_MAX && which != NULL);
    unsigned long call = atomic_fetch_add(&engine_calls, 1);
    kvreg_status status = engine_host->last_revision(out, call);
    for (unsigned long i = 0; status == KVREG_OK && i < call % 3; i++) {
        entry.revision = i + 1;
        entry.key.len = i;
        entry.value = kvreg_int((int64_t)call);
        if (call % 11 == 10) entry.value.type = KVREG_ABSENT;
        if (call % 13 == 12) entry.key.len = 0; /* twice */
        status = engine_host->found(out, &entry);
    }
    return status != KVREG_OK ? status : some_refusal(9);
}

static kvreg_status engine_destroy(const kvreg_engine_open *open, int64_t deadline) {
    CHECK(open->size >= sizeof *open && deadline > 0);
    return atomic_fetch_add(&engine_calls, 1) % 2 == 0 ? KVREG_OK : KVREG_NOT_FOUND;
}

static const kvreg_engine engine_of_misuse = {
    .size = sizeof engine_of_misuse,
    .abi = KVREG_ENGINE_ABI,
    .abilities = KVREG_ENGINE_EXCLUSIVE,
    .open = engine_open,
    .close = engine_close,
    .write = engine_write,
    .scan = engine_scan,
    .destroy = engine_destroy,
};

/* A URL, mostly of that engine. */
static const char *some_url(struct actor *me) {
    static const char *const wrong[] = {"file:x?sync=never", "nothing:x", "no scheme", "", ":",
                                        "\xff", "A:b"};
    return once_in(me, 4) ? wrong[below(me, sizeof wrong / sizeof *wrong)] : "misuse:somewhere";
}

static void step_engine(struct actor *me, enum function function) {
    static const char *const paths[] = {"", "/none/of/this", "/dev/null", "/", "libm.so.6"};
    static kvreg_engine engines[8]; /* as they are for ever */
    switch (function) {
    case DO_engine_register: {
        const kvreg_engine *engine = &engine_of_misuse;
        unsigned one = below(me, 8);
        if (once_in(me, 2)) {
            engine = once_in(me, 4) ? NULL : &engines[one];
        }
        struct bytes scheme = some_name(me);
        if (once_in(me, 2)) scheme = (struct bytes){"misuse", 6};
        if (engine != &engine_of_misuse)
            CHECK(kvreg_engine_register(scheme.data, scheme.len, engine) != KVREG_OK);
        else if (scheme.len == 6)
            answer(me, function, kvreg_engine_register(scheme.data, scheme.len, engine));
        was_called(me, function);
        break;
    }
    case DO_engine_load:
        answer(me, function,
               kvreg_engine_load(paths[below(me, sizeof paths / sizeof *paths)], KVREG_NUL));
        was_called(me, function);
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

#endif
