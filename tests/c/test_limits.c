/* Limits from C: each is reached, changes nothing, and is relieved. */

#include <stdatomic.h>

#include "check.h"

static kvreg_registry *registry;

static kvreg_bucket *limited(const kvreg_bucket_options *options) {
    kvreg_bucket *bucket;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create_with(registry, "limited", KVREG_NUL, 0, options, &bucket));
    return bucket;
}

static void finish(kvreg_bucket *bucket) {
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

static kvreg_status put(kvreg_bucket *bucket, const char *key, const char *text) {
    return kvreg_bucket_put_string(bucket, key, KVREG_NUL, text, KVREG_NUL);
}

static bool has(kvreg_bucket *bucket, const char *key, const char *text) {
    kvreg_value value;
    OK(kvreg_bucket_get(bucket, key, KVREG_NUL, &value));
    bool same = check_text(&value, KVREG_STRING, text);
    kvreg_value_clear(&value);
    return same;
}

static kvreg_bucket_stats stats_of(kvreg_bucket *bucket) {
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    OK(kvreg_bucket_info(bucket, &stats));
    return stats;
}

static void keys(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_keys = 2;
    kvreg_bucket *bucket = limited(&options);
    OK(put(bucket, "a", "1"));
    OK(put(bucket, "b", "2"));
    IS(KVREG_LIMIT, put(bucket, "c", "3"));
    OK(put(bucket, "a", "over an older one"));
    kvreg_pair pairs[3] = {{"b", 1, kvreg_int(1)}, {"c", 1, kvreg_int(2)}, {"d", 1, kvreg_int(3)}};
    IS(KVREG_LIMIT, kvreg_bucket_put_many(bucket, pairs, 3));
    CHECK(has(bucket, "b", "2")); /* none of it */
    OK(kvreg_bucket_delete(bucket, "b", 1, NULL));
    OK(put(bucket, "c", "3"));
    CHECK(stats_of(bucket).keys == 2);
    OK(kvreg_bucket_clear(bucket));
    OK(kvreg_bucket_put_many(bucket, pairs, 2));
    /* A key that a batch names twice is one. */
    OK(kvreg_bucket_clear(bucket));
    pairs[2].key = "b";
    OK(kvreg_bucket_put_many(bucket, pairs, 3));
    CHECK(stats_of(bucket).keys == 2);
    finish(bucket);
}

static void bytes(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_bytes = 20;
    kvreg_bucket *bucket = limited(&options);
    OK(put(bucket, "key", "seven!!"));
    CHECK(stats_of(bucket).bytes == 10);
    OK(kvreg_bucket_put_int(bucket, "ab", 2, 1)); /* 8 for a number */
    CHECK(stats_of(bucket).bytes == 20);
    IS(KVREG_LIMIT, put(bucket, "", "x"));
    IS(KVREG_LIMIT, put(bucket, "key", "eight!!!"));
    CHECK(has(bucket, "key", "seven!!"));
    OK(put(bucket, "key", "6 is it"));
    OK(put(bucket, "key", ""));
    OK(put(bucket, "", "seven!!"));
    CHECK(stats_of(bucket).bytes == 20);
    kvreg_pair pairs[2] = {{"ab", 2, kvreg_nil()}, {"", 0, kvreg_string("fifteen of them", 15)}};
    OK(kvreg_bucket_put_many(bucket, pairs, 2));
    CHECK(stats_of(bucket).bytes == 20);
    pairs[0].value = kvreg_bool(true);
    pairs[1].value = kvreg_string("sixteen of these", 16);
    IS(KVREG_LIMIT, kvreg_bucket_put_many(bucket, pairs, 2));
    OK(kvreg_bucket_clear(bucket));
    CHECK(stats_of(bucket).bytes == 0);
    OK(put(bucket, "", "exactly twenty bytes"));
    finish(bucket);
}

static void a_value(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_value = 4;
    kvreg_bucket *bucket = limited(&options);
    OK(put(bucket, "k", "four"));
    IS(KVREG_LIMIT, put(bucket, "k", "five!"));
    IS(KVREG_LIMIT, kvreg_bucket_put_bytes(bucket, "k", 1, "12345", 5));
    kvreg_value five = kvreg_string("five!", 5);
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "k", 1, &five));
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    IS(KVREG_LIMIT, kvreg_update_end(update, KVREG_STORE, &five));
    CHECK(has(bucket, "k", "four"));
    options.max_value = (512u << 20) + 1;
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_registry_create_with(registry, "more", 4, 0, &options, NULL));
    /* What is wrong with the bucket is named first. */
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, put(bucket, "k", "five!"));
    finish(bucket);
}

