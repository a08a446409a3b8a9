/* Batches: as pairs and as columns, all or none. */

#include "check.h"

static kvreg_bucket *bucket;

static void start(void) { OK(kvreg_bucket_start(&bucket)); }
static void finish(void) { OK(kvreg_bucket_free(bucket)); }

static const uint64_t one_each[] = {1, 1, 1};

static kvreg_columns columns(uint32_t type, size_t count, const void *values) {
    kvreg_columns made;
    memset(&made, 0, sizeof made);
    made.size = (uint32_t)sizeof made;
    made.type = type;
    made.count = count;
    made.keys = "abc";
    made.key_lens = one_each;
    made.values = values;
    return made;
}

static size_t count_keys(void) {
    size_t count;
    OK(kvreg_bucket_count(bucket, &count));
    return count;
}

static int64_t integer(const char *key) {
    int64_t found;
    OK(kvreg_bucket_get_int(bucket, key, KVREG_NUL, &found));
    return found;
}

static bool has_text(const char *key, uint32_t type, const char *text, size_t len) {
    kvreg_value found;
    OK(kvreg_bucket_get(bucket, key, KVREG_NUL, &found));
    bool same = found.type == type && found.as.text.len == len &&
                memcmp(found.as.text.data, text, len) == 0;
    kvreg_value_clear(&found);
    return same;
}

static void columns_of_every_type_are_stored(void) {
    static const int64_t integers[] = {1, INT64_MIN, INT64_MAX};
    static const double reals[] = {0.5, -1.0, 1e300};
    static const uint8_t booleans[] = {0, 1, 1};
    static const uint64_t lens[] = {0, 3, 2};
    kvreg_columns given = columns(KVREG_INT, 3, integers);
    kvreg_value found;
    double real;
    start();
    OK(kvreg_bucket_put_columns(bucket, &given));
    CHECK(integer("a") == 1 && integer("b") == INT64_MIN && integer("c") == INT64_MAX);
    given = columns(KVREG_FLOAT, 3, reals);
    OK(kvreg_bucket_put_columns(bucket, &given));
    OK(kvreg_bucket_get_float(bucket, "c", 1, &real));
    CHECK(real == 1e300);
    given = columns(KVREG_BOOL, 3, booleans);
    OK(kvreg_bucket_put_columns(bucket, &given));
    OK(kvreg_bucket_get(bucket, "a", 1, &found));
    CHECK(found.type == KVREG_BOOL && !found.as.boolean);
    OK(kvreg_bucket_get(bucket, "b", 1, &found));
    CHECK(found.type == KVREG_BOOL && found.as.boolean);
    given = columns(KVREG_BYTES, 3, "\0\1\2ab");
    given.value_lens = lens;
    OK(kvreg_bucket_put_columns(bucket, &given));
    CHECK(has_text("a", KVREG_BYTES, "", 0));
    CHECK(has_text("b", KVREG_BYTES, "\0\1\2", 3));
    CHECK(has_text("c", KVREG_BYTES, "ab", 2));
    given.type = KVREG_STRING;
    OK(kvreg_bucket_put_columns(bucket, &given));
    CHECK(has_text("c", KVREG_STRING, "ab", 2));
    given = columns(KVREG_NIL, 3, NULL);
    OK(kvreg_bucket_put_columns(bucket, &given));
    OK(kvreg_bucket_get(bucket, "b", 1, &found));
    CHECK(found.type == KVREG_NIL);
    CHECK(count_keys() == 3);
    finish();
}

static void arrays_need_no_alignment(void) {
    char memory[64];
    int64_t values[] = {7, 8};
    uint64_t lens[] = {2, 1};
    kvreg_columns given;
    start();
    memcpy(memory + 1, values, sizeof values);
    memcpy(memory + 33, lens, sizeof lens);
    given = columns(KVREG_INT, 2, memory + 1);
    given.key_lens = (const uint64_t *)(const void *)(memory + 33);
    OK(kvreg_bucket_put_columns(bucket, &given));
    CHECK(integer("ab") == 7 && integer("c") == 8);
    finish();
}

