/* Scans: keys in the order of their bytes (G19). */

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { LONG = 65536, KINDS = 2 };

typedef struct text {
    const char *data;
    size_t len;
} text;

static kvreg_bucket *start(uint32_t order) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    options.order = order;
    OK(kvreg_bucket_start_with(&options, &bucket));
    return bucket;
}

static kvreg_items *scan(kvreg_bucket *bucket, const kvreg_scan_options *options) {
    kvreg_items *items;
    OK(kvreg_bucket_scan(bucket, options, &items));
    return items;
}

static size_t count(kvreg_items *items) {
    size_t count;
    OK(kvreg_items_count(items, &count));
    return count;
}

static bool is_same(text one, text other) {
    return one.len == other.len && memcmp(one.data, other.data, one.len) == 0;
}

static bool is_below(text one, text other) {
    size_t both = one.len < other.len ? one.len : other.len;
    int order = both == 0 ? 0 : memcmp(one.data, other.data, both);
    return order != 0 ? order < 0 : one.len < other.len;
}

static bool begins(text key, text prefix) {
    return key.len >= prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0;
}

static text key_of(const kvreg_value *key) {
    CHECK(key->type == KVREG_BYTES);
    return (text){(const char *)key->as.text.data, key->as.text.len};
}

static char long_key[LONG], longer_than[LONG], last_key[LONG];

#define KEY(literal) {literal, sizeof literal - 1}
/* In their order. */
static const text keys[] = {
    KEY(""),          KEY("\0"),         KEY("\0\0"),        KEY("\0\xff"),     KEY("\1"),
    KEY("a"),         KEY("a\0"),        KEY("a\0\0"),       KEY("a\0b"),       KEY("aa"),
    {long_key, LONG}, {longer_than, LONG}, KEY("ab"),        KEY("abcdefgh"),   KEY("abcdefgh\0"),
    KEY("abcdefghi"), KEY("b"),          KEY("user"),        KEY("user:"),      KEY("user:1"),
    KEY("user:10"),   KEY("user:2"),     KEY("user:\xff"),   KEY("user;"),      KEY("\x7f"),
    KEY("\x80"),      KEY("\xfe\xff"),   KEY("\xff"),        KEY("\xff\0"),     KEY("\xff\xfe"),
    KEY("\xff\xff"),  KEY("\xff\xff\0"), KEY("\xff\xff\xff"), {last_key, LONG},
};
enum { KEYS = sizeof keys / sizeof *keys };

static void make_keys(void) {
    memset(long_key, 'a', LONG);
    memset(longer_than, 'a', LONG);
    longer_than[LONG - 1] = 'b';
    memset(last_key, 0xff, LONG);
    for (int i = 1; i < KEYS; i++) CHECK(is_below(keys[i - 1], keys[i]));
}

/* What a scan gives, against the sorted keys; every third is not there. */
static bool is_there(int i) { return i % 3 != 2; }

static void check_scan(kvreg_bucket *bucket, const text *prefix, const text *after,
                       uint64_t limit, bool keys_only) {
    kvreg_scan_options options = kvreg_scan_options_init();
    options.flags = keys_only ? KVREG_KEYS_ONLY : 0;
    if (prefix != NULL) options.prefix = prefix->data, options.prefix_len = prefix->len;
    if (after != NULL) options.after = after->data, options.after_len = after->len;
    options.limit = limit;
    kvreg_items *items = scan(bucket, &options);
    uint64_t given = 0;
    kvreg_value key;
    kvreg_entry entry = kvreg_entry_init();
    for (int i = 0; i < KEYS && (limit == 0 || given < limit); i++) {
        if (!is_there(i) || (prefix != NULL && !begins(keys[i], *prefix))) continue;
        if (after != NULL && !is_below(*after, keys[i])) continue;
        OK(kvreg_items_next_entry(items, &key, &entry));
        CHECK(is_same(key_of(&key), keys[i]) && entry.revision != 0);
        if (keys_only)
            CHECK(entry.value.type == KVREG_NIL);
        else
            CHECK(entry.value.type == KVREG_INT && entry.value.as.integer == i);
        kvreg_value_clear(&key);
        given++;
    }
    IS(KVREG_NOT_FOUND, kvreg_items_next(items, &key, NULL));
    OK(kvreg_items_free(items));
}

