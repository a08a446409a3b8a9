/* Misuse: who calls, what may be answered, and the pool of handles. */
#ifndef MISUSE_ACTOR_H
#define MISUSE_ACTOR_H

#include <pthread.h>
#include <stdatomic.h>

#include "../check.h"
#include "names.h"

enum kind { REGISTRY, BUCKET, UPDATE, ITEMS, INBOX, LISTENER, SERVER, TURN, REPLY, KINDS };
enum { THREADS = 2, SLOTS = 12, UPDATES = 3, STASH = 4, STATUSES = KVREG_TOO_SMALL + 1 };
enum { BIG = 70000 };

#define AS_ENUM(name) DO_##name,
#define AS_TEXT(name) "kvreg_" #name,
enum function { FUNCTIONS(AS_ENUM) COUNT };
static const char *const function_names[COUNT] = {FUNCTIONS(AS_TEXT)};

static unsigned long calls = 10000000;
static uint64_t seed;

/* Handles as numbers, by kind. A slot keeps its handle after it was freed, to be misused. */
static _Atomic uintptr_t pool[KINDS][SLOTS];

static atomic_ulong answers[STATUSES];
static atomic_bool answered_ok[COUNT];
static atomic_bool ending;                /* callbacks do no more */
static atomic_ulong casts_sent, casts_destroyed;
static _Atomic uint64_t some_reference;

static char big[BIG + 1]; /* of 'x' */

/* Whose steps these are: a thread's, or those of a callback on one of the library's. */
struct actor {
    uint64_t random;
    int depth;
    int made_up;   /* handles of the current call that cannot be live */
    int strangers; /* handles of the current call that are, or were, of another kind */
    struct {
        kvreg_value value;
        uint64_t sum;
    } stash[STASH]; /* values kept for a while */
};

static void step(struct actor *me);

static uint64_t next_random(struct actor *me) {
    uint64_t mixed = me->random += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

static unsigned below(struct actor *me, unsigned limit) {
    return (unsigned)((next_random(me) >> 32) * limit >> 32);
}

static bool once_in(struct actor *me, unsigned times) { return below(me, times) == 0; }

/* ---- What is answered ---- */

static void fail_with(enum function function, kvreg_status status, const char *what) {
    char text[128];
    snprintf(text, sizeof text, "%s: %d %s: %s", function_names[function], (int)status,
             kvreg_status_name(status), what);
    check_fail(__FILE__, __LINE__, text);
}

/* Takes note of an answer, which must be one that can be. */
static kvreg_status answer(struct actor *me, enum function function, kvreg_status status) {
    if (status < KVREG_OK || status > KVREG_TOO_SMALL)
        fail_with(function, status, "not a status");
    if (status == KVREG_INTERNAL || status == KVREG_FORKED || status == KVREG_SHUT_DOWN)
        fail_with(function, status, "cannot be meant");
    if (me->made_up > 0 && status != KVREG_BAD_HANDLE)
        fail_with(function, status, "for a handle that was made up");
    if (me->strangers > 0 && status != KVREG_BAD_HANDLE && status != KVREG_WRONG_KIND)
        fail_with(function, status, "for a handle of another kind");
    me->made_up = me->strangers = 0;
    atomic_fetch_add_explicit(&answers[status], 1, memory_order_relaxed);
    if (status == KVREG_OK &&
        !atomic_load_explicit(&answered_ok[function], memory_order_relaxed))
        atomic_store_explicit(&answered_ok[function], true, memory_order_relaxed);
    return status;
}

/* For functions that answer no status. */
static void was_called(struct actor *me, enum function function) {
    answer(me, function, KVREG_OK);
}


static kvreg_status free_handle(enum kind kind, void *handle) {
    switch (kind) {
    case REGISTRY:
        return kvreg_registry_free(handle);
    case BUCKET:
        return kvreg_bucket_free(handle);
    case UPDATE:
        return kvreg_update_free(handle);
    case ITEMS:
        return kvreg_items_free(handle);
    case LISTENER:
        return kvreg_listener_free(handle);
    case SERVER:
        return kvreg_server_free(handle);
    case TURN:
        return kvreg_turn_free(handle);
    case REPLY:
        return kvreg_reply_free(handle);
    default:
        return kvreg_inbox_free(handle);
    }
}

/* For what is freed beside the step's own call. */
static void free_quietly(enum kind kind, void *handle) {
    kvreg_status status = free_handle(kind, handle);
    CHECK(status == KVREG_OK || status == KVREG_BAD_HANDLE);
}

/* Few updates at a time, since each keeps a bucket busy, and few listeners. */
static unsigned slots_of(enum kind kind) {
    return kind == UPDATE || kind == LISTENER || kind == TURN ? UPDATES : SLOTS;
}

static int64_t short_timeout(struct actor *me) {
    switch (below(me, 64)) {
    case 0:
        return 2;
    case 1: case 2: case 3:
        return 1;
    default:
        return 0;
    }
}

/* Puts a new handle into the pool, and frees the one that was there. */
static void keep(struct actor *me, enum kind kind, void *handle) {
    kvreg_status status = KVREG_OK;
    if (kind == REGISTRY)
        status = kvreg_registry_set_timeout(handle, short_timeout(me));
    else if (kind == BUCKET)
        status = kvreg_bucket_set_timeout(handle, short_timeout(me));
    else if (kind == SERVER)
        status = kvreg_server_set_timeout(handle, short_timeout(me));
    CHECK(status == KVREG_OK || status == KVREG_BAD_HANDLE); /* guessed and freed: who knows */
    uintptr_t old = atomic_exchange_explicit(&pool[kind][below(me, slots_of(kind))],
                                             (uintptr_t)handle, memory_order_relaxed);
    free_quietly(kind, (void *)old);
}

static void *from_pool(struct actor *me, enum kind kind) {
    unsigned slot = below(me, slots_of(kind));
    return (void *)atomic_load_explicit(&pool[kind][slot], memory_order_relaxed);
}

/* Some handle for a parameter of this kind. */
static void *pick(struct actor *me, enum kind kind) {
    static int an_object;
    uintptr_t bits;
    void *handle;
    unsigned choice = below(me, 128);
    if (choice < 108) {
        handle = from_pool(me, kind);
        me->made_up += handle == NULL;
        return handle;
    }
    if (choice < 116) {
        enum kind other = (enum kind)((kind + 1 + below(me, KINDS - 1)) % KINDS);
        handle = from_pool(me, other);
        if (handle == NULL)
            me->made_up++;
        else
            me->strangers++;
        return handle;
    }
    if (choice < 118) /* one bit is wrong: this may happen to be another live handle */
        return (void *)((uintptr_t)from_pool(me, kind) ^ (uintptr_t)1 << below(me, 64));
    me->made_up++;
    switch (choice) {
    case 118: case 119: case 120:
        return NULL;
    case 121: case 122:
        bits = (uintptr_t)next_random(me);
        break;
    case 123:
        bits = below(me, 256);
        break;
    case 124:
        bits = (uintptr_t)me; /* of the stack, or of the heap in a callback */
        break;
    case 125:
        bits = (uintptr_t)&an_object;
        break;
    case 126:
        bits = (uintptr_t)big;
        break;
    default:
        bits = UINTPTR_MAX;
    }
    return (void *)bits;
}

#endif
