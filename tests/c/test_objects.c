/* Registries, buckets and snapshots: what the guide does not ask of them. */

#include "check.h"

static void names_are_checked(void) {
    static char name[257];
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    memset(name, 'n', 256);
    OK(kvreg_registry_start(NULL, &registry));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, "", 0, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, NULL, 0, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, name, 256, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, name, KVREG_NUL, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, "a\0b", 3, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, "\xff", 1, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, "a", 1, 2, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create_cast(registry, "", 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_lookup(registry, "", 0, &bucket));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_lookup(registry, "a", 1, NULL));
    OK(kvreg_registry_create(registry, name, 255, 0, NULL));
    OK(kvreg_registry_create(registry, "na\xc3\xafve", KVREG_NUL, 0, NULL));
    OK(kvreg_registry_free(registry));
}

static void options_are_checked(void) {
    kvreg_registry *registry;
    struct {
        kvreg_registry_options options;
        uint64_t later;
    } newer;
    kvreg_registry_options options = kvreg_registry_options_init();
    memset(&newer, 0, sizeof newer);
    newer.options.size = sizeof newer;
    options.size = 0;
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_start(&options, &registry));
    CHECK(registry == NULL);
    options.size = sizeof options;
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_start(&options, NULL));
    OK(kvreg_registry_start(&options, &registry));
    OK(kvreg_registry_free(registry));
    /* A newer program: fine as long as it wants nothing that is not there. */
    OK(kvreg_registry_start(&newer.options, &registry));
    OK(kvreg_registry_free(registry));
    newer.later = 1;
    IS(KVREG_UNSUPPORTED, kvreg_registry_start(&newer.options, &registry));
    /* An older program: what it does not know has its default. */
    options.max_buckets = 1;
    options.size = offsetof(kvreg_registry_options, max_buckets);
    OK(kvreg_registry_start(&options, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, NULL));
    OK(kvreg_registry_create(registry, "b", 1, 0, NULL));
    OK(kvreg_registry_free(registry));
    options = kvreg_registry_options_init();
    options.reserved = 1;
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_start(&options, &registry));
    options.reserved = 0;
    options.name_len = 3;
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_start(&options, &registry));
    options.name = "a\0b";
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_start(&options, &registry));
}

