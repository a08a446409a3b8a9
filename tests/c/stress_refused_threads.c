/*
 * The system refuses threads: one of them, each in turn, or all for a while. The call that needs
 * one answers KVREG_IO or does without, everything else goes on, and a later call tries again.
 * Each case has a process of its own, for a process starts its workers once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { SECONDS = 120, ALL = 1 << 30 };

/* Which thread is the first to be refused, counted from 1, and how many are. */
static atomic_int refuse_from, refuse_count;
static atomic_int asked, refused;

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument) {
    create *real;
    int number = atomic_fetch_add(&asked, 1) + 1, from = atomic_load(&refuse_from);
    if (from != 0 && number >= from && number - from < atomic_load(&refuse_count)) {
        atomic_fetch_add(&refused, 1);
        return EAGAIN;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, run, argument);
}

/* From the next on. */
static void refuse(int from, int count) {
    atomic_store(&refuse_from, 0);
    atomic_store(&asked, 0);
    atomic_store(&refused, 0);
    atomic_store(&refuse_count, count);
    atomic_store(&refuse_from, from);
}

static void allow_all(void) { atomic_store(&refuse_from, 0); }

static void await_refused(int count) {
    while (atomic_load(&refused) < count)
        sched_yield();
}

static kvreg_registry *registry;
static kvreg_bucket *bucket;
static atomic_int updated, destroyed;

static void start(void) {
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
}

static kvreg_verdict add_one(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    atomic_fetch_add(&updated, 1);
    *next = kvreg_int(current != NULL ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

static void destroy(void *data) {
    (void)data;
    atomic_fetch_add(&destroyed, 1);
}

static void is_stored(int64_t expected) {
    int64_t number;
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number)); /* waits for this thread's casts */
    CHECK(number == expected);
}

/* What may start threads. Each is done while the bucket is busy, so that it is queued. */

static kvreg_status put_cast(void) {
    kvreg_value value = kvreg_int(1);
    return kvreg_bucket_put_cast(bucket, "k", 1, &value);
}

static kvreg_status delete_cast(void) { return kvreg_bucket_delete_cast(bucket, "absent", 6); }

static kvreg_status update_cast(void) {
    return kvreg_bucket_update_cast(bucket, "k", 1, add_one, NULL, destroy);
}

static kvreg_status start_listener(void) {
    kvreg_listener *listener;
    kvreg_status status = kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener);
    CHECK((status == KVREG_OK) == (listener != NULL));
    if (listener != NULL) {
        OK(kvreg_listener_stop(listener));
        OK(kvreg_listener_free(listener));
    }
    return status;
}

static kvreg_status (*const needs[])(void) = {put_cast, delete_cast, update_cast, start_listener};
enum { NEEDS = sizeof needs / sizeof *needs };

static kvreg_status while_busy(kvreg_status (*call)(void)) {
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, "other", 5, NULL, &update));
    kvreg_status status = call();
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    return status;
}

/* Nobody needs a thread for it. */
static void the_rest_goes_on(void) {
    kvreg_bucket *other;
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    OK(kvreg_registry_create(registry, "other", KVREG_NUL, 0, &other));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor(inbox, other, &reference));
    OK(kvreg_bucket_put_int(other, "k", 1, 1));
    OK(kvreg_registry_create_cast(registry, "cast", KVREG_NUL));
    OK(kvreg_bucket_stop(other));
    OK(kvreg_inbox_receive(inbox, 0, &event));
    CHECK(event.reference == reference);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(other));
}

static void finish(void) {
    OK(kvreg_registry_stop(registry));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    OK(kvreg_shutdown(-1));
}

static void one_is_refused(int which, int from) {
    start();
    refuse(from, 1);
    kvreg_status status = while_busy(needs[which]);
    CHECK(status == KVREG_OK || status == KVREG_IO);
    the_rest_goes_on();
    allow_all();
    int accepted = (status == KVREG_OK) + 1;
    OK(while_busy(needs[which]));
    OK(while_busy(update_cast));
    kvreg_value value;
    OK(kvreg_bucket_get(bucket, "k", 1, &value)); /* after all of them */
    int updates = needs[which] == update_cast ? accepted + 1 : 1;
    CHECK(atomic_load(&updated) == updates);
    finish();
    /* The refused one too. */
    CHECK(atomic_load(&destroyed) == (needs[which] == update_cast ? 3 : 1));
}

static void all_are_refused_for_a_while(int which, int unused) {
    (void)unused;
    start();
    refuse(1, ALL);
    for (int i = 0; i < 3; i++)
        IS(KVREG_IO, while_busy(needs[which]));
    the_rest_goes_on();
    int given = needs[which] == update_cast ? 3 : 0;
    CHECK(atomic_load(&updated) == 0 && atomic_load(&destroyed) == given);
    allow_all();
    OK(while_busy(update_cast));
    is_stored(1);
    OK(while_busy(needs[which]));
    finish();
}

