/*
 * Buckets whose store others change too, where something goes wrong (pool.c).
 */
#define _GNU_SOURCE

#include "pool.h"
#include "sharing.h"

static void what_a_store_cannot_is_refused(void) {
    kvreg_bucket *one = open_here("abilities"), *bucket;
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    kvreg_pair pairs[2] = {{.key = "a", .key_len = 1, .value = kvreg_int(1)},
                           {.key = "b", .key_len = 1, .value = kvreg_int(2)}};
    kvreg_value value = kvreg_int(1);
    pool_set_abilities(0);
    IS(KVREG_UNSUPPORTED, kvreg_bucket_put_many(one, pairs, 2));
    IS(KVREG_UNSUPPORTED, kvreg_bucket_put_entry(one, "k", 1, &value, 1000, NULL));
    OK(kvreg_bucket_put_many(one, pairs, 1));
    OK(kvreg_bucket_info(one, &stats));
    CHECK(stats.lacks == (KVREG_LACKS_BATCHES | KVREG_LACKS_TTL | KVREG_LACKS_WHOLE));
    options.store = url, options.store_len = KVREG_NUL, options.default_ttl_ms = 5000;
    IS(KVREG_UNSUPPORTED, kvreg_registry_create_with(here, "other", 5, 0, &options, &bucket));
    pool_set_abilities(KVREG_ENGINE_BATCHES | KVREG_ENGINE_TTL);
    OK(kvreg_bucket_info(one, &stats));
    CHECK(stats.lacks == KVREG_LACKS_WHOLE && strcmp(stats.store, "pool") == 0);
    CHECK(stats.keys == 1);
    options.store = "pool:";
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create_with(here, "other", 5, 0, &options, &bucket));
    char text[200];
    kvreg_last_error(text, sizeof text);
    CHECK(strstr(text, "a pool has a name") != NULL);
    erase("abilities", one, NULL);
}

static void g7_a_timeout_never_happens_later(void) {
    kvreg_bucket *one = open_here("away"), *bucket;
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    kvreg_value value;
    size_t count;
    put(one, "k", 1);
    OK(kvreg_bucket_set_timeout(one, SHORT));
    pool_set_away(true);
    IS(KVREG_TIMEOUT, kvreg_bucket_put_int(one, "k", 1, 2));
    IS(KVREG_TIMEOUT, kvreg_bucket_get(one, "k", 1, &value));
    IS(KVREG_TIMEOUT, kvreg_bucket_add_int(one, "k", 1, 1, NULL));
    IS(KVREG_TIMEOUT, kvreg_bucket_count(one, &count));
    IS(KVREG_TIMEOUT, kvreg_bucket_update(one, "k", 1, one_more, NULL));
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.store = url, options.store_len = KVREG_NUL;
    OK(kvreg_registry_set_timeout(there, SHORT));
    IS(KVREG_IO, kvreg_registry_create_with(there, "away", 4, 0, &options, &bucket));
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(there, "away", 4, &bucket));
    OK(kvreg_registry_set_timeout(there, LONG));
    pool_set_away(false);
    OK(kvreg_bucket_set_timeout(one, LONG));
    CHECK(get(one, "k") == 1);
    OK(kvreg_bucket_info(one, &stats));
    stop(one);
}

static void an_unknown_outcome_is_told(void) {
    kvreg_bucket *one = open_here("unknown");
    OK(kvreg_bucket_set_timeout(one, SHORT));
    pool_lose_answers(1);
    IS(KVREG_OUTCOME_UNKNOWN, kvreg_bucket_put_int(one, "k", 1, 2));
    OK(kvreg_bucket_set_timeout(one, LONG));
    CHECK(get(one, "k") == 2); /* it was done, as who reads finds out */
    pool_refuse(1, KVREG_LIMIT);
    IS(KVREG_LIMIT, kvreg_bucket_put_int(one, "k", 1, 3));
    pool_refuse(3, KVREG_CONFLICT); /* others were faster, and then no longer */
    OK(kvreg_bucket_add_int(one, "k", 1, 1, NULL));
    CHECK(get(one, "k") == 3);
    stop(one);
}

static void *put_one(void *bucket) {
    put(bucket, "k", 1);
    return NULL;
}

static void nobody_waits_for_anothers_turn(void) {
    enum { MANY = 8 };
    kvreg_bucket *one = open_here("many");
    pthread_t threads[MANY];
    OK(kvreg_bucket_set_timeout(one, LONG));
    pool_await_waiting(0);
    pool_set_away(true);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_create(&threads[i], NULL, put_one, one) == 0);
    check_patience patience = check_patiently();
    while (pool_waiting() < MANY) CHECK(check_go_on(&patience)); /* all in the store */
    pool_set_away(false);
    for (int i = 0; i < MANY; i++) pthread_join(threads[i], NULL);
    CHECK(get(one, "k") == 1);
    stop(one);
}

