/* Several changes in one step (G2, G15, G16). */

#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

static kvreg_bucket *bucket;

static void start(void) { OK(kvreg_bucket_start(&bucket)); }
static void finish(void) { OK(kvreg_bucket_free(bucket)); }

static kvreg_op op_of(uint32_t what, const char *key) {
    kvreg_op op = kvreg_op_init();
    op.op = what;
    op.key = key;
    op.key_len = KVREG_NUL;
    return op;
}

static kvreg_op put(const char *key, kvreg_value value) {
    kvreg_op op = op_of(KVREG_OP_PUT, key);
    op.value = value;
    return op;
}

static kvreg_op put_if(const char *key, kvreg_value value, uint64_t expected) {
    kvreg_op op = put(key, value);
    op.op = KVREG_OP_PUT_IF;
    op.expected = expected;
    return op;
}

static kvreg_op delete_key(const char *key) { return op_of(KVREG_OP_DELETE, key); }

static kvreg_op delete_if(const char *key, uint64_t expected) {
    kvreg_op op = op_of(KVREG_OP_DELETE_IF, key);
    op.expected = expected;
    return op;
}

static kvreg_op add(const char *key, int64_t delta) {
    kvreg_op op = op_of(KVREG_OP_ADD, key);
    op.delta = delta;
    return op;
}

/* -1: absent. */
static int64_t number(const char *key) {
    int64_t integer;
    kvreg_status status = kvreg_bucket_get_int(bucket, key, KVREG_NUL, &integer);
    if (status == KVREG_NOT_FOUND) return -1;
    OK(status);
    return integer;
}

static uint64_t revision_of(const char *key) {
    kvreg_entry entry = kvreg_entry_init();
    OK(kvreg_bucket_get_entry(bucket, key, KVREG_NUL, &entry));
    kvreg_value_clear(&entry.value);
    return entry.revision;
}

static uint64_t last(void) {
    uint64_t revision;
    OK(kvreg_bucket_revision(bucket, &revision));
    return revision;
}

static size_t count(void) {
    size_t counted;
    OK(kvreg_bucket_count(bucket, &counted));
    return counted;
}

static uint64_t bytes(void) {
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    OK(kvreg_bucket_info(bucket, &stats));
    return stats.bytes;
}

#define COUNT(ops) (sizeof(ops) / sizeof *(ops))

/* All are done, with revisions that follow each other and everything before. */
static void applies(kvreg_op *ops, size_t len) {
    uint64_t before = last();
    size_t failed = 99;
    OK(kvreg_bucket_apply(bucket, ops, len, &failed));
    CHECK(failed == len);
    for (size_t i = 0; i < len; i++) CHECK(ops[i].revision == ops[0].revision + i);
    CHECK(ops[0].revision > before && ops[len - 1].revision == last());
}

/* None is done. */
static void refuses(kvreg_status status, size_t at, kvreg_op *ops, size_t len) {
    uint64_t before = last(), had = bytes();
    size_t failed = 99, keys = count();
    IS(status, kvreg_bucket_apply(bucket, ops, len, &failed));
    CHECK(failed == at);
    for (size_t i = 0; i < len; i++) CHECK(ops[i].revision == 0);
    CHECK(last() == before && bytes() == had && count() == keys);
    IS(status, kvreg_bucket_apply(bucket, ops, len, NULL));
}

static void g16_all_kinds_in_one_step(void) {
    static char large[10000];
    start();
    OK(kvreg_bucket_put_int(bucket, "goes", 4, 1));
    OK(kvreg_bucket_put_int(bucket, "goes too", 8, 2));
    OK(kvreg_bucket_put_int(bucket, "n", 1, 40));
    OK(kvreg_bucket_put_int(bucket, "old", 3, 1));
    kvreg_op ops[] = {
        put("new", kvreg_int(5)),
        delete_key("goes"),
        put_if("old", kvreg_bytes(large, sizeof large), revision_of("old")),
        delete_if("goes too", revision_of("goes too")),
        add("n", 2),
        put_if("newer", kvreg_string("text", 4), 0),
        add("m", -3),
    };
    applies(ops, COUNT(ops));
    CHECK(number("new") == 5 && number("goes") == -1 && number("goes too") == -1);
    CHECK(number("n") == 42 && number("m") == -3 && count() == 5);
    CHECK(bytes() == 3 + 8 + 3 + sizeof large + 1 + 8 + 5 + 4 + 1 + 8);
    CHECK(revision_of("old") == ops[2].revision && revision_of("n") == ops[4].revision);
    CHECK(revision_of("m") == ops[6].revision);
    kvreg_value value;
    OK(kvreg_bucket_get(bucket, "newer", 5, &value));
    CHECK(check_text(&value, KVREG_STRING, "text"));
    kvreg_value_clear(&value);
    OK(kvreg_bucket_get(bucket, "old", 3, &value));
    CHECK(value.type == KVREG_BYTES && value.as.text.len == sizeof large);
    kvreg_value_clear(&value);
    finish();
}

