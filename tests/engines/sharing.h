/*
 * What buckets do whose store others change too, on any engine: each registry is as another process
 * would be. Whoever includes this says which store, and opens the registries.
 */
#ifndef SHARING_H
#define SHARING_H

#include <pthread.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "check.h"

enum { SHORT = 30, LONG = 60000 }; /* milliseconds: what comes to nothing, and what need not wait */

static const char *url;
static kvreg_registry *here, *there;

static kvreg_bucket *open_in(kvreg_registry *registry, const char *name, uint32_t reads) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    options.store = url;
    options.store_len = KVREG_NUL;
    options.reads = reads;
    OK(kvreg_registry_create_with(registry, name, KVREG_NUL, 0, &options, &bucket));
    return bucket;
}

static kvreg_bucket *open_here(const char *name) { return open_in(here, name, KVREG_READ_STORE); }
static kvreg_bucket *open_there(const char *name) { return open_in(there, name, KVREG_READ_STORE); }

static void stop(kvreg_bucket *bucket) {
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
}

/* Ends it everywhere, and leaves nothing. */
static void erase(const char *name, kvreg_bucket *one, kvreg_bucket *other) {
    if (other != NULL) stop(other);
    OK(kvreg_bucket_free(one));
    OK(kvreg_registry_erase(here, name, KVREG_NUL));
}

static void put(kvreg_bucket *bucket, const char *key, int64_t number) {
    OK(kvreg_bucket_put_int(bucket, key, KVREG_NUL, number));
}

static int64_t get(kvreg_bucket *bucket, const char *key) {
    int64_t number;
    OK(kvreg_bucket_get_int(bucket, key, KVREG_NUL, &number));
    return number;
}

static bool is_there(kvreg_bucket *bucket, const char *key) {
    kvreg_value value;
    kvreg_status status = kvreg_bucket_get(bucket, key, KVREG_NUL, &value);
    if (status == KVREG_NOT_FOUND) return false;
    OK(status);
    kvreg_value_clear(&value);
    return true;
}

static uint64_t revision_of(kvreg_bucket *bucket, const char *key) {
    kvreg_entry entry = kvreg_entry_init();
    OK(kvreg_bucket_get_entry(bucket, key, KVREG_NUL, &entry));
    kvreg_value_clear(&entry.value);
    return entry.revision;
}

static void what_one_stores_others_have(void) {
    kvreg_bucket *one = open_here("plain"), *other = open_there("plain");
    kvreg_value value, key;
    kvreg_items *items;
    size_t count;
    uint64_t revision;
    put(one, "milk", 1);
    CHECK(get(other, "milk") == 1 && revision_of(other, "milk") == revision_of(one, "milk"));
    char large[10000];
    memset(large, 'x', sizeof large);
    OK(kvreg_bucket_put_bytes(other, "large", 5, large, sizeof large));
    OK(kvreg_bucket_get(one, "large", 5, &value));
    CHECK(value.type == KVREG_BYTES && value.as.text.len == sizeof large);
    CHECK(memcmp(value.as.text.data, large, sizeof large) == 0);
    kvreg_value_clear(&value);
    value = kvreg_float(-0.0);
    OK(kvreg_bucket_put(one, "", 0, &value));
    OK(kvreg_bucket_count(other, &count));
    CHECK(count == 3);
    OK(kvreg_bucket_revision(other, &revision));
    CHECK(revision == revision_of(one, ""));
    kvreg_scan_options which = kvreg_scan_options_init();
    which.prefix = "l";
    which.prefix_len = 1;
    OK(kvreg_bucket_scan(other, &which, &items));
    OK(kvreg_items_next(items, &key, &value));
    CHECK(check_text(&key, KVREG_BYTES, "large") || check_text(&key, KVREG_STRING, "large"));
    kvreg_value_clear(&key);
    kvreg_value_clear(&value);
    IS(KVREG_NOT_FOUND, kvreg_items_next(items, &key, &value));
    OK(kvreg_items_free(items));
    OK(kvreg_bucket_items(one, &items));
    OK(kvreg_items_count(items, &count));
    CHECK(count == 3);
    OK(kvreg_items_free(items));
    kvreg_pair pairs[2] = {{.key = "milk", .key_len = 4}, {.key = "none", .key_len = 4}};
    OK(kvreg_bucket_get_many(other, pairs, 2));
    CHECK(pairs[0].value.as.integer == 1 && pairs[1].value.type == KVREG_ABSENT);
    OK(kvreg_bucket_delete(other, "milk", 4, &value));
    CHECK(value.as.integer == 1 && !is_there(one, "milk"));
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete(one, "milk", 4, NULL));
    stop(one);
    CHECK(is_there(other, "large"));
    stop(other);
    one = open_here("plain");
    CHECK(is_there(one, "large"));
    erase("plain", one, NULL);
}

