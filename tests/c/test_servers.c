/* Servers that users write, by callbacks: what each verdict does, names, ends and restarts. */

#define _POSIX_C_SOURCE 200809L

#include "servers.h"

#include <pthread.h>
#include <sched.h>
#ifndef _WIN32
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

static kvreg_registry *registry;

static kvreg_server *start(const char *name) {
    kvreg_server_options options = counter_options();
    kvreg_server *server;
    OK(kvreg_registry_start_server(registry, name, KVREG_NUL, 0, &options, &server, NULL));
    return server;
}

static void begin(void) {
    forget_counts();
    OK(kvreg_registry_start(NULL, &registry));
}

static void end(void) {
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static void a_server_is_called(void) {
    begin();
    kvreg_server *server = start("counter");
    int64_t sum;
    OK(add(server, 5, &sum));
    CHECK(sum == 5);
    kvreg_value two[] = {kvreg_int(1), kvreg_int(2)}, reply;
    OK(kvreg_server_call(server, "add", 3, two, 2, &reply));
    CHECK(reply.type == KVREG_INT && reply.as.integer == 8);
    OK(kvreg_server_call(server, "add", 3, two, 2, NULL));
    OK(kvreg_registry_call(registry, "counter", 7, "get", 3, NULL, 0, &reply));
    CHECK(reply.as.integer == 11);
    OK(kvreg_server_stop(server));
    IS(KVREG_NO_PROCESS, ask(server, "get", NULL));
    CHECK(atomic_load(&inits) == 1 && atomic_load(&drops) == 1 && atomic_load(&destroys) == 1);
    OK(kvreg_server_free(server));
    end();
}

static void values_are_told_as_they_are(void) {
    begin();
    kvreg_server *server = start("echo");
    char *large = malloc(100000);
    memset(large, 'x', 100000);
    kvreg_value values[] = {
        kvreg_nil(), kvreg_bool(true), kvreg_int(-1), kvreg_float(0.5), kvreg_string("text", 4),
        kvreg_string("", 0), kvreg_bytes("\0\1", 2), kvreg_string("until its NUL", KVREG_NUL),
        kvreg_bytes(large, 100000)};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        kvreg_value reply;
        OK(kvreg_server_call(server, "echo", 4, &values[i], 1, &reply));
        CHECK(reply.type == values[i].type);
        if (reply.type >= KVREG_STRING) {
            CHECK(reply.as.text.len == values[i].as.text.len);
            CHECK(memcmp(reply.as.text.data, values[i].as.text.data, reply.as.text.len) == 0);
            CHECK(reply.as.text.data[reply.as.text.len] == 0);
        } else {
            CHECK(memcmp(&reply.as, &values[i].as, 8) == 0);
        }
        kvreg_value_clear(&reply);
    }
    kvreg_value wrong = kvreg_nil(), reply;
    wrong.type = 9;
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "echo", 4, &wrong, 1, &reply));
    wrong = kvreg_string("\xff", 1);
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "echo", 4, &wrong, 1, &reply));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "", 0, NULL, 0, &reply));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "a\0b", 3, NULL, 0, &reply));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, large, 256, NULL, 0, &reply));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "echo", 4, NULL, 1, &reply));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "echo", 4, values, 256, &reply));
    free(large);
    OK(kvreg_server_free(server));
    end();
}

/* Calls the server "place" in one of three ways: the short one, the long one, and by its name. */
static kvreg_status call_by(int way, kvreg_server *server, const char *tag, kvreg_value *values,
                            size_t count, kvreg_value *reply) {
    switch (way) {
    case 0: return kvreg_server_call(server, tag, strlen(tag), values, count, reply);
    case 1: return kvreg_server_call(server, tag, KVREG_NUL, values, count, reply);
    default:
        return kvreg_registry_call(registry, "place", 5, tag, strlen(tag), values, count, reply);
    }
}

/* An argument is read before the answer takes its place, whichever way the call goes. */
static void an_answer_takes_the_place_of_an_argument(void) {
    begin();
    for (int i = 0; i < 6; i++) {
        int way = i % 3;
        kvreg_server_options options = counter_options();
        options.flags = i < 3 ? 0 : KVREG_SERVER_HAND_OVER;
        kvreg_server *server;
        OK(kvreg_registry_start_server(registry, "place", 5, 0, &options, &server, NULL));
        kvreg_value values[] = {kvreg_int(1), kvreg_int(2)};
        OK(call_by(way, server, "add", values, 2, &values[1]));
        CHECK(values[0].as.integer == 1 && values[1].as.integer == 3);
        OK(call_by(way, server, "add", values, 2, &values[0]));
        CHECK(values[0].as.integer == 7 && values[1].as.integer == 3);

        kvreg_value text = kvreg_string("longer than a word or two", KVREG_NUL);
        OK(call_by(way, server, "echo", &text, 1, &text));
        CHECK(check_text(&text, KVREG_STRING, "longer than a word or two"));
        kvreg_value_clear(&text);
        text = kvreg_string("no number", KVREG_NUL);
        IS(KVREG_ABORTED, call_by(way, server, "add", &text, 1, &text));
        CHECK(text.type == KVREG_NIL);
        OK(kvreg_server_stop(server));
        OK(kvreg_server_free(server));
    }
    end();
}

/* OTP's column of a call: a reply, a refusal, `{stop, normal, Reply, State}`, `{stop, Reason, State}`,
   `bad_return_value`. */
static void each_verdict_of_a_call(void) {
    begin();
    static const struct {
        const char *tag;
        kvreg_status status;
        bool lives;
        kvreg_reason reason;
        const char *said;
    } cases[] = {
        {"get", KVREG_OK, true, 0, NULL},
        {"abort", KVREG_ABORTED, true, 0, "no"},
        {"unknown", KVREG_UNSUPPORTED, true, 0, NULL},
        {"stop", KVREG_OK, false, KVREG_REASON_NORMAL, NULL},
        {"crash", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, "on purpose"},
        {"bad", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, "an unknown verdict"},
        {"bad reply", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, "a reply that is no value"},
        {"later at once", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, NULL},
    };
    kvreg_inbox *inbox;
    OK(kvreg_inbox_open(&inbox));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int hands_over = 0; hands_over < 2; hands_over++) {
            kvreg_server_options options = counter_options();
            options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
            kvreg_server *server;
            uint64_t monitor;
            OK(kvreg_registry_start_server(registry, "case", 4, 0, &options, &server, NULL));
            OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
            check_status(__FILE__, __LINE__, cases[i].tag, ask(server, cases[i].tag, NULL),
                         cases[i].status);
            if (cases[i].status == KVREG_ABORTED) CHECK(last_error_says(cases[i].said));
            if (cases[i].lives) {
                OK(ask(server, "get", NULL));
                OK(kvreg_server_stop(server));
                is_down(inbox, monitor, KVREG_REASON_NORMAL, NULL);
            } else {
                kvreg_server *found;
                IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "case", 4, &found));
                IS(KVREG_NO_PROCESS, ask(server, "get", NULL));
                is_down(inbox, monitor, cases[i].reason, cases[i].said);
            }
            OK(kvreg_server_free(server));
        }
    }
    OK(kvreg_inbox_free(inbox));
    await_leavers();
    end();
}

