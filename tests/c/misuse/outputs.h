/* Misuse: outputs that were poisoned before, and what callbacks do. */
#ifndef MISUSE_OUTPUTS_H
#define MISUSE_OUTPUTS_H

#include "arguments.h"

static kvreg_value poisoned(void) {
    kvreg_value value;
    memset(&value, 0xa5, sizeof value);
    return value;
}

static uint64_t sum_of(const kvreg_value *value) {
    uint64_t sum = value->type;
    if (value->type == KVREG_STRING || value->type == KVREG_BYTES) {
        size_t len = value->as.text.len;
        const uint8_t *data = value->as.text.data;
        CHECK(len <= BIG + 6); /* a reply to GET has "\r\nOK\r\n" too */
        CHECK(data[len] == 0); /* the NUL that does not count */
        for (size_t i = 0; i < len; i += 1 + len / 64)
            sum = sum * 31 + data[i];
    } else {
        CHECK(value->type <= KVREG_FLOAT || value->type == KVREG_ABSENT);
        sum = sum * 31 + (uint64_t)(value->type == KVREG_BOOL ? value->as.boolean
                                                               : value->as.integer);
    }
    return sum;
}

/* A value that was read, or would have been: it is looked at, kept for a while, cleared. */
static void read_value(struct actor *me, kvreg_status status, kvreg_value *value,
                       const kvreg_value *output) {
    if (output == NULL)
        return; /* it was not asked for */
    if (status != KVREG_OK) {
        CHECK(value->type == KVREG_NIL);
    } else if (once_in(me, 2)) {
        unsigned place = below(me, STASH);
        kvreg_value *old = &me->stash[place].value;
        CHECK(sum_of(old) == me->stash[place].sum); /* G13 */
        kvreg_value_clear(old);
        *old = *value; /* moved: the copy is cleared, this one is not */
        me->stash[place].sum = sum_of(old);
        return;
    } else {
        (void)sum_of(value);
    }
    kvreg_value_clear(value);
    CHECK(value->type == KVREG_NIL);
    if (once_in(me, 4))
        kvreg_value_clear(value); /* twice is fine */
}

static void clear_stash(struct actor *me) {
    for (int i = 0; i < STASH; i++) {
        CHECK(sum_of(&me->stash[i].value) == me->stash[i].sum);
        kvreg_value_clear(&me->stash[i].value);
    }
}

/* A call whose output, `*out`, is a handle. */
#define MAKE(function, kind, type, call) \
    do { \
        type *made = (type *)(uintptr_t)0xdead; \
        type **out = OUTPUT(&made); \
        kvreg_status made_status = answer(me, function, call); \
        if (out == NULL) \
            made = NULL; \
        if (made_status != KVREG_OK) \
            CHECK(made == NULL); \
        if (made != NULL) \
            keep(me, kind, made); \
    } while (0)

/* A call whose output, `out`, is a value. */
#define READ(function, call) \
    do { \
        kvreg_value read = poisoned(); \
        kvreg_value *out = OUTPUT(&read); \
        kvreg_status read_status = answer(me, function, call); \
        read_value(me, read_status, &read, out); \
    } while (0)

/* NULL may be freed, so it is not as bad as other made up handles. */
static void *pick_to_free(struct actor *me, enum kind kind) {
    void *handle = pick(me, kind);
    if (handle == NULL)
        me->made_up = 0;
    return handle;
}

/* ---- Callbacks ---- */

static kvreg_verdict decide(struct actor *me, const kvreg_value *current, kvreg_value *next) {
    CHECK(next != NULL && next->type == KVREG_NIL);
    if (current != NULL)
        (void)sum_of(current);
    if (me->depth < 2 && !atomic_load_explicit(&ending, memory_order_relaxed)) {
        /* What the current call had picked is not what the calls in here pick. */
        int made_up = me->made_up;
        int strangers = me->strangers;
        me->made_up = me->strangers = 0;
        me->depth++;
        for (unsigned i = below(me, 3); i > 0; i--)
            step(me);
        me->depth--;
        me->made_up = made_up;
        me->strangers = strangers;
    }
    struct bytes text = some_text(me);
    switch (below(me, 4)) {
    case 0:
        *next = some_value(me);
        break;
    case 1:
        if (current != NULL)
            *next = *current;
        break;
    case 2:
        if (once_in(me, 2))
            next->type = KVREG_BYTES;
        if (kvreg_value_copy_text(next, text.data, text.len) != KVREG_OK)
            *next = kvreg_nil();
        break;
    default:
        break;
    }
    if (once_in(me, 8))
        return some_number(me, KVREG_UNHANDLED + 1);
    return (kvreg_verdict)below(me, KVREG_CRASH); /* crashes are rarer */
}

static kvreg_verdict on_update(void *user_data, const kvreg_value *current, kvreg_value *next) {
    return decide(user_data, current, next);
}

/* A cast has an actor of its own, which `destroy` ends. */
static void on_destroy(void *user_data) {
    struct actor *me = user_data;
    if (once_in(me, 8) && !atomic_load_explicit(&ending, memory_order_relaxed)) {
        me->depth = 2;
        me->made_up = me->strangers = 0;
        step(me);
    }
    clear_stash(me);
    free(me);
    atomic_fetch_add(&casts_destroyed, 1);
}

/* For casts without `destroy`. */
static kvreg_verdict on_plain_cast(void *user_data, const kvreg_value *current,
                                   kvreg_value *next) {
    (void)current;
    *next = kvreg_string(user_data, 600);
    return KVREG_STORE;
}

static struct actor *new_actor(struct actor *me) {
    struct actor *actor = calloc(1, sizeof *actor);
    CHECK(actor != NULL);
    actor->random = next_random(me);
    actor->depth = me->depth + 1;
    return actor;
}

#endif
