/* The three ways to update, and what becomes of a bucket inside its own update. */

#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

static kvreg_bucket *bucket;

static void start(void) { OK(kvreg_bucket_start(&bucket)); }
static void finish(void) { OK(kvreg_bucket_free(bucket)); }

static int64_t number(kvreg_bucket *of, const char *key) {
    int64_t found;
    OK(kvreg_bucket_get_int(of, key, KVREG_NUL, &found));
    return found;
}

static kvreg_verdict add(void *user_data, const kvreg_value *current, kvreg_value *next) {
    *next = kvreg_int((current == NULL ? 0 : current->as.integer) + *(int64_t *)user_data);
    return KVREG_STORE;
}

static void a_callback_updates(void) {
    int64_t by = 2;
    start();
    OK(kvreg_bucket_update(bucket, "n", 1, add, &by));
    OK(kvreg_bucket_update(bucket, "n", 1, add, &by));
    CHECK(number(bucket, "n") == 4);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_update(bucket, "n", 1, NULL, NULL));
    finish();
}

static kvreg_verdict answer(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    *next = kvreg_int(9);
    return *(kvreg_verdict *)user_data;
}

static void verdicts_are_carried_out(void) {
    static const kvreg_verdict unknown[] = {-1, 5, INT32_MAX};
    kvreg_verdict verdict;
    kvreg_value value;
    start();
    OK(kvreg_bucket_put_int(bucket, "n", 1, 1));
    verdict = KVREG_KEEP;
    OK(kvreg_bucket_update(bucket, "n", 1, answer, &verdict));
    verdict = KVREG_ABORT;
    IS(KVREG_ABORTED, kvreg_bucket_update(bucket, "n", 1, answer, &verdict));
    for (size_t i = 0; i < 3; i++) {
        verdict = unknown[i];
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_update(bucket, "n", 1, answer, &verdict));
    }
    CHECK(number(bucket, "n") == 1);
    verdict = KVREG_STORE;
    OK(kvreg_bucket_update(bucket, "n", 1, answer, &verdict));
    CHECK(number(bucket, "n") == 9);
    verdict = KVREG_REMOVE;
    OK(kvreg_bucket_update(bucket, "n", 1, answer, &verdict));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "n", 1, &value));
    OK(kvreg_bucket_update(bucket, "n", 1, answer, &verdict)); /* absent is fine */
    verdict = KVREG_CRASH;
    IS(KVREG_SERVER_DOWN, kvreg_bucket_update(bucket, "n", 1, answer, &verdict));
    IS(KVREG_NO_PROCESS, kvreg_bucket_get(bucket, "n", 1, &value));
    finish();
}

static kvreg_verdict copy_text(void *user_data, const kvreg_value *current, kvreg_value *next) {
    char scratch[2000];
    (void)user_data, (void)current;
    memset(scratch, 'x', sizeof scratch);
    OK(kvreg_value_copy_text(next, scratch, sizeof scratch)); /* forgotten for the next one */
    OK(kvreg_value_copy_text(next, "copied", KVREG_NUL));
    memset(scratch, 'y', sizeof scratch);
    return KVREG_STORE;
}

static kvreg_verdict same(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data;
    *next = *current;
    return KVREG_STORE;
}

static kvreg_verdict bad(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current;
    *next = kvreg_string("\xff", 1);
    return KVREG_STORE;
}