/* A cast or an info: refused and unknown ones are logged, and the server lives. */
static void each_verdict_of_a_cast_and_an_info(void) {
    begin();
    static const struct {
        const char *tag;
        bool lives;
        kvreg_reason reason;
    } cases[] = {{"add", true, 0},     {"abort", true, 0},
                 {"unknown", true, 0}, {"stop", false, KVREG_REASON_NORMAL},
                 {"crash", false, KVREG_REASON_CRASHED}, {"bad", false, KVREG_REASON_CRASHED},
                 {"later at once", false, KVREG_REASON_CRASHED}};
    kvreg_inbox *inbox;
    OK(kvreg_inbox_open(&inbox));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int is_info = 0; is_info < 2; is_info++) {
            kvreg_server *server = start("case");
            uint64_t monitor;
            kvreg_value one = kvreg_int(1);
            OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
            if (is_info)
                OK(kvreg_server_send(server, 0, cases[i].tag, KVREG_NUL, &one, 1));
            else
                OK(cast(server, cases[i].tag, 1));
            if (cases[i].lives) {
                int64_t sum;
                OK(ask(server, "get", &sum)); /* G3: it comes after the cast */
                CHECK(sum == (strcmp(cases[i].tag, "add") == 0 ? 1 : 0));
                OK(kvreg_server_stop(server));
                is_down(inbox, monitor, KVREG_REASON_NORMAL, NULL);
            } else {
                kvreg_status status = ask(server, "get", NULL);
                CHECK(status == KVREG_SERVER_DOWN || status == KVREG_NO_PROCESS);
                is_down(inbox, monitor, cases[i].reason, NULL);
            }
            OK(kvreg_server_free(server));
        }
    }
    OK(kvreg_inbox_free(inbox));
    end();
}

static void what_is_not_handled_is_logged(void) {
    static const struct {
        const char *tag, *said;
    } cases[] = {{"unk\nown", "cast \"unk\\nown\" not handled"}, {"abort", "cast \"abort\" refused: no"}};
    begin();
    kvreg_server *server = start("logged");
    kvreg_inbox *inbox;
    kvreg_event event;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_WARN));
    for (int i = 0; i < 2; i++) {
        OK(cast(server, cases[i].tag, 1));
        OK(kvreg_inbox_receive(inbox, 10000, &event));
        CHECK(event.type == KVREG_EVENT_LOG && event.level == KVREG_LOG_WARN);
        CHECK(strcmp(event.name.data, "logged") == 0);
        CHECK(strcmp(event.detail.data, cases[i].said) == 0);
        kvreg_event_clear(&event);
    }
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_server_free(server));
    end();
}

static kvreg_verdict refuses(kvreg_server *self, void *argument, void **state,
                             kvreg_value *detail) {
    (void)self, (void)state;
    OK(kvreg_value_copy_text(detail, "not today", 9));
    return *(kvreg_verdict *)argument;
}

static void an_init_that_refuses_leaves_nothing(void) {
    static const struct {
        kvreg_verdict verdict;
        kvreg_status status;
    } cases[] = {{KVREG_ABORT, KVREG_ABORTED},
                 {KVREG_CRASH, KVREG_SERVER_DOWN},
                 {KVREG_STOP, KVREG_SERVER_DOWN},
                 {42, KVREG_SERVER_DOWN}};
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int named = 0; named < 2; named++) {
            kvreg_server_options options = counter_options();
            kvreg_verdict verdict = cases[i].verdict;
            kvreg_server *server = (kvreg_server *)(uintptr_t)1;
            options.init = refuses;
            options.argument = &verdict;
            if (named) options.restart = KVREG_PERMANENT;
            forget_counts();
            IS(cases[i].status,
               named ? kvreg_registry_start_server(registry, "x", 1, 0, &options, &server, NULL)
                     : kvreg_server_start(&options, &server, NULL));
            CHECK(server == NULL);
            if (i < 2) CHECK(last_error_says("not today"));
            CHECK(atomic_load(&drops) == 0 && atomic_load(&destroys) == 1);
            if (named) IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "x", 1, &server));
        }
    }
    kvreg_live live = kvreg_live_init();
    OK(kvreg_live_counts(&live));
    CHECK(live.servers == 0 && live.server_handles == 0);
    end();
}

static void names_are_shared_with_buckets(void) {
    begin();
    kvreg_server *server = start("server"), *other;
    kvreg_server_options options = counter_options();
    kvreg_bucket *bucket;
    kvreg_items *names;
    kvreg_value name, reply;
    size_t count;
    OK(kvreg_registry_create(registry, "bucket", 6, 0, NULL));
    IS(KVREG_WRONG_KIND, kvreg_registry_create(registry, "server", 6, 0, NULL));
    IS(KVREG_WRONG_KIND, kvreg_registry_lookup(registry, "server", 6, &bucket));
    CHECK(bucket == NULL);
    IS(KVREG_WRONG_KIND, kvreg_registry_lookup_server(registry, "bucket", 6, &other));
    IS(KVREG_WRONG_KIND,
       kvreg_registry_start_server(registry, "bucket", 6, 0, &options, &other, NULL));
    IS(KVREG_WRONG_KIND, kvreg_registry_call(registry, "bucket", 6, "get", 3, NULL, 0, &reply));
    IS(KVREG_NOT_FOUND, kvreg_registry_call(registry, "nobody", 6, "get", 3, NULL, 0, &reply));
    IS(KVREG_ALREADY_STARTED,
       kvreg_registry_start_server(registry, "server", 6, KVREG_CREATE_EXCLUSIVE, &options, &other,
                                   NULL));
    OK(kvreg_registry_start_server(registry, "server", 6, 0, &options, &other, NULL));
    OK(add(server, 7, NULL));
    int64_t sum;
    OK(ask(other, "get", &sum));
    CHECK(sum == 7 && atomic_load(&inits) == 1);
    OK(kvreg_registry_count(registry, &count));
    CHECK(count == 1);
    OK(kvreg_registry_servers(registry, &names));
    OK(kvreg_items_next(names, &name, NULL));
    CHECK(check_text(&name, KVREG_STRING, "server"));
    kvreg_value_clear(&name);
    IS(KVREG_NOT_FOUND, kvreg_items_next(names, &name, NULL));
    OK(kvreg_items_free(names));
    OK(kvreg_registry_names(registry, &names));
    OK(kvreg_items_next(names, &name, NULL));
    CHECK(check_text(&name, KVREG_STRING, "bucket"));
    kvreg_value_clear(&name);
    IS(KVREG_NOT_FOUND, kvreg_items_next(names, &name, NULL));
    OK(kvreg_items_free(names));
    OK(kvreg_registry_execute(registry, "GET server k", 12, &reply));
    CHECK(check_text(&reply, KVREG_STRING, "NOT FOUND\r\n"));
    kvreg_value_clear(&reply);
    OK(kvreg_registry_execute(registry, "CREATE server", 13, &reply));
    CHECK(check_text(&reply, KVREG_STRING, "NOT FOUND\r\n"));
    kvreg_value_clear(&reply);
    OK(kvreg_server_name(server, &name));
    CHECK(check_text(&name, KVREG_STRING, "server"));
    kvreg_value_clear(&name);
    OK(kvreg_registry_remove(registry, "server", 6));
    IS(KVREG_NO_PROCESS, ask(server, "get", NULL));
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(other));
    end();
}

