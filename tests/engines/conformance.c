/*
 * What any engine must do, as a program of kvreg's sees it: beside a bucket in memory, which is the
 * model.
 *
 *     conformance URL [ENGINE]       a store that is empty, and the shared object of its engine
 */
#define _GNU_SOURCE

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#endif

#include "check.h"

static const char *url;
static kvreg_registry *registry;

static kvreg_bucket_options options(void) {
    kvreg_bucket_options given = kvreg_bucket_options_init();
    given.store = url;
    given.store_len = KVREG_NUL;
    return given;
}

static kvreg_bucket *open_with(const char *name, kvreg_bucket_options given) {
    kvreg_bucket *bucket;
    OK(kvreg_registry_create_with(registry, name, KVREG_NUL, 0, &given, &bucket));
    return bucket;
}

static kvreg_bucket *open_bucket(const char *name) { return open_with(name, options()); }

/* Ends the bucket, and starts it anew with what its store has. */
static kvreg_bucket *again_with(const char *name, kvreg_bucket *bucket, kvreg_bucket_options given) {
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
    return open_with(name, given);
}

static kvreg_bucket *again(const char *name, kvreg_bucket *bucket) {
    return again_with(name, bucket, options());
}

static void erase(const char *name, kvreg_bucket *bucket) {
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_erase(registry, name, KVREG_NUL));
}

static size_t count_of(kvreg_bucket *bucket) {
    size_t count;
    OK(kvreg_bucket_count(bucket, &count));
    return count;
}

static int64_t int_of(kvreg_bucket *bucket, const char *key) {
    kvreg_value value;
    OK(kvreg_bucket_get(bucket, key, KVREG_NUL, &value));
    CHECK(value.type == KVREG_INT);
    return value.as.integer;
}

static void put_int(kvreg_bucket *bucket, const char *key, int64_t number) {
    kvreg_value value = kvreg_int(number);
    OK(kvreg_bucket_put(bucket, key, KVREG_NUL, &value));
}

static bool is_same(const kvreg_value *one, const kvreg_value *other) {
    if (one->type != other->type) return false;
    switch (one->type) {
    case KVREG_BOOL:
        return one->as.boolean == other->as.boolean;
    case KVREG_INT:
        return one->as.integer == other->as.integer;
    case KVREG_FLOAT:
        return memcmp(&one->as.real, &other->as.real, sizeof one->as.real) == 0;
    case KVREG_STRING: case KVREG_BYTES:
        return one->as.text.len == other->as.text.len &&
               memcmp(one->as.text.data, other->as.text.data, one->as.text.len) == 0;
    default:
        return true;
    }
}

/* Both have the same keys, with the same values. */
static void same_contents(kvreg_bucket *one, kvreg_bucket *other) {
    kvreg_items *items;
    kvreg_value key, value, there;
    CHECK(count_of(one) == count_of(other));
    OK(kvreg_bucket_items(one, &items));
    while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
        OK(kvreg_bucket_get(other, key.as.text.data, key.as.text.len, &there));
        CHECK(is_same(&value, &there));
        kvreg_value_clear(&key);
        kvreg_value_clear(&value);
        kvreg_value_clear(&there);
    }
    OK(kvreg_items_free(items));
}

static void an_empty_store(void) {
    kvreg_bucket *bucket = open_bucket("empty");
    uint64_t revision;
    kvreg_value value;
    CHECK(count_of(bucket) == 0);
    OK(kvreg_bucket_revision(bucket, &revision));
    CHECK(revision == 0);
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "k", 1, &value));
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete(bucket, "k", 1, NULL));
    bucket = again("empty", bucket);
    CHECK(count_of(bucket) == 0);
    erase("empty", bucket);
    IS(KVREG_NOT_FOUND, kvreg_registry_erase(registry, "empty", KVREG_NUL));
}