static void what_a_callback_may_store(void) {
    kvreg_value value;
    start();
    OK(kvreg_bucket_update(bucket, "n", 1, copy_text, NULL));
    OK(kvreg_bucket_update(bucket, "n", 1, same, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_update(bucket, "n", 1, bad, NULL));
    OK(kvreg_bucket_get(bucket, "n", 1, &value));
    CHECK(check_text(&value, KVREG_STRING, "copied"));
    kvreg_value_clear(&value);
    finish();
}

static void begin_and_end_update_without_a_callback(void) {
    kvreg_value current, next = kvreg_int(5);
    kvreg_update *update;
    start();
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    CHECK(current.type == KVREG_ABSENT);
    OK(kvreg_update_end(update, KVREG_STORE, &next));
    IS(KVREG_BAD_HANDLE, kvreg_update_end(update, KVREG_STORE, &next));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    CHECK(current.type == KVREG_INT && current.as.integer == 5);
    OK(kvreg_update_free(update));
    IS(KVREG_BAD_HANDLE, kvreg_update_free(update));
    OK(kvreg_update_free(NULL));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    IS(KVREG_ABORTED, kvreg_update_end(update, KVREG_ABORT, NULL));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    IS(KVREG_INVALID_ARGUMENT, kvreg_update_end(update, KVREG_STORE, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_update_end(update, KVREG_KEEP, NULL)); /* freed all the same */
    CHECK(number(bucket, "n") == 5);
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    IS(KVREG_SERVER_DOWN, kvreg_update_end(update, KVREG_CRASH, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_update_begin(bucket, "n", 1, NULL, NULL));
    finish();
}

static void an_update_of_a_bucket_that_is_killed_changes_nothing(void) {
    kvreg_value next = kvreg_int(5);
    kvreg_update *update;
    kvreg_value current;
    start();
    OK(kvreg_bucket_put_int(bucket, "n", 1, 1));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    IS(KVREG_SERVER_DOWN, kvreg_update_end(update, KVREG_STORE, &next));
    finish();
}

/* Counts the calls of a cast's functions. */
static atomic_int ran, destroyed;

static kvreg_verdict count_run(void *user_data, const kvreg_value *current, kvreg_value *next) {
    atomic_fetch_add(&ran, 1);
    return answer(user_data, current, next);
}

static void count_destroy(void *user_data) {
    (void)user_data;
    atomic_fetch_add(&destroyed, 1);
}

static void destroyed_once(kvreg_status expected, kvreg_bucket *of, const char *key, size_t len,
                           kvreg_update_fn update) {
    static kvreg_verdict store = KVREG_STORE;
    int before = atomic_load(&destroyed);
    IS(expected, kvreg_bucket_update_cast(of, key, len, update, &store, count_destroy));
    if (expected == KVREG_OK) {
        size_t count;
        OK(kvreg_bucket_count(of, &count)); /* waits for the cast of this thread */
    }
    CHECK(atomic_load(&destroyed) == before + 1);
}

static void a_cast_destroys_its_data_once_on_every_path(void) {
    static char key[65537];
    kvreg_update *update;
    start();
    destroyed_once(KVREG_OK, bucket, "n", 1, count_run);
    CHECK(atomic_load(&ran) == 1 && number(bucket, "n") == 9);
    destroyed_once(KVREG_OK, bucket, "n", 1, bad);
    destroyed_once(KVREG_BAD_HANDLE, NULL, "n", 1, count_run);
    destroyed_once(KVREG_INVALID_ARGUMENT, bucket, key, sizeof key, count_run);
    destroyed_once(KVREG_INVALID_ARGUMENT, bucket, "n", 1, NULL);
    OK(kvreg_bucket_update_cast(bucket, "n", 1, answer, &(kvreg_verdict){KVREG_KEEP}, NULL));
    size_t count;
    OK(kvreg_bucket_count(bucket, &count));

    /* Queued behind an update, and dropped with the bucket. */
    kvreg_verdict unused = KVREG_KEEP;
    int before = atomic_load(&destroyed);
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    for (int i = 0; i < 10; i++)
        OK(kvreg_bucket_update_cast(bucket, "n", 1, count_run, &unused, count_destroy));
    CHECK(atomic_load(&destroyed) == before);
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    CHECK(atomic_load(&destroyed) == before + 10);
    CHECK(atomic_load(&ran) == 1);
    IS(KVREG_SERVER_DOWN, kvreg_update_end(update, KVREG_KEEP, NULL));
    destroyed_once(KVREG_NO_PROCESS, bucket, "n", 1, count_run);
    finish();
}

static kvreg_verdict keep(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_KEEP;
}

static void call_from_destroy(void *user_data) {
    kvreg_status expected = *(kvreg_status *)user_data;
    check_status(__FILE__, __LINE__, "put in destroy", kvreg_bucket_put_int(bucket, "n", 1, 1),
                 expected);
    atomic_fetch_add(&destroyed, 1);
}

static void destroy_may_call_and_never_waits_for_itself(void) {
    kvreg_status inside = KVREG_CALLING_SELF, gone = KVREG_NO_PROCESS;
    kvreg_update *update;
    size_t count;
    start();
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_update_cast(bucket, "n", 1, keep, &inside, call_from_destroy));
    OK(kvreg_bucket_count(bucket, &count));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    OK(kvreg_bucket_update_cast(bucket, "n", 1, keep, &gone, call_from_destroy));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    OK(kvreg_update_free(update));
    finish();
}

static kvreg_verdict nested(void *user_data, const kvreg_value *current, kvreg_value *next) {
    kvreg_bucket *self = user_data;
    kvreg_value value = kvreg_int(2);
    kvreg_update *update;
    size_t count;
    (void)current;
    IS(KVREG_CALLING_SELF, kvreg_bucket_put(self, "n", 1, &value));
    IS(KVREG_CALLING_SELF, kvreg_bucket_delete(self, "n", 1, NULL));
    IS(KVREG_CALLING_SELF, kvreg_bucket_clear(self));
    IS(KVREG_CALLING_SELF, kvreg_bucket_update(self, "n", 1, nested, self));
    IS(KVREG_CALLING_SELF, kvreg_bucket_update_begin(self, "n", 1, NULL, &update));
    IS(KVREG_CALLING_SELF, kvreg_bucket_stop(self));
    IS(KVREG_CALLING_SELF, kvreg_shutdown(-1));
    OK(kvreg_bucket_put_cast(self, "cast", 4, &value)); /* done after this update */
    CHECK(number(self, "n") == 1);
    OK(kvreg_bucket_count(self, &count));
    CHECK(count == 1);
    *next = kvreg_int(3);
    return KVREG_STORE;
}

static void inside_its_own_update_a_bucket_can_only_be_read(void) {
    start();
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_put_int(bucket, "n", 1, 1));
    OK(kvreg_bucket_update(bucket, "n", 1, nested, bucket));
    CHECK(number(bucket, "n") == 3 && number(bucket, "cast") == 2);
    finish();
}

static void *free_update(void *update) {
    OK(kvreg_update_free(update));
    return NULL;
}

static void any_thread_may_end_an_update(void) {
    kvreg_update *update;
    pthread_t thread;
    start();
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    CHECK(pthread_create(&thread, NULL, free_update, update) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_bucket_put_int(bucket, "n", 1, 1)); /* the turn is free, and this thread outside */
    finish();
}

static kvreg_inbox *inbox;
static kvreg_status while_it_ends = KVREG_INTERNAL;

static kvreg_verdict never(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_KEEP;
}

static void wait_for_its_end(void *user_data) {
    kvreg_event event;
    (void)user_data;
    while_it_ends = kvreg_inbox_receive(inbox, 10000, &event);
    if (while_it_ends == KVREG_OK) kvreg_event_clear(&event);
}

/* Who ends a bucket is inside it until that is done, and would wait for itself. */
static void what_an_end_destroys_does_not_wait_for_it(void) {
    kvreg_update *update;
    uint64_t reference;
    start();
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    OK(kvreg_bucket_update_cast(bucket, "n", 1, never, NULL, wait_for_its_end));
    IS(KVREG_SERVER_DOWN, kvreg_update_end(update, KVREG_CRASH, NULL));
    IS(KVREG_CALLING_SELF, while_it_ends);
    OK(kvreg_inbox_free(inbox));
    finish();
}

static const test tests[] = {
    TEST(a_callback_updates),
    TEST(verdicts_are_carried_out),
    TEST(what_a_callback_may_store),
    TEST(begin_and_end_update_without_a_callback),
    TEST(an_update_of_a_bucket_that_is_killed_changes_nothing),
    TEST(a_cast_destroys_its_data_once_on_every_path),
    TEST(destroy_may_call_and_never_waits_for_itself),
    TEST(inside_its_own_update_a_bucket_can_only_be_read),
    TEST(any_thread_may_end_an_update),
    TEST(what_an_end_destroys_does_not_wait_for_it),
};

CHECK_MAIN(tests)