/* The next change of names that a watch tells. */
static void is_change(kvreg_inbox *inbox, uint32_t type, const char *name) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, CHECK_PATIENCE * 1000, &event));
    CHECK(event.type == type);
    CHECK(name == NULL || strcmp(event.name.data, name) == 0);
    kvreg_event_clear(&event);
}

/* As kvreg_registry_names tells those of buckets, so does who watches them. */
static void names_are_watched_of_buckets(void) {
    begin();
    kvreg_server *first = start("server before"), *second;
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t watch;
    OK(kvreg_registry_create(registry, "bucket before", KVREG_NUL, 0, NULL));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch_names(inbox, registry, NULL, &watch));
    is_change(inbox, KVREG_EVENT_RESET, NULL);
    is_change(inbox, KVREG_EVENT_CHANGE, "bucket before");
    is_change(inbox, KVREG_EVENT_CURRENT, NULL);
    second = start("name");
    OK(kvreg_server_stop(second));
    OK(kvreg_registry_create(registry, "name", 4, 0, NULL));
    is_change(inbox, KVREG_EVENT_CHANGE, "name");
    OK(kvreg_registry_remove(registry, "name", 4));
    is_change(inbox, KVREG_EVENT_CHANGE, "name");
    OK(kvreg_server_free(second));
    second = start("name");
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_server_free(first));
    OK(kvreg_server_free(second));
    OK(kvreg_inbox_free(inbox));
    end();
}

static void max_servers_is_a_limit_of_its_own(void) {
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_server_options counters = counter_options();
    kvreg_server *server, *other;
    options.max_servers = 1;
    OK(kvreg_registry_start(&options, &registry));
    OK(kvreg_registry_start_server(registry, "a", 1, 0, &counters, &server, NULL));
    IS(KVREG_LIMIT, kvreg_registry_start_server(registry, "b", 1, 0, &counters, &other, NULL));
    OK(kvreg_registry_create(registry, "c", 1, 0, NULL));
    OK(kvreg_server_stop(server));
    OK(kvreg_registry_start_server(registry, "b", 1, 0, &counters, &other, NULL));
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(other));
    end();
}

static void a_server_is_started_again(void) {
    begin();
    kvreg_server_options options = counter_options();
    int64_t start_value = 100, sum;
    kvreg_server *server, *again;
    kvreg_server_stats stats = kvreg_server_stats_init();
    options.argument = &start_value;
    options.restart = KVREG_TRANSIENT;
    OK(kvreg_registry_start_server(registry, "phoenix", 7, 0, &options, &server, NULL));
    OK(add(server, 1, &sum));
    CHECK(sum == 101);
    IS(KVREG_SERVER_DOWN, ask(server, "crash", NULL));
    IS(KVREG_NO_PROCESS, ask(server, "get", NULL)); /* a handle is one process */
    kvreg_value reply;
    OK(kvreg_registry_call(registry, "phoenix", 7, "get", 3, NULL, 0, &reply));
    CHECK(reply.as.integer == 100);
    OK(kvreg_registry_lookup_server(registry, "phoenix", 7, &again));
    OK(kvreg_server_info(again, &stats));
    CHECK(stats.restarts == 1 && stats.last_exit == KVREG_REASON_CRASHED);
    CHECK(atomic_load(&inits) == 2);
    CHECK(atomic_load(&drops) == 1);
    CHECK(atomic_load(&destroys) == 0);
    OK(kvreg_server_stop(again)); /* NORMAL: a transient one is not started again */
    CHECK(atomic_load(&drops) == 2 && atomic_load(&destroys) == 1);
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(again));
    end();
}

static atomic_int refusals;

static kvreg_verdict works_once(kvreg_server *self, void *argument, void **state,
                                kvreg_value *detail) {
    if (atomic_fetch_add(&refusals, 1) == 0) return counter_init(self, argument, state, detail);
    return KVREG_ABORT;
}

static void an_init_that_fails_again_counts_as_an_end(void) {
    begin();
    kvreg_server_options options = counter_options();
    kvreg_server *server, *found;
    atomic_store(&refusals, 0);
    options.init = works_once;
    options.restart = KVREG_PERMANENT;
    options.max_restarts = 3;
    OK(kvreg_registry_start_server(registry, "x", 1, 0, &options, &server, NULL));
    IS(KVREG_SERVER_DOWN, ask(server, "crash", NULL));
    while (kvreg_registry_lookup_server(registry, "x", 1, &found) == KVREG_OK) {
        OK(kvreg_server_free(found));
        sched_yield();
    }
    while (atomic_load(&destroys) == 0) sched_yield();
    CHECK(atomic_load(&refusals) == 4 && atomic_load(&drops) == 1);
    OK(kvreg_server_free(server));
    end();
}