static void all_values_come_back(void) {
    kvreg_bucket *bucket = open_bucket("values"), *model;
    size_t long_len = 1 << 20;
    char *text = malloc(long_len), *key = malloc(65536);
    CHECK(text != NULL && key != NULL);
    OK(kvreg_bucket_start(&model));
    memset(key, 'k', 65536);
    for (size_t i = 0; i < long_len; i++) text[i] = (char)(i * 7 + i / 256);
    kvreg_value values[] = {
        kvreg_nil(), kvreg_bool(true), kvreg_bool(false), kvreg_int(0), kvreg_int(INT64_MIN),
        kvreg_int(INT64_MAX), kvreg_float(0.0), kvreg_float(-0.0), kvreg_float(1.5e300),
        kvreg_string("", 0), kvreg_string("text", 4), kvreg_string("a\0b", 3), kvreg_bytes("", 0),
        kvreg_bytes(text, 40), kvreg_bytes(text, 41), kvreg_bytes(text, 512), kvreg_bytes(text, 4097),
        kvreg_bytes(text, long_len),
    };
    size_t lens[] = {0, 1, 8, 255, 256, 300, 4096, 65536};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        size_t len = lens[i % (sizeof lens / sizeof *lens)];
        if (len != 0) key[0] = (char)i; /* any byte, NUL too */
        OK(kvreg_bucket_put(bucket, key, len, &values[i]));
        OK(kvreg_bucket_put(model, key, len, &values[i]));
    }
    same_contents(model, bucket);
    bucket = again("values", bucket);
    same_contents(model, bucket);
    bucket = again("values", bucket);
    same_contents(model, bucket);
    OK(kvreg_bucket_free(model));
    erase("values", bucket);
    free(text);
    free(key);
}

static void revisions_go_on(void) {
    kvreg_bucket *bucket = open_bucket("revisions");
    kvreg_entry entry = kvreg_entry_init();
    uint64_t first, last;
    put_int(bucket, "stays", 1);
    OK(kvreg_bucket_get_entry(bucket, "stays", KVREG_NUL, &entry));
    first = entry.revision;
    put_int(bucket, "goes", 2);
    OK(kvreg_bucket_delete(bucket, "goes", KVREG_NUL, NULL));
    OK(kvreg_bucket_revision(bucket, &last));
    CHECK(last > first);
    bucket = again("revisions", bucket);
    OK(kvreg_bucket_get_entry(bucket, "stays", KVREG_NUL, &entry));
    CHECK(entry.revision == first);
    kvreg_value value = kvreg_int(3);
    OK(kvreg_bucket_put_if(bucket, "stays", KVREG_NUL, &value, first, KVREG_TTL_DEFAULT, NULL));
    OK(kvreg_bucket_get_entry(bucket, "stays", KVREG_NUL, &entry));
    CHECK(entry.revision > last); /* of what went too */
    IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "stays", KVREG_NUL, &value, first, KVREG_TTL_DEFAULT, NULL));
    /* After it was removed and made anew too. */
    last = entry.revision;
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_remove(registry, "revisions", KVREG_NUL));
    bucket = open_bucket("revisions");
    CHECK(int_of(bucket, "stays") == 3);
    put_int(bucket, "stays", 4);
    OK(kvreg_bucket_get_entry(bucket, "stays", KVREG_NUL, &entry));
    CHECK(entry.revision > last);
    erase("revisions", bucket);
}

/* It is erased with the bucket's turn, or nothing is done. */
static void what_cannot_be_erased_stays(void) {
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    kvreg_bucket *bucket = open_bucket("stays");
    kvreg_update *update;
    kvreg_value current;
    OK(kvreg_bucket_info(bucket, &stats));
    CHECK(stats.store[0] != 0 && strncmp(stats.store, url, strlen(stats.store)) == 0);
    put_int(bucket, "n", 1);
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    IS(KVREG_CALLING_SELF, kvreg_registry_erase(registry, "stays", KVREG_NUL));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    bucket = again("stays", bucket);
    CHECK(int_of(bucket, "n") == 1);
    erase("stays", bucket);
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, "stays", KVREG_NUL, &bucket));
    bucket = open_bucket("stays");
    CHECK(count_of(bucket) == 0);
    erase("stays", bucket);
}

static void what_goes_stays_away(void) {
    kvreg_bucket *bucket = open_bucket("goes");
    kvreg_value old;
    put_int(bucket, "a", 1);
    put_int(bucket, "b", 2);
    bucket = again("goes", bucket);
    OK(kvreg_bucket_delete(bucket, "a", 1, &old));
    CHECK(old.type == KVREG_INT && old.as.integer == 1);
    bucket = again("goes", bucket);
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "a", 1, &old));
    CHECK(count_of(bucket) == 1);
    OK(kvreg_bucket_clear(bucket));
    put_int(bucket, "c", 3);
    bucket = again("goes", bucket);
    CHECK(count_of(bucket) == 1 && int_of(bucket, "c") == 3);
    erase("goes", bucket);
    bucket = open_bucket("goes");
    CHECK(count_of(bucket) == 0);
    erase("goes", bucket);
}