static void *add_many(void *bucket) {
    for (unsigned long i = 0; i < check_count(300); i++)
        OK(kvreg_bucket_add_int(bucket, "n", 1, 1, NULL));
    return NULL;
}

static void conditions_hold_between_all(void) {
    kvreg_bucket *one = open_here("conditions"), *other = open_there("conditions");
    kvreg_value two = kvreg_int(2), three = kvreg_int(3), old;
    uint64_t revision, first;
    OK(kvreg_bucket_put_if(one, "k", 1, &two, 0, KVREG_TTL_DEFAULT, &first));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if(other, "k", 1, &three, 0, KVREG_TTL_DEFAULT, NULL));
    OK(kvreg_bucket_put_if(other, "k", 1, &three, first, KVREG_TTL_DEFAULT, &revision));
    CHECK(revision > first && get(one, "k") == 3);
    IS(KVREG_CONFLICT, kvreg_bucket_delete_if(one, "k", 1, first, NULL));
    IS(KVREG_CONFLICT, kvreg_bucket_put_if_equal(one, "k", 1, &two, &three, NULL));
    OK(kvreg_bucket_put_if_equal(one, "k", 1, &three, &two, &revision));
    OK(kvreg_bucket_delete_if(other, "k", 1, revision, &old));
    CHECK(old.as.integer == 2);
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete_if(other, "k", 1, revision, NULL));
    OK(kvreg_bucket_put_if_equal(one, "k", 1, NULL, NULL, &revision));
    CHECK(revision == 0);
    OK(kvreg_bucket_put_string(one, "text", 4, "x", 1));
    IS(KVREG_WRONG_TYPE, kvreg_bucket_add_int(one, "text", 4, 1, NULL));
    put(one, "most", INT64_MAX);
    IS(KVREG_LIMIT, kvreg_bucket_add_int(one, "most", 4, 1, NULL));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, add_many, one) == 0);
    add_many(other);
    pthread_join(thread, NULL);
    CHECK(get(one, "n") == (int64_t)(2 * check_count(300)));
    erase("conditions", one, other);
}

static kvreg_bucket *meanwhile;
static int decided;

static kvreg_verdict one_more(void *user_data, const kvreg_value *current, kvreg_value *next) {
    int64_t before = current == NULL ? 0 : current->as.integer;
    decided++;
    if (user_data != NULL) put(meanwhile, user_data, 10);
    *next = kvreg_int(before + 1);
    return KVREG_STORE;
}

static kvreg_verdict take_out(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_REMOVE;
}

static kvreg_verdict call_itself(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)current, (void)next;
    IS(KVREG_CALLING_SELF, kvreg_bucket_put_int(user_data, "k", 1, 5));
    return KVREG_KEEP;
}

