/* The guarantees as a C program has them, each named; the Rust tests have more of them. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { THREADS = 4 };

static kvreg_registry *registry;
static kvreg_bucket *bucket;
static unsigned long rounds;

static void in_threads(void *(*run)(void *)) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static kvreg_verdict add_one(void *user_data, const kvreg_value *current, kvreg_value *next) {
    atomic_flag *inside = user_data;
    CHECK(!atomic_flag_test_and_set(inside));
    *next = kvreg_int((current == NULL ? 0 : current->as.integer) + 1);
    atomic_flag_clear(inside);
    return KVREG_STORE;
}

static atomic_flag inside = ATOMIC_FLAG_INIT;

static void *add_and_cast(void *unused) {
    size_t count;
    (void)unused;
    for (unsigned long i = 0; i < rounds; i++) {
        OK(kvreg_bucket_update(bucket, "n", 1, add_one, &inside));
        OK(kvreg_bucket_update_cast(bucket, "n", 1, add_one, &inside, NULL));
    }
    OK(kvreg_bucket_count(bucket, &count)); /* after the casts of this thread (G3) */
    return NULL;
}

static void g1_one_message_at_a_time(void) {
    int64_t n;
    rounds = check_count(5000);
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
    in_threads(add_and_cast);
    OK(kvreg_bucket_get_int(bucket, "n", 1, &n));
    CHECK(n == (int64_t)(2 * rounds * THREADS));
    OK(kvreg_bucket_free(bucket));
}

static atomic_long newest;

static void *write_or_read(void *thread) {
    for (unsigned long i = 1; i <= rounds; i++) {
        if (thread == NULL) {
            OK(kvreg_bucket_put_int(bucket, "n", 1, (int64_t)i));
            atomic_store(&newest, (long)i);
        } else {
            long before = atomic_load(&newest);
            int64_t seen;
            OK(kvreg_bucket_get_int(bucket, "n", 1, &seen));
            CHECK(seen >= before);
        }
    }
    return NULL;
}

static void g2_a_reply_means_done(void) {
    rounds = check_count(200000);
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_put_int(bucket, "n", 1, 0));
    in_threads(write_or_read);
    OK(kvreg_bucket_free(bucket));
}

static void *cast_then_read(void *thread) {
    for (unsigned long i = 0; i < rounds; i++) {
        kvreg_value value = kvreg_int((int64_t)i);
        int64_t seen;
        OK(kvreg_bucket_put_cast(bucket, &thread, sizeof thread, &value));
        OK(kvreg_bucket_get_int(bucket, &thread, sizeof thread, &seen));
        CHECK(seen == (int64_t)i);
    }
    return NULL;
}

static void g3_a_cast_is_seen_by_the_same_thread(void) {
    rounds = check_count(100000);
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
    in_threads(cast_then_read);
    OK(kvreg_bucket_free(bucket));
}

static void g4_every_monitor_gives_exactly_one_down(void) {
    enum { MONITORS = 1000 };
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t first = 0, reference, seen = 0;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_start(&bucket));
    for (int i = 0; i < MONITORS; i++) {
        OK(kvreg_inbox_monitor(inbox, bucket, &reference));
        first = i == 0 ? reference : first;
    }
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    for (int i = 0; i < MONITORS; i++) {
        OK(kvreg_inbox_receive(inbox, -1, &event));
        CHECK(event.type == KVREG_EVENT_DOWN && event.reason == KVREG_REASON_KILLED);
        seen += event.reference;
        kvreg_event_clear(&event);
    }
    CHECK(seen == MONITORS * first + (uint64_t)MONITORS * (MONITORS - 1) / 2);
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_inbox_free(inbox));
}

static void *stop_and_look_up(void *thread) {
    for (unsigned long i = 0; i < rounds; i++) {
        kvreg_bucket *mine, *found;
        char name[32];
        snprintf(name, sizeof name, "%zu", (size_t)thread);
        OK(kvreg_registry_create(registry, name, KVREG_NUL, KVREG_CREATE_EXCLUSIVE, &mine));
        OK(i % 2 ? kvreg_bucket_stop(mine) : kvreg_bucket_exit(mine, KVREG_REASON_KILLED, NULL, 0));
        IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, name, KVREG_NUL, &found));
        OK(kvreg_bucket_free(mine));
    }
    return NULL;
}

static void g5_names_go_first(void) {
    size_t count;
    rounds = check_count(50000);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, -1));
    in_threads(stop_and_look_up);
    OK(kvreg_registry_count(registry, &count));
    CHECK(count == 0);
    OK(kvreg_registry_free(registry));
}

static kvreg_verdict crash(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_CRASH;
}

static void g6_a_crash_stays_inside_its_server(void) {
    kvreg_bucket *other;
    int64_t n;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "crashing", KVREG_NUL, 0, &bucket));
    OK(kvreg_registry_create(registry, "other", KVREG_NUL, 0, &other));
    OK(kvreg_bucket_put_int(other, "n", 1, 1));
    IS(KVREG_SERVER_DOWN, kvreg_bucket_update(bucket, "n", 1, crash, NULL));
    OK(kvreg_bucket_get_int(other, "n", 1, &n));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_create(registry, "crashing", KVREG_NUL, KVREG_CREATE_EXCLUSIVE, &bucket));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(other));
    OK(kvreg_registry_free(registry));
}