static void names_and_items_are_snapshots(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_items *names, *items;
    kvreg_value key, value;
    unsigned seen = 0;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, NULL));
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_registry_names(registry, &names));
    OK(kvreg_registry_create(registry, "c", 1, 0, NULL));
    while (kvreg_items_next(names, &key, &value) == KVREG_OK) {
        CHECK(key.type == KVREG_STRING && value.type == KVREG_NIL && key.as.text.len == 1);
        seen |= 1u << (key.as.text.data[0] - 'a');
        kvreg_value_clear(&key);
    }
    CHECK(seen == 3);
    IS(KVREG_NOT_FOUND, kvreg_items_next(names, &key, &value));
    CHECK(key.type == KVREG_NIL);
    OK(kvreg_items_free(names));

    OK(kvreg_bucket_put_int(bucket, "milk", 4, 1));
    OK(kvreg_bucket_put_string(bucket, "eggs", 4, "six", 3));
    OK(kvreg_bucket_items(bucket, &items));
    OK(kvreg_bucket_clear(bucket));
    OK(kvreg_registry_stop(registry));
    for (int i = 0; i < 2; i++) {
        OK(kvreg_items_next(items, &key, &value));
        if (check_text(&key, KVREG_BYTES, "milk"))
            CHECK(value.type == KVREG_INT && value.as.integer == 1);
        else
            CHECK(check_text(&key, KVREG_BYTES, "eggs") &&
                  check_text(&value, KVREG_STRING, "six"));
        kvreg_value_clear(&key);
        kvreg_value_clear(&value);
    }
    IS(KVREG_NOT_FOUND, kvreg_items_next(items, &key, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_items_next(items, NULL, &value));
    OK(kvreg_items_free(items));

    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

static void items_have_what_is_known_of_a_key(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_items *names, *items;
    kvreg_value key;
    kvreg_entry entry = kvreg_entry_init(), small = kvreg_entry_init();
    uint64_t milk, eggs;
    size_t count;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, &bucket));
    kvreg_value one = kvreg_int(1), six = kvreg_string("six", 3);
    OK(kvreg_bucket_put_entry(bucket, "milk", 4, &one, KVREG_TTL_NEVER, &milk));
    OK(kvreg_bucket_put_entry(bucket, "eggs", 4, &six, KVREG_TTL_NEVER, &eggs));
    OK(kvreg_bucket_items(bucket, &items));
    OK(kvreg_items_count(items, &count));
    CHECK(count == 2);
    small.size = 8;
    IS(KVREG_INVALID_ARGUMENT, kvreg_items_next_entry(items, &key, &small));
    IS(KVREG_INVALID_ARGUMENT, kvreg_items_next_entry(items, &key, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_items_next_entry(items, NULL, &entry));
    IS(KVREG_INVALID_ARGUMENT, kvreg_items_count(items, NULL));
    for (size_t left = 2; left-- > 0;) {
        OK(kvreg_items_next_entry(items, &key, &entry));
        if (check_text(&key, KVREG_BYTES, "milk"))
            CHECK(entry.value.as.integer == 1 && entry.revision == milk);
        else
            CHECK(check_text(&entry.value, KVREG_STRING, "six") && entry.revision == eggs);
        CHECK(entry.ttl_ms == KVREG_TTL_NEVER && entry.reserved == 0);
        kvreg_value_clear(&key);
        kvreg_value_clear(&entry.value);
        OK(kvreg_items_count(items, &count));
        CHECK(count == left);
    }
    IS(KVREG_NOT_FOUND, kvreg_items_next_entry(items, &key, &entry));
    CHECK(key.type == KVREG_NIL && entry.value.type == KVREG_NIL && entry.revision == 0);
    OK(kvreg_items_free(items));

    OK(kvreg_registry_names(registry, &names));
    OK(kvreg_items_next_entry(names, &key, &entry));
    CHECK(check_text(&key, KVREG_STRING, "a") && entry.value.type == KVREG_NIL);
    CHECK(entry.revision == 0 && entry.ttl_ms == KVREG_TTL_NEVER);
    kvreg_value_clear(&key);
    OK(kvreg_items_free(names));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

static void batches_are_all_or_nothing(void) {
    kvreg_bucket *bucket;
    kvreg_pair pairs[3] = {
        {"a", 1, kvreg_int(1)}, {"b", 1, kvreg_string("two", 3)}, {"a", 1, kvreg_int(3)}};
    size_t count;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_many(bucket, pairs, 3));
    OK(kvreg_bucket_count(bucket, &count));
    CHECK(count == 2);
    pairs[1].key = "none";
    pairs[1].key_len = 4;
    pairs[2].key = "b";
    OK(kvreg_bucket_get_many(bucket, pairs, 3));
    CHECK(pairs[0].value.type == KVREG_INT && pairs[0].value.as.integer == 3);
    CHECK(pairs[1].value.type == KVREG_ABSENT);
    CHECK(check_text(&pairs[2].value, KVREG_STRING, "two"));
    kvreg_value_clear(&pairs[2].value);

    pairs[0] = (kvreg_pair){"new", 3, kvreg_int(1)};
    pairs[1] = (kvreg_pair){"bad", 3, kvreg_string("\xff", 1)};
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_many(bucket, pairs, 2));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "new", 3, &pairs[0].value));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_many(bucket, NULL, 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_many(bucket, NULL, 1));
    OK(kvreg_bucket_put_many(bucket, NULL, 0));
    OK(kvreg_bucket_get_many(bucket, NULL, 0));
    OK(kvreg_bucket_free(bucket));
}

