/*
 * What timed out was withdrawn and never runs (G7): 100,000 calls with tiny deadlines against
 * buckets that are busy. Those answered OK account for every change, those answered TIMEOUT
 * for none.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "check.h"

enum { CALLERS = 3, CALLS = 99999, STOPS = 3000 };

static atomic_bool done;

static kvreg_verdict keep_busy(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)current, (void)next;
    for (volatile int i = 0; i < *(const int *)data; i = i + 1) {
    }
    return KVREG_KEEP;
}

static kvreg_verdict add_one(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    *next = kvreg_int(current != NULL ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

static kvreg_bucket *busy;

/* Holds the turn most of the time, itself or by casts. */
static void *hold(void *data) {
    static const int shortly = 300, long_ = 100000;
    for (int i = 0; !atomic_load(&done); i++) {
        OK(kvreg_bucket_update(busy, "", 0, keep_busy, (void *)(i % 8 == 0 ? &long_ : &shortly)));
        if (i % 16 == 0)
            OK(kvreg_bucket_update_cast(busy, "", 0, keep_busy, (void *)&shortly, NULL));
    }
    return data;
}

typedef struct caller {
    pthread_t thread;
    kvreg_bucket *bucket;
    char key[2];
    long calls, ok, timeout;
} caller;

static atomic_int refused;

static void *call(void *data) {
    caller *me = data;
    /* The turn is held until each caller has been refused once. */
    OK(kvreg_bucket_set_timeout(me->bucket, 0));
    IS(KVREG_TIMEOUT, kvreg_bucket_update(me->bucket, me->key, 1, add_one, NULL));
    me->timeout++;
    atomic_fetch_add(&refused, 1);
    for (long i = 1; i < me->calls; i++) {
        kvreg_status status;
        OK(kvreg_bucket_set_timeout(me->bucket, i % 4 == 0));
        if (i % 2 == 0)
            status = kvreg_bucket_update(me->bucket, me->key, 1, add_one, NULL);
        else
            status = kvreg_bucket_put_int(me->bucket, "put", 3, i);
        CHECK(status == KVREG_OK || status == KVREG_TIMEOUT);
        me->timeout += status == KVREG_TIMEOUT;
        me->ok += status == KVREG_OK && i % 2 == 0;
    }
    return NULL;
}

static void g7_withdrawn_calls_never_run(void) {
    caller callers[CALLERS];
    pthread_t holder;
    long timeouts = 0;
    atomic_store(&done, false);
    kvreg_update *update;
    OK(kvreg_bucket_start(&busy));
    OK(kvreg_bucket_set_timeout(busy, -1)); /* the holder's; each caller has its own */
    OK(kvreg_bucket_update_begin(busy, "k", 1, NULL, &update));
    CHECK(pthread_create(&holder, NULL, hold, NULL) == 0);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.key = {(char)('a' + i), 0}};
        callers[i].calls = (long)check_count(CALLS) / CALLERS;
        OK(kvreg_bucket_clone(busy, &callers[i].bucket));
        CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0);
    }
    while (atomic_load(&refused) < CALLERS)
        sched_yield();
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_join(callers[i].thread, NULL) == 0);
    atomic_store(&done, true);
    CHECK(pthread_join(holder, NULL) == 0);
    OK(kvreg_bucket_update(busy, "", 0, add_one, NULL)); /* after all that was queued */
    for (int i = 0; i < CALLERS; i++) {
        int64_t changes = 0;
        kvreg_status status = kvreg_bucket_get_int(busy, callers[i].key, 1, &changes);
        CHECK(status == KVREG_OK || (status == KVREG_NOT_FOUND && callers[i].ok == 0));
        CHECK(changes == callers[i].ok);
        timeouts += callers[i].timeout;
        OK(kvreg_bucket_free(callers[i].bucket));
    }
    printf("%ld of %lu calls timed out\n", timeouts, check_count(CALLS));
    CHECK(timeouts >= CALLERS);
    OK(kvreg_bucket_free(busy));
}

static void *stop(void *data) {
    kvreg_status *status = data;
    *status = kvreg_bucket_stop(busy);
    return NULL;
}