static void of_equal_keys_the_last_one_counts(void) {
    static const int64_t values[] = {1, 2, 3};
    kvreg_columns given = columns(KVREG_INT, 3, values);
    start();
    given.keys = "aba";
    for (int again = 0; again < 2; again++) { /* new keys, then old ones */
        OK(kvreg_bucket_put_columns(bucket, &given));
        CHECK(count_keys() == 2 && integer("a") == 3 && integer("b") == 2);
    }
    finish();
}

/* Old keys in their places, others not: the bytes that are counted tell whether all is right. */
static void old_and_new_keys_and_sizes_mix(void) {
    char text[2000];
    kvreg_bucket_stats stats;
    kvreg_pair pairs[4];
    start();
    memset(text, 'x', sizeof text);
    memset(pairs, 0, sizeof pairs);
    for (int round = 0; round < 64; round++) {
        size_t bytes = 0;
        for (int i = 0; i < 4; i++) {
            size_t len = (size_t)(round * 37 + i * 611) % sizeof text;
            pairs[i].key = &"abcd"[i];
            pairs[i].key_len = 1;
            pairs[i].value = round % 3 == 0 && i == 2 ? kvreg_int(round) : kvreg_string(text, len);
            bytes += 1 + (pairs[i].value.type == KVREG_INT ? 8 : len);
        }
        OK(kvreg_bucket_put_many(bucket, pairs, 4));
        memset(&stats, 0, sizeof stats);
        stats.size = (uint32_t)sizeof stats;
        OK(kvreg_bucket_info(bucket, &stats));
        CHECK(stats.keys == 4 && stats.bytes == bytes);
    }
    finish();
}

static void what_is_wrong_changes_nothing(void) {
    static const int64_t values[] = {1, 2, 3};
    static const uint8_t no_booleans[] = {0, 1, 2};
    static const uint64_t too_long[] = {1, 1, 65537};
    static const uint64_t overflowing[] = {1, UINT64_MAX, 1};
    static const uint64_t cut[] = {1, 1, 1};
    kvreg_columns given = columns(KVREG_INT, 3, values);
    start();
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_put_columns(NULL, &given));
    given.size = 0;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_ABSENT + 1, 3, values);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_INT, SIZE_MAX, values);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_INT, 3, NULL);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_INT, 3, values);
    given.keys = NULL;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_INT, 3, values);
    given.key_lens = NULL;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given.key_lens = too_long;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given.key_lens = overflowing;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_BOOL, 3, no_booleans);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given = columns(KVREG_BYTES, 3, "xyz");
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    given.value_lens = overflowing;
    IS(KVREG_LIMIT, kvreg_bucket_put_columns(bucket, &given));
    /* Each text is UTF-8 by itself: a character between two is in neither. */
    given = columns(KVREG_STRING, 3, "a\xc3\xbc");
    given.value_lens = cut;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &given));
    CHECK(count_keys() == 0);
    given = columns(KVREG_INT, 0, NULL);
    given.keys = NULL;
    given.key_lens = NULL;
    OK(kvreg_bucket_put_columns(bucket, &given));
    CHECK(count_keys() == 0);
    OK(kvreg_bucket_stop(bucket));
    given = columns(KVREG_INT, 3, values);
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_columns(bucket, &given));
    finish();
}

static void a_limit_holds_for_the_whole_batch(void) {
    static const int64_t values[] = {1, 2, 3};
    kvreg_columns given = columns(KVREG_INT, 3, values);
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_registry *registry;
    options.max_keys = 2;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create_with(registry, "limited", KVREG_NUL, 0, &options, &bucket));
    IS(KVREG_LIMIT, kvreg_bucket_put_columns(bucket, &given));
    CHECK(count_keys() == 0);
    given.count = 2;
    OK(kvreg_bucket_put_columns(bucket, &given));
    CHECK(count_keys() == 2);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static const test tests[] = {
    TEST(columns_of_every_type_are_stored),
    TEST(arrays_need_no_alignment),
    TEST(of_equal_keys_the_last_one_counts),
    TEST(old_and_new_keys_and_sizes_mix),
    TEST(what_is_wrong_changes_nothing),
    TEST(a_limit_holds_for_the_whole_batch),
};

CHECK_MAIN(tests)