static void an_update_decides_once(void) {
    kvreg_bucket *one = open_here("updates"), *other = open_there("updates");
    kvreg_update *update;
    kvreg_value current;
    meanwhile = other;
    OK(kvreg_bucket_update(one, "k", 1, one_more, NULL));
    OK(kvreg_bucket_update(one, "k", 1, one_more, NULL));
    CHECK(get(other, "k") == 2);
    decided = 0;
    IS(KVREG_CONFLICT, kvreg_bucket_update(one, "k", 1, one_more, "k"));
    CHECK(decided == 1 && get(one, "k") == 10);
    IS(KVREG_CONFLICT, kvreg_bucket_update(one, "absent", 6, one_more, "absent"));
    OK(kvreg_bucket_update_begin(one, "k", 1, &current, &update));
    CHECK(current.as.integer == 10);
    kvreg_value next = kvreg_int(11);
    OK(kvreg_update_end(update, KVREG_STORE, &next));
    OK(kvreg_bucket_update_begin(one, "k", 1, &current, &update));
    put(other, "k", 12);
    IS(KVREG_CONFLICT, kvreg_update_end(update, KVREG_STORE, &next));
    OK(kvreg_bucket_update_begin(one, "k", 1, &current, &update));
    OK(kvreg_update_free(update));
    OK(kvreg_bucket_update(one, "k", 1, call_itself, one));
    OK(kvreg_bucket_update(one, "k", 1, take_out, NULL));
    OK(kvreg_bucket_update(one, "k", 1, take_out, NULL));
    CHECK(!is_there(other, "k"));
    OK(kvreg_bucket_update_cast(one, "cast", 4, one_more, NULL, NULL));
    CHECK(get(one, "cast") == 1);
    erase("updates", one, other);
}

static void several_changes_are_one(void) {
    kvreg_bucket *one = open_here("batches"), *other = open_there("batches");
    kvreg_pair pairs[2] = {{.key = "a", .key_len = 1, .value = kvreg_int(1)},
                           {.key = "b", .key_len = 1, .value = kvreg_int(2)}};
    size_t failed = 9;
    OK(kvreg_bucket_put_many(one, pairs, 2));
    CHECK(get(other, "a") == 1 && revision_of(other, "b") == revision_of(other, "a") + 1);
    kvreg_op ops[4];
    for (int i = 0; i < 4; i++) ops[i] = kvreg_op_init();
    for (int i = 0; i < 4; i++) ops[i].key = i < 2 ? "a" : "b", ops[i].key_len = 1;
    ops[0].op = KVREG_OP_ADD, ops[0].delta = 5;
    ops[1].op = KVREG_OP_ADD, ops[1].delta = 6;
    ops[2].op = KVREG_OP_DELETE;
    ops[3].op = KVREG_OP_PUT, ops[3].value = kvreg_int(7);
    OK(kvreg_bucket_apply(one, ops, 4, &failed));
    CHECK(get(other, "a") == 12 && get(other, "b") == 7);
    CHECK(ops[3].revision == revision_of(other, "b"));
    ops[3].key = "c";
    ops[3].op = KVREG_OP_PUT_IF, ops[3].expected = 99999;
    IS(KVREG_CONFLICT, kvreg_bucket_apply(one, ops, 4, &failed));
    CHECK(failed == 3 && get(other, "a") == 12 && !is_there(one, "c"));
    ops[2].key = "none", ops[2].key_len = 4;
    IS(KVREG_NOT_FOUND, kvreg_bucket_apply(one, ops, 4, &failed));
    CHECK(failed == 2);
    erase("batches", one, other);
}

static void what_no_shared_store_can_is_refused(void) {
    kvreg_bucket *one = open_here("whole"), *bucket;
    IS(KVREG_UNSUPPORTED, kvreg_bucket_clear(one));
    IS(KVREG_UNSUPPORTED, kvreg_bucket_save(one, "/dev/null", KVREG_NUL));
    IS(KVREG_UNSUPPORTED, kvreg_bucket_restore(one, "/dev/null", KVREG_NUL));
    kvreg_bucket_options options[3];
    for (int i = 0; i < 3; i++) {
        options[i] = kvreg_bucket_options_init();
        options[i].store = url, options[i].store_len = KVREG_NUL;
    }
    options[0].max_keys = 5;
    options[1].max_bytes = 500;
    options[2].order = KVREG_ORDERED;
    for (int i = 0; i < 3; i++)
        IS(KVREG_UNSUPPORTED,
           kvreg_registry_create_with(here, "other", 5, 0, &options[i], &bucket));
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    OK(kvreg_bucket_info(one, &stats));
    CHECK((stats.lacks & KVREG_LACKS_WHOLE) != 0 && stats.store_level == KVREG_STORE_UP);
    erase("whole", one, NULL);
}