static void g19_keys_come_in_the_order_of_their_bytes(void) {
    make_keys();
    static const uint64_t limits[] = {0, 1, 2, 5, KEYS, UINT64_MAX};
    for (uint32_t order = 0; order < KINDS; order++) {
        kvreg_bucket *bucket = start(order);
        for (int step = 0; step < 2 * KEYS; step++) { /* 7 is prime to their number */
            int i = step * 7 % KEYS;
            OK(kvreg_bucket_put_int(bucket, keys[i].data, keys[i].len, i));
            if (!is_there(i)) OK(kvreg_bucket_delete(bucket, keys[i].data, keys[i].len, NULL));
        }
        for (int prefix = -1; prefix < KEYS; prefix++)
            for (int after = -1; after < KEYS; after++)
                for (size_t limit = 0; limit < sizeof limits / sizeof *limits; limit++)
                    check_scan(bucket, prefix < 0 ? NULL : &keys[prefix],
                               after < 0 ? NULL : &keys[after], limits[limit], after % 2 == 0);
        kvreg_items *all = scan(bucket, NULL);
        size_t there = 0;
        OK(kvreg_bucket_count(bucket, &there));
        CHECK(count(all) == there);
        OK(kvreg_items_free(all));
        OK(kvreg_bucket_clear(bucket));
        all = scan(bucket, NULL);
        CHECK(count(all) == 0);
        OK(kvreg_items_free(all));
        OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
        all = scan(bucket, NULL);
        CHECK(count(all) == 1);
        OK(kvreg_items_free(all));
        OK(kvreg_bucket_free(bucket));
    }
}

static kvreg_verdict store(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current;
    *next = kvreg_int(1);
    return KVREG_STORE;
}

static uint64_t seed = 88172645463325252u;
static uint32_t below(uint32_t limit) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (uint32_t)(seed % limit);
}

/* Whatever changes keys, the order has what the table has. */
static void g19_every_change_reaches_the_order(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    enum { MOST = 400 };
    static char large[5000];
    options.order = KVREG_ORDERED;
    options.max_keys = MOST;
    OK(kvreg_bucket_start_with(&options, &bucket));
    for (unsigned long step = 0; step < check_count(60000); step++) {
        char name[3][40];
        kvreg_pair pairs[3];
        for (int i = 0; i < 3; i++) {
            int len = snprintf(name[i], sizeof name[i], below(2) ? "key:%u" : "%u", below(600));
            pairs[i] = (kvreg_pair){name[i], (size_t)len, kvreg_int((int64_t)step)};
            if (below(4) == 0) pairs[i].value = kvreg_bytes(large, below(sizeof large));
        }
        const char *key = name[0];
        kvreg_value *value = &pairs[0].value;
        kvreg_status status = KVREG_OK;
        switch (below(11)) {
        case 0: status = kvreg_bucket_put(bucket, key, KVREG_NUL, value); break;
        case 1: status = kvreg_bucket_put_cast(bucket, key, KVREG_NUL, value); break;
        case 2: status = kvreg_bucket_put_many(bucket, pairs, 3); break;
        case 3: status = kvreg_bucket_delete(bucket, key, KVREG_NUL, NULL); break;
        case 4: status = kvreg_bucket_delete_cast(bucket, key, KVREG_NUL); break;
        case 5: status = kvreg_bucket_update(bucket, key, KVREG_NUL, store, NULL); break;
        case 6: status = kvreg_bucket_put_if(bucket, key, KVREG_NUL, value, 0, 0, NULL); break;
        case 7: status = kvreg_bucket_put_if_equal(bucket, key, KVREG_NUL, NULL, value, NULL); break;
        case 8: status = kvreg_bucket_add_int(bucket, key, KVREG_NUL, 1, NULL); break;
        case 9: status = kvreg_bucket_update_cast(bucket, key, KVREG_NUL, store, NULL, NULL); break;
        default:
            if (below(2000) == 0) OK(kvreg_bucket_clear(bucket));
        }
        CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND || status == KVREG_LIMIT ||
              status == KVREG_CONFLICT || status == KVREG_WRONG_TYPE);
        if (step % 50 != 0) continue;
        size_t there;
        kvreg_items *items = scan(bucket, NULL);
        kvreg_value one, before = kvreg_nil();
        OK(kvreg_bucket_count(bucket, &there));
        CHECK(count(items) == there && there <= MOST);
        while (kvreg_items_next(items, &one, NULL) == KVREG_OK) {
            kvreg_value held;
            CHECK(before.type == KVREG_NIL || is_below(key_of(&before), key_of(&one)));
            OK(kvreg_bucket_get(bucket, one.as.text.data, one.as.text.len, &held));
            kvreg_value_clear(&held);
            kvreg_value_clear(&before);
            before = one;
        }
        kvreg_value_clear(&before);
        OK(kvreg_items_free(items));
    }
    OK(kvreg_bucket_free(bucket));
}

