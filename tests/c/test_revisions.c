/* Revisions, conditions and sums (G15, G16). */

#include <math.h>
#include <pthread.h>

#include "check.h"

static kvreg_bucket *bucket;

static void start(void) { OK(kvreg_bucket_start(&bucket)); }
static void finish(void) { OK(kvreg_bucket_free(bucket)); }

static uint64_t put(const char *key, kvreg_value value) {
    uint64_t revision = 0;
    OK(kvreg_bucket_put_entry(bucket, key, KVREG_NUL, &value, KVREG_TTL_DEFAULT, &revision));
    CHECK(revision != 0);
    return revision;
}

static uint64_t revision_of(kvreg_bucket *of, const char *key) {
    kvreg_entry entry = kvreg_entry_init();
    OK(kvreg_bucket_get_entry(of, key, KVREG_NUL, &entry));
    CHECK(entry.ttl_ms == -1);
    kvreg_value_clear(&entry.value);
    return entry.revision;
}

static uint64_t last(void) {
    uint64_t revision;
    OK(kvreg_bucket_revision(bucket, &revision));
    return revision;
}

static void g15_each_change_has_a_larger_revision(void) {
    static char text[1 << 20];
    memset(text, 'x', sizeof text);
    start();
    CHECK(last() == 0);
    uint64_t before = 0;
    for (size_t len = 0; len <= sizeof text; len = len * 2 + 1) {
        kvreg_value bytes = kvreg_bytes(text, len);
        uint64_t revision = put("k", bytes);
        CHECK(revision > before && revision == last() && revision == revision_of(bucket, "k"));
        OK(kvreg_bucket_put(bucket, "k", 1, &bytes));
        before = revision_of(bucket, "k");
        CHECK(before > revision && before == last());
    }
    kvreg_pair pairs[3] = {{"a", 1, kvreg_int(1)}, {"b", 1, kvreg_int(2)}, {"c", 1, kvreg_int(3)}};
    for (int round = 0; round < 2; round++) { /* of new keys, then of those that are there */
        OK(kvreg_bucket_put_many(bucket, pairs, 3));
        uint64_t a = revision_of(bucket, "a"), b = revision_of(bucket, "b");
        CHECK(before < a && a < b && b < revision_of(bucket, "c"));
        before = last();
    }
    OK(kvreg_bucket_delete(bucket, "a", 1, NULL));
    CHECK(last() > before);
    before = last();
    OK(kvreg_bucket_clear(bucket));
    CHECK(last() > before);
    finish();
}

static void g15_what_changes_nothing_has_none(void) {
    start();
    kvreg_value one = kvreg_int(1), two = kvreg_int(2);
    uint64_t revision = put("k", one), none = 7;
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "k", 1, &two, 0, -1, &none));
    CHECK(none == 0);
    IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "k", 1, &two, revision + 1000, -1, &none));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "new", 3, &two, revision, -1, &none));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if_equal(bucket, "k", 1, &two, &one, &none));
    IS(KVREG_CONFLICT, kvreg_bucket_delete_if(bucket, "k", 1, revision + 1, NULL));
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete(bucket, "new", 3, NULL));
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete_if(bucket, "new", 3, revision, NULL));
    none = 7;
    OK(kvreg_bucket_put_if_equal(bucket, "new", 3, NULL, NULL, &none));
    CHECK(none == 0);
    CHECK(last() == revision && revision_of(bucket, "k") == revision);
    finish();
}

/* What a limit refuses, of one key and of many, by whichever way. */
static void g15_what_is_refused_has_none(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_bytes = 11;
    OK(kvreg_bucket_start_with(&options, &bucket));
    uint64_t revision = put("k", kvreg_bytes("0123456789", 10));
    kvreg_pair pair = {"k", 1, kvreg_bytes("0123456789abcdef", 16)};
    IS(KVREG_LIMIT, kvreg_bucket_put_many(bucket, &pair, 1));
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "k", 1, &pair.value));
    IS(KVREG_LIMIT, kvreg_bucket_put_if(bucket, "k", 1, &pair.value, revision, -1, NULL));
    IS(KVREG_LIMIT, kvreg_bucket_add_int(bucket, "n", 1, 1, NULL));
    CHECK(last() == revision && revision_of(bucket, "k") == revision);
    finish();
}

