/*
 * Four threads create, look up, stop and kill the same ten names.
 *
 * Every bucket gets an identity: the first thread that sees it stores a fresh number under
 * "id", by an update, and it is never changed. So a thread can tell whether the bucket it finds
 * under a name is one of which it knows that it ended; that must never be (G5). A bucket that
 * is found but cannot be asked, because it has ended, must have ended while it was looked for:
 * calls that may end a bucket of a name are counted before and after, and when none was going
 * on from before the lookup to the answer, the bucket that was found had ended long before.
 *
 * Every monitor must give exactly one DOWN with its own reference (G4), and what was started
 * must be what ended and what is left.
 *
 * Usage: stress_names [OPERATIONS]
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { THREADS = 4, NAMES = 10, PATIENCE_MS = 30000 };

static unsigned long operations;
static kvreg_registry *registry;

static _Atomic int64_t newest_id; /* identities are given out upward from 1 */

/* Calls that may end the bucket of a name: how many began, how many returned. */
static struct {
    atomic_ulong begun;
    atomic_ulong returned;
} ends[NAMES];

/* One monitor. */
struct watch {
    uint64_t reference;
    int64_t id; /* of the bucket; 0: it ended before anybody could ask */
    int name;
    bool used;
    bool started; /* this thread's KVREG_CREATE_EXCLUSIVE started the bucket */
    bool stored;  /* this thread gave the bucket its identity */
    bool down;    /* the DOWN came */
};

struct worker {
    pthread_t thread;
    uint64_t random;
    unsigned long steps;
    kvreg_inbox *inbox;
    struct {
        kvreg_bucket *bucket;
        int64_t id;
    } held[NAMES];
    struct watch *watches; /* a hash table by reference */
    size_t mask;
    unsigned long monitors, downs, started, stored, checked, decided;
};

static struct worker workers[THREADS];

static uint64_t next_random(struct worker *me) {
    me->random ^= me->random << 13;
    me->random ^= me->random >> 7;
    me->random ^= me->random << 17;
    return me->random >> 11;
}

static const char *name_of(int name) {
    static const char *const names[NAMES] = {"zero", "one", "two",   "three", "four",
                                             "five", "six", "seven", "eight", "nine"};
    return names[name];
}

static bool is_gone(kvreg_status status) {
    return status == KVREG_NO_PROCESS || status == KVREG_SERVER_DOWN;
}

struct identity {
    int64_t id;
    bool stored;
};

static kvreg_verdict identify_once(void *user_data, const kvreg_value *current,
                                   kvreg_value *next) {
    struct identity *identity = user_data;
    if (current != NULL) {
        CHECK(current->type == KVREG_INT);
        identity->id = current->as.integer;
        return KVREG_KEEP;
    }
    identity->id = atomic_fetch_add(&newest_id, 1) + 1;
    identity->stored = true;
    *next = kvreg_int(identity->id);
    return KVREG_STORE;
}

/* The identity of a bucket, given to it if it has none; id 0 if it has ended. */
static struct identity identify(kvreg_bucket *bucket) {
    struct identity identity = {0};
    OK(kvreg_bucket_set_timeout(bucket, -1));
    kvreg_status status = kvreg_bucket_update(bucket, "id", 2, identify_once, &identity);
    if (is_gone(status)) {
        identity.id = 0;
        identity.stored = false;
    } else {
        OK(status);
        CHECK(identity.id != 0);
    }
    return identity;
}

/* The place of a reference: where it is, or where it belongs. */
static struct watch *place(struct worker *me, uint64_t reference) {
    size_t at = (size_t)(reference * 0x9e3779b97f4a7c15u >> 20) & me->mask;
    while (me->watches[at].used && me->watches[at].reference != reference)
        at = (at + 1) & me->mask;
    return &me->watches[at];
}