static void casts_are_waited_for(void) {
    kvreg_bucket *one = open_here("held");
    kvreg_value value = kvreg_int(99);
    pool_hold_sends(true);
    OK(kvreg_bucket_put_cast(one, "k", 1, &value));
    OK(kvreg_bucket_set_timeout(one, SHORT));
    IS(KVREG_TIMEOUT, kvreg_bucket_get(one, "k", 1, &value));
    IS(KVREG_TIMEOUT, kvreg_bucket_put_int(one, "k", 1, 5));
    OK(kvreg_bucket_set_timeout(one, LONG));
    pool_hold_sends(false);
    CHECK(get(one, "k") == 99);
    pool_refuse(1, KVREG_LIMIT); /* is logged */
    kvreg_event event;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_ERROR));
    OK(kvreg_bucket_put_cast(one, "k", 1, &value));
    OK(kvreg_inbox_receive(inbox, LONG, &event));
    CHECK(event.type == KVREG_EVENT_LOG);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(inbox));
    CHECK(get(one, "k") == 99);
    stop(one);
}

static void a_watch_is_told_of_the_reach(void) {
    kvreg_bucket *one = open_here("reach"), *other = open_there("reach");
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
    pool_set_away(true);
    comes(KVREG_EVENT_STORE, KVREG_STORE_AWAY, NULL, 0);
    pool_set_away(false);
    comes(KVREG_EVENT_STORE, KVREG_STORE_UP, NULL, 0);
    pool_hold_watches(true); /* it was out of touch, and then told all anew */
    put(other, "k", 4);
    put(other, "new", 5);
    pool_reset_watches("reach");
    pool_hold_watches(false);
    comes(KVREG_EVENT_RESET, 0, NULL, 0);
    kvreg_event event = next_event();
    CHECK(event.type == KVREG_EVENT_CHANGE);
    kvreg_event_clear(&event);
    event = next_event();
    CHECK(event.type == KVREG_EVENT_CHANGE);
    kvreg_event_clear(&event);
    uint64_t before = comes(KVREG_EVENT_CURRENT, 0, NULL, 0);
    pool_make_anew("reach"); /* revisions begin anew too */
    comes(KVREG_EVENT_RESET, 0, NULL, 0);
    CHECK(comes(KVREG_EVENT_CURRENT, 0, NULL, 0) < before);
    put(other, "k", 6);
    CHECK(comes(KVREG_EVENT_CHANGE, KVREG_CHANGE_PUT, "k", 6) == 1);
    CHECK(get(one, "k") == 6);
    pool_erase("reach");
    event = next_event();
    CHECK(event.type == KVREG_EVENT_DOWN && event.reason == KVREG_REASON_SHUTDOWN);
    CHECK(strcmp(event.detail.data, "deleted") == 0);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(one));
    OK(kvreg_bucket_free(other));
}

static void a_copy_never_goes_back(void) {
    kvreg_bucket *other = open_there("behind");
    put(other, "k", 1);
    kvreg_bucket *one = open_in(here, "behind", KVREG_READ_COPY);
    kvreg_value value, ten = kvreg_int(10);
    kvreg_entry entry = kvreg_entry_init();
    size_t count;
    CHECK(get(one, "k") == 1);
    put(one, "k", 2); /* its own change it finds */
    CHECK(get(one, "k") == 2);
    OK(kvreg_bucket_put_cast(one, "k", 1, &ten));
    CHECK(get(one, "k") == 10);
    OK(kvreg_bucket_put_entry(one, "timed", 5, &ten, LONG, NULL));
    OK(kvreg_bucket_get_entry(one, "timed", 5, &entry));
    CHECK(entry.ttl_ms > 0 && entry.ttl_ms <= LONG && entry.revision == revision_of(other, "timed"));
    OK(kvreg_bucket_put_entry(other, "timed", 5, &ten, 1, NULL));
    check_patience patience = check_patiently();
    while (is_there(one, "timed")) CHECK(check_go_on(&patience));
    pool_sweep();
    pool_hold_watches(true);
    put(other, "k", 11);
    CHECK(get(one, "k") == 10); /* others' it finds later */
    pool_set_away(true);
    CHECK(get(one, "k") == 10); /* also where nobody answers */
    OK(kvreg_bucket_count(one, &count));
    CHECK(count == 1 || count == 2); /* the other is over, and perhaps not told yet */
    pool_set_away(false);
    OK(kvreg_bucket_set_timeout(one, SHORT));
    OK(kvreg_bucket_put_int(one, "k", 1, 12)); /* was done, and the copy does not know it */
    IS(KVREG_TIMEOUT, kvreg_bucket_get(one, "k", 1, &value));
    OK(kvreg_bucket_set_timeout(one, LONG));
    pool_hold_watches(false);
    CHECK(get(one, "k") == 12);
    OK(kvreg_bucket_update(one, "k", 1, one_more, NULL));
    CHECK(get(other, "k") == 13);
    OK(kvreg_bucket_delete(one, "k", 1, NULL));
    CHECK(!is_there(one, "k"));
    stop(one);
    stop(other);
}