static void what_is_asked_is_asked_first(void) {
    kvreg_bucket *bucket = open_bucket("asked");
    kvreg_value one = kvreg_int(1), two = kvreg_int(2), text = kvreg_string("text", 4);
    int64_t sum;
    uint64_t revision;
    OK(kvreg_bucket_put_if(bucket, "k", 1, &one, 0, KVREG_TTL_DEFAULT, &revision));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if(bucket, "k", 1, &two, 0, KVREG_TTL_DEFAULT, NULL));
    IS(KVREG_CONFLICT, kvreg_bucket_delete_if(bucket, "k", 1, revision + 1, NULL));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if_equal(bucket, "k", 1, &two, &one, NULL));
    OK(kvreg_bucket_put_if_equal(bucket, "k", 1, &one, &two, NULL));
    OK(kvreg_bucket_add_int(bucket, "k", 1, 40, &sum));
    CHECK(sum == 42);
    OK(kvreg_bucket_add_int(bucket, "new", 3, -1, &sum));
    CHECK(sum == -1);
    OK(kvreg_bucket_put(bucket, "text", 4, &text));
    IS(KVREG_WRONG_TYPE, kvreg_bucket_add_int(bucket, "text", 4, 1, &sum));
    OK(kvreg_bucket_put_if_equal(bucket, "new", 3, &(kvreg_value){.type = KVREG_INT, .as.integer = -1},
                                 NULL, NULL));
    bucket = again("asked", bucket);
    CHECK(count_of(bucket) == 2 && int_of(bucket, "k") == 42);
    erase("asked", bucket);
}

static kvreg_op put_op(const char *key, int64_t number) {
    kvreg_op op = kvreg_op_init();
    op.op = KVREG_OP_PUT;
    op.key = key;
    op.key_len = strlen(key);
    op.value = kvreg_int(number);
    return op;
}

static void batches_are_whole(void) {
    kvreg_bucket *bucket = open_bucket("batches");
    kvreg_op ops[3] = {put_op("a", 1), put_op("b", 2), put_op("a", 3)};
    kvreg_pair pairs[2];
    size_t at;
    OK(kvreg_bucket_apply(bucket, ops, 3, NULL));
    CHECK(int_of(bucket, "a") == 3 && int_of(bucket, "b") == 2);
    ops[1] = put_op("c", 7);
    ops[2] = kvreg_op_init();
    ops[2].op = KVREG_OP_DELETE;
    ops[2].key = "none";
    ops[2].key_len = 4;
    IS(KVREG_NOT_FOUND, kvreg_bucket_apply(bucket, ops, 3, &at));
    CHECK(at == 2);
    bucket = again("batches", bucket);
    CHECK(count_of(bucket) == 2 && int_of(bucket, "a") == 3);
    memset(pairs, 0, sizeof pairs);
    pairs[0] = (kvreg_pair){"a", 1, kvreg_int(8)};
    pairs[1] = (kvreg_pair){"d", 1, kvreg_int(9)};
    OK(kvreg_bucket_put_many(bucket, pairs, 2));
    bucket = again("batches", bucket);
    CHECK(count_of(bucket) == 3 && int_of(bucket, "a") == 8 && int_of(bucket, "d") == 9);
    erase("batches", bucket);
}

static void times_go_on(void) {
    kvreg_bucket *bucket = open_bucket("times");
    kvreg_entry entry = kvreg_entry_init();
    kvreg_value value = kvreg_int(1);
    const int64_t hour = 3600 * 1000;
    OK(kvreg_bucket_put_entry(bucket, "hour", 4, &value, hour, NULL));
    OK(kvreg_bucket_put_entry(bucket, "soon", 4, &value, 20, NULL));
    put_int(bucket, "ever", 1);
    bucket = again("times", bucket);
    OK(kvreg_bucket_get_entry(bucket, "hour", 4, &entry));
    CHECK(entry.ttl_ms > 0 && entry.ttl_ms <= hour);
    OK(kvreg_bucket_get_entry(bucket, "ever", 4, &entry));
    CHECK(entry.ttl_ms == KVREG_TTL_NEVER);
    check_patience patience = check_patiently();
    while (kvreg_bucket_get(bucket, "soon", 4, &value) != KVREG_NOT_FOUND)
        CHECK(check_go_on(&patience));
    bucket = again("times", bucket);
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "soon", 4, &value));
    OK(kvreg_bucket_expire(bucket, "hour", 4, KVREG_TTL_NEVER, NULL));
    bucket = again("times", bucket);
    OK(kvreg_bucket_get_entry(bucket, "hour", 4, &entry));
    CHECK(entry.ttl_ms == KVREG_TTL_NEVER && count_of(bucket) == 2);
    erase("times", bucket);
}