static void buckets_and_bytes_of_a_registry(void) {
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_bucket *one, *two;
    options.max_buckets = 2;
    options.max_bytes = 10;
    OK(kvreg_registry_start(&options, &registry));
    OK(kvreg_registry_create(registry, "one", 3, 0, &one));
    OK(kvreg_registry_create(registry, "two", 3, 0, &two));
    IS(KVREG_LIMIT, kvreg_registry_create(registry, "three", 5, 0, NULL));
    IS(KVREG_LIMIT, kvreg_registry_create_cast(registry, "three", 5));
    OK(kvreg_registry_create(registry, "two", 3, 0, NULL)); /* it is there */
    OK(kvreg_registry_create_cast(registry, "one", 3));
    OK(put(one, "k", "12345"));
    IS(KVREG_LIMIT, put(two, "k", "1234"));
    OK(put(two, "k", "123"));
    IS(KVREG_LIMIT, put(one, "k", "123456"));
    CHECK(has(one, "k", "12345") && has(two, "k", "123"));
    kvreg_registry_stats stats = kvreg_registry_stats_init();
    OK(kvreg_registry_info(registry, &stats));
    CHECK(stats.buckets == 2 && stats.keys == 2 && stats.bytes == 10);
    OK(kvreg_bucket_stop(one)); /* gives its name and its bytes back */
    OK(put(two, "k", "123456789"));
    OK(kvreg_registry_create(registry, "three", 5, 0, NULL));
    IS(KVREG_LIMIT, kvreg_registry_create(registry, "one", 3, 0, NULL));
    OK(kvreg_bucket_free(one));
    finish(two);
}

static atomic_int destroyed;

static kvreg_verdict keep(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    return KVREG_KEEP;
}

static void destroy(void *data) {
    (void)data;
    atomic_fetch_add(&destroyed, 1);
}

static void the_mailbox_and_what_waits_in_it(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_value value = kvreg_string("12345", 5);
    kvreg_update *update;
    options.max_mailbox = 3;
    options.max_keys = 2;
    options.max_bytes = 100;
    kvreg_bucket *bucket = limited(&options);
    OK(put(bucket, "a", "12345"));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    OK(kvreg_bucket_put_cast(bucket, "b", 1, &value));
    /* The queued one counts: there is no place for a third key. */
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "c", 1, &value));
    OK(kvreg_bucket_put_cast(bucket, "a", 1, &value));
    OK(kvreg_bucket_update_cast(bucket, "a", 1, keep, NULL, destroy));
    CHECK(stats_of(bucket).mailbox == 3);
    IS(KVREG_LIMIT, kvreg_bucket_delete_cast(bucket, "a", 1));
    IS(KVREG_LIMIT, kvreg_bucket_update_cast(bucket, "a", 1, keep, NULL, destroy));
    CHECK(atomic_load(&destroyed) == 1); /* of the one that was refused */
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_bucket_delete(bucket, "a", 1, NULL)); /* after all of them */
    CHECK(atomic_load(&destroyed) == 2);
    CHECK(has(bucket, "b", "12345"));
    OK(kvreg_bucket_put_cast(bucket, "c", 1, &value));
    CHECK(has(bucket, "c", "12345"));

    /* Bytes that wait count as well. */
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    char text[90];
    memset(text, 'x', sizeof text);
    value = kvreg_string(text, sizeof text);
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "b", 1, &value));
    value = kvreg_string(text, 80);
    OK(kvreg_bucket_put_cast(bucket, "b", 1, &value));
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "b", 1, &value));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    IS(KVREG_LIMIT, kvreg_bucket_put_cast(bucket, "c", 1, &value)); /* handled at once */
    CHECK(has(bucket, "c", "12345"));
    finish(bucket);
}

static void buckets_have_the_options_of_their_registry(void) {
    kvreg_bucket_options of_buckets = kvreg_bucket_options_init();
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_bucket *bucket;
    of_buckets.max_keys = 1;
    options.bucket = &of_buckets;
    OK(kvreg_registry_start(&options, &registry));
    of_buckets.max_keys = 9; /* copied */
    OK(kvreg_registry_create(registry, "a", 1, 0, &bucket));
    OK(put(bucket, "k", "1"));
    IS(KVREG_LIMIT, put(bucket, "l", "2"));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_create_with(registry, "b", 1, 0, &of_buckets, &bucket));
    OK(put(bucket, "k", "1"));
    OK(put(bucket, "l", "2"));
    of_buckets.restart = 3;
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_registry_create_with(registry, "c", 1, 0, &of_buckets, NULL));
    finish(bucket);
}

static const test tests[] = {
    TEST(keys),
    TEST(bytes),
    TEST(a_value),
    TEST(buckets_and_bytes_of_a_registry),
    TEST(the_mailbox_and_what_waits_in_it),
    TEST(buckets_have_the_options_of_their_registry),
};
CHECK_MAIN(tests)