static void keys_live_as_long_as_they_are_given(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *one, *other = open_there("times");
    kvreg_entry entry = kvreg_entry_init();
    kvreg_value value = kvreg_int(1);
    options.store = url, options.store_len = KVREG_NUL, options.default_ttl_ms = LONG;
    OK(kvreg_registry_create_with(here, "times", KVREG_NUL, 0, &options, &one));
    put(one, "k", 1);
    OK(kvreg_bucket_get_entry(other, "k", 1, &entry));
    CHECK(entry.ttl_ms > 0 && entry.ttl_ms <= LONG + 1000);
    OK(kvreg_bucket_put_entry(one, "k", 1, &value, KVREG_TTL_NEVER, NULL));
    OK(kvreg_bucket_get_entry(other, "k", 1, &entry));
    CHECK(entry.ttl_ms == KVREG_TTL_NEVER);
    OK(kvreg_bucket_expire(other, "k", 1, 2 * LONG, NULL));
    OK(kvreg_bucket_put_entry(one, "k", 1, &value, KVREG_TTL_KEEP, NULL));
    OK(kvreg_bucket_add_int(one, "k", 1, 1, NULL));
    OK(kvreg_bucket_get_entry(one, "k", 1, &entry));
    CHECK(entry.ttl_ms > LONG && entry.ttl_ms <= 2 * LONG + 1000 && entry.value.as.integer == 2);
    OK(kvreg_bucket_put_cast(one, "cast", 4, &value));
    OK(kvreg_bucket_get_entry(one, "cast", 4, &entry));
    CHECK(entry.ttl_ms > 0 && entry.ttl_ms <= LONG + 1000);
    OK(kvreg_bucket_expire(other, "k", 1, 1, NULL));
    check_patience patience = check_patiently();
    while (is_there(one, "k")) CHECK(check_go_on(&patience));
    IS(KVREG_NOT_FOUND, kvreg_bucket_expire(other, "k", 1, 5, NULL));
    erase("times", one, other);
}

static void g3_own_casts_are_seen(void) {
    kvreg_bucket *one = open_here("casts");
    kvreg_value value;
    for (int64_t i = 0; i < 100; i++) {
        value = kvreg_int(i);
        OK(kvreg_bucket_put_cast(one, "k", 1, &value));
    }
    CHECK(get(one, "k") == 99);
    OK(kvreg_bucket_delete_cast(one, "k", 1));
    CHECK(!is_there(one, "k"));
    erase("casts", one, NULL);
}

/* Tells of what is over, where that is not done by itself. */
static void (*tell_of_what_is_over)(void);

static void sweep(void) {
    if (tell_of_what_is_over != NULL) tell_of_what_is_over();
}

static kvreg_inbox *inbox;

static kvreg_event next_event(void) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, LONG, &event));
    return event;
}

static uint64_t comes(uint32_t type, uint32_t level, const char *key, int64_t number) {
    kvreg_event event = next_event();
    CHECK(event.type == type && event.level == level);
    if (key != NULL)
        CHECK(event.name.len == strlen(key) && memcmp(event.name.data, key, event.name.len) == 0);
    if (key != NULL && level == KVREG_CHANGE_PUT) CHECK(event.value.as.integer == number);
    uint64_t revision = event.revision;
    kvreg_event_clear(&event);
    return revision;
}