static void g16_put_if_compares_and_stores_in_one_step(void) {
    static char text[8192];
    start();
    /* Of every kind of value: in its place, shared, of another size. */
    kvreg_value values[] = {kvreg_int(1), kvreg_string("one", 3), kvreg_bytes(text, 4096),
                            kvreg_bytes(text, 8192), kvreg_nil()};
    uint64_t revision = 0;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            uint64_t next = 0;
            OK(kvreg_bucket_put_if(bucket, "k", 1, &values[i], revision, -1, &next));
            CHECK(next > revision && revision_of(bucket, "k") == next);
            IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "k", 1, &values[i], revision, -1, NULL));
            revision = next;
        }
    kvreg_value old;
    OK(kvreg_bucket_put_if(bucket, "k", 1, &values[3], revision, KVREG_TTL_KEEP, &revision));
    OK(kvreg_bucket_delete_if(bucket, "k", 1, revision, &old));
    CHECK(old.type == KVREG_BYTES && old.as.text.len == 8192);
    kvreg_value_clear(&old);
    uint64_t again = put("k", values[0]); /* absent, then the same value: another change */
    CHECK(again > revision);
    IS(KVREG_CONFLICT, kvreg_bucket_delete_if(bucket, "k", 1, revision, &old));
    CHECK(old.type == KVREG_NIL);
    OK(kvreg_bucket_delete_if(bucket, "k", 1, again, NULL));
    finish();
}

static void g16_put_if_equal_compares_values(void) {
    static char text[8192];
    start();
    uint64_t first, second;
    kvreg_value large = kvreg_bytes(text, sizeof text), short_one = kvreg_bytes(text, 8191);
    kvreg_value string = kvreg_string("1", 1), bytes = kvreg_bytes("1", 1), one = kvreg_int(1);
    kvreg_value nan = kvreg_float(NAN), zero = kvreg_float(0.0), minus = kvreg_float(-0.0);
    kvreg_value values[] = {large, string, bytes, one, nan, zero, kvreg_nil(), kvreg_bool(false)};
    size_t count = sizeof values / sizeof *values;
    OK(kvreg_bucket_put_if_equal(bucket, "k", 1, NULL, &short_one, &first));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if_equal(bucket, "k", 1, NULL, &one, NULL));
    OK(kvreg_bucket_put_if_equal(bucket, "k", 1, &short_one, &values[0], NULL));
    for (size_t i = 0; i < count; i++) {
        for (size_t other = 0; other < count; other++)
            if (other != i)
                IS(KVREG_CONFLICT,
                   kvreg_bucket_put_if_equal(bucket, "k", 1, &values[other], &one, NULL));
        IS(KVREG_CONFLICT, kvreg_bucket_put_if_equal(bucket, "k", 1, &minus, &one, NULL));
        OK(kvreg_bucket_put_if_equal(bucket, "k", 1, &values[i], &values[i], &first));
        OK(kvreg_bucket_put_if_equal(bucket, "k", 1, &values[i], &values[(i + 1) % count], &second));
        CHECK(second > first && revision_of(bucket, "k") == second);
    }
    /* Of two that are wrong the one that comes first in the header's order is named. */
    kvreg_value wrong = one, too_large = kvreg_bytes("", (size_t)512 << 20 | 1);
    wrong.type = 99;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_if_equal(bucket, "k", 1, &wrong, &too_large, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_if_equal(bucket, "k", 1, &too_large, &wrong, NULL));
    IS(KVREG_LIMIT, kvreg_bucket_put_if_equal(bucket, "k", 1, &too_large, &too_large, NULL));
    OK(kvreg_bucket_put_if_equal(bucket, "k", 1, &large, NULL, &first));
    CHECK(first > second);
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete(bucket, "k", 1, NULL));
    finish();
}

static void sums(void) {
    start();
    int64_t sum = 7;
    OK(kvreg_bucket_add_int(bucket, "n", 1, 5, &sum));
    CHECK(sum == 5);
    uint64_t revision = revision_of(bucket, "n");
    OK(kvreg_bucket_add_int(bucket, "n", 1, -7, NULL));
    CHECK(revision_of(bucket, "n") > revision);
    OK(kvreg_bucket_add_int(bucket, "n", 1, INT64_MIN + 2, &sum));
    CHECK(sum == INT64_MIN);
    sum = 7;
    IS(KVREG_LIMIT, kvreg_bucket_add_int(bucket, "n", 1, -1, &sum));
    CHECK(sum == 0);
    OK(kvreg_bucket_put_int(bucket, "n", 1, INT64_MAX));
    IS(KVREG_LIMIT, kvreg_bucket_add_int(bucket, "n", 1, 1, &sum));
    OK(kvreg_bucket_get_int(bucket, "n", 1, &sum));
    CHECK(sum == INT64_MAX);
    kvreg_value others[] = {kvreg_float(1), kvreg_bool(true), kvreg_nil(), kvreg_string("1", 1)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        OK(kvreg_bucket_put(bucket, "n", 1, &others[i]));
        IS(KVREG_WRONG_TYPE, kvreg_bucket_add_int(bucket, "n", 1, 1, NULL));
    }
    finish();
}