static void updates_are_stored(void) {
    kvreg_bucket *bucket = open_bucket("updates");
    kvreg_update *update;
    kvreg_value current, next = kvreg_int(5);
    put_int(bucket, "n", 1);
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    CHECK(current.as.integer == 1);
    OK(kvreg_update_end(update, KVREG_STORE, &next));
    OK(kvreg_bucket_update_begin(bucket, "gone", 4, &current, &update));
    OK(kvreg_update_end(update, KVREG_REMOVE, NULL));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    IS(KVREG_ABORTED, kvreg_update_end(update, KVREG_ABORT, NULL));
    bucket = again("updates", bucket);
    CHECK(int_of(bucket, "n") == 5);
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    OK(kvreg_update_end(update, KVREG_REMOVE, NULL));
    bucket = again("updates", bucket);
    CHECK(count_of(bucket) == 0);
    erase("updates", bucket);
}

static void g3_own_casts_are_seen(void) {
    kvreg_bucket *bucket = open_bucket("casts");
    kvreg_value value;
    unsigned long count = check_count(500);
    for (unsigned long i = 0; i < count; i++) {
        value = kvreg_int((int64_t)i);
        OK(kvreg_bucket_put_cast(bucket, "n", 1, &value));
        if (i % 50 == 0) CHECK(int_of(bucket, "n") == (int64_t)i);
    }
    OK(kvreg_bucket_delete_cast(bucket, "n", 1));
    value = kvreg_int(7);
    OK(kvreg_bucket_put_cast(bucket, "last", 4, &value));
    CHECK(count_of(bucket) == 1);
    bucket = again("casts", bucket);
    CHECK(count_of(bucket) == 1 && int_of(bucket, "last") == 7);
    erase("casts", bucket);
}

static void a_crash_loses_nothing(void) {
    kvreg_bucket_options given = options();
    given.restart = KVREG_PERMANENT;
    given.max_restarts = 1000;
    kvreg_bucket *bucket = open_with("crashes", given), *next;
    for (int64_t round = 1; round <= 10; round++) {
        put_int(bucket, "n", round);
        OK(kvreg_bucket_exit(bucket, KVREG_REASON_CRASHED, "test", KVREG_NUL));
        OK(kvreg_registry_lookup(registry, "crashes", KVREG_NUL, &next));
        OK(kvreg_bucket_free(bucket));
        bucket = next;
        CHECK(int_of(bucket, "n") == round);
    }
    /* A lookup waits for what a cast creates, too. */
    erase("crashes", bucket);
}

typedef struct writer {
    kvreg_bucket *bucket;
    int number;
} writer;

enum { WRITERS = 8 };

static void *write_much(void *place) {
    const writer *me = place;
    unsigned long count = check_count(100);
    for (unsigned long i = 0; i < count; i++) {
        char key[40];
        int64_t sum;
        snprintf(key, sizeof key, "%d/%lu", me->number, i);
        put_int(me->bucket, key, (int64_t)i);
        OK(kvreg_bucket_add_int(me->bucket, "sum", 3, 1, &sum));
        put_int(me->bucket, "shared", me->number);
    }
    return NULL;
}

static void many_write_at_once(void) {
    kvreg_bucket *bucket = open_bucket("many");
    unsigned long count = check_count(100);
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){bucket, i};
        CHECK(pthread_create(&threads[i], NULL, write_much, &writers[i]) == 0);
    }
    for (int i = 0; i < WRITERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(int_of(bucket, "sum") == (int64_t)(WRITERS * count));
    CHECK(count_of(bucket) == WRITERS * count + 2);
    bucket = again("many", bucket);
    CHECK(int_of(bucket, "sum") == (int64_t)(WRITERS * count));
    CHECK(count_of(bucket) == WRITERS * count + 2);
    erase("many", bucket);
}

static void *put_late(void *place) {
    kvreg_bucket *mine;
    kvreg_value value = kvreg_int(1);
    OK(kvreg_bucket_clone(place, &mine));
    OK(kvreg_bucket_set_timeout(mine, 20));
    IS(KVREG_TIMEOUT, kvreg_bucket_put(mine, "late", 4, &value));
    OK(kvreg_bucket_put_cast(mine, "cast", 4, &value));
    IS(KVREG_TIMEOUT, kvreg_bucket_delete(mine, "cast", 4, NULL));
    OK(kvreg_bucket_free(mine));
    return NULL;
}

