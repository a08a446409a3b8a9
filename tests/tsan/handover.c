/*
 * What is written before a call is seen after the answer that tells of it (G2): a thread writes
 * to plain memory and then changes something in kvreg, another sees the change and reads what
 * was written. Nothing else orders the two, so that under ThreadSanitizer a missing order inside
 * kvreg is a race in this program. Each way in which news go from thread to thread is one test.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { ROUNDS = 2000, LARGE = 4096 };

static kvreg_registry *registry;
static kvreg_bucket *bucket;
static kvreg_bucket *buckets[ROUNDS];
static kvreg_inbox *inbox;
static _Atomic(kvreg_bucket *) passed[ROUNDS];
static int rounds;
static atomic_bool is_ready;

/* Plain memory, a place for each round: nobody has to wait until it was read. */
static int64_t written[ROUNDS], answered[ROUNDS];

typedef struct way {
    void (*give)(int round);
    /* Whether the news of this round, or of a later one, is there. */
    bool (*take)(int round);
} way;

static void *give_all(void *argument) {
    const way *way = argument;
    while (!atomic_load_explicit(&is_ready, memory_order_relaxed))
        ;
    for (int round = 0; round < rounds; round++) {
        written[round] = round + 1;
        way->give(round);
    }
    return NULL;
}

static void *take_all(void *argument) {
    const way *way = argument;
    /* What a thread sets up at its first call may be what another left, and order the two. */
    OK(kvreg_bucket_count(bucket, &(size_t){0}));
    atomic_store_explicit(&is_ready, true, memory_order_relaxed);
    for (int round = 0; round < rounds; round++) {
        while (!way->take(round))
            ;
        CHECK(written[round] == round + 1);
    }
    return NULL;
}

static void hand_over(void (*give)(int), bool (*take)(int)) {
    way way = {give, take};
    pthread_t giver, taker;
    atomic_store(&is_ready, false);
    CHECK(pthread_create(&taker, NULL, take_all, &way) == 0);
    CHECK(pthread_create(&giver, NULL, give_all, &way) == 0);
    CHECK(pthread_join(giver, NULL) == 0);
    CHECK(pthread_join(taker, NULL) == 0);
}

static void start(void) {
    rounds = (int)check_count(ROUNDS);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
}