static void arguments(void) {
    start();
    kvreg_value one = kvreg_int(1), value = kvreg_int(7);
    uint64_t revision;
    kvreg_entry entry = kvreg_entry_init();
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_entry(bucket, "k", 1, &entry));
    CHECK(entry.value.type == KVREG_NIL && entry.revision == 0);
    entry.size = 0;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_entry(bucket, "k", 1, &entry));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_entry(bucket, "k", 1, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_revision(bucket, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_entry(bucket, "k", 1, NULL, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_entry(bucket, "k", 1, &one, -3, &revision));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_entry(bucket, "k", 1, &one, INT64_MAX, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_if(bucket, "k", 1, &one, 0, INT64_MIN, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_delete_if(bucket, "k", 1, 0, &value));
    CHECK(value.type == KVREG_NIL);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_add_int(bucket, NULL, 1, 1, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_add_int(NULL, "k", 1, 1, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_put_if(NULL, "k", 1, &one, 0, -1, NULL));
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, kvreg_bucket_revision(bucket, &revision));
    IS(KVREG_NO_PROCESS, kvreg_bucket_add_int(bucket, "k", 1, 1, NULL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_if(bucket, "k", 1, &one, 0, -1, NULL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_delete_if(bucket, "k", 1, 1, NULL));
    entry = kvreg_entry_init();
    IS(KVREG_NO_PROCESS, kvreg_bucket_get_entry(bucket, "k", 1, &entry));
    finish();
}

/* A bucket that comes back is another one: no old revision is right again. */
static void g15_a_name_never_goes_back(void) {
    kvreg_registry *registry;
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_value one = kvreg_int(1);
    uint64_t before = UINT64_MAX;
    options.restart = KVREG_PERMANENT;
    options.max_restarts = UINT32_MAX;
    kvreg_registry_options host = kvreg_registry_options_init();
    host.name = "host";
    host.name_len = 4;
    OK(kvreg_registry_start(&host, &registry));
    for (unsigned long life = 0; life < check_count(1000); life++) {
        OK(kvreg_registry_create_with(registry, "name", KVREG_NUL, 0, &options, &bucket));
        uint64_t revision = put("k", one);
        CHECK(before == UINT64_MAX || revision > before);
        IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "k", 1, &one, before, -1, NULL));
        OK(kvreg_bucket_put_if(bucket, "k", 1, &one, revision, -1, &before));
        switch (life % 4) {
        case 0: OK(kvreg_bucket_exit(bucket, KVREG_REASON_CRASHED, NULL, 0)); break;
        case 1: OK(kvreg_registry_remove(registry, "name", KVREG_NUL)); break;
        case 2: OK(kvreg_bucket_stop(bucket)); break;
        default: OK(kvreg_registry_exit(registry, KVREG_REASON_KILLED, NULL, 0)); break;
        }
        OK(kvreg_bucket_free(bucket));
    }
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

enum { THREADS = 4 };

static void *adds(void *argument) {
    unsigned long count = *(unsigned long *)argument;
    for (unsigned long i = 0; i < count; i++)
        OK(kvreg_bucket_add_int(bucket, "sum", 3, 1, NULL));
    return NULL;
}

/* Each takes what is there, and stores one more if it is still so. */
static void *increments(void *argument) {
    unsigned long count = *(unsigned long *)argument;
    for (unsigned long i = 0; i < count;) {
        kvreg_entry entry = kvreg_entry_init();
        OK(kvreg_bucket_get_entry(bucket, "count", 5, &entry));
        kvreg_value next = kvreg_int(entry.value.as.integer + 1);
        kvreg_status status =
            kvreg_bucket_put_if(bucket, "count", 5, &next, entry.revision, -1, NULL);
        CHECK(status == KVREG_OK || status == KVREG_CONFLICT);
        i += status == KVREG_OK;
    }
    return NULL;
}

static void g16_none_is_lost_under_contention(void) {
    unsigned long count = check_count(20000);
    pthread_t threads[2 * THREADS];
    start();
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_put_int(bucket, "count", 5, 0));
    for (int i = 0; i < 2 * THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, i % 2 ? adds : increments, &count) == 0);
    for (int i = 0; i < 2 * THREADS; i++)
        pthread_join(threads[i], NULL);
    int64_t sum, counted;
    OK(kvreg_bucket_get_int(bucket, "sum", 3, &sum));
    OK(kvreg_bucket_get_int(bucket, "count", 5, &counted));
    CHECK(sum == (int64_t)(THREADS * count) && counted == (int64_t)(THREADS * count));
    finish();
}

static const test tests[] = {
    TEST(g15_each_change_has_a_larger_revision),
    TEST(g15_what_changes_nothing_has_none),
    TEST(g15_what_is_refused_has_none),
    TEST(g16_put_if_compares_and_stores_in_one_step),
    TEST(g16_put_if_equal_compares_values),
    TEST(sums),
    TEST(arguments),
    TEST(g15_a_name_never_goes_back),
    TEST(g16_none_is_lost_under_contention),
};

CHECK_MAIN(tests)