static void links_and_monitors_join_all_kinds(void) {
    begin();
    kvreg_server *server = start("a"), *other = start("b");
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    uint64_t first, second, third;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_server_link(server, kvreg_bucket_as_server(bucket)));
    OK(kvreg_server_link(kvreg_bucket_as_server(bucket), other));
    OK(kvreg_inbox_monitor_server(inbox, server, &first));
    OK(kvreg_inbox_monitor_server(inbox, kvreg_bucket_as_server(bucket), &second));
    OK(kvreg_inbox_monitor_server(inbox, other, &third));
    IS(KVREG_SERVER_DOWN, ask(other, "crash", NULL));
    is_down(inbox, third, KVREG_REASON_CRASHED, "on purpose");
    is_down(inbox, second, KVREG_REASON_CRASHED, "on purpose");
    is_down(inbox, first, KVREG_REASON_CRASHED, "on purpose");
    OK(kvreg_inbox_monitor_server(inbox, server, &first));
    is_down(inbox, first, KVREG_REASON_NOPROC, NULL);
    IS(KVREG_NO_PROCESS, kvreg_server_link(server, other));
    OK(kvreg_server_unlink(server, other));
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(other));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_inbox_free(inbox));
    end();
}

static void buckets_and_registries_are_servers(void) {
    begin();
    kvreg_bucket *bucket;
    kvreg_value name, reply;
    kvreg_turn *turn;
    kvreg_server_stats stats = kvreg_server_stats_init();
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    kvreg_server *as[] = {kvreg_bucket_as_server(bucket), kvreg_registry_as_server(registry)};
    for (int i = 0; i < 2; i++) {
        kvreg_server *clone;
        IS(KVREG_UNSUPPORTED, kvreg_server_call(as[i], "get", 3, NULL, 0, &reply));
        IS(KVREG_UNSUPPORTED, kvreg_server_cast(as[i], "get", 3, NULL, 0));
        IS(KVREG_UNSUPPORTED, kvreg_server_begin(as[i], 0, NULL, &turn));
        OK(kvreg_server_send(as[i], 0, "hello", 5, NULL, 0));
        OK(kvreg_server_info(as[i], &stats));
        OK(kvreg_server_name(as[i], &name));
        kvreg_value_clear(&name);
        OK(kvreg_server_clone(as[i], &clone));
        OK(kvreg_server_set_timeout(clone, 10));
        OK(kvreg_server_free(clone));
    }
    OK(kvreg_server_stop(as[0]));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_server_free(as[0]));
    OK(kvreg_server_stop(as[1]));
    OK(kvreg_server_free(as[1]));
}

static kvreg_server *inner;

static kvreg_verdict calls_itself(void *state, const kvreg_message *message, kvreg_value *reply) {
    kvreg_server *self;
    (void)state;
    if (message->type != KVREG_MESSAGE_CALL) return KVREG_KEEP;
    OK(kvreg_server_self(&self));
    IS(KVREG_CALLING_SELF, ask(self, "get", NULL));
    IS(KVREG_CALLING_SELF, kvreg_server_stop(self));
    IS(KVREG_CALLING_SELF, ask(message->self, "get", NULL));
    IS(KVREG_BAD_HANDLE, kvreg_server_free(message->self));
    OK(cast(self, "add", 1)); /* comes later */
    OK(kvreg_server_free(self));
    if (is_tag(message, "through") && inner != NULL)
        *reply = kvreg_int(kvreg_server_call(inner, "back", 4, NULL, 0, NULL));
    return KVREG_KEEP;
}

static kvreg_verdict calls_back(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state, (void)message, (void)reply;
    IS(KVREG_CALLING_SELF, kvreg_registry_call(registry, "outer", 5, "get", 3, NULL, 0, NULL));
    return KVREG_KEEP;
}

static void g8_no_server_waits_for_itself(void) {
    begin();
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *outer, *self;
    kvreg_value reply;
    options.handle = calls_itself;
    OK(kvreg_registry_start_server(registry, "outer", 5, 0, &options, &outer, NULL));
    options.handle = calls_back;
    OK(kvreg_registry_start_server(registry, "inner", 5, 0, &options, &inner, NULL));
    OK(kvreg_server_call(outer, "through", 7, NULL, 0, &reply));
    CHECK(reply.type == KVREG_INT && reply.as.integer == KVREG_OK);
    IS(KVREG_NO_PROCESS, kvreg_server_self(&self));
    OK(kvreg_server_free(outer));
    OK(kvreg_server_free(inner));
    inner = NULL;
    end();
}

static kvreg_verdict continues(void *state, const kvreg_message *message, kvreg_value *reply) {
    int64_t *at = state;
    if (is_tag(message, "start")) {
        kvreg_value one = kvreg_int(1), two = kvreg_int(2), three = kvreg_int(3);
        OK(kvreg_server_send(message->self, 0, "step", 4, &three, 1));
        OK(kvreg_server_send(message->self, KVREG_SEND_NEXT, "step", 4, &one, 1));
        OK(kvreg_server_send(message->self, KVREG_SEND_NEXT, "step", 4, &two, 1));
    } else if (is_tag(message, "step")) {
        CHECK(message->type == KVREG_MESSAGE_INFO && message->reference == 0);
        *at = *at * 10 + message->values[0].as.integer;
    }
    *reply = kvreg_int(*at);
    return KVREG_KEEP;
}

static void what_is_sent_next_comes_first(void) {
    begin();
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    int64_t at = 0, seen;
    options.handle = continues;
    options.argument = &at;
    OK(kvreg_server_start(&options, &server, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_send(server, KVREG_SEND_NEXT, "step", 4, NULL, 0));
    OK(kvreg_server_call(server, "start", 5, NULL, 0, NULL));
    OK(ask(server, "get", &seen));
    CHECK(seen == 123);
    OK(kvreg_server_stop(server));
    OK(kvreg_server_free(server));
    end();
}

static void a_server_that_nobody_reaches_stops(void) {
    forget_counts();
    kvreg_server_options options = counter_options();
    kvreg_server *server;
    OK(kvreg_server_start(&options, &server, NULL));
    OK(cast(server, "add", 1));
    OK(kvreg_server_free(server));
    while (atomic_load(&destroys) == 0) sched_yield();
    CHECK(atomic_load(&drops) == 1);
    options.restart = KVREG_TRANSIENT;
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_start(&options, &server, NULL));
    CHECK(atomic_load(&destroys) == 2);
}