static void g16_the_first_that_refuses_is_told_and_nothing_has_changed(void) {
    start();
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_bucket_put_int(bucket, "most", 4, INT64_MAX));
    OK(kvreg_bucket_put_string(bucket, "text", 4, "text", 4));
    uint64_t revision = revision_of("k");
    kvreg_value one = kvreg_int(1);
    const struct {
        kvreg_status status;
        kvreg_op op;
    } cases[] = {
        {KVREG_CONFLICT, put_if("k", one, 0)},
        {KVREG_CONFLICT, put_if("k", one, revision + 1000)},
        {KVREG_CONFLICT, put_if("absent", one, revision)},
        {KVREG_CONFLICT, delete_if("k", revision + 1)},
        {KVREG_NOT_FOUND, delete_if("absent", revision)},
        {KVREG_NOT_FOUND, delete_key("absent")},
        {KVREG_WRONG_TYPE, add("text", 1)},
        {KVREG_LIMIT, add("most", 1)},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t at = 0; at < 3; at++) {
            kvreg_op ops[] = {put("a", one), put("b", one), put("c", one), delete_key("none")};
            ops[at] = cases[i].op;
            refuses(cases[i].status, at, ops, COUNT(ops)); /* not that of the last */
            ops[3] = put("k", one); /* and with room for all in their places */
            refuses(cases[i].status, at, ops, COUNT(ops));
        }
    CHECK(number("k") == 1 && number("a") == -1 && revision_of("k") == revision);
    /* One key, several that refuse. */
    kvreg_op ops[] = {add("text", 1), put_if("k", one, 0), delete_key("absent")};
    refuses(KVREG_WRONG_TYPE, 0, ops, COUNT(ops));
    finish();
}

static void an_earlier_change_of_a_key_is_seen(void) {
    start();
    kvreg_value one = kvreg_int(1), two = kvreg_int(2);
    kvreg_op comes_and_goes[] = {put("k", one), delete_key("k")};
    applies(comes_and_goes, 2); /* changes, of which nothing is left */
    CHECK(number("k") == -1 && count() == 0 && bytes() == 0);
    kvreg_op there[] = {put("k", one), delete_key("k"), put_if("k", two, 0), add("k", 5), add("k", 6)};
    applies(there, 5);
    CHECK(number("k") == 13 && count() == 1 && revision_of("k") == there[4].revision);
    kvreg_op goes[] = {add("k", 1), delete_key("k"), put("k", one), delete_key("k")};
    applies(goes, 4);
    CHECK(number("k") == -1 && count() == 0 && bytes() == 0);
    kvreg_op sum[] = {add("k", INT64_MAX), add("k", -INT64_MAX), put("k", two), add("k", 1)};
    applies(sum, 4);
    CHECK(number("k") == 3);
    kvreg_op again[] = {delete_key("k"), put("other", one), put("k", kvreg_string("1", 1))};
    applies(again, 3);
    CHECK(revision_of("k") == again[2].revision && count() == 2);

    uint64_t revision = revision_of("k");
    kvreg_op twice[] = {delete_key("k"), delete_key("k")};
    refuses(KVREG_NOT_FOUND, 1, twice, 2);
    kvreg_op absent[] = {put("k", one), put_if("k", two, 0)};
    refuses(KVREG_CONFLICT, 1, absent, 2);
    kvreg_op stale[] = {put("k", one), put_if("k", two, revision)};
    refuses(KVREG_CONFLICT, 1, stale, 2);
    kvreg_op guessed[] = {put("k", one), delete_if("k", last() + 1)};
    refuses(KVREG_CONFLICT, 1, guessed, 2);
    kvreg_op typed[] = {put("k", one), put("k", kvreg_float(1)), add("k", 1)};
    refuses(KVREG_WRONG_TYPE, 2, typed, 3);
    kvreg_op beyond[] = {put("new", kvreg_int(INT64_MIN)), add("new", -1)};
    refuses(KVREG_LIMIT, 1, beyond, 2);
    kvreg_op fine[] = {put_if("k", two, revision), delete_key("other")};
    applies(fine, 2);
    finish();
}