static void end(void) {
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static const char *name_of(int round) {
    static _Thread_local char name[16];
    snprintf(name, sizeof name, "%d", round);
    return name;
}

static void start_all(void) {
    for (int i = 0; i < rounds; i++)
        OK(kvreg_registry_create(registry, name_of(i), KVREG_NUL, 0, &buckets[i]));
}

static void free_all(void) {
    for (int i = 0; i < rounds; i++)
        OK(kvreg_bucket_free(buckets[i]));
}

static bool is_reached(kvreg_status status, int64_t seen, int round) {
    if (status == KVREG_NOT_FOUND)
        return false;
    OK(status);
    return seen >= round;
}

/* A value in its place. */

static void put_number(int round) { OK(kvreg_bucket_put_int(bucket, "n", 1, round)); }

static bool get_number(int round) {
    int64_t seen = -1;
    kvreg_status status = kvreg_bucket_get_int(bucket, "n", 1, &seen);
    return is_reached(status, seen, round);
}

static void put_text(int round) {
    int64_t text[5] = {round, 1, 2, 3, round};
    OK(kvreg_bucket_put_bytes(bucket, "n", 1, text, sizeof text));
}

static bool get_text(int round) {
    int64_t text[5] = {-1, 0, 0, 0, -1};
    size_t len;
    kvreg_status status = kvreg_bucket_get_bytes(bucket, "n", 1, text, sizeof text, &len);
    CHECK(text[0] == text[4]);
    return is_reached(status, text[0], round);
}

static void an_overwritten_number(void) {
    start();
    hand_over(put_number, get_number);
    end();
}

static void an_overwritten_text(void) {
    start();
    hand_over(put_text, get_text);
    end();
}

/* A value that is shared. */

static void put_large(int round) {
    int64_t text[LARGE / 8] = {round};
    OK(kvreg_bucket_put_bytes(bucket, "n", 1, text, sizeof text));
}

static bool get_large(int round) {
    kvreg_value value;
    int64_t seen = -1;
    kvreg_status status = kvreg_bucket_get(bucket, "n", 1, &value);
    if (status == KVREG_OK)
        memcpy(&seen, value.as.text.data, sizeof seen);
    kvreg_value_clear(&value);
    return is_reached(status, seen, round);
}

static void a_large_value(void) {
    start();
    hand_over(put_large, get_large);
    end();
}

/* Keys that come and go. */

static void put_key(int round) { OK(kvreg_bucket_put_int(bucket, &round, sizeof round, round)); }

static bool has_key(int round) {
    int64_t seen = -1;
    kvreg_status status = kvreg_bucket_get_int(bucket, &round, sizeof round, &seen);
    return is_reached(status, seen, round);
}

static bool has_so_many(int round) {
    size_t count;
    OK(kvreg_bucket_count(bucket, &count));
    return count > (size_t)round;
}

static void put_keys(int round) {
    kvreg_pair pairs[2] = {0};
    pairs[0].key = "n";
    pairs[0].key_len = 1;
    pairs[0].value = kvreg_int(round);
    pairs[1].key = &round;
    pairs[1].key_len = sizeof round;
    pairs[1].value = kvreg_int(round);
    OK(kvreg_bucket_put_many(bucket, pairs, 2));
}

static void delete_key(int round) {
    OK(kvreg_bucket_delete(bucket, &round, sizeof round, NULL));
}

static bool has_no_key(int round) { return !has_key(round); }

static void clear_keys(int round) {
    OK(kvreg_bucket_clear(bucket));
    OK(kvreg_bucket_put_int(bucket, "n", 1, round));
}

static void a_new_key(void) {
    start();
    hand_over(put_key, has_key);
    end();
}

static void a_count(void) {
    start();
    hand_over(put_key, has_so_many);
    end();
}

static void a_batch(void) {
    start();
    hand_over(put_keys, has_key);
    end();
}

static void a_deleted_key(void) {
    start();
    for (int i = 0; i < rounds; i++)
        put_key(i);
    hand_over(delete_key, has_no_key);
    end();
}

static void a_cleared_bucket(void) {
    start();
    hand_over(clear_keys, get_number);
    end();
}

/* Callbacks: what they read and write is under the turn, on whatever thread. */

static kvreg_verdict store_number(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    *next = kvreg_int(*(int *)data);
    return KVREG_STORE;
}

static kvreg_verdict see_number(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)next;
    *(int64_t *)data = current != NULL ? current->as.integer : -1;
    return KVREG_KEEP;
}

static void update_number(int round) {
    OK(kvreg_bucket_update(bucket, "n", 1, store_number, &round));
}

static bool see_updated(int round) {
    int64_t seen;
    OK(kvreg_bucket_update(bucket, "n", 1, see_number, &seen));
    return seen >= round;
}

static void put_later(int round) {
    kvreg_value value = kvreg_int(round);
    OK(kvreg_bucket_put_cast(bucket, "n", 1, &value));
}

static kvreg_verdict answer(void *data, const kvreg_value *current, kvreg_value *next) {
    int64_t *place = data;
    (void)current;
    *next = kvreg_int(place - written);
    answered[place - written] = -*place; /* what was written is seen here too */
    return KVREG_STORE;
}

static void answer_later(int round) {
    OK(kvreg_bucket_update_cast(bucket, "n", 1, answer, &written[round], NULL));
}

static bool is_answered(int round) {
    if (!get_number(round))
        return false;
    CHECK(answered[round] == -(round + 1));
    return true;
}

static void an_update(void) {
    start();
    hand_over(update_number, see_updated);
    end();
}

static void a_cast(void) {
    start();
    hand_over(put_later, see_updated);
    end();
}

static void the_callback_of_a_cast(void) {
    start();
    OK(kvreg_bucket_update_cast(bucket, "n", 1, see_number, &(int64_t){0}, NULL));
    hand_over(answer_later, is_answered);
    end();
}

/* Names and ends. */

static void create_bucket(int round) {
    OK(kvreg_registry_create(registry, name_of(round), KVREG_NUL, 0, &buckets[round]));
}

static bool finds_bucket(int round) {
    kvreg_bucket *found;
    kvreg_status status =
        kvreg_registry_lookup(registry, name_of(round), KVREG_NUL, &found);
    OK(kvreg_bucket_free(found));
    return is_reached(status, round, round);
}