static void g7_a_timeout_withdraws(void) {
    kvreg_bucket *bucket = open_bucket("late");
    kvreg_update *update;
    kvreg_value current;
    pthread_t thread;
    OK(kvreg_bucket_update_begin(bucket, "n", 1, &current, &update));
    CHECK(pthread_create(&thread, NULL, put_late, bucket) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    check_patience patience = check_patiently();
    while (kvreg_bucket_get(bucket, "cast", 4, &current) != KVREG_OK) CHECK(check_go_on(&patience));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "late", 4, &current));
    bucket = again("late", bucket);
    CHECK(count_of(bucket) == 1 && int_of(bucket, "cast") == 1);
    erase("late", bucket);
}

/* What each has been answered, while the bucket ends again and again. */
static atomic_long answered[WRITERS];
static atomic_bool is_over;

static void *write_through_ends(void *place) {
    const writer *me = place;
    while (!atomic_load(&is_over)) {
        kvreg_bucket *bucket;
        OK(kvreg_registry_lookup(registry, "ends", KVREG_NUL, &bucket));
        for (kvreg_status status = KVREG_OK; status == KVREG_OK && !atomic_load(&is_over);) {
            char key[40];
            long number = atomic_load(&answered[me->number]) + 1;
            kvreg_value value = kvreg_int(number);
            snprintf(key, sizeof key, "%d/%ld", me->number, number);
            status = kvreg_bucket_put(bucket, key, KVREG_NUL, &value);
            if (status == KVREG_OK) atomic_store(&answered[me->number], number);
            else CHECK(status == KVREG_NO_PROCESS || status == KVREG_SERVER_DOWN);
        }
        OK(kvreg_bucket_free(bucket));
    }
    return NULL;
}

static void what_was_answered_outlives_an_end(void) {
    kvreg_bucket_options given = options();
    given.restart = KVREG_PERMANENT;
    given.max_restarts = 1000000;
    kvreg_bucket *bucket = open_with("ends", given);
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    OK(kvreg_bucket_free(bucket));
    atomic_store(&is_over, false);
    for (int i = 0; i < WRITERS; i++) {
        atomic_store(&answered[i], 0);
        writers[i] = (writer){NULL, i};
        CHECK(pthread_create(&threads[i], NULL, write_through_ends, &writers[i]) == 0);
    }
    for (unsigned long round = check_scaled(20); round > 0; round--) {
        OK(kvreg_registry_lookup(registry, "ends", KVREG_NUL, &bucket));
        OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "test", KVREG_NUL));
        OK(kvreg_bucket_free(bucket));
        long before = atomic_load(&answered[round % WRITERS]);
        check_patience patience = check_patiently();
        while (atomic_load(&answered[round % WRITERS]) == before) CHECK(check_go_on(&patience));
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < WRITERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    OK(kvreg_registry_lookup(registry, "ends", KVREG_NUL, &bucket));
    for (int i = 0; i < WRITERS; i++)
        for (long number = atomic_load(&answered[i]); number > 0; number--) {
            char key[40];
            snprintf(key, sizeof key, "%d/%ld", i, number);
            CHECK(int_of(bucket, key) == number);
        }
    erase("ends", bucket);
}

/* Random changes of a bucket that is stored and of one in memory: same answers, same contents. */
static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static uint64_t revision_of(kvreg_bucket *bucket, const char *key) {
    kvreg_entry entry = kvreg_entry_init();
    if (kvreg_bucket_get_entry(bucket, key, KVREG_NUL, &entry) != KVREG_OK) return 0;
    kvreg_value_clear(&entry.value);
    return entry.revision;
}

static kvreg_value some_value(void) {
    static const char texts[] = "some text that values have, which is longer than a number is, by far";
    switch (draw(5)) {
    case 0:
        return kvreg_int((int64_t)draw(100));
    case 1:
        return kvreg_string(texts, draw(sizeof texts));
    case 2:
        return kvreg_bytes(texts, draw(sizeof texts));
    case 3:
        return kvreg_float((double)draw(100));
    default:
        return kvreg_bool(draw(2) == 1);
    }
}