static void terminate_comes_before_the_end(void) {
    static const struct {
        const char *tag; /* or how */
        kvreg_reason reason;
    } cases[] = {{"stop", KVREG_REASON_NORMAL},    {"crash", KVREG_REASON_CRASHED},
                 {".stop", KVREG_REASON_NORMAL},   {".remove", KVREG_REASON_SHUTDOWN},
                 {".exit", KVREG_REASON_SHUTDOWN}, {".registry", KVREG_REASON_SHUTDOWN}};
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *tag = cases[i].tag;
            kvreg_inbox *inbox;
            kvreg_server *server;
            uint64_t monitor;
            begin();
            OK(kvreg_inbox_open(&inbox));
            kvreg_server_options options = counter_options();
            options.flags =
                KVREG_SERVER_WANTS_TERMINATE | (hands_over ? KVREG_SERVER_HAND_OVER : 0);
            OK(kvreg_registry_start_server(registry, "t", 1, 0, &options, &server, NULL));
            OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
            if (strcmp(tag, ".stop") == 0)
                OK(kvreg_server_stop(server));
            else if (strcmp(tag, ".remove") == 0)
                OK(kvreg_registry_remove(registry, "t", 1));
            else if (strcmp(tag, ".exit") == 0)
                OK(kvreg_server_exit(server, KVREG_REASON_SHUTDOWN, NULL, 0));
            else if (strcmp(tag, ".registry") == 0)
                OK(kvreg_registry_stop(registry));
            else
                IS(strcmp(tag, "stop") == 0 ? KVREG_OK : KVREG_SERVER_DOWN, ask(server, tag, NULL));
            is_down(inbox, monitor, cases[i].reason, NULL);
            bool told = strcmp(tag, ".exit") != 0; /* exit gives none */
            CHECK(atomic_load(&terminates) == (told ? 1 : 0));
            if (told) CHECK(atomic_load(&terminate_reason) == cases[i].reason);
            while (atomic_load(&destroys) == 0) sched_yield();
            CHECK(atomic_load(&drops) == 1);
            OK(kvreg_server_free(server));
            OK(kvreg_inbox_free(inbox));
            if (strcmp(tag, ".registry") != 0) OK(kvreg_registry_stop(registry));
            OK(kvreg_registry_free(registry));
        }
    }
}

static void *calls_later(void *server) {
    int64_t sum = 0;
    OK(ask(server, "later", &sum));
    CHECK(sum == 42);
    return NULL;
}

static atomic_int is_inside, may_leave;

static kvreg_verdict counter_stays(void *state, const kvreg_message *message, kvreg_value *reply) {
    if (!is_tag(message, "stay")) return counter_handle(state, message, reply);
    atomic_store(&is_inside, 1);
    while (!atomic_load(&may_leave)) sched_yield();
    return KVREG_KEEP;
}

static void *call_who_stays(void *server) {
    IS(KVREG_SERVER_DOWN, kvreg_server_call(server, "stay", 4, NULL, 0, NULL));
    return NULL;
}

/* The server is killed meanwhile, and has its state until the handler returns. */
static void the_end_of_a_registry_waits_for_no_handler(void) {
    begin();
    kvreg_server_options options = counter_options();
    options.handle = counter_stays;
    kvreg_server *server;
    pthread_t thread;
    atomic_store(&is_inside, 0);
    atomic_store(&may_leave, 0);
    OK(kvreg_registry_start_server(registry, "stays", 5, 0, &options, &server, NULL));
    CHECK(pthread_create(&thread, NULL, call_who_stays, server) == 0);
    check_patience patience = check_patiently();
    while (!atomic_load(&is_inside)) CHECK(check_go_on(&patience));
    OK(kvreg_registry_stop(registry));
    CHECK(atomic_load(&drops) == 0);
    atomic_store(&may_leave, 1);
    pthread_join(thread, NULL);
    await_leavers();
    CHECK(atomic_load(&drops) == 1 && atomic_load(&destroys) == 1);
    OK(kvreg_server_free(server));
    OK(kvreg_registry_free(registry));
}

static void an_answer_comes_later(void) {
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        begin();
        kvreg_server_options options = counter_options();
        kvreg_server *server;
        pthread_t thread;
        kvreg_live live = kvreg_live_init();
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        OK(kvreg_server_start(&options, &server, NULL));
        OK(add(server, 42, NULL));
        CHECK(pthread_create(&thread, NULL, calls_later, server) == 0);
        do {
            OK(kvreg_live_counts(&live));
            sched_yield();
        } while (live.reply_handles == 0);
        OK(ask(server, "get", NULL)); /* the server goes on meanwhile */
        OK(kvreg_server_call(server, "now", 3, NULL, 0, NULL));
        CHECK(pthread_join(thread, NULL) == 0);
        OK(kvreg_server_stop(server));
        OK(kvreg_server_free(server));
        end();
    }
}

static kvreg_reply *kept;

static kvreg_verdict keeps_reply(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state, (void)reply;
    kvreg_reply *second;
    OK(kvreg_message_defer(message, &kept));
    IS(KVREG_INVALID_ARGUMENT, kvreg_message_defer(message, &second));
    kvreg_message copy = *message;
    IS(KVREG_INVALID_ARGUMENT, kvreg_message_defer(&copy, &second));
    return KVREG_LATER;
}

static void nobody_waits_for_what_comes_too_late(void) {
    begin();
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    kvreg_value one = kvreg_int(1);
    options.handle = keeps_reply;
    OK(kvreg_server_start(&options, &server, NULL));
    OK(kvreg_server_set_timeout(server, 1));
    IS(KVREG_OUTCOME_UNKNOWN, ask(server, "call", NULL));
    IS(KVREG_NO_PROCESS, kvreg_reply_send(kept, KVREG_KEEP, &one));
    IS(KVREG_BAD_HANDLE, kvreg_reply_send(kept, KVREG_KEEP, &one)); /* it was freed */
    IS(KVREG_OUTCOME_UNKNOWN, ask(server, "call", NULL));
    OK(kvreg_server_stop(server));
    IS(KVREG_NO_PROCESS, kvreg_reply_send(kept, KVREG_ABORT, NULL));
    OK(kvreg_server_free(server));
    end();
}

static void a_request_is_answered_by_an_event(void) {
    begin();
    kvreg_server *server = start("r");
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    kvreg_value five = kvreg_int(5);
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_server_request(server, "add", 3, &five, 1, inbox, &reference));
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_REPLY && event.reference == reference);
    CHECK(event.status == KVREG_OK && event.value.type == KVREG_INT && event.value.as.integer == 5);
    kvreg_event_clear(&event);
    OK(kvreg_server_request(server, "abort", 5, NULL, 0, inbox, &reference));
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.status == KVREG_ABORTED && strcmp(event.detail.data, "no") == 0);
    kvreg_event_clear(&event);
    IS(KVREG_NOT_FOUND, kvreg_inbox_abandon(inbox, reference));
    OK(kvreg_server_request(server, "later", 5, NULL, 0, inbox, &reference));
    kvreg_live live = kvreg_live_init();
    do OK(kvreg_live_counts(&live)); while (live.reply_handles == 0); /* it has begun */
    IS(KVREG_OUTCOME_UNKNOWN, kvreg_inbox_abandon(inbox, reference));
    IS(KVREG_NOT_FOUND, kvreg_inbox_abandon(inbox, reference));
    OK(ask(server, "now", NULL)); /* which nobody waits for */
    OK(kvreg_server_request(server, "crash", 5, NULL, 0, inbox, &reference));
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_REPLY && event.status == KVREG_SERVER_DOWN);
    kvreg_event_clear(&event);
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_server_free(server));
    end();
}

