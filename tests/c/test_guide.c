/* The guide's own tests (KV.RegistryTest, KV.BucketTest), in C. */

#include "check.h"

static kvreg_registry *registry;

static void start(void) { OK(kvreg_registry_start(NULL, &registry)); }

static void finish(void) {
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static void not_found(const char *name) {
    kvreg_bucket *bucket = (kvreg_bucket *)&bucket;
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, name, KVREG_NUL, &bucket));
    CHECK(bucket == NULL);
}

static void an_unknown_name_is_not_found(void) {
    start();
    not_found("shopping");
    finish();
}

static void spawns_buckets(void) {
    kvreg_bucket *bucket;
    int64_t milk;
    start();
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, NULL));
    OK(kvreg_registry_lookup(registry, "shopping", KVREG_NUL, &bucket));
    OK(kvreg_bucket_put_int(bucket, "milk", KVREG_NUL, 1));
    OK(kvreg_bucket_get_int(bucket, "milk", KVREG_NUL, &milk));
    CHECK(milk == 1);
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void a_missing_key_is_not_found(void) {
    kvreg_bucket *bucket;
    kvreg_value value = kvreg_int(7);
    OK(kvreg_bucket_start(&bucket));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "milk", KVREG_NUL, &value));
    CHECK(value.type == KVREG_NIL);
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete(bucket, "milk", KVREG_NUL, NULL));
    OK(kvreg_bucket_free(bucket));
}

static void delete_answers_the_value(void) {
    kvreg_bucket *bucket;
    kvreg_value old;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_string(bucket, "milk", KVREG_NUL, "3", KVREG_NUL));
    OK(kvreg_bucket_delete(bucket, "milk", KVREG_NUL, &old));
    CHECK(check_text(&old, KVREG_STRING, "3"));
    kvreg_value_clear(&old);
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "milk", KVREG_NUL, &old));
    OK(kvreg_bucket_free(bucket));
}

static void removes_buckets_on_exit(void) {
    kvreg_bucket *bucket;
    start();
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_stop(bucket));
    not_found("shopping");
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void removes_buckets_on_shutdown(void) {
    kvreg_bucket *bucket;
    start();
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_SHUTDOWN, NULL, 0));
    not_found("shopping");
    OK(kvreg_bucket_free(bucket));
    finish();
}

static kvreg_verdict crash(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_CRASH;
}

static void a_bucket_can_crash_at_any_time(void) {
    kvreg_bucket *bucket;
    kvreg_items *items;
    kvreg_update *update;
    kvreg_value value = kvreg_int(1);
    kvreg_pair pair = {"milk", 4, value};
    size_t count;
    start();
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_put(bucket, "milk", KVREG_NUL, &value));
    IS(KVREG_SERVER_DOWN, kvreg_bucket_update(bucket, "milk", KVREG_NUL, crash, NULL));
    not_found("shopping");

    IS(KVREG_NO_PROCESS, kvreg_bucket_put(bucket, "milk", KVREG_NUL, &value));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_cast(bucket, "milk", KVREG_NUL, &value));
    IS(KVREG_NO_PROCESS, kvreg_bucket_get(bucket, "milk", KVREG_NUL, &value));
    IS(KVREG_NO_PROCESS, kvreg_bucket_delete(bucket, "milk", KVREG_NUL, NULL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_delete_cast(bucket, "milk", KVREG_NUL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_many(bucket, &pair, 1));
    IS(KVREG_NO_PROCESS, kvreg_bucket_get_many(bucket, &pair, 1));
    IS(KVREG_NO_PROCESS, kvreg_bucket_update(bucket, "milk", KVREG_NUL, crash, NULL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_update_cast(bucket, "milk", 4, crash, NULL, NULL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_update_begin(bucket, "milk", 4, &value, &update));
    CHECK(update == NULL);
    IS(KVREG_NO_PROCESS, kvreg_bucket_count(bucket, &count));
    IS(KVREG_NO_PROCESS, kvreg_bucket_clear(bucket));
    IS(KVREG_NO_PROCESS, kvreg_bucket_items(bucket, &items));
    IS(KVREG_NO_PROCESS, kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    OK(kvreg_bucket_name(bucket, &value)); /* that it still knows */
    CHECK(check_text(&value, KVREG_STRING, "shopping"));
    kvreg_value_clear(&value);
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void creating_twice_gives_the_same_bucket(void) {
    kvreg_bucket *first, *second, *third;
    int64_t milk;
    size_t count;
    start();
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &first));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &second));
    OK(kvreg_bucket_put_int(first, "milk", KVREG_NUL, 1));
    OK(kvreg_bucket_get_int(second, "milk", KVREG_NUL, &milk));
    IS(KVREG_ALREADY_STARTED,
       kvreg_registry_create(registry, "shopping", KVREG_NUL, KVREG_CREATE_EXCLUSIVE, &third));
    CHECK(third == NULL);
    OK(kvreg_registry_create(registry, "new", KVREG_NUL, KVREG_CREATE_EXCLUSIVE, NULL));
    OK(kvreg_registry_count(registry, &count));
    CHECK(count == 2);
    OK(kvreg_bucket_free(first));
    OK(kvreg_bucket_free(second));
    finish();
}

static void a_cast_create_is_seen_by_the_next_lookup(void) {
    unsigned long rounds = check_count(1000000);
    start();
    for (unsigned long i = 0; i < rounds; i++) {
        char name[32];
        kvreg_bucket *bucket;
        int len = snprintf(name, sizeof name, "%lu", i);
        OK(kvreg_registry_create_cast(registry, name, (size_t)len));
        OK(kvreg_registry_lookup(registry, name, (size_t)len, &bucket));
        OK(kvreg_bucket_stop(bucket));
        OK(kvreg_bucket_free(bucket));
    }
    finish();
}

static const test tests[] = {
    TEST(an_unknown_name_is_not_found),
    TEST(spawns_buckets),
    TEST(a_missing_key_is_not_found),
    TEST(delete_answers_the_value),
    TEST(removes_buckets_on_exit),
    TEST(removes_buckets_on_shutdown),
    TEST(a_bucket_can_crash_at_any_time),
    TEST(creating_twice_gives_the_same_bucket),
    TEST(a_cast_create_is_seen_by_the_next_lookup),
};

CHECK_MAIN(tests)