/* The workers are there, and the bucket's callback finds no thread. */
static void a_callback_waits_for_a_thread(void) {
    start();
    OK(while_busy(put_cast));
    is_stored(1);
    refuse(1, ALL);
    OK(while_busy(update_cast));
    await_refused(1);
}

static void a_callback_runs_once_there_is_a_thread(int times, int unused) {
    (void)unused;
    a_callback_waits_for_a_thread();
    await_refused(times); /* it is asked for again and again */
    the_rest_goes_on();
    CHECK(atomic_load(&updated) == 0);
    allow_all();
    is_stored(2);
    finish();
    CHECK(atomic_load(&updated) == 1 && atomic_load(&destroyed) == 1);
}

/* Threads that are there take the work that found none. */
static kvreg_verdict wait_until_refused(void *data, const kvreg_value *current,
                                        kvreg_value *next) {
    (void)data, (void)current, (void)next;
    await_refused(1);
    return KVREG_KEEP;
}

static void a_busy_thread_takes_it(int unused, int unused_too) {
    (void)unused, (void)unused_too;
    kvreg_bucket *busy;
    int64_t number;
    start();
    OK(kvreg_bucket_start(&busy));
    refuse(4, ALL); /* two workers and one for callbacks come */
    OK(kvreg_bucket_update_cast(busy, "k", 1, wait_until_refused, NULL, destroy));
    OK(update_cast());
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(busy, "k", 1, &number));
    is_stored(1);
    allow_all();
    OK(kvreg_bucket_free(busy));
    finish();
    CHECK(atomic_load(&destroyed) == 2);
}

static void what_waits_can_be_ended(int which, int unused) {
    (void)unused;
    a_callback_waits_for_a_thread();
    if (which == 0) {
        OK(kvreg_bucket_set_timeout(bucket, 1));
        IS(KVREG_TIMEOUT, kvreg_bucket_stop(bucket));
        OK(kvreg_bucket_set_timeout(bucket, -1));
        allow_all();
        OK(kvreg_bucket_stop(bucket));
        CHECK(atomic_load(&updated) == 1 && atomic_load(&destroyed) == 1);
    } else if (which == 1) {
        OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
        CHECK(atomic_load(&updated) == 0 && atomic_load(&destroyed) == 1);
        OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, NULL));
    } else if (which == 2) {
        OK(kvreg_registry_remove(registry, "shopping", KVREG_NUL));
        CHECK(atomic_load(&destroyed) == 1);
    }
    if (which < 3)
        finish();
    else
        OK(kvreg_shutdown(-1));
    CHECK(atomic_load(&destroyed) == 1);
}

/* Nobody can reach a bucket any more that is busy: it stops, threads or not. */
static void a_free_needs_no_thread(int unused, int unused_too) {
    (void)unused, (void)unused_too;
    kvreg_update *update;
    kvreg_live live;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    refuse(1, ALL);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_update_free(update));
    memset(&live, 0, sizeof live);
    live.size = sizeof live;
    OK(kvreg_live_counts(&live));
    CHECK(live.buckets == 0);
    OK(kvreg_shutdown(-1));
}

/* A host ends while its callback waits for a thread, or nobody could start any. */
static void a_host_just_exits(int which, int unused) {
    (void)unused;
    if (which == 0) {
        a_callback_waits_for_a_thread();
    } else {
        start();
        refuse(2, ALL);
        IS(KVREG_IO, while_busy(put_cast));
    }
    exit(0);
}

static void in_a_process(void (*body)(int, int), int first, int second) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        body(first, second);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void g14_each_thread_is_refused_in_turn(void) {
    for (int which = 0; which < NEEDS; which++)
        for (int from = 1; from <= 4; from++)
            in_a_process(one_is_refused, which, from);
}

static void g14_all_threads_are_refused_for_a_while(void) {
    for (int which = 0; which < NEEDS; which++)
        in_a_process(all_are_refused_for_a_while, which, 0);
}

static void g14_a_callback_without_a_thread(void) {
    in_a_process(a_callback_runs_once_there_is_a_thread, 1, 0);
    in_a_process(a_callback_runs_once_there_is_a_thread, 3, 0);
    in_a_process(a_busy_thread_takes_it, 0, 0);
    for (int which = 0; which < 4; which++)
        in_a_process(what_waits_can_be_ended, which, 0);
}

static void g14_releasing_needs_no_thread(void) { in_a_process(a_free_needs_no_thread, 0, 0); }

static void g12_a_host_exits_without_threads(void) {
    in_a_process(a_host_just_exits, 0, 0);
    in_a_process(a_host_just_exits, 1, 0);
}

static const test tests[] = {
    TEST(g14_each_thread_is_refused_in_turn),
    TEST(g14_all_threads_are_refused_for_a_while),
    TEST(g14_a_callback_without_a_thread),
    TEST(g14_releasing_needs_no_thread),
    TEST(g12_a_host_exits_without_threads),
};
CHECK_MAIN(tests)