enum { MANY = 5000 };

static char names[2 * MANY][12];
static kvreg_op many[2 * MANY];

/* Large batches, growing and shrinking the table. */
static void many_keys_come_and_go(void) {
    start();
    int len = (int)check_count(MANY);
    for (int i = 0; i < 2 * len; i++) snprintf(names[i], sizeof names[i], "%d", i);
    for (int i = 0; i < len; i++) many[i] = put(names[i], kvreg_int(i));
    applies(many, (size_t)len);
    CHECK(count() == (size_t)len);
    for (int round = 0; round < 4; round++) {
        /* Half of them goes, as many come, in a mixed order. */
        int from = round % 2 * len, to = (round + 1) % 2 * len;
        for (int i = 0; i < len; i++) {
            many[2 * i] = delete_key(names[from + i]);
            many[2 * i + 1] = put(names[to + (i + 7) % len], kvreg_int(i));
        }
        applies(many, (size_t)(2 * len));
        CHECK(count() == (size_t)len);
        for (int i = 0; i < len; i++)
            CHECK(number(names[from + i]) == -1 && number(names[to + (i + 7) % len]) == i);
    }
    for (int i = 0; i < len; i++) many[i] = delete_key(names[i]);
    applies(many, (size_t)len);
    CHECK(count() == 0 && bytes() == 0);
    finish();
}

static void a_limit_is_asked_once_for_all(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_keys = 2;
    options.max_bytes = 40;
    options.max_value = 30;
    OK(kvreg_bucket_start_with(&options, &bucket));
    kvreg_value one = kvreg_int(1);
    kvreg_op ops[] = {put("a", one), put("b", one), put("c", one), put("d", one)};
    refuses(KVREG_LIMIT, 2, ops, 4);
    applies(ops, 2);
    kvreg_op exchange[] = {put("c", one), put("d", one), delete_key("a"), delete_key("b")};
    applies(exchange, 4);
    CHECK(count() == 2 && bytes() == 18);
    kvreg_op bytes_of[] = {put("c", kvreg_bytes("0123456789012345", 16)),
                           put("d", kvreg_bytes("0123456789012345678901234", 25))};
    refuses(KVREG_LIMIT, 1, bytes_of, 2);
    kvreg_op shorter[] = {put("c", kvreg_bytes("0123456789012345678901234567", 28)),
                          put("c", one), put("d", kvreg_bytes("0123456789012345678901234567", 28))};
    applies(shorter, 3);
    CHECK(bytes() == 9 + 29);
    static char large[31];
    kvreg_op value[] = {delete_key("absent"), put("c", kvreg_bytes(large, 31))};
    refuses(KVREG_LIMIT, 1, value, 2); /* known beforehand, so it comes first */
    finish();
}