static struct watch *monitor(struct worker *me, int name, kvreg_bucket *bucket) {
    uint64_t reference;
    OK(kvreg_inbox_monitor(me->inbox, bucket, &reference));
    struct watch *watch = place(me, reference);
    CHECK(!watch->used); /* each monitor has a reference of its own */
    watch->used = true;
    watch->reference = reference;
    watch->name = name;
    me->monitors++;
    return watch;
}

/* A bucket of this name has ended (its identity, if known: else 0): it must not be found. */
static void check_gone(struct worker *me, int name, int64_t id) {
    kvreg_bucket *bucket;
    int64_t found;
    /* In this order: if both are equal, no call was going on when `begun` was read. */
    unsigned long returned = atomic_load(&ends[name].returned);
    unsigned long begun = atomic_load(&ends[name].begun);
    kvreg_status status = kvreg_registry_lookup(registry, name_of(name), KVREG_NUL, &bucket);
    me->checked++;
    if (status == KVREG_NOT_FOUND) {
        me->decided++;
        return;
    }
    OK(status);
    status = kvreg_bucket_get_int(bucket, "id", 2, &found);
    bool quiet = returned == begun && atomic_load(&ends[name].begun) == begun;
    if (status == KVREG_OK) {
        CHECK(found != id);
        me->decided++;
    } else if (status == KVREG_NOT_FOUND) {
        me->decided++; /* a newer one: the old one's identity was never taken away */
    } else {
        CHECK(is_gone(status));
        CHECK(!quiet); /* else it had ended before it was looked up */
    }
    me->decided += is_gone(status) && quiet;
    OK(kvreg_bucket_free(bucket));
}

/* A DOWN: of a monitor of this thread, and the first of it. */
static struct watch *take_down(struct worker *me, const kvreg_event *event) {
    CHECK(event->type == KVREG_EVENT_DOWN);
    struct watch *watch = place(me, event->reference);
    CHECK(watch->used);
    CHECK(!watch->down);
    CHECK(strcmp(event->name.data, name_of(watch->name)) == 0);
    CHECK(event->name.len == strlen(event->name.data));
    watch->down = true;
    me->downs++;
    return watch;
}

static void receive_what_came(struct worker *me) {
    kvreg_event event;
    kvreg_status status;
    while ((status = kvreg_inbox_receive(me->inbox, 0, &event)) == KVREG_OK) {
        struct watch *watch = take_down(me, &event);
        CHECK(event.reason == KVREG_REASON_NORMAL || event.reason == KVREG_REASON_KILLED ||
              event.reason == KVREG_REASON_NOPROC);
        check_gone(me, watch->name, watch->id);
        kvreg_event_clear(&event);
    }
    IS(KVREG_TIMEOUT, status);
}

/* Keeps the bucket that a creation or a lookup gave, after having asked who it is. */
static void hold(struct worker *me, int name, kvreg_bucket *bucket, bool started,
                 int64_t newest_before) {
    /* Sometimes it is monitored before, sometimes after, so that some have ended by then. */
    struct watch *watch = NULL;
    if (started || next_random(me) % 8 == 0)
        watch = monitor(me, name, bucket);
    struct identity identity = identify(bucket);
    if (identity.id == 0) {
        check_gone(me, name, 0);
    } else if (started) {
        CHECK(identity.id > newest_before); /* what was just started is no older bucket */
    }
    if (watch == NULL && (identity.stored || next_random(me) % 8 == 0))
        watch = monitor(me, name, bucket);
    if (watch != NULL) {
        watch->id = identity.id;
        watch->started = started;
        watch->stored = identity.stored;
    }
    me->started += started;
    me->stored += identity.stored;
    OK(kvreg_bucket_free(me->held[name].bucket)); /* NULL is fine */
    me->held[name].bucket = bucket;
    me->held[name].id = identity.id;
}