#ifndef _WIN32
/* In a child nothing of a parent's server runs: neither a handler nor `drop`. */
static pid_t forked;

static kvreg_verdict forks(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state;
    forked = fork();
    CHECK(forked >= 0);
    if (forked == 0) IS(KVREG_FORKED, ask(message->self, "get", NULL));
    *reply = kvreg_int(1);
    return KVREG_KEEP;
}

/* A child that has passed kills itself: valgrind is not asked what it lost of its parent's. */
static void child_ends_with(kvreg_status status, kvreg_status expected) {
    int ended = 0;
    if (forked == 0) {
        IS(expected, status);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(forked, &ended, 0) == forked);
    CHECK(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
}

static void g11_forks_with_a_turn(void) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    kvreg_turn *turn;
    if (LEFT_OUT_BY_TSAN(A_CHILD_STARTS_THREADS)) return;
    options.handle = forks;
    OK(kvreg_server_start(&options, &server, NULL));
    for (int i = 0; i < 3; i++) {
        kvreg_status status = ask(server, "fork", NULL);
        child_ends_with(status, KVREG_FORKED);
        OK(status);
    }
    OK(kvreg_server_stop(server));
    OK(kvreg_server_free(server));
    options.handle = NULL;
    OK(kvreg_server_start(&options, &server, &turn));
    forked = fork();
    CHECK(forked >= 0);
    if (forked == 0) {
        kvreg_server *own;
        kvreg_message message = kvreg_message_init();
        IS(KVREG_FORKED, kvreg_turn_next(turn, &message));
        IS(KVREG_FORKED, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        IS(KVREG_FORKED, cast(server, "add", 1));
        OK(kvreg_turn_free(turn));
        OK(kvreg_server_free(server));
        options.handle = counter_handle; /* what the child starts itself works */
        counter state = {0, NULL};
        options.argument = &state;
        OK(kvreg_server_start(&options, &own, NULL));
        OK(add(own, 1, NULL));
        OK(kvreg_server_free(own));
    }
    child_ends_with(KVREG_OK, KVREG_OK);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_free(server));
}

/* Of this process; 0 where the system does not tell. */
static int threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    if (tasks == NULL) return 0;
    while (readdir(tasks) != NULL) count++;
    closedir(tasks);
    return count;
}

/*
 * A server is no more than data: to start and to call it takes no thread. A fresh process shows,
 * in which an emulator or a sanitizer may have threads of its own.
 */
static void g10_servers_bring_no_thread(void) {
    forked = fork();
    CHECK(forked >= 0);
    if (forked == 0) {
        kvreg_server_options options = counter_options();
        kvreg_server *server;
        kvreg_turn *turn;
        int before = threads();
        OK(kvreg_registry_start(NULL, &registry));
        OK(kvreg_registry_start_server(registry, "a", 1, 0, &options, &server, NULL));
        OK(add(server, 1, NULL));
        OK(kvreg_server_stop(server));
        options = kvreg_server_options_init();
        OK(kvreg_server_start(&options, &server, &turn));
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        OK(cast(server, "add", 1)); /* which its owner serves */
        CHECK(threads() == before);
    }
    child_ends_with(KVREG_OK, KVREG_OK);
}

#endif

/* A deadline: each call is answered, or it never ran, or it is said that nobody knows. */
static atomic_long done, withdrawn, unknown;

static void *calls_with_a_deadline(void *server) {
    kvreg_server *own;
    OK(kvreg_server_clone(server, &own));
    OK(kvreg_server_set_timeout(own, 1));
    for (unsigned long i = 0; i < check_count(3000); i++) {
        switch (add(own, 1, NULL)) {
        case KVREG_OK: atomic_fetch_add(&done, 1); break;
        case KVREG_TIMEOUT: atomic_fetch_add(&withdrawn, 1); break;
        case KVREG_OUTCOME_UNKNOWN: atomic_fetch_add(&unknown, 1); break;
        default: CHECK(!"another answer");
        }
    }
    OK(kvreg_server_free(own));
    return NULL;
}

static void g7_every_change_is_accounted_for(void) {
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        kvreg_server_options options = counter_options();
        kvreg_server *server;
        pthread_t threads[3];
        int64_t sum = 0;
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        atomic_store(&done, 0), atomic_store(&withdrawn, 0), atomic_store(&unknown, 0);
        OK(kvreg_server_start(&options, &server, NULL));
        for (int i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], NULL, calls_with_a_deadline, server) == 0);
        for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        OK(ask(server, "get", &sum)); /* after all that was begun */
        CHECK(sum >= done && sum <= done + unknown);
        if (!hands_over) CHECK(unknown == 0);
        OK(kvreg_server_stop(server));
        OK(kvreg_server_free(server));
    }
}

/* Killed at any moment: callers are told, states go once, the name is free. */
static void *calls_by_name(void *unused) {
    (void)unused;
    for (unsigned long i = 0; i < check_count(3000); i++) {
        kvreg_value one = kvreg_int(1), reply;
        kvreg_status status =
            kvreg_registry_call(registry, "victim", 6, i % 3 ? "add" : "crash", 3 + 2 * !(i % 3),
                                &one, 1, &reply);
        CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND || status == KVREG_SERVER_DOWN ||
              status == KVREG_NO_PROCESS);
        kvreg_value_clear(&reply);
    }
    return NULL;
}

static void kills_at_any_moment(void) {
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        pthread_t threads[2];
        begin();
        kvreg_server_options options = counter_options();
        options.restart = KVREG_PERMANENT;
        options.max_restarts = 1000000;
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        for (int i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, calls_by_name, NULL) == 0);
        for (unsigned long i = 0; i < check_count(300); i++) {
            kvreg_server *server;
            kvreg_status status =
                kvreg_registry_start_server(registry, "victim", 6, 0, &options, &server, NULL);
            if (status != KVREG_OK) { /* it ended while this waited for it */
                CHECK(status == KVREG_SERVER_DOWN);
                continue;
            }
            status = kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0);
            CHECK(status == KVREG_OK || status == KVREG_NO_PROCESS);
            IS(KVREG_NO_PROCESS, ask(server, "get", NULL));
            OK(kvreg_server_free(server));
        }
        for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        end();
        await_leavers();
    }
}

/* The guarantees, for servers that users write. */

static int inside; /* not atomic: whoever has the turn has it */