static void arguments(void) {
    start();
    kvreg_value one = kvreg_int(1);
    size_t failed = 7;
    OK(kvreg_bucket_apply(bucket, NULL, 0, &failed));
    CHECK(failed == 0 && last() == 0);
    OK(kvreg_bucket_apply(bucket, NULL, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_apply(bucket, NULL, 2, &failed));
    CHECK(failed == 2);
    kvreg_op ops[] = {delete_key("absent"), put("k", one), put("l", one)};
    for (size_t i = 0; i < 3; i++) {
        struct {
            kvreg_status status;
            kvreg_op op;
        } wrong[] = {
            {KVREG_INVALID_ARGUMENT, put("k", one)},       {KVREG_INVALID_ARGUMENT, put("k", one)},
            {KVREG_INVALID_ARGUMENT, put("k", one)},       {KVREG_INVALID_ARGUMENT, put("k", one)},
            {KVREG_INVALID_ARGUMENT, delete_if("k", 0)},   {KVREG_INVALID_ARGUMENT, put(NULL, one)},
            {KVREG_INVALID_ARGUMENT, put("k", kvreg_string("\xff", 1))},
            {KVREG_INVALID_ARGUMENT, put("k", one)},
        };
        wrong[0].op.op = KVREG_OP_ADD + 1;
        wrong[1].op.size = 0;
        wrong[2].op.size += 8;
        wrong[3].op.ttl_ms = -3;
        wrong[5].op.key_len = 65537;
        wrong[7].op.value.type = KVREG_ABSENT;
        for (size_t w = 0; w < COUNT(wrong); w++) {
            if (w == 2 && i == 0) continue; /* the size of the first is that of all */
            kvreg_op with[] = {ops[0], ops[1], ops[2]};
            with[i] = wrong[w].op;
            IS(wrong[w].status, kvreg_bucket_apply(bucket, with, 3, &failed));
            CHECK(failed == (w == 1 && i == 0 ? 3 : i));
            CHECK(count() == 0 && last() == 0);
        }
    }
    /* What is not of their kind is not looked at. */
    kvreg_op loose[] = {put("k", one), add("n", 1), delete_key("k")};
    loose[0].expected = loose[1].expected = loose[2].expected = 77;
    loose[0].delta = loose[2].delta = 5;
    loose[1].value.type = loose[2].value.type = 1000;
    loose[1].ttl_ms = loose[2].ttl_ms = -1000;
    applies(loose, 3);
    /* A newer header's. */
    struct {
        kvreg_op op;
        uint64_t more;
    } newer[2] = {{put("x", one), 0}, {put("y", one), 0}};
    newer[0].op.size = newer[1].op.size = sizeof newer[0];
    OK(kvreg_bucket_apply(bucket, &newer[0].op, 2, &failed));
    CHECK(number("x") == 1 && number("y") == 1);
    CHECK(newer[1].op.revision == newer[0].op.revision + 1 && newer[1].op.revision == last());
    newer[1].more = 1;
    IS(KVREG_UNSUPPORTED, kvreg_bucket_apply(bucket, &newer[0].op, 2, &failed));
    CHECK(failed == 1);
    IS(KVREG_BAD_HANDLE, kvreg_bucket_apply(NULL, ops, 3, &failed));
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, kvreg_bucket_apply(bucket, ops, 3, &failed));
    CHECK(failed == 3);
    finish();
}

/* Twins are two keys of one value, or both absent; no reader sees anything else (G2). */

enum { TWINS = 8 };

static const char *const twins[2][TWINS] = {{"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"},
                                            {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"}};
static atomic_bool is_over;

static kvreg_pair pair_of(const char *key) { return (kvreg_pair){key, 2, kvreg_nil()}; }

static void check_twins(kvreg_pair *pairs, size_t len) {
    for (size_t i = 0; i < len; i += 2) {
        const kvreg_value *one = &pairs[i].value, *other = &pairs[i + 1].value;
        CHECK(one->type == other->type);
        CHECK(one->type == KVREG_ABSENT || one->as.integer == other->as.integer);
    }
}

static void *reads_many(void *unused) {
    (void)unused;
    while (!atomic_load(&is_over)) {
        kvreg_pair pairs[2 * TWINS];
        for (int i = 0; i < TWINS; i++) {
            pairs[2 * i] = pair_of(twins[0][i]);
            pairs[2 * i + 1] = pair_of(twins[1][i]);
        }
        OK(kvreg_bucket_get_many(bucket, pairs, 2 * TWINS));
        check_twins(pairs, 2 * TWINS);
    }
    return NULL;
}

static void *takes_snapshots(void *unused) {
    (void)unused;
    while (!atomic_load(&is_over)) {
        int64_t seen[2][TWINS];
        memset(seen, -1, sizeof seen);
        kvreg_items *items;
        kvreg_value key, value;
        OK(kvreg_bucket_items(bucket, &items));
        while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
            const uint8_t *text = key.as.text.data;
            seen[text[0] - 'a'][text[1] - '0'] = value.as.integer;
            kvreg_value_clear(&key);
            kvreg_value_clear(&value);
        }
        OK(kvreg_items_free(items));
        CHECK(memcmp(seen[0], seen[1], sizeof seen[0]) == 0);
    }
    return NULL;
}

/* One that is read after the other, which was changed no earlier, is not older. */
static void *reads_single(void *unused) {
    (void)unused;
    while (!atomic_load(&is_over))
        for (int i = 0; i < TWINS; i++) {
            uint64_t revisions[2] = {0, 0};
            for (int side = 0; side < 2; side++) {
                kvreg_entry entry = kvreg_entry_init();
                kvreg_status status =
                    kvreg_bucket_get_entry(bucket, twins[side][i], 2, &entry);
                CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND);
                revisions[side] = entry.revision;
            }
            CHECK(revisions[0] == 0 || revisions[1] == 0 || revisions[1] > revisions[0]);
        }
    return NULL;
}