static void create(struct worker *me, int name, uint32_t flags) {
    kvreg_bucket *bucket;
    int64_t newest = atomic_load(&newest_id);
    kvreg_status status =
        kvreg_registry_create(registry, name_of(name), KVREG_NUL, flags, &bucket);
    if (flags == KVREG_CREATE_EXCLUSIVE && status == KVREG_ALREADY_STARTED) {
        CHECK(bucket == NULL);
        return;
    }
    OK(status);
    hold(me, name, bucket, flags == KVREG_CREATE_EXCLUSIVE, newest);
}

static void look_up(struct worker *me, int name) {
    kvreg_bucket *bucket;
    kvreg_status status = kvreg_registry_lookup(registry, name_of(name), KVREG_NUL, &bucket);
    if (status == KVREG_NOT_FOUND) {
        CHECK(bucket == NULL);
        return;
    }
    OK(status);
    hold(me, name, bucket, false, 0);
}

/* Ends the bucket that is held, which may be none or have ended. */
static void end(struct worker *me, int name, bool kill) {
    kvreg_bucket *bucket = me->held[name].bucket;
    if (bucket == NULL) {
        look_up(me, name);
        bucket = me->held[name].bucket;
        if (bucket == NULL)
            return;
    }
    atomic_fetch_add(&ends[name].begun, 1);
    kvreg_status status =
        kill ? kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0) : kvreg_bucket_stop(bucket);
    atomic_fetch_add(&ends[name].returned, 1);
    CHECK(status == KVREG_OK || is_gone(status));
    check_gone(me, name, me->held[name].id);
    if (next_random(me) % 2 == 0) { /* else a later call is made on what has ended */
        OK(kvreg_bucket_free(bucket));
        me->held[name].bucket = NULL;
    }
}

static void use(struct worker *me, int name) {
    kvreg_bucket *bucket = me->held[name].bucket;
    if (bucket == NULL)
        return;
    kvreg_status status = kvreg_bucket_put_int(bucket, "n", 1, 1);
    if (is_gone(status))
        check_gone(me, name, me->held[name].id);
    else
        OK(status);
}

static void *work(void *worker) {
    struct worker *me = worker;
    for (unsigned long i = 0; i < me->steps; i++) {
        int name = (int)(next_random(me) % NAMES);
        switch (next_random(me) % 16) {
        case 0: case 1: case 2:
            create(me, name, 0);
            break;
        case 3: case 4: case 5:
            create(me, name, KVREG_CREATE_EXCLUSIVE);
            break;
        case 6: case 7: case 8: case 9:
            look_up(me, name);
            break;
        case 10: case 11: case 12:
            end(me, name, false);
            break;
        case 13: case 14:
            end(me, name, true);
            break;
        default:
            use(me, name);
        }
        if (i % 8 == 0)
            receive_what_came(me);
    }
    for (int name = 0; name < NAMES; name++)
        OK(kvreg_bucket_free(me->held[name].bucket));
    return NULL;
}

static int64_t alive[NAMES]; /* identities; 0: the name is free */

static bool is_alive(int64_t id) {
    for (int name = 0; name < NAMES; name++) {
        if (id != 0 && alive[name] == id)
            return true;
    }
    return false;
}

/* What is left under the names, which nobody ends any more; gives how many got their identity
 * only now. */
static unsigned long take_stock(void) {
    size_t found = 0, count, listed = 0;
    unsigned long stored = 0;
    kvreg_items *names;
    kvreg_value name;
    for (int i = 0; i < NAMES; i++) {
        kvreg_bucket *bucket;
        kvreg_status status =
            kvreg_registry_lookup(registry, name_of(i), KVREG_NUL, &bucket);
        if (status == KVREG_NOT_FOUND)
            continue;
        OK(status);
        struct identity identity = identify(bucket);
        CHECK(identity.id != 0);
        alive[i] = identity.id;
        stored += identity.stored;
        found++;
        OK(kvreg_bucket_free(bucket));
    }
    OK(kvreg_registry_count(registry, &count));
    CHECK(count == found);
    OK(kvreg_registry_names(registry, &names));
    while (kvreg_items_next(names, &name, NULL) == KVREG_OK) {
        listed++;
        kvreg_value_clear(&name);
    }
    OK(kvreg_items_free(names));
    CHECK(listed == found);
    return stored;
}