static void *get_for_ever(void *bucket) {
    kvreg_value value;
    IS(KVREG_SERVER_DOWN, kvreg_bucket_get(bucket, "k", 1, &value));
    return NULL;
}

static void the_end_lets_go_who_waits(void) {
    kvreg_bucket *one = open_here("ending");
    pthread_t thread;
    OK(kvreg_bucket_set_timeout(one, -1));
    pool_set_away(true);
    CHECK(pthread_create(&thread, NULL, get_for_ever, one) == 0);
    check_patience patience = check_patiently();
    while (pool_waiting() == 0) CHECK(check_go_on(&patience));
    OK(kvreg_bucket_exit(one, KVREG_REASON_KILLED, "", 0));
    pthread_join(thread, NULL);
    pool_set_away(false);
    OK(kvreg_bucket_free(one));
}

static void casts_on_their_way_are_done(void) {
    kvreg_bucket *one = open_here("sent");
    kvreg_value value = kvreg_int(1);
    pool_hold_sends(true);
    OK(kvreg_bucket_put_cast(one, "k", 1, &value));
    OK(kvreg_bucket_exit(one, KVREG_REASON_KILLED, "", 0)); /* waits for nothing */
    OK(kvreg_bucket_free(one));
    pool_hold_sends(false);
    check_patience patience = check_patiently();
    while (pool_open_stores() != 0) CHECK(check_go_on(&patience));
    one = open_here("sent");
    CHECK(get(one, "k") == 1);
    stop(one);
}

static void a_watch_is_told_all_keys(void) {
    enum { MANY = 500 };
    kvreg_bucket *one = open_here("large");
    bool told[MANY] = {false};
    uint64_t reference;
    char key[8];
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%d", i);
        put(one, key, i);
    }
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch(inbox, one, NULL, &reference));
    for (bool is_current = false; !is_current;) {
        kvreg_event event = next_event();
        if (event.type == KVREG_EVENT_CHANGE) told[event.value.as.integer] = true;
        is_current = event.type == KVREG_EVENT_CURRENT;
        kvreg_event_clear(&event);
    }
    for (int i = 0; i < MANY; i++) CHECK(told[i]);
    OK(kvreg_inbox_free(inbox));
    erase("large", one, NULL);
}

static void *update_for_ever(void *bucket) {
    IS(KVREG_SERVER_DOWN, kvreg_bucket_update(bucket, "k", 1, one_more, NULL));
    return NULL;
}