static bool finds_no_bucket(int round) { return !finds_bucket(round); }

static void stop_bucket(int round) { OK(kvreg_bucket_stop(buckets[round])); }

static void kill_bucket(int round) {
    OK(kvreg_bucket_exit(buckets[round], KVREG_REASON_KILLED, NULL, 0));
}

static bool is_refused(int round) {
    kvreg_status status = kvreg_bucket_put_int(buckets[round], "n", 1, 1);
    if (status == KVREG_OK)
        return false;
    CHECK(status == KVREG_NO_PROCESS || status == KVREG_SERVER_DOWN);
    return true;
}

static bool receives_down(int round) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, -1, &event));
    CHECK(event.reference != 0 && strcmp(event.name.data, name_of(round)) == 0);
    kvreg_event_clear(&event);
    return true;
}

static void a_name(void) {
    start();
    hand_over(create_bucket, finds_bucket);
    free_all();
    end();
}

static void a_name_that_goes(void) {
    start();
    start_all();
    hand_over(stop_bucket, finds_no_bucket);
    free_all();
    end();
}

static void a_bucket_that_is_gone(void) {
    start();
    start_all();
    hand_over(kill_bucket, is_refused);
    free_all();
    end();
}

static void a_down(void) {
    start();
    start_all();
    OK(kvreg_inbox_open(&inbox));
    for (int i = 0; i < rounds; i++)
        OK(kvreg_inbox_monitor(inbox, buckets[i], &(uint64_t){0}));
    hand_over(stop_bucket, receives_down);
    OK(kvreg_inbox_free(inbox));
    free_all();
    end();
}

/* A handle that was guessed (G9): the number alone came over, without any order. Each is of a
 * bucket of its own: what another handle of an old one leads to was known before. */

static void make_handle(int round) {
    OK(kvreg_bucket_start(&buckets[round]));
    atomic_store_explicit(&passed[round], buckets[round], memory_order_relaxed);
}

static bool use_handle(int round) {
    int64_t seen;
    kvreg_bucket *guessed = atomic_load_explicit(&passed[round], memory_order_relaxed);
    if (guessed == NULL)
        return false;
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(guessed, "n", 1, &seen));
    return true;
}

static void a_guessed_handle(void) {
    start();
    hand_over(make_handle, use_handle);
    free_all();
    end();
}

/* What is taken out is freed, by another thread, when nobody looks at it any more. The reader
 * tells nobody of what it reads but by being done with it. */

enum { KEYS = 64, CHANGES = 200000 };

static atomic_ulong looks;
static atomic_bool over;

static void *look_at_keys(void *argument) {
    (void)argument;
    for (int i = 0; !atomic_load_explicit(&over, memory_order_relaxed); i = (i + 1) % KEYS) {
        has_key(i);
        atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed);
    }
    return NULL;
}

static void what_was_looked_at(void) {
    pthread_t reader;
    start();
    for (int i = 0; i < KEYS; i++)
        put_key(i);
    CHECK(pthread_create(&reader, NULL, look_at_keys, NULL) == 0);
    unsigned long changes = check_count(CHANGES), seen;
    for (unsigned long i = 0; i < changes; i++) {
        if (i % 1024 == 0) { /* it goes on beside this */
            seen = atomic_load_explicit(&looks, memory_order_relaxed);
            while (atomic_load_explicit(&looks, memory_order_relaxed) < seen + KEYS)
                ;
        }
        delete_key((int)(i % KEYS));
        put_key((int)(i % KEYS));
    }
    atomic_store_explicit(&over, true, memory_order_relaxed);
    CHECK(pthread_join(reader, NULL) == 0);
    end();
}

static const test tests[] = {
    TEST(an_overwritten_number),
    TEST(an_overwritten_text),
    TEST(a_large_value),
    TEST(a_new_key),
    TEST(a_count),
    TEST(a_batch),
    TEST(a_deleted_key),
    TEST(a_cleared_bucket),
    TEST(an_update),
    TEST(a_cast),
    TEST(the_callback_of_a_cast),
    TEST(a_name),
    TEST(a_name_that_goes),
    TEST(a_bucket_that_is_gone),
    TEST(a_down),
    TEST(a_guessed_handle),
    TEST(what_was_looked_at),
};
CHECK_MAIN(tests)