static kvreg_verdict looks_around(void *state, const kvreg_message *message, kvreg_value *reply) {
    int64_t *last = state; /* of each sender the last number */
    CHECK(inside == 0);
    inside = 1;
    if (message->count == 2) {
        int64_t who = message->values[0].as.integer, number = message->values[1].as.integer;
        CHECK(number == last[who] + 1);
        last[who] = number;
        *reply = kvreg_int(last[who]);
    }
    inside = 0;
    return KVREG_KEEP;
}

static kvreg_server *looked_at;

static void *sends_in_order(void *data) {
    int64_t who = *(int64_t *)data;
    for (unsigned long i = 1; i <= check_count(5000); i++) {
        kvreg_value values[] = {kvreg_int(who), kvreg_int((int64_t)i)}, reply;
        if (i % 3 == 0) { /* G2, G3: after what this thread sent, and done */
            OK(kvreg_server_call(looked_at, "number", 6, values, 2, &reply));
            CHECK(reply.as.integer == (int64_t)i);
        } else {
            OK(kvreg_server_cast(looked_at, "number", 6, values, 2));
        }
    }
    return NULL;
}

static void g1_g3_one_message_at_a_time_in_the_order_sent(void) {
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        kvreg_server_options options = kvreg_server_options_init();
        pthread_t threads[3];
        int64_t numbers[3] = {0, 1, 2}, last[3] = {0};
        options.handle = looks_around;
        options.argument = last;
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        OK(kvreg_server_start(&options, &looked_at, NULL));
        for (int i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], NULL, sends_in_order, &numbers[i]) == 0);
        for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        OK(kvreg_server_call(looked_at, "last", 4, NULL, 0, NULL)); /* after all casts */
        for (int i = 0; i < 3; i++) CHECK(last[i] == (int64_t)check_count(5000));
        OK(kvreg_server_stop(looked_at));
        OK(kvreg_server_free(looked_at));
    }
}

/* What a call changed is seen by each call that begins after its answer, on whatever thread. */
static atomic_long answered;

static void *looks_after(void *server) {
    long before;
    do {
        int64_t seen = 0;
        before = atomic_load(&answered);
        OK(ask(server, "get", &seen));
        CHECK(seen >= before);
    } while (before < (long)check_count(5000));
    return NULL;
}

static void g2_a_reply_means_done(void) {
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        kvreg_server_options options = counter_options();
        kvreg_server *server;
        pthread_t thread;
        int64_t sum = 0;
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        atomic_store(&answered, 0);
        OK(kvreg_server_start(&options, &server, NULL));
        CHECK(pthread_create(&thread, NULL, looks_after, server) == 0);
        for (unsigned long i = 0; i < check_count(5000); i++) {
            OK(add(server, 1, &sum));
            atomic_store(&answered, sum);
        }
        CHECK(pthread_join(thread, NULL) == 0);
        OK(kvreg_server_stop(server));
        OK(kvreg_server_free(server));
    }
}

static void *frees(void *server) {
    OK(kvreg_server_free(server));
    return NULL;
}

static void g9_misuse_is_a_status(void) {
    begin();
    kvreg_server *server = start("g9"), *out;
    kvreg_server *made_up = (kvreg_server *)(uintptr_t)0x6700000100000002;
    kvreg_inbox *inbox;
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    kvreg_value one = kvreg_int(1);
    uint64_t reference;
    OK(kvreg_inbox_open(&inbox));
    for (int i = 0; i < 3; i++) {
        kvreg_server *wrong = i == 0 ? NULL : i == 1 ? made_up : (kvreg_server *)inbox;
        kvreg_status expected = i < 2 ? KVREG_BAD_HANDLE : KVREG_WRONG_KIND;
        IS(expected, ask(wrong, "get", NULL));
        IS(expected, cast(wrong, "add", 1));
        IS(expected, kvreg_server_send(wrong, 0, "add", 3, NULL, 0));
        IS(expected, kvreg_server_send_after(wrong, 1, "add", 3, NULL, 0, NULL));
        IS(expected, kvreg_server_cancel(wrong, 1, NULL));
        IS(expected, kvreg_server_request(wrong, "add", 3, NULL, 0, inbox, &reference));
        IS(expected, kvreg_server_begin(wrong, 0, NULL, &turn));
        IS(expected, kvreg_server_monitor(server, wrong, &reference));
        IS(expected, kvreg_server_link(wrong, server));
        IS(expected, kvreg_server_stop(wrong));
        IS(expected, kvreg_server_exit(wrong, KVREG_REASON_KILLED, NULL, 0));
        IS(expected, kvreg_server_clone(wrong, &out));
        if (wrong != NULL) IS(expected, kvreg_server_free(wrong));
        IS(expected, kvreg_turn_next((kvreg_turn *)wrong, &message));
        IS(expected, kvreg_turn_answer((kvreg_turn *)wrong, KVREG_KEEP, NULL));
        IS(expected, kvreg_turn_end((kvreg_turn *)wrong, KVREG_KEEP, NULL, 0));
        IS(expected, kvreg_turn_detach((kvreg_turn *)wrong));
        IS(expected, kvreg_reply_send((kvreg_reply *)wrong, KVREG_KEEP, &one));
    }
    kvreg_server_options by_turns = kvreg_server_options_init();
    OK(kvreg_server_start(&by_turns, &out, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    IS(KVREG_BAD_HANDLE, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0)); /* it was freed */
    IS(KVREG_BAD_HANDLE, kvreg_turn_next(turn, &message));
    IS(KVREG_BAD_HANDLE, kvreg_turn_free(turn));
    OK(kvreg_server_free(out));
    IS(KVREG_BAD_HANDLE, ask(out, "get", NULL));
    IS(KVREG_BAD_HANDLE, kvreg_server_free(out));
    for (unsigned long i = 0; i < check_count(500); i++) { /* freed while it is used */
        pthread_t thread;
        OK(kvreg_server_clone(server, &out));
        CHECK(pthread_create(&thread, NULL, frees, out) == 0);
        kvreg_status status = add(out, 1, NULL);
        CHECK(status == KVREG_OK || status == KVREG_BAD_HANDLE);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_server_free(server));
    end();
}

static void g5_names_go_first(void) {
    begin();
    kvreg_inbox *inbox;
    kvreg_server *found;
    OK(kvreg_inbox_open(&inbox));
    for (unsigned long i = 0; i < check_count(500); i++) {
        kvreg_server *server = start("g5");
        uint64_t monitor;
        OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
        switch (i % 4) {
        case 0: OK(kvreg_server_stop(server)); break;
        case 1: OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0)); break;
        case 2: OK(ask(server, "stop", NULL)); break;
        default: OK(cast(server, "crash", 0)); is_down(inbox, monitor, KVREG_REASON_CRASHED, NULL);
        }
        IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "g5", 2, &found));
        kvreg_event event;
        if (i % 4 != 3) {
            OK(kvreg_inbox_receive(inbox, 10000, &event));
            kvreg_event_clear(&event);
        }
        IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event)); /* G4: one each */
        OK(kvreg_server_free(server));
    }
    OK(kvreg_inbox_free(inbox));
    end();
}