/* A stop that timed out stops nothing, also when the turn is free again. */
static void g7_withdrawn_stops_never_stop(void) {
    long stopped = 0, timeouts = 0;
    for (unsigned long round = 0; round < check_count(STOPS); round++) {
        static const int shortly = 1000;
        kvreg_update *update;
        kvreg_status status = KVREG_INTERNAL;
        pthread_t stopper;
        int64_t number;
        OK(kvreg_bucket_start(&busy));
        OK(kvreg_bucket_put_int(busy, "k", 1, 1));
        OK(kvreg_bucket_set_timeout(busy, (int64_t)(round % 2)));
        OK(kvreg_bucket_update_begin(busy, "k", 1, NULL, &update));
        CHECK(pthread_create(&stopper, NULL, stop, &status) == 0);
        if (round % 4 < 3) {
            CHECK(pthread_join(stopper, NULL) == 0); /* the turn is held: it has to give up */
            OK(kvreg_update_end(update, KVREG_KEEP, NULL));
        } else {
            for (volatile int i = 0; i < shortly; i = i + 1) {
            }
            OK(kvreg_update_end(update, KVREG_KEEP, NULL));
            CHECK(pthread_join(stopper, NULL) == 0);
        }
        CHECK(status == KVREG_OK || status == KVREG_TIMEOUT);
        stopped += status == KVREG_OK;
        timeouts += status == KVREG_TIMEOUT;
        OK(kvreg_bucket_set_timeout(busy, -1));
        IS(status == KVREG_OK ? KVREG_NO_PROCESS : KVREG_OK,
           kvreg_bucket_get_int(busy, "k", 1, &number));
        OK(kvreg_bucket_free(busy));
    }
    printf("%ld stops, %ld timed out\n", stopped, timeouts);
    CHECK(timeouts > 0);
}

/* Timeout 0: for those who must never wait. */
static void g7_without_time_nothing_is_waited_for(void) {
    static const int long_ = 1000;
    kvreg_update *update;
    OK(kvreg_bucket_start(&busy));
    OK(kvreg_bucket_set_timeout(busy, 0));
    OK(kvreg_bucket_update_begin(busy, "k", 1, NULL, &update));
    OK(kvreg_bucket_update_cast(busy, "k", 1, keep_busy, (void *)&long_, NULL));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    kvreg_status status = kvreg_bucket_put_int(busy, "k", 1, 1);
    CHECK(status == KVREG_TIMEOUT || status == KVREG_OK); /* the runtime may have been faster */
    OK(kvreg_bucket_set_timeout(busy, -1));
    OK(kvreg_bucket_put_int(busy, "k", 1, 2));
    OK(kvreg_bucket_set_timeout(busy, 0));
    OK(kvreg_bucket_put_int(busy, "k", 1, 3)); /* nothing to wait for */
    OK(kvreg_bucket_free(busy));
}

#ifdef __linux__
/* In the place of the C library's. */
static _Thread_local unsigned long yields;

int sched_yield(void) {
    yields++;
    return (int)syscall(SYS_sched_yield);
}

static atomic_bool is_held, is_tried;

static void *hold_once(void *data) {
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(busy, "k", 1, NULL, &update));
    atomic_store(&is_held, true);
    while (!atomic_load(&is_tried)) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    OK(kvreg_update_free(update));
    return data;
}

/* An event loop that tries at many buckets, all of them held, goes on at once. */
static void without_time_the_processor_is_kept(void) {
    pthread_t other;
    kvreg_update *update = NULL;
    OK(kvreg_bucket_start(&busy));
    CHECK(pthread_create(&other, NULL, hold_once, NULL) == 0);
    check_patience patience = check_patiently();
    while (!atomic_load(&is_held)) CHECK(check_go_on(&patience));
    OK(kvreg_bucket_set_timeout(busy, 0));
    yields = 0;
    for (int i = 0; i < 1000; i++) {
        IS(KVREG_TIMEOUT, kvreg_bucket_update_begin(busy, "k", 1, NULL, &update));
        IS(KVREG_TIMEOUT, kvreg_bucket_update(busy, "k", 1, add_one, NULL));
        IS(KVREG_TIMEOUT, kvreg_bucket_put_int(busy, "k", 1, 1));
    }
    CHECK(yields == 0);
    atomic_store(&is_tried, true);
    CHECK(pthread_join(other, NULL) == 0);
    OK(kvreg_bucket_free(busy));
}
#endif

static const test tests[] = {
    TEST(g7_withdrawn_calls_never_run),
    TEST(g7_withdrawn_stops_never_stop),
    TEST(g7_without_time_nothing_is_waited_for),
#ifdef __linux__
    TEST(without_time_the_processor_is_kept),
#endif
};
CHECK_MAIN(tests)