static void g18_a_watch_is_told_what_anybody_changes(void) {
    kvreg_bucket *one = open_here("watched"), *other = open_there("watched");
    uint64_t reference;
    put(one, "before", 1);
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch(inbox, one, NULL, &reference));
    comes(KVREG_EVENT_RESET, 0, NULL, 0);
    comes(KVREG_EVENT_CHANGE, KVREG_CHANGE_PUT, "before", 1);
    comes(KVREG_EVENT_CURRENT, 0, NULL, 0);
    put(other, "k", 2);
    CHECK(comes(KVREG_EVENT_CHANGE, KVREG_CHANGE_PUT, "k", 2) == revision_of(one, "k"));
    OK(kvreg_bucket_delete(other, "before", 6, NULL));
    comes(KVREG_EVENT_CHANGE, KVREG_CHANGE_DELETE, "before", 0);
    OK(kvreg_bucket_expire(other, "k", 1, 1, NULL));
    check_patience patience = check_patiently();
    while (is_there(one, "k")) CHECK(check_go_on(&patience));
    sweep();
    kvreg_event event = next_event();
    if (event.level == KVREG_CHANGE_PUT) { /* it was told before its time was over */
        kvreg_event_clear(&event);
        event = next_event();
    }
    CHECK(event.type == KVREG_EVENT_CHANGE && event.level == KVREG_CHANGE_EXPIRE);
    kvreg_event_clear(&event);
    OK(kvreg_bucket_free(one));
    OK(kvreg_bucket_free(other));
    OK(kvreg_registry_remove(there, "watched", KVREG_NUL));
    OK(kvreg_registry_erase(here, "watched", KVREG_NUL));
    event = next_event();
    CHECK(event.type == KVREG_EVENT_DOWN);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(inbox));
}

static void a_copy_is_read(void) {
    kvreg_bucket *other = open_there("copied");
    put(other, "k", 1);
    kvreg_bucket *one = open_in(here, "copied", KVREG_READ_COPY);
    kvreg_value ten = kvreg_int(10);
    kvreg_entry entry = kvreg_entry_init();
    size_t count;
    CHECK(get(one, "k") == 1);
    put(one, "k", 2); /* its own change it finds */
    CHECK(get(one, "k") == 2);
    OK(kvreg_bucket_put_cast(one, "k", 1, &ten));
    CHECK(get(one, "k") == 10);
    OK(kvreg_bucket_put_entry(one, "timed", 5, &ten, LONG, NULL));
    OK(kvreg_bucket_get_entry(one, "timed", 5, &entry));
    CHECK(entry.ttl_ms > 0 && entry.ttl_ms <= LONG + 1000 && entry.revision == revision_of(other, "timed"));
    OK(kvreg_bucket_count(one, &count));
    CHECK(count == 2);
    OK(kvreg_bucket_update(one, "k", 1, one_more, NULL));
    CHECK(get(other, "k") == 11 && get(one, "k") == 11);
    OK(kvreg_bucket_delete(one, "k", 1, NULL));
    CHECK(!is_there(one, "k"));
    put(other, "later", 1);
    check_patience patience = check_patiently();
    while (!is_there(one, "later")) CHECK(check_go_on(&patience));
    erase("copied", one, other);
}

static kvreg_verdict crash(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_CRASH;
}

static void a_crash_loses_nothing(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *one;
    options.store = url, options.store_len = KVREG_NUL;
    options.restart = KVREG_TRANSIENT;
    OK(kvreg_registry_create_with(here, "crash", KVREG_NUL, 0, &options, &one));
    put(one, "k", 1);
    IS(KVREG_SERVER_DOWN, kvreg_bucket_update(one, "k", 1, crash, NULL));
    OK(kvreg_bucket_free(one));
    OK(kvreg_registry_lookup(here, "crash", KVREG_NUL, &one));
    CHECK(get(one, "k") == 1);
    OK(kvreg_bucket_free(one));
    OK(kvreg_registry_erase(here, "crash", KVREG_NUL));
    IS(KVREG_NOT_FOUND, kvreg_registry_erase(here, "crash", KVREG_NUL));
    one = open_here("crash");
    CHECK(!is_there(one, "k"));
    erase("crash", one, NULL);
}