enum { STAY = 2000 };

typedef struct beside {
    kvreg_bucket *bucket;
    atomic_bool is_over;
    atomic_ulong rounds;
} beside;

/* Even numbers stay, and are overwritten; odd ones come and go. */
static void *come_and_go(void *argument) {
    beside *it = argument;
    for (unsigned long round = 0; !atomic_load(&it->is_over); round++) {
        char name[32];
        unsigned number = (unsigned)(round * 7919 % (2 * STAY));
        int len = snprintf(name, sizeof name, "n%06u", number);
        if (number % 2 == 0 || round / (2 * STAY) % 2 == 0)
            OK(kvreg_bucket_put_int(it->bucket, name, (size_t)len, (int64_t)round));
        else
            kvreg_bucket_delete(it->bucket, name, (size_t)len, NULL);
        atomic_fetch_add(&it->rounds, 1);
    }
    return NULL;
}

static void g19_pages_give_what_stays_once(void) {
    for (uint32_t order = 0; order < KINDS; order++) {
        beside it = {.bucket = start(order)};
        pthread_t thread;
        char name[32];
        for (int number = 0; number < 2 * STAY; number += 2) {
            int len = snprintf(name, sizeof name, "n%06d", number);
            OK(kvreg_bucket_put_int(it.bucket, name, (size_t)len, 0));
        }
        CHECK(pthread_create(&thread, NULL, come_and_go, &it) == 0);
        unsigned long rounds = 0;
        for (unsigned long paging = 0; paging < check_count(order == 0 ? 6 : 40); paging++) {
            while (atomic_load(&it.rounds) == rounds) sched_yield();
            rounds = atomic_load(&it.rounds);
            int stayed = 0;
            char last[32] = "";
            kvreg_scan_options options = kvreg_scan_options_init();
            options.prefix = "n", options.prefix_len = 1;
            options.limit = 1 + below(300);
            for (;;) {
                kvreg_items *items = scan(it.bucket, &options);
                size_t in_page = count(items);
                kvreg_value key, value;
                while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
                    const char *found = (const char *)key.as.text.data;
                    CHECK(strcmp(last, found) < 0);
                    strcpy(last, found);
                    stayed += atoi(last + 1) % 2 == 0;
                    kvreg_value_clear(&key);
                }
                OK(kvreg_items_free(items));
                if (in_page < options.limit) break;
                options.after = last, options.after_len = strlen(last);
            }
            CHECK(stayed == STAY);
        }
        atomic_store(&it.is_over, true);
        CHECK(pthread_join(thread, NULL) == 0);
        OK(kvreg_bucket_free(it.bucket));
    }
}

/* Two keys at both ends, always stored together; then new pairs, and all between is rewritten. */
static void *put_pairs(void *argument) {
    beside *it = argument;
    for (unsigned long round = 0; !atomic_load(&it->is_over); round++) {
        char names[4][32] = {"a", "z"};
        snprintf(names[2], sizeof names[2], "b%lu", round % 500);
        snprintf(names[3], sizeof names[3], "y%lu", round % 500);
        kvreg_pair pairs[4];
        for (int i = 0; i < 4; i++)
            pairs[i] = (kvreg_pair){names[i], KVREG_NUL, kvreg_int((int64_t)round)};
        OK(kvreg_bucket_put_many(it->bucket, pairs, 4));
        atomic_fetch_add(&it->rounds, 1);
    }
    return NULL;
}