static void g2_readers_never_see_half(void) {
    void *(*const readers[])(void *) = {reads_many, takes_snapshots, reads_single, reads_many};
    pthread_t threads[COUNT(readers)];
    unsigned long rounds = check_count(20000);
    bool there[TWINS] = {false};
    unsigned random = 1;
    start();
    OK(kvreg_bucket_set_timeout(bucket, -1));
    atomic_store(&is_over, false);
    for (size_t i = 0; i < COUNT(readers); i++)
        CHECK(pthread_create(&threads[i], NULL, readers[i], NULL) == 0);
    for (unsigned long round = 0; round < rounds; round++) {
        kvreg_op ops[2 * TWINS];
        size_t len = 0;
        bool only_adds = round % 3 == 0; /* which have places */
        for (int i = 0; i < TWINS; i++) {
            random = random * 1103515245 + 12345;
            bool goes = !only_adds && random >> 16 & 1;
            if (!there[i] && (goes || only_adds)) continue;
            for (int side = 0; side < 2; side++)
                ops[len++] = goes ? delete_key(twins[side][i])
                             : only_adds ? add(twins[side][i], 1)
                                         : put(twins[side][i], kvreg_int((int64_t)round));
            there[i] = !goes;
        }
        OK(kvreg_bucket_apply(bucket, ops, len, NULL));
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < COUNT(readers); i++) pthread_join(threads[i], NULL);
    finish();
}

enum { ACCOUNTS = 6, THREADS = 3, MONEY = 1000 };

static const char *const accounts[ACCOUNTS] = {"0", "1", "2", "3", "4", "5"};

/* Moves what there is from one to another, if neither was changed meanwhile; an account without
   money is no key. */
static void *transfers(void *argument) {
    unsigned random = *(unsigned *)argument;
    unsigned long moves = check_count(5000);
    for (unsigned long done = 0; done < moves;) {
        random = random * 1103515245 + 12345;
        const char *from = accounts[random >> 16 & 3], *to = accounts[4 + (random >> 20 & 1)];
        if (random >> 24 & 1) {
            const char *other = from;
            from = to, to = other;
        }
        kvreg_entry had = kvreg_entry_init();
        kvreg_status status = kvreg_bucket_get_entry(bucket, from, 1, &had);
        if (status == KVREG_NOT_FOUND) continue;
        OK(status);
        int64_t sum = had.value.as.integer, moved = 1 + (int64_t)(random >> 8) % sum;
        kvreg_op ops[] = {moved == sum ? delete_if(from, had.revision)
                                       : put_if(from, kvreg_int(sum - moved), had.revision),
                          add(to, moved)};
        size_t failed;
        status = kvreg_bucket_apply(bucket, ops, 2, &failed);
        CHECK(status == KVREG_OK || failed == 0);
        CHECK(status == KVREG_OK || status == KVREG_CONFLICT || status == KVREG_NOT_FOUND);
        done += status == KVREG_OK;
    }
    return NULL;
}

static void *audits(void *unused) {
    (void)unused;
    while (!atomic_load(&is_over)) {
        kvreg_pair pairs[ACCOUNTS];
        int64_t sum = 0;
        for (int i = 0; i < ACCOUNTS; i++) pairs[i] = (kvreg_pair){accounts[i], 1, kvreg_nil()};
        OK(kvreg_bucket_get_many(bucket, pairs, ACCOUNTS));
        for (int i = 0; i < ACCOUNTS; i++)
            if (pairs[i].value.type == KVREG_INT) sum += pairs[i].value.as.integer;
        CHECK(sum == MONEY);
    }
    return NULL;
}

static void g16_no_money_is_lost(void) {
    pthread_t threads[THREADS], auditor;
    unsigned seeds[THREADS];
    start();
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_put_int(bucket, "0", 1, MONEY));
    atomic_store(&is_over, false);
    CHECK(pthread_create(&auditor, NULL, audits, NULL) == 0);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i + 1;
        CHECK(pthread_create(&threads[i], NULL, transfers, &seeds[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    atomic_store(&is_over, true);
    pthread_join(auditor, NULL);
    finish();
}

static const test tests[] = {
    TEST(g16_all_kinds_in_one_step),
    TEST(g16_the_first_that_refuses_is_told_and_nothing_has_changed),
    TEST(an_earlier_change_of_a_key_is_seen),
    TEST(many_keys_come_and_go),
    TEST(a_limit_is_asked_once_for_all),
    TEST(arguments),
    TEST(g2_readers_never_see_half),
    TEST(g16_no_money_is_lost),
};

CHECK_MAIN(tests)
