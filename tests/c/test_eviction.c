/* A bucket that takes keys out when it is full, from C. */

#include "check.h"

enum { MOST = 100 };

static kvreg_bucket *evicting(uint64_t max_keys, uint64_t max_bytes) {
    kvreg_bucket *bucket;
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_keys = max_keys;
    options.max_bytes = max_bytes;
    options.on_full = KVREG_EVICT;
    OK(kvreg_bucket_start_with(&options, &bucket));
    return bucket;
}

static kvreg_bucket_stats stats_of(kvreg_bucket *bucket) {
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    OK(kvreg_bucket_info(bucket, &stats));
    return stats;
}

static void new_keys_take_the_place_of_others(void) {
    kvreg_bucket *bucket = evicting(MOST, 0);
    int64_t number;
    for (int64_t key = 0; key < 10 * MOST; key++) {
        OK(kvreg_bucket_put_int(bucket, &key, sizeof key, key));
        CHECK(stats_of(bucket).keys <= MOST);
        /* What was just put is there. */
        OK(kvreg_bucket_get_int(bucket, &key, sizeof key, &number));
        CHECK(number == key);
    }
    kvreg_bucket_stats stats = stats_of(bucket);
    CHECK(stats.keys == MOST && stats.evicted == 9 * MOST);
    CHECK(stats.hits == 10 * MOST && stats.misses == 0);
    int64_t absent = -1;
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(bucket, &absent, sizeof absent, &number));
    CHECK(stats_of(bucket).misses == 1);
    OK(kvreg_bucket_free(bucket));
}

static void keys_that_are_read_stay(void) {
    kvreg_bucket *bucket = evicting(MOST, 0);
    int64_t number;
    for (int64_t key = 0; key < MOST; key++) {
        OK(kvreg_bucket_put_int(bucket, &key, sizeof key, key));
        if (key % 2 == 0) OK(kvreg_bucket_get_int(bucket, &key, sizeof key, &number));
    }
    /* A scan. */
    for (int64_t key = 0; key < 100 * MOST; key++) {
        int64_t other = key + MOST;
        OK(kvreg_bucket_put_int(bucket, &other, sizeof other, key));
        int64_t often = key % MOST / 2 * 2;
        OK(kvreg_bucket_get_int(bucket, &often, sizeof often, &number));
        CHECK(number == often);
    }
    OK(kvreg_bucket_free(bucket));
}

static void limits_hold(void) {
    static char text[2000];
    kvreg_bucket *bucket = evicting(0, 1000);
    kvreg_value value = kvreg_bytes(text, 997);
    kvreg_pair pairs[] = {{"abc", 3, kvreg_bytes(text, 497)}, {"def", 3, kvreg_bytes(text, 497)}};
    OK(kvreg_bucket_put_many(bucket, pairs, 2));
    CHECK(stats_of(bucket).bytes == 1000);
    OK(kvreg_bucket_put(bucket, "abc", 3, &value));
    CHECK(stats_of(bucket).bytes == 1000 && stats_of(bucket).evicted == 1);
    value = kvreg_bytes(text, 998);
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "abc", 3, &value));
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "other", 5, &value));
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "other", 5, &value));
    pairs[0].value = kvreg_bytes(text, 498);
    IS(KVREG_LIMIT, kvreg_bucket_put_many(bucket, pairs, 2));
    CHECK(stats_of(bucket).keys == 1 && stats_of(bucket).evicted == 1);
    /* A cast that waits has its bytes kept when it is posted: nothing makes room for it then. */
    kvreg_update *update;
    value = kvreg_bytes(text, 10);
    OK(kvreg_bucket_update_begin(bucket, "abc", 3, NULL, &update));
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "x", 1, &value));
    OK(kvreg_update_end(update, KVREG_REMOVE, NULL));
    OK(kvreg_bucket_update_begin(bucket, "abc", 3, NULL, &update));
    OK(kvreg_bucket_put_cast(bucket, "x", 1, &value));
    value = kvreg_bytes(text, 997);
    OK(kvreg_update_end(update, KVREG_STORE, &value));
    /* And when it is handled others go. */
    CHECK(stats_of(bucket).keys == 1 && stats_of(bucket).bytes == 11);
    CHECK(stats_of(bucket).evicted == 2);
    OK(kvreg_bucket_free(bucket));
}

static const test tests[] = {
    TEST(new_keys_take_the_place_of_others),
    TEST(keys_that_are_read_stay),
    TEST(limits_hold),
};
CHECK_MAIN(tests)