static void who_has_the_turn_is_let_go_too(void) {
    kvreg_bucket *one = open_here("turns");
    pthread_t threads[2];
    OK(kvreg_bucket_set_timeout(one, -1));
    pool_set_away(true);
    CHECK(pthread_create(&threads[0], NULL, update_for_ever, one) == 0);
    check_patience patience = check_patiently();
    while (pool_waiting() == 0) CHECK(check_go_on(&patience));
    CHECK(pthread_create(&threads[1], NULL, get_for_ever, one) == 0);
    while (pool_waiting() < 2) CHECK(check_go_on(&patience));
    OK(kvreg_registry_remove(here, "turns", KVREG_NUL));
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    pool_set_away(false);
    OK(kvreg_bucket_free(one));
    /* And who waits for a copy that is not told any more. */
    one = open_in(here, "turns", KVREG_READ_COPY);
    kvreg_value value = kvreg_int(1);
    pool_hold_watches(true);
    OK(kvreg_bucket_put_cast(one, "k", 1, &value));
    OK(kvreg_bucket_set_timeout(one, SHORT));
    IS(KVREG_TIMEOUT, kvreg_bucket_get(one, "k", 1, &value));
    OK(kvreg_registry_remove(here, "turns", KVREG_NUL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_cast(one, "k", 1, &value));
    OK(kvreg_bucket_free(one));
    pool_hold_watches(false);
    one = open_here("turns");
    CHECK(get(one, "k") == 1);
    erase("turns", one, NULL);
}

static kvreg_verdict end_it(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    OK(kvreg_bucket_exit(user_data, KVREG_REASON_KILLED, "", 0));
    *next = kvreg_int(9);
    return KVREG_STORE;
}

static void an_update_of_one_that_ended_is_discarded(void) {
    kvreg_bucket *one = open_here("discarded"), *other = open_there("discarded");
    put(one, "k", 1);
    IS(KVREG_SERVER_DOWN, kvreg_bucket_update(one, "k", 1, end_it, one));
    CHECK(get(other, "k") == 1);
    OK(kvreg_bucket_free(one));
    stop(other);
}

static void what_was_made_anew_takes_the_place(void) {
    kvreg_bucket *other = open_there("anew"), *one;
    put(other, "k", 1);
    one = open_in(here, "anew", KVREG_READ_COPY);
    CHECK(get(one, "k") == 1);
    pool_hold_watches(true);
    pool_make_anew("anew");
    put(other, "k", 2); /* of the same revision */
    pool_hold_watches(false);
    check_patience patience = check_patiently();
    while (get(one, "k") != 2) CHECK(check_go_on(&patience));
    erase("anew", one, other);
}

static void a_copy_is_not_refused_by_its_registry(void) {
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_registry *small;
    char text[100] = {0};
    options.max_bytes = 50;
    OK(kvreg_registry_start(&options, &small));
    kvreg_bucket *one = open_in(small, "small", KVREG_READ_COPY);
    OK(kvreg_bucket_put_bytes(one, "k", 1, text, sizeof text));
    CHECK(is_there(one, "k"));
    OK(kvreg_bucket_delete(one, "k", 1, NULL));
    stop(one);
    OK(kvreg_registry_stop(small));
    OK(kvreg_registry_free(small));
}

static void facts_are_told_out_of_reach(void) {
    kvreg_bucket *one = open_here("facts");
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    OK(kvreg_bucket_set_timeout(one, SHORT));
    pool_set_away(true);
    check_patience patience = check_patiently();
    while (kvreg_bucket_info(one, &stats) != KVREG_OK) CHECK(check_go_on(&patience));
    CHECK(stats.store_level == KVREG_STORE_AWAY);
    pool_set_away(false);
    OK(kvreg_bucket_set_timeout(one, LONG));
    erase("facts", one, NULL);
}

static void g1_casts_of_a_thread_are_in_order(void) {
    kvreg_bucket *one = open_here("order");
    kvreg_value hundred = kvreg_int(100);
    for (unsigned long i = 0; i < check_count(50); i++) {
        OK(kvreg_bucket_update_cast(one, "k", 1, one_more, NULL, NULL));
        OK(kvreg_bucket_put_cast(one, "k", 1, &hundred));
        CHECK(get(one, "k") == 100);
    }
    erase("order", one, NULL);
}

#ifndef _WIN32
static kvreg_verdict fork_it(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    pid_t *child = user_data;
    *child = fork();
    *next = kvreg_int(9);
    return *child == 0 ? KVREG_STORE : KVREG_KEEP;
}

static void a_child_of_an_update_changes_nothing(void) {
    kvreg_bucket *one = open_here("child");
    pid_t child = -1;
    int status;
    put(one, "k", 1);
    kvreg_status done = kvreg_bucket_update(one, "k", 1, fork_it, &child);
    if (child == 0) {
        if (done == KVREG_FORKED) kill(getpid(), SIGKILL);
        _exit(1);
    }
    OK(done);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    CHECK(get(one, "k") == 1);
    erase("child", one, NULL);
}
#endif

static void all_stores_are_closed(void) {
    OK(kvreg_registry_stop(here));
    OK(kvreg_registry_stop(there));
    OK(kvreg_registry_free(here));
    OK(kvreg_registry_free(there));
    check_patience patience = check_patiently();
    while (pool_open_stores() != 0) CHECK(check_go_on(&patience));
}

int main(void) {
    static const test tests[] = {
        SHARING_TESTS,
        TEST(what_a_store_cannot_is_refused),
        TEST(g7_a_timeout_never_happens_later),
        TEST(an_unknown_outcome_is_told),
        TEST(nobody_waits_for_anothers_turn),
        TEST(casts_are_waited_for),
        TEST(a_watch_is_told_of_the_reach),
        TEST(a_copy_never_goes_back),
        TEST(the_end_lets_go_who_waits),
        TEST(casts_on_their_way_are_done),
        TEST(a_watch_is_told_all_keys),
        TEST(who_has_the_turn_is_let_go_too),
        TEST(an_update_of_one_that_ended_is_discarded),
        TEST(what_was_made_anew_takes_the_place),
        TEST(a_copy_is_not_refused_by_its_registry),
        TEST(facts_are_told_out_of_reach),
        TEST(g1_casts_of_a_thread_are_in_order),
#ifndef _WIN32
        TEST(a_child_of_an_update_changes_nothing),
#endif
        TEST(all_stores_are_closed),
    };
    url = "pool:tests";
    tell_of_what_is_over = pool_sweep;
    OK(kvreg_engine_init(KVREG_ENGINE_ABI, kvreg_engine_register));
    OK(kvreg_registry_start(NULL, &here));
    OK(kvreg_registry_start(NULL, &there));
    return check_run(tests, sizeof tests / sizeof *tests);
}