static void g19_a_page_is_one_instant(void) {
    for (uint32_t order = 0; order < KINDS; order++) {
        beside it = {.bucket = start(order)};
        char name[32];
        for (unsigned long number = 0; number < check_count(30000); number++) {
            int len = snprintf(name, sizeof name, "m%06lu", number);
            OK(kvreg_bucket_put_int(it.bucket, name, (size_t)len, 0));
        }
        kvreg_pair both[2] = {{"a", 1, kvreg_int(0)}, {"z", 1, kvreg_int(0)}};
        OK(kvreg_bucket_put_many(it.bucket, both, 2));
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, put_pairs, &it) == 0);
        unsigned long rounds = 0;
        for (unsigned long look = 0; look < check_count(20); look++) {
            while (atomic_load(&it.rounds) == rounds) sched_yield();
            rounds = atomic_load(&it.rounds);
            kvreg_scan_options options = kvreg_scan_options_init();
            options.limit = look % 2 == 0 ? 0 : 40000;
            kvreg_items *items = scan(it.bucket, &options);
            kvreg_value key, value;
            static int64_t seen[500];
            int64_t a = -1, z = -2;
            int pairs = 0;
            char last[32] = "";
            memset(seen, 0xff, sizeof seen);
            while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
                const char *found = (const char *)key.as.text.data;
                CHECK(strcmp(last, found) < 0);
                strcpy(last, found);
                if (*found == 'a') a = value.as.integer;
                if (*found == 'z') z = value.as.integer;
                if (*found == 'b') seen[atoi(found + 1)] = value.as.integer, pairs++;
                if (*found == 'y') CHECK(seen[atoi(found + 1)] == value.as.integer), pairs--;
                kvreg_value_clear(&key);
            }
            CHECK(a == z && pairs == 0);
            OK(kvreg_items_free(items));
        }
        atomic_store(&it.is_over, true);
        CHECK(pthread_join(thread, NULL) == 0);
        OK(kvreg_bucket_free(it.bucket));
    }
}

#ifdef __GLIBC__ /* who else has an allocator that tells how much is in use */
static size_t in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* What a key takes, in an order in which runs are as empty as they get. */
static double taken_by_a_key(kvreg_bucket *bucket) {
    unsigned long all = check_count(200000);
    size_t before = in_use();
    for (unsigned long number = 0; number < all; number++) {
        char name[40];
        unsigned long mixed = (number * 0x9e3779b97f4a7c15u) >> 20;
        int len = snprintf(name, sizeof name, "key:%014lx", mixed);
        OK(kvreg_bucket_put_int(bucket, name, (size_t)len, 1));
    }
    size_t after = in_use();
    return after < before ? 0 : (double)(after - before) / (double)all;
}

/* Some 25 bytes, that is; 40 are promised. */
static void g19_an_ordered_key_takes_little_more(void) {
    kvreg_bucket *buckets[KINDS] = {start(KVREG_UNORDERED), start(KVREG_ORDERED)};
    double unordered = taken_by_a_key(buckets[0]), ordered = taken_by_a_key(buckets[1]);
    printf("   a key takes %.1f bytes, in an ordered bucket %.1f\n", unordered, ordered);
    CHECK(ordered <= unordered + 44);
    for (int i = 0; i < KINDS; i++) OK(kvreg_bucket_free(buckets[i]));
}
#endif

static void a_refused_batch_leaves_the_order_alone(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    options.order = KVREG_ORDERED;
    options.max_keys = 3;
    OK(kvreg_bucket_start_with(&options, &bucket));
    OK(kvreg_bucket_put_int(bucket, "b", 1, 1));
    kvreg_pair pairs[5] = {{"a", 1, kvreg_int(2)}, {"b", 1, kvreg_int(2)}, {"c", 1, kvreg_int(2)},
                           {"c", 1, kvreg_int(3)}, {"d", 1, kvreg_int(2)}};
    IS(KVREG_LIMIT, kvreg_bucket_put_many(bucket, pairs, 5));
    kvreg_items *items = scan(bucket, NULL);
    CHECK(count(items) == 1);
    OK(kvreg_items_free(items));
    OK(kvreg_bucket_put_many(bucket, pairs, 4));
    items = scan(bucket, NULL);
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        kvreg_value key, value;
        OK(kvreg_items_next(items, &key, &value));
        CHECK(check_text(&key, KVREG_BYTES, names[i]) && value.as.integer == (i == 2 ? 3 : 2));
        kvreg_value_clear(&key);
    }
    CHECK(count(items) == 0);
    OK(kvreg_items_free(items));
    OK(kvreg_bucket_free(bucket));
}