static kvreg_status change(kvreg_bucket *bucket, uint64_t kind, const char *key, uint64_t number,
                           kvreg_value value) {
    kvreg_op ops[2];
    int64_t sum;
    switch (kind) {
    case 0: case 1: case 2:
        return kvreg_bucket_put(bucket, key, KVREG_NUL, &value);
    case 3: case 4:
        return kvreg_bucket_delete(bucket, key, KVREG_NUL, NULL);
    case 5:
        return kvreg_bucket_add_int(bucket, key, KVREG_NUL, (int64_t)number, &sum);
    case 6: {
        uint64_t expected = revision_of(bucket, key) + (number % 4 == 0);
        return kvreg_bucket_put_if(bucket, key, KVREG_NUL, &value, expected, KVREG_TTL_DEFAULT, NULL);
    }
    case 7: {
        kvreg_value there;
        kvreg_status status = kvreg_bucket_get(bucket, key, KVREG_NUL, &there);
        if (status != KVREG_OK) return status;
        status = kvreg_bucket_put_if_equal(bucket, key, KVREG_NUL, &there,
                                           number % 3 == 0 ? NULL : &value, NULL);
        kvreg_value_clear(&there);
        return status;
    }
    case 8:
        ops[0] = put_op(key, (int64_t)number);
        ops[1] = put_op("both", (int64_t)number);
        if (number % 5 == 0) ops[1].op = KVREG_OP_DELETE;
        return kvreg_bucket_apply(bucket, ops, 2, NULL);
    case 9:
        return kvreg_bucket_put_cast(bucket, key, KVREG_NUL, &value);
    default:
        return number % 10 == 0 ? kvreg_bucket_clear(bucket)
                                : kvreg_bucket_expire(bucket, key, KVREG_NUL, 3600000, NULL);
    }
}

static void as_in_memory(void) {
    kvreg_bucket *bucket = open_bucket("random"), *model;
    unsigned long count = check_scaled(3000);
    OK(kvreg_bucket_start(&model));
    for (unsigned long i = 0; i < count; i++) {
        char key[20];
        uint64_t kind = draw(11), number = draw(100);
        kvreg_value value = some_value();
        snprintf(key, sizeof key, "key %d", (int)draw(30));
        kvreg_status expected = change(model, kind, key, number, value);
        IS(expected, change(bucket, kind, key, number, value));
        if (draw(300) == 0) {
            same_contents(model, bucket);
            bucket = again("random", bucket);
            same_contents(model, bucket);
        }
    }
    bucket = again("random", bucket);
    same_contents(model, bucket);
    OK(kvreg_bucket_free(model));
    erase("random", bucket);
}

static void limits_hold(void) {
    kvreg_bucket_options given = options();
    given.max_keys = 2;
    kvreg_bucket *bucket = open_with("limits", given);
    kvreg_value value = kvreg_int(3);
    put_int(bucket, "a", 1);
    put_int(bucket, "b", 2);
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "c", 1, &value));
    put_int(bucket, "a", 4);
    bucket = again_with("limits", bucket, given);
    CHECK(count_of(bucket) == 2 && int_of(bucket, "a") == 4);
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "c", 1, &value));
    /* What is stored has no room in a smaller one. */
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
    given.max_keys = 1;
    IS(KVREG_LIMIT, kvreg_registry_create_with(registry, "limits", KVREG_NUL, 0, &given, &bucket));
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, "limits", KVREG_NUL, &bucket));
    given.max_keys = 2;
    given.on_full = KVREG_EVICT;
    bucket = open_with("limits", given);
    put_int(bucket, "c", 3);
    CHECK(count_of(bucket) == 2 && int_of(bucket, "c") == 3);
    bucket = again_with("limits", bucket, given);
    CHECK(count_of(bucket) == 2 && int_of(bucket, "c") == 3);
    erase("limits", bucket);
}

static void others_see_changes(void) {
    kvreg_bucket_options given = options();
    given.order = KVREG_ORDERED;
    kvreg_bucket *bucket = open_with("watched", given);
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    kvreg_items *items;
    kvreg_value key;
    for (int i = 9; i >= 0; i--) put_int(bucket, (char[]){(char)('a' + i), 0}, i);
    bucket = again_with("watched", bucket, given);
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch(inbox, bucket, NULL, &reference));
    unsigned puts = 0;
    for (bool is_current = false; !is_current;) {
        OK(kvreg_inbox_receive(inbox, CHECK_PATIENCE * 1000, &event));
        puts += event.type == KVREG_EVENT_CHANGE;
        is_current = event.type == KVREG_EVENT_CURRENT;
        kvreg_event_clear(&event);
    }
    CHECK(puts == 10);
    put_int(bucket, "b", 70);
    OK(kvreg_inbox_receive(inbox, CHECK_PATIENCE * 1000, &event));
    CHECK(event.type == KVREG_EVENT_CHANGE && event.level == KVREG_CHANGE_PUT);
    CHECK(event.value.as.integer == 70 && strcmp(event.name.data, "b") == 0);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(inbox));
    kvreg_scan_options scan = kvreg_scan_options_init();
    OK(kvreg_bucket_scan(bucket, &scan, &items));
    for (int i = 0; i < 10; i++) {
        OK(kvreg_items_next(items, &key, NULL));
        CHECK(key.as.text.len == 1 && *(const char *)key.as.text.data == 'a' + i);
        kvreg_value_clear(&key);
    }
    OK(kvreg_items_free(items));
    erase("watched", bucket);
}