static void an_absent_key_is_told_from_one_that_has_nil(void) {
    kvreg_bucket *bucket;
    kvreg_pair pairs[2] = {{"nil", 3, kvreg_nil()}, {"none", 4, kvreg_nil()}};
    kvreg_value current;
    kvreg_update *update;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_many(bucket, pairs, 1));
    OK(kvreg_bucket_get_many(bucket, pairs, 2));
    CHECK(pairs[0].value.type == KVREG_NIL && pairs[1].value.type == KVREG_ABSENT);
    /* What a failure leaves is nil, for there is nothing to tell. */
    pairs[0].key_len = 1 << 20;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_many(bucket, pairs, 2));
    CHECK(pairs[0].value.type == KVREG_NIL && pairs[1].value.type == KVREG_NIL);

    OK(kvreg_bucket_update_begin(bucket, "nil", 3, &current, &update));
    CHECK(current.type == KVREG_NIL);
    OK(kvreg_update_end(update, KVREG_REMOVE, NULL));
    OK(kvreg_bucket_update_begin(bucket, "nil", 3, &current, &update));
    CHECK(current.type == KVREG_ABSENT);
    kvreg_value_clear(&current);
    CHECK(current.type == KVREG_NIL);
    OK(kvreg_update_free(update));
    OK(kvreg_bucket_free(bucket));
}

static kvreg_verdict hand_on(void *absent, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    *next = *(kvreg_value *)absent;
    return KVREG_STORE;
}

static void absent_is_never_stored(void) {
    static const uint64_t key_lens[] = {1};
    kvreg_bucket *bucket;
    kvreg_registry *registry;
    kvreg_pair pairs[2] = {{"k", 1, kvreg_int(1)}, {"none", 4, kvreg_nil()}};
    kvreg_columns columns = {sizeof columns, KVREG_ABSENT, 1, "k", key_lens, "12345678", key_lens};
    kvreg_value absent, current;
    kvreg_update *update;
    size_t count;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_bucket_get_many(bucket, &pairs[1], 1));
    absent = pairs[1].value;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put(bucket, "k", 1, &absent));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_cast(bucket, "k", 1, &absent));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_many(bucket, pairs, 2));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &columns));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_update(bucket, "k", 1, hand_on, &absent));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, &current, &update));
    IS(KVREG_INVALID_ARGUMENT, kvreg_update_end(update, KVREG_STORE, &current));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, hand_on, &absent, NULL));
    /* After the cast: what was refused changed nothing, and the bucket goes on. */
    OK(kvreg_bucket_put_int(bucket, "last", 4, 1));
    OK(kvreg_bucket_count(bucket, &count));
    CHECK(count == 1);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static void casts_are_done(void) {
    kvreg_bucket *bucket;
    kvreg_value value = kvreg_int(1);
    size_t count;
    OK(kvreg_bucket_start(&bucket));
    for (int i = 0; i < 100; i++)
        OK(kvreg_bucket_put_cast(bucket, &i, sizeof i, &value));
    for (int i = 0; i < 50; i++)
        OK(kvreg_bucket_delete_cast(bucket, &i, sizeof i));
    OK(kvreg_bucket_delete_cast(bucket, "none", 4));
    OK(kvreg_bucket_count(bucket, &count));
    CHECK(count == 50);
    OK(kvreg_bucket_free(bucket));
}

static void clones_have_timeouts_of_their_own(void) {
    kvreg_registry *registry, *other;
    kvreg_bucket *bucket, *clone, *found;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_clone(registry, &other));
    OK(kvreg_registry_set_timeout(other, 0));
    OK(kvreg_registry_create(other, "a", 1, 0, &bucket));
    OK(kvreg_bucket_clone(bucket, &clone));
    OK(kvreg_bucket_set_timeout(clone, 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_set_timeout(clone, -2));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_set_timeout(other, INT64_MIN));
    OK(kvreg_bucket_set_timeout(bucket, -1));

    /* While an update has the turn, who must not wait is told. */
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    OK(kvreg_bucket_set_timeout(clone, 0));
    IS(KVREG_CALLING_SELF, kvreg_bucket_put_int(clone, "k", 1, 1));
    OK(kvreg_update_free(update));
    OK(kvreg_bucket_put_int(clone, "k", 1, 1));

    OK(kvreg_registry_free(registry));
    OK(kvreg_registry_lookup(other, "a", 1, &found)); /* it lives while one handle does */
    OK(kvreg_registry_free(other));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_int(found, "k", 1, 1));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(clone));
    OK(kvreg_bucket_free(found));
}

