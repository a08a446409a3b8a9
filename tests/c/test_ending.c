/* What those who end a server find when their call returns, several of them at once. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "check.h"

static kvreg_registry *registry;
static kvreg_bucket *bucket;
static atomic_ulong begun, ended;
static unsigned long rounds;

static uint64_t live_buckets(void) {
    kvreg_live live = kvreg_live_init();
    OK(kvreg_live_counts(&live));
    return live.buckets;
}

static void exit_it(void) {
    kvreg_status status = kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0);
    CHECK(status == KVREG_OK || status == KVREG_NO_PROCESS);
    CHECK(live_buckets() == 0);
}

static void stop_it(void) {
    kvreg_status status = kvreg_bucket_stop(bucket);
    CHECK(status == KVREG_OK || status == KVREG_NO_PROCESS || status == KVREG_SERVER_DOWN);
    CHECK(live_buckets() == 0);
}

static void remove_it(void) {
    kvreg_status status = kvreg_registry_remove(registry, "b", 1);
    CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND);
    /* Names go first: where there is none, the other thread may be about to count it no more. */
    CHECK(status == KVREG_NOT_FOUND || live_buckets() == 0);
}

static void (*other_way)(void);

static void *other_thread(void *unused) {
    for (unsigned long round = 1; round <= rounds; round++) {
        while (atomic_load(&begun) != round) sched_yield();
        other_way();
        atomic_store(&ended, round);
    }
    return unused;
}

/* Ends a bucket in two ways at once, again and again. */
static void race(void (*mine)(void), void (*others)(void)) {
    pthread_t thread;
    rounds = check_count(2000);
    other_way = others;
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
    OK(kvreg_registry_start(NULL, &registry));
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    for (unsigned long round = 1; round <= rounds; round++) {
        OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
        atomic_store(&begun, round);
        mine();
        while (atomic_load(&ended) != round) sched_yield();
        OK(kvreg_bucket_free(bucket));
    }
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_registry_free(registry));
}

static void an_ended_bucket_is_counted_no_more(void) {
    race(exit_it, exit_it);
    race(stop_it, exit_it);
    race(stop_it, stop_it);
    race(remove_it, stop_it);
    race(remove_it, exit_it);
}

static atomic_ulong removed;

static void remove_and_count(void) {
    kvreg_status status = kvreg_registry_remove(registry, "b", 1);
    CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND);
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, "b", 1, &(kvreg_bucket *){NULL}));
    atomic_fetch_add(&removed, status == KVREG_OK);
}

static void one_of_two_who_remove_a_bucket_is_told_so(void) {
    atomic_store(&removed, 0);
    race(remove_and_count, remove_and_count);
    CHECK(atomic_load(&removed) == rounds);
}

static const test tests[] = {
    TEST(an_ended_bucket_is_counted_no_more),
    TEST(one_of_two_who_remove_a_bucket_is_told_so),
};

CHECK_MAIN(tests)