static void g6_a_crash_stays_inside(void) {
    begin();
    kvreg_server *server = start("a"), *other = start("b");
    int64_t sum = 0;
    OK(add(other, 1, NULL));
    IS(KVREG_SERVER_DOWN, ask(server, "crash", NULL));
    OK(ask(other, "get", &sum));
    CHECK(sum == 1);
    OK(kvreg_registry_create(registry, "c", 1, 0, NULL));
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(other));
    end();
}

static kvreg_value kept_value;

static kvreg_verdict keeps_value(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state, (void)reply;
    OK(kvreg_value_clone(&message->values[0], &kept_value));
    return KVREG_KEEP;
}

static void g13_what_was_kept_stays(void) {
    static char text[9000];
    kvreg_server_options options = kvreg_server_options_init();
    memset(text, 'v', sizeof text);
    options.handle = keeps_value;
    for (int way = 0; way < 4; way++) { /* short and long, here and as a message */
        kvreg_value value = kvreg_string(text, way % 2 ? sizeof text : 10);
        kvreg_server *server;
        options.flags = way < 2 ? 0 : KVREG_SERVER_HAND_OVER;
        OK(kvreg_server_start(&options, &server, NULL));
        OK(kvreg_server_call(server, "keep", 4, &value, 1, NULL));
        OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
        OK(kvreg_server_free(server));
        CHECK(kept_value.type == KVREG_STRING && kept_value.as.text.len == value.as.text.len);
        CHECK(memcmp(kept_value.as.text.data, text, value.as.text.len) == 0);
        CHECK(kept_value.as.text.data[value.as.text.len] == 0);
        kvreg_value_clear(&kept_value);
    }
}

static void g14_limits_of_a_mailbox(void) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    kvreg_turn *turn;
    kvreg_server_stats stats = kvreg_server_stats_init();
    kvreg_value ten = kvreg_string("0123456789", 10);
    options.max_mailbox = 3;
    options.max_bytes = 25;
    options.max_value = 10;
    OK(kvreg_server_start(&options, &server, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_cast(server, "t", 1, &ten, 1)); /* 11 bytes */
    OK(kvreg_server_cast(server, "t", 1, &ten, 1));
    OK(kvreg_server_info(server, &stats));
    CHECK(stats.mailbox == 2 && stats.bytes == 22);
    IS(KVREG_LIMIT, kvreg_server_cast(server, "t", 1, &ten, 1));
    OK(kvreg_server_cast(server, "t", 1, NULL, 0));
    IS(KVREG_LIMIT, kvreg_server_cast(server, "t", 1, NULL, 0));
    ten.as.text.data = (const uint8_t *)"0123456789a";
    ten.as.text.len = 11;
    IS(KVREG_LIMIT, kvreg_server_cast(server, "t", 1, &ten, 1));
    IS(KVREG_LIMIT, kvreg_server_call(server, "t", 1, &ten, 1, NULL));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    kvreg_message message = kvreg_message_init();
    while (kvreg_turn_next(turn, &message) == KVREG_OK) kvreg_message_clear(&message);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_info(server, &stats));
    CHECK(stats.mailbox == 0 && stats.bytes == 0);
    OK(kvreg_server_free(server));
}

/* A chain of servers is a chain of frames: 256 turns of a thread, and no more. */
static kvreg_verdict goes_deeper(void *state, const kvreg_message *message, kvreg_value *reply) {
    char name[16];
    (void)state;
    int64_t depth = message->values[0].as.integer;
    kvreg_value next = kvreg_int(depth + 1);
    snprintf(name, sizeof name, "%d", (int)depth + 1);
    kvreg_status status =
        kvreg_registry_call(registry, name, KVREG_NUL, "deeper", 6, &next, 1, reply);
    if (status != KVREG_OK) {
        CHECK(status == KVREG_LIMIT && depth == 256);
        *reply = kvreg_int(depth);
    }
    return KVREG_KEEP;
}

static void a_thread_holds_256_turns(void) {
    begin();
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_value first = kvreg_int(1), reply;
    options.handle = goes_deeper;
    for (int i = 1; i <= 257; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        OK(kvreg_registry_start_server(registry, name, KVREG_NUL, 0, &options, NULL, NULL));
    }
    OK(kvreg_registry_call(registry, "1", 1, "deeper", 6, &first, 1, &reply));
    CHECK(reply.type == KVREG_INT && reply.as.integer == 256);
    end();
}

static const test tests[] = {
#ifndef _WIN32
    TEST(g11_forks_with_a_turn),
    TEST(g10_servers_bring_no_thread),
#endif
    TEST(g1_g3_one_message_at_a_time_in_the_order_sent),
    TEST(g2_a_reply_means_done),
    TEST(g9_misuse_is_a_status),
    TEST(g5_names_go_first),
    TEST(g6_a_crash_stays_inside),
    TEST(g13_what_was_kept_stays),
    TEST(g14_limits_of_a_mailbox),
    TEST(a_thread_holds_256_turns),
    TEST(a_server_is_called),
    TEST(g7_every_change_is_accounted_for),
    TEST(kills_at_any_moment),
    TEST(values_are_told_as_they_are),
    TEST(an_answer_takes_the_place_of_an_argument),
    TEST(each_verdict_of_a_call),
    TEST(each_verdict_of_a_cast_and_an_info),
    TEST(what_is_not_handled_is_logged),
    TEST(an_init_that_refuses_leaves_nothing),
    TEST(names_are_shared_with_buckets),
    TEST(names_are_watched_of_buckets),
    TEST(max_servers_is_a_limit_of_its_own),
    TEST(a_server_is_started_again),
    TEST(an_init_that_fails_again_counts_as_an_end),
    TEST(links_and_monitors_join_all_kinds),
    TEST(buckets_and_registries_are_servers),
    TEST(g8_no_server_waits_for_itself),
    TEST(what_is_sent_next_comes_first),
    TEST(a_server_that_nobody_reaches_stops),
    TEST(terminate_comes_before_the_end),
    TEST(the_end_of_a_registry_waits_for_no_handler),
    TEST(an_answer_comes_later),
    TEST(nobody_waits_for_what_comes_too_late),
    TEST(a_request_is_answered_by_an_event),
};

CHECK_MAIN(tests)