static kvreg_bucket *ring[THREADS];
static pthread_barrier_t all_inside;
static atomic_int told;

static kvreg_verdict call_the_next(void *user_data, const kvreg_value *current,
                                   kvreg_value *next) {
    size_t place = (size_t)user_data;
    (void)current, (void)next;
    pthread_barrier_wait(&all_inside);
    kvreg_status status = kvreg_bucket_put_int(ring[(place + 1) % THREADS], "n", 1, 1);
    if (status == KVREG_CALLING_SELF)
        atomic_fetch_add(&told, 1);
    else
        OK(status);
    return KVREG_KEEP;
}

static void *enter_the_ring(void *place) {
    OK(kvreg_bucket_update(ring[(size_t)place], "n", 1, call_the_next, place));
    return NULL;
}

static void g8_a_circle_ends_at_once(void) {
    CHECK(pthread_barrier_init(&all_inside, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++) {
        OK(kvreg_bucket_start(&ring[i]));
        OK(kvreg_bucket_set_timeout(ring[i], -1)); /* it would wait for ever */
    }
    in_threads(enter_the_ring);
    CHECK(atomic_load(&told) >= 1);
    for (int i = 0; i < THREADS; i++)
        OK(kvreg_bucket_free(ring[i]));
    pthread_barrier_destroy(&all_inside);
}

static void g9_every_misuse_is_a_status(void) {
    kvreg_value value;
    kvreg_bucket *copy;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_bucket_start(&bucket));
    copy = bucket;
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get(NULL, "n", 1, &value));
    IS(KVREG_WRONG_KIND, kvreg_bucket_get((kvreg_bucket *)registry, "n", 1, &value));
    IS(KVREG_WRONG_KIND, kvreg_bucket_free((kvreg_bucket *)registry));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get((kvreg_bucket *)&value, "n", 1, &value));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get((kvreg_bucket *)(uintptr_t)42, "n", 1, &value));
    OK(kvreg_bucket_free(bucket));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_free(bucket));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get(bucket, "n", 1, &value));
    OK(kvreg_bucket_start(&bucket)); /* in the same place, perhaps */
    CHECK(bucket != copy);
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get(copy, "n", 1, &value));
    /* The first that applies: the handle before the arguments, those before the server. */
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get(copy, NULL, 1, NULL));
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get(bucket, NULL, 1, &value));
    value = kvreg_bytes("", (512u << 20) + 1);
    IS(KVREG_NO_PROCESS, kvreg_bucket_put(bucket, "n", 1, &value));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_cast(bucket, "n", 1, &value));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(NULL));
    OK(kvreg_registry_free(registry));
}

static void g13_a_value_stays_as_it_was_read(void) {
    static char large[1 << 20];
    kvreg_value one, two;
    memset(large, 'x', sizeof large);
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_string(bucket, "one", 3, "text", 4));
    OK(kvreg_bucket_put_bytes(bucket, "two", 3, large, sizeof large));
    OK(kvreg_bucket_get(bucket, "one", 3, &one));
    OK(kvreg_bucket_get(bucket, "two", 3, &two));
    OK(kvreg_bucket_put_int(bucket, "one", 3, 1));
    OK(kvreg_bucket_delete(bucket, "two", 3, NULL));
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
    CHECK(check_text(&one, KVREG_STRING, "text"));
    CHECK(two.as.text.len == sizeof large);
    CHECK(memcmp(two.as.text.data, large, sizeof large) == 0);
    kvreg_value moved = one; /* bitwise */
    kvreg_value_clear(&moved);
    kvreg_value_clear(&two);
}

static void g14_handles_that_were_freed_leave_nothing(void) {
    unsigned long count = check_count(1000000);
    OK(kvreg_bucket_start(&bucket));
    for (unsigned long i = 0; i < count; i++) {
        kvreg_bucket *clone;
        OK(kvreg_bucket_clone(bucket, &clone));
        OK(kvreg_bucket_free(clone));
    }
    kvreg_live live = {0};
    live.size = sizeof live;
    OK(kvreg_live_counts(&live));
    CHECK(live.bucket_handles == 1);
    OK(kvreg_bucket_free(bucket));
}

static const test tests[] = {
    TEST(g1_one_message_at_a_time),
    TEST(g2_a_reply_means_done),
    TEST(g3_a_cast_is_seen_by_the_same_thread),
    TEST(g4_every_monitor_gives_exactly_one_down),
    TEST(g5_names_go_first),
    TEST(g6_a_crash_stays_inside_its_server),
    TEST(g8_a_circle_ends_at_once),
    TEST(g9_every_misuse_is_a_status),
    TEST(g13_a_value_stays_as_it_was_read),
    TEST(g14_handles_that_were_freed_leave_nothing),
};

CHECK_MAIN(tests)