/* Receives so many DOWNs, however long they take. */
static void receive_downs(struct worker *me, unsigned long count) {
    for (; count > 0; count--) {
        kvreg_event event;
        OK(kvreg_inbox_receive(me->inbox, PATIENCE_MS, &event));
        take_down(me, &event);
        kvreg_event_clear(&event);
    }
}

static void ten_names_four_threads(void) {
    unsigned long monitors = 0, downs = 0, checked = 0, decided = 0;
    unsigned long started = 0, started_ended = 0, started_alive = 0;
    unsigned long stored = 0, stored_ended = 0, stored_alive = 0;
    size_t capacity = 64;
    kvreg_event event;

    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, -1));
    while (capacity < operations / THREADS * 2)
        capacity *= 2;
    for (int i = 0; i < THREADS; i++) {
        struct worker *me = &workers[i];
        me->random = 0x2545f4914f6cdd1du * (uint64_t)(i + 1);
        me->steps = operations / THREADS + ((unsigned long)i < operations % THREADS);
        me->mask = capacity - 1;
        me->watches = calloc(capacity, sizeof *me->watches);
        CHECK(me->watches != NULL);
        OK(kvreg_inbox_open(&me->inbox));
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(workers[i].thread, NULL) == 0);

    unsigned long late = take_stock();
    for (int i = 0; i < THREADS; i++) {
        struct worker *me = &workers[i];
        unsigned long waiting = 0, of_living = 0;
        for (size_t at = 0; at <= me->mask; at++) {
            const struct watch *watch = &me->watches[at];
            if (watch->used && !watch->down && !is_alive(watch->id))
                waiting++;
        }
        /* Every monitor of a bucket that ended gives its DOWN, and no other one does. */
        receive_downs(me, waiting);
        IS(KVREG_TIMEOUT, kvreg_inbox_receive(me->inbox, 0, &event));
        for (size_t at = 0; at <= me->mask; at++) {
            const struct watch *watch = &me->watches[at];
            if (!watch->used)
                continue;
            CHECK(watch->down != is_alive(watch->id));
            of_living += !watch->down;
            started_ended += watch->started && watch->down;
            started_alive += watch->started && !watch->down;
            stored_ended += watch->stored && watch->down;
            stored_alive += watch->stored && !watch->down;
        }
        CHECK(me->downs + of_living == me->monitors);
        started += me->started;
        stored += me->stored;
    }
    unsigned long left = 0;
    for (int name = 0; name < NAMES; name++)
        left += alive[name] != 0;
    CHECK(started == started_ended + started_alive);
    CHECK(stored == stored_ended + stored_alive);
    CHECK(stored + late == stored_ended + left);

    /* The end of the registry is that of the rest. */
    OK(kvreg_registry_stop(registry));
    for (int i = 0; i < THREADS; i++) {
        struct worker *me = &workers[i];
        receive_downs(me, me->monitors - me->downs);
        IS(KVREG_TIMEOUT, kvreg_inbox_receive(me->inbox, 20, &event));
        monitors += me->monitors;
        downs += me->downs;
        checked += me->checked;
        decided += me->decided;
        OK(kvreg_inbox_free(me->inbox));
        free(me->watches);
    }
    CHECK(downs == monitors);
    OK(kvreg_registry_free(registry));
    printf("%lu operations; %lu buckets started for sure, %lu identified: %lu ended, %lu left\n",
           operations, started, stored + late, stored_ended, left);
    printf("%lu monitors, %lu DOWNs; %lu times looked for what had ended, %lu decided\n",
           monitors, downs, checked, decided);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static const test tests[] = {TEST(ten_names_four_threads)};
    operations = argc > 1 ? strtoul(argv[1], NULL, 10) : check_scaled(100000);
    return check_run(tests, sizeof tests / sizeof *tests);
}