static void wrong_urls_are_refused(void) {
    kvreg_bucket_options given = options();
    kvreg_bucket *bucket;
    char wrong[4200];
    snprintf(wrong, sizeof wrong, "%s%cunknown=1", url, strchr(url, '?') == NULL ? '?' : '&');
    given.store = wrong;
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_registry_create_with(registry, "wrong", KVREG_NUL, 0, &given, &bucket));
    CHECK(bucket == NULL);
    given.store = "nothing:that/is";
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_registry_create_with(registry, "wrong", KVREG_NUL, 0, &given, &bucket));
    given.store = "no scheme";
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_registry_create_with(registry, "wrong", KVREG_NUL, 0, &given, &bucket));
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, "wrong", KVREG_NUL, &bucket));
    given = options();
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_start_with(&given, &bucket)); /* it has no name */
}

static void one_registry_has_it(void) {
    kvreg_registry *other;
    kvreg_bucket *bucket = open_bucket("one"), *second;
    kvreg_bucket_options given = options();
    OK(kvreg_registry_start(NULL, &other));
    IS(KVREG_IO, kvreg_registry_create_with(other, "one", KVREG_NUL, 0, &given, &second));
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(other));
    bucket = open_bucket("one");
    erase("one", bucket);
}

/* A registry whose buckets are all stored. */
static void a_registry_has_a_store(void) {
    kvreg_bucket_options buckets = options();
    kvreg_registry_options given = kvreg_registry_options_init();
    kvreg_registry *stored;
    kvreg_bucket *bucket;
    given.bucket = &buckets;
    OK(kvreg_registry_start(&given, &stored));
    OK(kvreg_registry_create_cast(stored, "cast", KVREG_NUL));
    OK(kvreg_registry_lookup(stored, "cast", KVREG_NUL, &bucket));
    uint64_t before, after;
    for (int64_t i = 1; i <= 10; i++) put_int(bucket, "n", i);
    OK(kvreg_bucket_delete(bucket, "n", 1, NULL));
    OK(kvreg_bucket_revision(bucket, &before));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(stored));
    OK(kvreg_registry_free(stored));
    OK(kvreg_registry_start(&given, &stored));
    OK(kvreg_registry_create(stored, "cast", KVREG_NUL, KVREG_CREATE_EXCLUSIVE, &bucket));
    CHECK(count_of(bucket) == 0);
    put_int(bucket, "n", 1);
    OK(kvreg_bucket_revision(bucket, &after));
    CHECK(after > before); /* in a registry that never heard of those before */
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_erase(stored, "cast", KVREG_NUL)); /* which is not there, but its store */
    OK(kvreg_registry_create(stored, "cast", KVREG_NUL, 0, &bucket));
    CHECK(count_of(bucket) == 0);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_erase(stored, "cast", KVREG_NUL));
    OK(kvreg_registry_free(stored));
}

static void what_was_saved_is_restored(void) {
    kvreg_bucket *bucket = open_bucket("restored"), *model;
    char path[] = "/tmp/kvreg-engine-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    OK(kvreg_bucket_start(&model));
    put_int(model, "a", 1);
    put_int(model, "b", 2);
    OK(kvreg_bucket_save(model, path, KVREG_NUL));
    OK(kvreg_bucket_restore(bucket, path, KVREG_NUL));
    IS(KVREG_CONFLICT, kvreg_bucket_restore(bucket, path, KVREG_NUL));
    bucket = again("restored", bucket);
    same_contents(model, bucket);
    remove(path);
    OK(kvreg_bucket_free(model));
    erase("restored", bucket);
}

#ifndef _WIN32
/* Writes pairs of keys, both in one step, and says what was answered. */
static void write_until_killed(int answers) {
    OK(kvreg_registry_start(NULL, &registry));
    kvreg_bucket *bucket = open_bucket("killed");
    size_t begin = count_of(bucket) / 2;
    for (uint64_t i = begin;; i++) {
        char one[30], other[30];
        snprintf(one, sizeof one, "one %lu", (unsigned long)i);
        snprintf(other, sizeof other, "other %lu", (unsigned long)i);
        kvreg_op ops[2] = {put_op(one, (int64_t)i), put_op(other, (int64_t)i)};
        OK(kvreg_bucket_apply(bucket, ops, 2, NULL));
        CHECK(write(answers, &i, sizeof i) == sizeof i);
    }
}