static void what_nobody_can_reach_stops(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket, *clone, *named;
    kvreg_inbox *inbox;
    kvreg_event down;
    uint64_t of_bucket, of_registry, of_named;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_clone(bucket, &clone));
    OK(kvreg_inbox_monitor(inbox, bucket, &of_bucket));
    OK(kvreg_bucket_free(bucket));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &down));
    OK(kvreg_bucket_free(clone));
    OK(kvreg_inbox_receive(inbox, -1, &down));
    CHECK(down.reference == of_bucket && down.reason == KVREG_REASON_NORMAL && down.name.len == 0);
    kvreg_event_clear(&down);

    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, &named));
    OK(kvreg_inbox_monitor_registry(inbox, registry, &of_registry));
    OK(kvreg_inbox_monitor(inbox, named, &of_named));
    OK(kvreg_bucket_free(named)); /* a registered bucket goes on */
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &down));
    OK(kvreg_registry_free(registry));
    OK(kvreg_inbox_receive(inbox, -1, &down));
    CHECK(down.reference == of_named && down.reason == KVREG_REASON_SHUTDOWN);
    CHECK(strcmp(down.name.data, "a") == 0);
    kvreg_event_clear(&down);
    OK(kvreg_inbox_receive(inbox, -1, &down));
    CHECK(down.reference == of_registry && down.reason == KVREG_REASON_NORMAL);
    kvreg_event_clear(&down);
    OK(kvreg_inbox_free(inbox));
}

static void a_registry_takes_its_buckets_along(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket, *outside;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, &bucket));
    OK(kvreg_bucket_start(&outside));
    OK(kvreg_registry_stop(registry));
    IS(KVREG_NO_PROCESS, kvreg_registry_stop(registry));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_int(bucket, "k", 1, 1));
    IS(KVREG_NO_PROCESS, kvreg_registry_create(registry, "b", 1, 0, NULL));
    IS(KVREG_NO_PROCESS, kvreg_registry_create_cast(registry, "b", 1));
    IS(KVREG_NO_PROCESS, kvreg_registry_send(registry, "b", 1));
    size_t count;
    IS(KVREG_NO_PROCESS, kvreg_registry_count(registry, &count));
    kvreg_items *names;
    IS(KVREG_NO_PROCESS, kvreg_registry_names(registry, &names));
    kvreg_bucket *found;
    IS(KVREG_NO_PROCESS, kvreg_registry_lookup(registry, "a", 1, &found));
    OK(kvreg_bucket_put_int(outside, "k", 1, 1));
    OK(kvreg_registry_free(registry));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(outside));
}

static void exits_are_as_in_otp(void) {
    kvreg_bucket *bucket;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_NORMAL, NULL, 0));
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_exit(bucket, KVREG_REASON_NOPROC, NULL, 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_exit(bucket, 5, NULL, 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_exit(bucket, -1, NULL, 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "\xff", 1));
    static char detail[65537];
    memset(detail, 'x', sizeof detail);
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, detail, sizeof detail));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_CRASHED, "why", KVREG_NUL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_exit(bucket, KVREG_REASON_NORMAL, NULL, 0));
    OK(kvreg_bucket_free(bucket));
}

static const test tests[] = {
    TEST(names_are_checked),
    TEST(options_are_checked),
    TEST(names_and_items_are_snapshots),
    TEST(items_have_what_is_known_of_a_key),
    TEST(batches_are_all_or_nothing),
    TEST(an_absent_key_is_told_from_one_that_has_nil),
    TEST(absent_is_never_stored),
    TEST(casts_are_done),
    TEST(clones_have_timeouts_of_their_own),
    TEST(what_nobody_can_reach_stops),
    TEST(a_registry_takes_its_buckets_along),
    TEST(exits_are_as_in_otp),
};

CHECK_MAIN(tests)
