/*
 * Buckets that call each other in a circle, from callbacks on different threads (G8): somebody
 * is told CALLING_SELF, and nobody waits out a timeout: the handles here wait for ever.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#include "check.h"

enum { MOST = 10 };

static kvreg_registry *registry;
static pthread_barrier_t all_inside;

/* What a callback asks of the next bucket of the circle. */
typedef kvreg_status (*request)(kvreg_bucket *next);

typedef struct member {
    pthread_t thread;
    kvreg_bucket *bucket, *next;
    request ask;
    kvreg_status answer;
} member;

static kvreg_status put(kvreg_bucket *next) { return kvreg_bucket_put_int(next, "k", 1, 1); }

static kvreg_status stop(kvreg_bucket *next) { return kvreg_bucket_stop(next); }

static kvreg_verdict keep(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    return KVREG_KEEP;
}

static kvreg_status update(kvreg_bucket *next) {
    return kvreg_bucket_update(next, "k", 1, keep, NULL);
}

/* A read that has to wait for the thread's own cast. */
static kvreg_status read_own_cast(kvreg_bucket *next) {
    int64_t number;
    kvreg_value value = kvreg_int(1);
    OK(kvreg_bucket_put_cast(next, "k", 1, &value));
    return kvreg_bucket_get_int(next, "k", 1, &number);
}

static kvreg_verdict inside(void *data, const kvreg_value *current, kvreg_value *next) {
    member *me = data;
    (void)current, (void)next;
    pthread_barrier_wait(&all_inside);
    me->answer = me->ask(me->next);
    return KVREG_KEEP;
}

static void *run(void *data) {
    member *me = data;
    kvreg_status status = kvreg_bucket_update(me->bucket, "k", 1, inside, me);
    CHECK(status == KVREG_OK || status == KVREG_SERVER_DOWN);
    return NULL;
}

static void circle(unsigned count, request ask) {
    member members[MOST];
    unsigned told = 0;
    OK(kvreg_registry_start(NULL, &registry));
    CHECK(pthread_barrier_init(&all_inside, NULL, count) == 0);
    for (unsigned i = 0; i < count; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        OK(kvreg_registry_create(registry, name, 1, 0, &members[i].bucket));
        OK(kvreg_bucket_set_timeout(members[i].bucket, -1));
        members[i].ask = ask;
    }
    for (unsigned i = 0; i < count; i++)
        members[i].next = members[(i + 1) % count].bucket;
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_create(&members[i].thread, NULL, run, &members[i]) == 0);
    for (unsigned i = 0; i < count; i++) {
        CHECK(pthread_join(members[i].thread, NULL) == 0);
        if (members[i].answer == KVREG_CALLING_SELF)
            told++;
        else /* the one it waited for went on, or was stopped */
            CHECK(members[i].answer == KVREG_OK);
    }
    CHECK(told >= 1);
    for (unsigned i = 0; i < count; i++)
        OK(kvreg_bucket_free(members[i].bucket));
    OK(kvreg_registry_free(registry));
    pthread_barrier_destroy(&all_inside);
}

static void in_every_way(request ask) {
    /* Few under valgrind, where threads take turns. */
    unsigned long rounds = check_count(25000) / 250;
    for (unsigned long round = 0; round < rounds; round++) {
        circle(2, ask);
        circle(3, ask);
        circle(MOST, ask);
    }
}

static void g8_of_one(void) {
    circle(1, put);
    circle(1, update);
    circle(1, stop);
}

static void g8_of_calls(void) { in_every_way(put); }
static void g8_of_updates(void) { in_every_way(update); }
static void g8_of_stops(void) { in_every_way(stop); }
static void g8_of_reads_that_wait_for_own_casts(void) { in_every_way(read_own_cast); }

static kvreg_verdict stop_all(void *data, const kvreg_value *current, kvreg_value *next) {
    kvreg_event event;
    kvreg_inbox *inbox = data;
    (void)current, (void)next;
    IS(KVREG_CALLING_SELF, kvreg_registry_stop(registry));
    IS(KVREG_CALLING_SELF, kvreg_shutdown(-1));
    IS(KVREG_CALLING_SELF, kvreg_inbox_receive(inbox, -1, &event));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    return KVREG_STORE;
}

/* From the calling thread, and from one of the library's. */
static void g8_through_the_registry_the_inbox_and_shutdown(void) {
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    kvreg_value value;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, &bucket));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_update(bucket, "now", 3, stop_all, inbox));
    OK(kvreg_bucket_update_cast(bucket, "later", 5, stop_all, inbox, NULL));
    OK(kvreg_bucket_get(bucket, "now", 3, &value)); /* waits for the cast */
    OK(kvreg_bucket_get(bucket, "later", 5, &value));
    CHECK(value.type == KVREG_NIL);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

static const test tests[] = {
    TEST(g8_of_one), TEST(g8_of_calls), TEST(g8_of_updates), TEST(g8_of_stops), TEST(g8_of_reads_that_wait_for_own_casts),
    TEST(g8_through_the_registry_the_inbox_and_shutdown),
};
CHECK_MAIN(tests)