static void what_was_answered_outlives_a_kill(void) {
    unsigned long rounds = check_scaled(20);
    for (unsigned long round = 0; round < rounds; round++) {
        int answers[2];
        uint64_t last = 0, next;
        unsigned told = 0;
        CHECK(pipe(answers) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            close(answers[0]);
            write_until_killed(answers[1]);
        }
        close(answers[1]);
        uint64_t enough = draw(20);
        while (read(answers[0], &next, sizeof next) == sizeof next) {
            last = next;
            if (told++ == enough) CHECK(kill(child, SIGKILL) == 0);
        }
        close(answers[0]);
        CHECK(waitpid(child, NULL, 0) == child && told > 0);
        kvreg_bucket *bucket = open_bucket("killed");
        size_t count = count_of(bucket);
        CHECK(count % 2 == 0 && count / 2 > last && count / 2 <= last + 2);
        for (size_t i = 0; i < count / 2; i++) {
            char key[30];
            snprintf(key, sizeof key, "one %zu", i);
            CHECK(int_of(bucket, key) == (int64_t)i);
            snprintf(key, sizeof key, "other %zu", i);
            CHECK(int_of(bucket, key) == (int64_t)i);
        }
        OK(kvreg_bucket_stop(bucket));
        OK(kvreg_bucket_free(bucket));
    }
    OK(kvreg_bucket_free(open_bucket("killed")));
    OK(kvreg_registry_erase(registry, "killed", KVREG_NUL));
}

static void a_child_has_it_not(void) {
    kvreg_bucket *bucket = open_bucket("forks");
    int says[2];
    put_int(bucket, "n", 1);
    CHECK(pipe(says) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        kvreg_value value = kvreg_int(2);
        kvreg_bucket_options given = options();
        kvreg_bucket *mine;
        IS(KVREG_FORKED, kvreg_bucket_put(bucket, "n", 1, &value));
        OK(kvreg_bucket_free(bucket));
        OK(kvreg_registry_start(NULL, &registry));
        IS(KVREG_IO, kvreg_registry_create_with(registry, "forks", KVREG_NUL, 0, &given, &mine));
        CHECK(write(says[1], "ok", 2) == 2);
        kill(getpid(), SIGKILL); /* valgrind is not asked what it lost of its parent's */
    }
    char said[2];
    close(says[1]);
    CHECK(read(says[0], said, 2) == 2 && waitpid(child, NULL, 0) == child);
    close(says[0]);
    put_int(bucket, "n", 3);
    bucket = again("forks", bucket);
    CHECK(int_of(bucket, "n") == 3);
    erase("forks", bucket);
}
#endif

static void the_registry_ends(void) { OK(kvreg_registry_free(registry)); }

int main(int count, char **arguments) {
    static const test tests[] = {
        TEST(an_empty_store),
        TEST(all_values_come_back),
        TEST(revisions_go_on),
        TEST(what_goes_stays_away),
        TEST(what_cannot_be_erased_stays),
        TEST(what_is_asked_is_asked_first),
        TEST(batches_are_whole),
        TEST(times_go_on),
        TEST(updates_are_stored),
        TEST(g3_own_casts_are_seen),
        TEST(a_crash_loses_nothing),
        TEST(many_write_at_once),
        TEST(g7_a_timeout_withdraws),
        TEST(what_was_answered_outlives_an_end),
        TEST(as_in_memory),
        TEST(limits_hold),
        TEST(others_see_changes),
        TEST(wrong_urls_are_refused),
        TEST(one_registry_has_it),
        TEST(a_registry_has_a_store),
        TEST(what_was_saved_is_restored),
#ifndef _WIN32
        TEST(a_child_has_it_not),
        TEST(what_was_answered_outlives_a_kill),
#endif
        TEST(the_registry_ends),
    };
    if (count < 2) {
        fprintf(stderr, "conformance URL [ENGINE]\n");
        return 2;
    }
    url = arguments[1];
    if (count > 2) OK(kvreg_engine_load(arguments[2], KVREG_NUL));
    OK(kvreg_registry_start(NULL, &registry));
    return check_run(tests, sizeof tests / sizeof *tests);
}