static void *change_it(void *bucket) {
    kvreg_bucket *own;
    OK(kvreg_bucket_clone(bucket, &own));
    for (unsigned i = 0; i < check_count(400); i++) {
        char key[8];
        int len = snprintf(key, sizeof key, "%u", i % 7);
        kvreg_value value = kvreg_int(i);
        if (i % 5 == 4)
            kvreg_bucket_delete(own, key, (size_t)len, NULL);
        else if (i % 3 == 0)
            OK(kvreg_bucket_put_cast(own, key, (size_t)len, &value));
        else
            OK(kvreg_bucket_put(own, key, (size_t)len, &value));
    }
    size_t count;
    OK(kvreg_bucket_count(own, &count)); /* its casts are done */
    OK(kvreg_bucket_free(own));
    return NULL;
}

/* Four threads of two registries change it; a copy and a watch come to the same as the store. */
static void all_come_to_the_same(void) {
    kvreg_bucket *one = open_in(here, "same", KVREG_READ_COPY), *other = open_there("same");
    int64_t known[7], number;
    uint64_t reference;
    pthread_t threads[4];
    for (int i = 0; i < 7; i++) known[i] = -1;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch(inbox, other, NULL, &reference));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, change_it, i % 2 ? one : other) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    put(one, "last", 1);
    for (bool is_last = false, is_current = false; !is_last || !is_current;) {
        kvreg_event event = next_event();
        if (event.type == KVREG_EVENT_RESET) {
            for (int i = 0; i < 7; i++) known[i] = -1;
            is_current = false;
        } else if (event.type == KVREG_EVENT_CURRENT) {
            is_current = true;
        } else if (event.type == KVREG_EVENT_CHANGE && event.name.len == 4) {
            is_last = true;
        } else if (event.type == KVREG_EVENT_CHANGE) {
            bool is_put = event.level == KVREG_CHANGE_PUT;
            known[event.name.data[0] - '0'] = is_put ? event.value.as.integer : -1;
        }
        kvreg_event_clear(&event);
    }
    for (int i = 0; i < 7; i++) {
        char key[2] = {(char)('0' + i), '\0'};
        kvreg_status status = kvreg_bucket_get_int(other, key, 1, &number);
        CHECK(status == KVREG_OK ? number == known[i] : known[i] == -1);
        CHECK(kvreg_bucket_get_int(one, key, 1, &number) == status);
        if (status == KVREG_OK) CHECK(number == known[i]);
    }
    OK(kvreg_inbox_free(inbox));
    erase("same", one, other);
}

#ifndef _WIN32
static void a_child_has_it_not(void) {
    kvreg_bucket *one = open_in(here, "forked", KVREG_READ_COPY);
    put(one, "k", 1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int64_t number;
        kvreg_status read = kvreg_bucket_get_int(one, "k", 1, &number);
        kvreg_status written = kvreg_bucket_put_int(one, "k", 1, 2);
        kvreg_bucket_free(one);
        /* Killed: what it leaves is its parent's, and no leak. */
        if (read == KVREG_FORKED && written == KVREG_FORKED) kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    put(one, "k", 3);
    CHECK(get(one, "k") == 3);
    erase("forked", one, NULL);
}
#endif

#define SHARING_TESTS                                                                         \
    TEST(what_one_stores_others_have), TEST(conditions_hold_between_all),                     \
        TEST(an_update_decides_once), TEST(several_changes_are_one),                          \
        TEST(what_no_shared_store_can_is_refused), TEST(keys_live_as_long_as_they_are_given), \
        TEST(g3_own_casts_are_seen), TEST(g18_a_watch_is_told_what_anybody_changes),          \
        TEST(a_copy_is_read), TEST(a_crash_loses_nothing), TEST(all_come_to_the_same),        \
        SHARING_FORKS

#ifndef _WIN32
#define SHARING_FORKS TEST(a_child_has_it_not)
#else
#define SHARING_FORKS TEST(an_update_decides_once)
#endif

#endif