static void wrong_scans_are_refused(void) {
    for (uint32_t order = 0; order < KINDS; order++) {
        kvreg_bucket *bucket = start(order);
        kvreg_scan_options options = kvreg_scan_options_init();
        kvreg_items *items = (kvreg_items *)&options;
        OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_scan(bucket, NULL, NULL));
        IS(KVREG_BAD_HANDLE, kvreg_bucket_scan(NULL, &options, &items));
        CHECK(items == NULL);
        options.flags = 2;
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_scan(bucket, &options, &items));
        options = kvreg_scan_options_init();
        options.size = 4;
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_scan(bucket, &options, &items));
        options = kvreg_scan_options_init();
        options.prefix_len = 1;
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_scan(bucket, &options, &items));
        options.prefix_len = 0, options.after_len = 1;
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_scan(bucket, &options, &items));
        options.after = long_key, options.after_len = LONG + 1;
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_scan(bucket, &options, &items));
        /* A program of a younger header, which says nothing of what it knows beyond this one. */
        struct {
            kvreg_scan_options options;
            uint64_t more;
        } younger = {kvreg_scan_options_init(), 0};
        younger.options.size = sizeof younger;
        items = scan(bucket, &younger.options);
        CHECK(count(items) == 1);
        OK(kvreg_items_free(items));
        younger.more = 1;
        IS(KVREG_UNSUPPORTED, kvreg_bucket_scan(bucket, &younger.options, &items));
        /* An older one has no limit. */
        options = kvreg_scan_options_init();
        options.size = offsetof(kvreg_scan_options, limit);
        options.prefix = "k", options.prefix_len = KVREG_NUL, options.limit = 7;
        items = scan(bucket, &options);
        CHECK(count(items) == 1);
        OK(kvreg_items_free(items));
        OK(kvreg_bucket_stop(bucket));
        IS(KVREG_NO_PROCESS, kvreg_bucket_scan(bucket, NULL, &items));
        OK(kvreg_bucket_free(bucket));
    }
}

static kvreg_verdict look(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)current, (void)next;
    kvreg_items *items = scan(data, NULL);
    CHECK(count(items) == 2);
    OK(kvreg_items_free(items));
    return KVREG_KEEP;
}

static void an_update_may_scan_its_bucket(void) {
    for (uint32_t order = 0; order < KINDS; order++) {
        kvreg_bucket *bucket = start(order);
        OK(kvreg_bucket_put_int(bucket, "a", 1, 1));
        OK(kvreg_bucket_put_cast(bucket, "b", 1, &(kvreg_value){0}));
        OK(kvreg_bucket_update(bucket, "a", 1, look, bucket));
        kvreg_update *update;
        OK(kvreg_bucket_update_begin(bucket, "a", 1, NULL, &update));
        look(bucket, NULL, NULL);
        kvreg_value next = kvreg_int(2);
        OK(kvreg_update_end(update, KVREG_STORE, &next));
        OK(kvreg_bucket_free(bucket));
    }
}

static void facts_tell_the_order(void) {
    for (uint32_t order = 0; order < KINDS; order++) {
        kvreg_bucket *bucket = start(order);
        kvreg_bucket_stats stats = kvreg_bucket_stats_init();
        OK(kvreg_bucket_info(bucket, &stats));
        CHECK(stats.order == order);
        OK(kvreg_bucket_free(bucket));
    }
}

static const test tests[] = {
#ifdef __GLIBC__
    TEST(g19_an_ordered_key_takes_little_more), /* first: nothing is still being freed */
#endif
    TEST(g19_keys_come_in_the_order_of_their_bytes),
    TEST(g19_every_change_reaches_the_order),
    TEST(g19_pages_give_what_stays_once),
    TEST(g19_a_page_is_one_instant),
    TEST(a_refused_batch_leaves_the_order_alone),
    TEST(wrong_scans_are_refused),
    TEST(an_update_may_scan_its_bucket),
    TEST(facts_tell_the_order),
};

CHECK_MAIN(tests)
