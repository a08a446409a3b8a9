/* Servers by turns: who begins a turn runs what they do. */

#define _POSIX_C_SOURCE 200809L

#include "servers.h"

#include <pthread.h>
#include <sched.h>

static kvreg_inbox *served; /* gets the MAIL of all of them */
static kvreg_registry *registry;

enum { KEY = 77 };

static kvreg_server_options by_turns(void) {
    kvreg_server_options options = kvreg_server_options_init();
    options.destroy = counter_destroy;
    options.inbox = served;
    options.owner = 7;
    options.key = KEY;
    return options;
}

static void begin(void) {
    forget_counts();
    OK(kvreg_inbox_open(&served));
    OK(kvreg_registry_start(NULL, &registry));
}

static void end(void) {
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    OK(kvreg_inbox_free(served));
}

static kvreg_server *start_with(kvreg_server_options options, const char *name) {
    kvreg_server *server;
    kvreg_turn *turn;
    OK(kvreg_registry_start_server(registry, name, KVREG_NUL, 0, &options, &server, &turn));
    CHECK(turn != NULL);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    return server;
}

static kvreg_server *start(const char *name) { return start_with(by_turns(), name); }

static void no_mail(void) {
    kvreg_event event;
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(served, 0, &event));
}

static void is_mail(void) {
    kvreg_event event;
    OK(kvreg_inbox_receive(served, 10000, &event));
    CHECK(event.type == KVREG_EVENT_MAIL && event.reference == KEY);
    kvreg_event_clear(&event);
}

/* Takes out what waits, as `counter_handle` says. */
static unsigned serve(kvreg_turn *turn, counter *me) {
    kvreg_message message = kvreg_message_init();
    unsigned handled = 0;
    while (kvreg_turn_next(turn, &message) == KVREG_OK) {
        kvreg_value reply = kvreg_nil();
        kvreg_verdict verdict =
            message.type == KVREG_MESSAGE_INIT ? KVREG_KEEP : counter_handle(me, &message, &reply);
        kvreg_turn_answer(turn, verdict, &reply);
        kvreg_message_clear(&message);
        kvreg_value_clear(&reply);
        handled++;
    }
    kvreg_message_clear(&message);
    return handled;
}

static void the_owner_calls_on_its_own_thread(void) {
    begin();
    kvreg_server *server = start("turns"), *self;
    kvreg_turn *turn, *second;
    kvreg_server_stats stats = kvreg_server_stats_init();
    uint64_t waiting = 99;
    OK(kvreg_server_begin(server, 0, &waiting, &turn));
    CHECK(waiting == 0);
    OK(kvreg_server_self(&self));
    IS(KVREG_CALLING_SELF, ask(self, "get", NULL));
    IS(KVREG_CALLING_SELF, kvreg_server_begin(server, 0, NULL, &second));
    IS(KVREG_CALLING_SELF, kvreg_server_begin(server, KVREG_BEGIN_NOW, NULL, &second));
    IS(KVREG_CALLING_SELF, kvreg_server_stop(server));
    kvreg_message message = kvreg_message_init();
    IS(KVREG_NOT_FOUND, kvreg_turn_next(turn, &message));
    IS(KVREG_NOT_FOUND, kvreg_turn_answer(turn, KVREG_KEEP, NULL));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    IS(KVREG_BAD_HANDLE, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    IS(KVREG_BAD_HANDLE, kvreg_turn_next(turn, &message));
    IS(KVREG_BAD_HANDLE, kvreg_turn_free(turn));
    kvreg_server *none;
    IS(KVREG_NO_PROCESS, kvreg_server_self(&none));
    OK(kvreg_server_info(self, &stats));
    CHECK(stats.owner == 7 && stats.key == KEY && stats.turn_ms == 0);
    no_mail();
    OK(kvreg_server_stop(self));
    IS(KVREG_NO_PROCESS, kvreg_server_begin(self, 0, NULL, &turn));
    CHECK(atomic_load(&destroys) == 1);
    OK(kvreg_server_free(self));
    OK(kvreg_server_free(server));
    end();
}

static void mail_is_told_once(void) {
    begin();
    kvreg_server *server = start("turns");
    kvreg_turn *turn;
    counter me = {0, NULL};
    uint64_t waiting;
    for (int round = 0; round < 3; round++) {
        OK(cast(server, "add", 1));
        OK(cast(server, "add", 2));
        is_mail();
        no_mail();
        OK(cast(server, "add", 3));
        no_mail(); /* none before the next begin */
        OK(kvreg_server_begin(server, KVREG_BEGIN_NOW, &waiting, &turn));
        CHECK(waiting == 3);
        OK(cast(server, "add", 4)); /* for the next turn */
        CHECK(serve(turn, &me) == 3);
        no_mail();
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        is_mail();
        OK(kvreg_server_begin(server, 0, &waiting, &turn));
        CHECK(waiting == 1 && serve(turn, &me) == 1);
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        no_mail();
        CHECK(me.sum == 10 * (round + 1));
    }
    OK(kvreg_server_free(server));
    end();
}

static void *calls_add(void *server) {
    int64_t sum = 0;
    OK(add(server, 5, &sum));
    CHECK(sum == 5);
    return NULL;
}

static void a_foreign_call_is_a_message(void) {
    begin();
    kvreg_server *server = start("turns");
    kvreg_turn *turn;
    pthread_t thread;
    counter me = {0, NULL};
    CHECK(pthread_create(&thread, NULL, calls_add, server) == 0);
    is_mail();
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    CHECK(serve(turn, &me) == 1);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(pthread_join(thread, NULL) == 0);
    /* Nobody serves: withdrawn, and never run. */
    OK(kvreg_server_set_timeout(server, 1));
    IS(KVREG_TIMEOUT, add(server, 7, NULL));
    IS(KVREG_TIMEOUT, kvreg_server_stop(server));
    OK(kvreg_server_set_timeout(server, 5000));
    uint64_t waiting;
    OK(kvreg_server_begin(server, 0, &waiting, &turn));
    CHECK(waiting == 0 && serve(turn, &me) == 0 && me.sum == 5);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(cast(server, "add", 1));
    is_mail(); /* of the call that was withdrawn */
    OK(kvreg_server_free(server));
    end();
}

struct caller {
    kvreg_server *server;
    const char *tag;
    kvreg_status status;
};

static void *calls(void *data) {
    struct caller *caller = data;
    caller->status = ask(caller->server, caller->tag, NULL);
    return NULL;
}

/* OTP's column, of calls that come as messages. */
static void each_verdict_of_a_call_by_turns(void) {
    static const struct {
        const char *tag;
        kvreg_status status;
        bool lives;
        kvreg_reason reason;
        const char *said;
    } cases[] = {
        {"get", KVREG_OK, true, 0, NULL},
        {"abort", KVREG_ABORTED, true, 0, NULL},
        {"unknown", KVREG_UNSUPPORTED, true, 0, NULL},
        {"stop", KVREG_OK, false, KVREG_REASON_NORMAL, NULL},
        {"crash", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, "on purpose"},
        {"bad", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, "an unknown verdict"},
        {"bad reply", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, "a reply that is no value"},
        {"later at once", KVREG_SERVER_DOWN, false, KVREG_REASON_CRASHED, NULL},
    };
    begin();
    kvreg_inbox *inbox;
    OK(kvreg_inbox_open(&inbox));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvreg_server *server = start("case"), *found;
        kvreg_turn *turn;
        uint64_t monitor;
        pthread_t thread;
        counter me = {0, NULL};
        struct caller caller = {server, cases[i].tag, KVREG_INTERNAL};
        OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
        CHECK(pthread_create(&thread, NULL, calls, &caller) == 0);
        is_mail();
        OK(kvreg_server_begin(server, 0, NULL, &turn));
        serve(turn, &me);
        IS(cases[i].lives ? KVREG_OK : KVREG_SERVER_DOWN,
           kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        CHECK(pthread_join(thread, NULL) == 0);
        check_status(__FILE__, __LINE__, cases[i].tag, caller.status, cases[i].status);
        if (cases[i].lives) {
            OK(kvreg_server_stop(server));
            is_down(inbox, monitor, KVREG_REASON_NORMAL, NULL);
        } else {
            IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "case", 4, &found));
            is_down(inbox, monitor, cases[i].reason, cases[i].said);
        }
        OK(kvreg_server_free(server));
    }
    CHECK(atomic_load(&destroys) == (int)(sizeof cases / sizeof *cases));
    OK(kvreg_inbox_free(inbox));
    end();
}

static void each_verdict_of_a_turn(void) {
    static const struct {
        kvreg_verdict verdict;
        kvreg_status status;
        bool lives;
        kvreg_reason reason;
    } cases[] = {{KVREG_KEEP, KVREG_OK, true, 0},
                 {KVREG_ABORT, KVREG_OK, true, 0},
                 {KVREG_STOP, KVREG_OK, false, KVREG_REASON_NORMAL},
                 {KVREG_CRASH, KVREG_OK, false, KVREG_REASON_CRASHED},
                 {KVREG_LATER, KVREG_INVALID_ARGUMENT, false, KVREG_REASON_CRASHED},
                 {-1, KVREG_INVALID_ARGUMENT, false, KVREG_REASON_CRASHED}};
    begin();
    kvreg_inbox *inbox;
    OK(kvreg_inbox_open(&inbox));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int is_first = 0; is_first < 2; is_first++) {
            kvreg_server_options options = by_turns();
            kvreg_server *server, *found;
            kvreg_turn *turn;
            uint64_t monitor;
            OK(kvreg_registry_start_server(registry, "v", 1, 0, &options, &server, &turn));
            OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
            if (!is_first) {
                OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
                OK(kvreg_server_begin(server, 0, NULL, &turn));
            }
            IS(cases[i].status, kvreg_turn_end(turn, cases[i].verdict, "said", 4));
            bool lives = cases[i].lives && (!is_first || cases[i].verdict != KVREG_ABORT);
            if (lives) {
                OK(kvreg_server_stop(server));
                is_down(inbox, monitor, KVREG_REASON_NORMAL, NULL);
            } else {
                IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "v", 1, &found));
                const char *said = cases[i].verdict == KVREG_CRASH ? "said" : NULL;
                is_down(inbox, monitor, cases[i].reason, said);
            }
            OK(kvreg_server_free(server));
        }
    }
    OK(kvreg_inbox_free(inbox));
    end();
}

static void *keeps_a_turn(void *server) {
    kvreg_turn *turn;
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    return NULL;
}

static void *detaches_a_turn(void *server) {
    kvreg_turn *turn, *second;
    kvreg_server *self;
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_detach(turn));
    IS(KVREG_NO_PROCESS, kvreg_server_self(&self));
    IS(KVREG_TIMEOUT, kvreg_server_begin(server, KVREG_BEGIN_NOW, NULL, &second));
    return turn;
}

static void a_turn_ends_with_its_thread(void) {
    begin();
    kvreg_server *server = start("a");
    kvreg_inbox *inbox;
    uint64_t monitor;
    pthread_t thread;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    CHECK(pthread_create(&thread, NULL, keeps_a_turn, server) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    is_down(inbox, monitor, KVREG_REASON_CRASHED, NULL);
    OK(kvreg_server_free(server));
    server = start("a");
    void *turn;
    CHECK(pthread_create(&thread, NULL, detaches_a_turn, server) == 0);
    CHECK(pthread_join(thread, &turn) == 0);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0)); /* by any thread */
    OK(kvreg_server_begin(server, KVREG_BEGIN_NOW, NULL, (kvreg_turn **)&turn));
    OK(kvreg_turn_free(turn));
    IS(KVREG_NO_PROCESS, cast(server, "add", 1));
    OK(kvreg_turn_free(NULL));
    OK(kvreg_server_free(server));
    OK(kvreg_inbox_free(inbox));
    end();
}

struct passed_on {
    kvreg_server *server;
    kvreg_turn *turn;
    pthread_barrier_t barrier;
};

static void *passes_a_turn_on(void *data) {
    struct passed_on *me = data;
    OK(kvreg_server_begin(me->server, 0, NULL, &me->turn));
    pthread_barrier_wait(&me->barrier); /* it is there */
    pthread_barrier_wait(&me->barrier); /* it is detached */
    return NULL;
}

/* Whoever detaches a turn takes it from the thread that began it. */
static void a_turn_is_detached_by_another_thread(void) {
    begin();
    struct passed_on passed = {.server = start("a")};
    pthread_t thread;
    kvreg_server *found;
    CHECK(pthread_barrier_init(&passed.barrier, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, passes_a_turn_on, &passed) == 0);
    pthread_barrier_wait(&passed.barrier);
    OK(kvreg_turn_detach(passed.turn));
    pthread_barrier_wait(&passed.barrier);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_turn_end(passed.turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_registry_lookup_server(registry, "a", 1, &found));
    OK(kvreg_server_free(found));
    OK(kvreg_server_free(passed.server));
    pthread_barrier_destroy(&passed.barrier);
    end();
}

static void a_turn_of_a_killed_server(void) {
    begin();
    kvreg_server *server = start("killed"), *next;
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    OK(cast(server, "add", 1));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
    CHECK(atomic_load(&destroys) == 0); /* somebody is inside */
    next = start("killed");             /* the name is free */
    IS(KVREG_SERVER_DOWN, kvreg_turn_next(turn, &message));
    IS(KVREG_SERVER_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(atomic_load(&destroys) == 1);
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(next));
    end();
}

static void the_next_incarnation_begins_with_init(void) {
    begin();
    kvreg_server_options options = by_turns();
    kvreg_server *server, *again;
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    kvreg_server_stats stats = kvreg_server_stats_init();
    options.restart = KVREG_PERMANENT;
    server = start_with(options, "again");
    OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
    is_mail();
    OK(kvreg_registry_lookup_server(registry, "again", 5, &again));
    OK(kvreg_server_info(again, &stats));
    CHECK(stats.handled == 0 && stats.mailbox == 1 && stats.restarts == 1);
    uint64_t waiting;
    OK(kvreg_server_begin(again, 0, &waiting, &turn));
    CHECK(waiting == 1);
    OK(kvreg_turn_next(turn, &message));
    CHECK(message.type == KVREG_MESSAGE_INIT && message.count == 0);
    OK(kvreg_turn_answer(turn, KVREG_ABORT, NULL)); /* counts as an end */
    kvreg_message_clear(&message);
    IS(KVREG_SERVER_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    is_mail();
    OK(kvreg_server_free(again));
    OK(kvreg_registry_lookup_server(registry, "again", 5, &again));
    OK(kvreg_server_begin(again, 0, &waiting, &turn));
    OK(kvreg_turn_next(turn, &message));
    CHECK(message.type == KVREG_MESSAGE_INIT);
    kvreg_message_clear(&message);
    IS(KVREG_NOT_FOUND, kvreg_turn_next(turn, &message)); /* without an answer: kept */
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(atomic_load(&destroys) == 0);
    OK(kvreg_registry_remove(registry, "again", 5));
    CHECK(atomic_load(&destroys) == 1);
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(again));
    end();
}

static void a_call_that_is_not_answered_crashes(void) {
    begin();
    kvreg_server *server = start("a");
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    pthread_t thread;
    struct caller caller = {server, "get", KVREG_INTERNAL};
    CHECK(pthread_create(&thread, NULL, calls, &caller) == 0);
    is_mail();
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_next(turn, &message));
    kvreg_message_clear(&message);
    kvreg_message_clear(&message);
    IS(KVREG_SERVER_DOWN, kvreg_turn_next(turn, &message));
    IS(KVREG_SERVER_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(caller.status == KVREG_SERVER_DOWN);
    OK(kvreg_server_free(server));
    end();
}

static void answers_by_turns_come_later(void) {
    begin();
    kvreg_server *server = start("a");
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    kvreg_reply *reply;
    pthread_t thread;
    struct caller caller = {server, "get", KVREG_INTERNAL};
    kvreg_value seven = kvreg_int(7);
    CHECK(pthread_create(&thread, NULL, calls, &caller) == 0);
    is_mail();
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_next(turn, &message));
    OK(kvreg_message_defer(&message, &reply));
    OK(kvreg_turn_answer(turn, KVREG_LATER, NULL));
    kvreg_reply *second;
    IS(KVREG_INVALID_ARGUMENT, kvreg_message_defer(&message, &second));
    kvreg_message_clear(&message);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_reply_send(reply, KVREG_KEEP, &seven));
    CHECK(pthread_join(thread, NULL) == 0);
    OK(caller.status);
    /* The begun call's own answer. */
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_defer(turn, inbox, &reference, &reply));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_reply_send(reply, KVREG_KEEP, &seven));
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_REPLY && event.reference == reference);
    CHECK(event.status == KVREG_OK && event.value.as.integer == 7);
    kvreg_event_clear(&event);
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_defer(turn, inbox, &reference, &reply));
    OK(kvreg_turn_end(turn, KVREG_CRASH, "x", 1)); /* what it owes is answered */
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_REPLY && event.status == KVREG_SERVER_DOWN);
    kvreg_event_clear(&event);
    IS(KVREG_NO_PROCESS, kvreg_reply_send(reply, KVREG_KEEP, &seven));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_server_free(server));
    end();
}

struct stranger {
    kvreg_message message;
    atomic_bool is_done;
};

/* As who keeps a message that was answered, and does not know that. */
static void *defers_what_was_answered(void *data) {
    struct stranger *me = data;
    kvreg_reply *reply;
    for (unsigned long i = 0; i < check_scaled(50000); i++)
        IS(KVREG_INVALID_ARGUMENT, kvreg_message_defer(&me->message, &reply));
    atomic_store(&me->is_done, true);
    return NULL;
}

static void a_stranger_with_an_old_message_spoils_no_turn(void) {
    begin();
    kvreg_server *server = start("a");
    kvreg_inbox *inbox;
    kvreg_turn *turn;
    uint64_t reference;
    struct stranger stranger = {.message = kvreg_message_init()};
    kvreg_message message = kvreg_message_init();
    pthread_t thread;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_server_request(server, "get", 3, NULL, 0, inbox, &reference));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_next(turn, &stranger.message));
    OK(kvreg_turn_answer(turn, KVREG_KEEP, NULL));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(pthread_create(&thread, NULL, defers_what_was_answered, &stranger) == 0);
    while (!atomic_load(&stranger.is_done)) {
        OK(kvreg_server_begin(server, 0, NULL, &turn));
        IS(KVREG_NOT_FOUND, kvreg_turn_next(turn, &message));
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    }
    CHECK(pthread_join(thread, NULL) == 0);
    kvreg_message_clear(&stranger.message);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_server_free(server));
    end();
}

static void a_request_nobody_serves_times_out(void) {
    begin();
    kvreg_server *server = start("a");
    kvreg_inbox *inbox;
    kvreg_event event;
    kvreg_turn *turn;
    uint64_t reference, waiting;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_server_set_timeout(server, 1));
    OK(kvreg_server_request(server, "get", 3, NULL, 0, inbox, &reference));
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_REPLY && event.reference == reference);
    CHECK(event.status == KVREG_TIMEOUT);
    kvreg_event_clear(&event);
    OK(kvreg_server_begin(server, 0, &waiting, &turn));
    CHECK(waiting == 0);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_set_timeout(server, -1));
    OK(kvreg_server_request(server, "get", 3, NULL, 0, inbox, &reference));
    OK(kvreg_inbox_abandon(inbox, reference));
    OK(kvreg_server_begin(server, 0, &waiting, &turn));
    CHECK(waiting == 0);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_server_free(server));
    end();
}

static void *stops(void *data) {
    struct caller *caller = data;
    caller->status = kvreg_server_stop(caller->server);
    return NULL;
}

static void terminate_comes_by_turns(void) {
    begin();
    kvreg_server_options options = by_turns();
    kvreg_server *server;
    kvreg_turn *turn;
    counter me = {0, NULL};
    kvreg_inbox *inbox;
    uint64_t monitor;
    pthread_t thread;
    OK(kvreg_inbox_open(&inbox));
    options.flags = KVREG_SERVER_WANTS_TERMINATE;
    server = start_with(options, "t");
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    struct caller caller = {server, NULL, KVREG_INTERNAL};
    OK(cast(server, "add", 1));
    is_mail();
    OK(kvreg_server_begin(server, KVREG_BEGIN_NOW, NULL, &turn));
    CHECK(serve(turn, &me) == 1);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(pthread_create(&thread, NULL, stops, &caller) == 0);
    is_mail();
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    CHECK(serve(turn, &me) == 1);
    IS(KVREG_SERVER_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(pthread_join(thread, NULL) == 0);
    OK(caller.status);
    is_down(inbox, monitor, KVREG_REASON_NORMAL, NULL);
    CHECK(atomic_load(&terminates) == 1 && me.sum == 1);
    OK(kvreg_server_free(server));
    /* A turn that stops: whoever begins next is told. */
    server = start_with(options, "t");
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_end(turn, KVREG_CRASH, "said", 4));
    is_mail();
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    CHECK(serve(turn, &me) == 1 && atomic_load(&terminate_reason) == KVREG_REASON_CRASHED);
    IS(KVREG_SERVER_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    is_down(inbox, monitor, KVREG_REASON_CRASHED, "said");
    OK(kvreg_server_free(server));
    /* Nobody serves: it is killed when the time is up. */
    options.shutdown_ms = 1;
    server = start_with(options, "t");
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_end(turn, KVREG_STOP, NULL, 0));
    is_down(inbox, monitor, KVREG_REASON_KILLED, NULL);
    OK(kvreg_server_free(server));
    server = start_with(options, "t");
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    OK(kvreg_registry_remove(registry, "t", 1));
    is_down(inbox, monitor, KVREG_REASON_KILLED, NULL);
    OK(kvreg_server_free(server));
    OK(kvreg_inbox_free(inbox));
    end();
}

static void what_is_sent_next_comes_in_the_same_turn(void) {
    begin();
    kvreg_server *server = start("a");
    kvreg_turn *turn;
    counter me = {0, NULL};
    kvreg_value one = kvreg_int(1);
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(cast(server, "add", 10));
    OK(kvreg_server_send(server, KVREG_SEND_NEXT, "add", 3, &one, 1));
    CHECK(serve(turn, &me) == 1 && me.sum == 1);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    CHECK(serve(turn, &me) == 1 && me.sum == 11);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_free(server));
    end();
}

static void one_that_nobody_reaches_ends(void) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    kvreg_turn *turn;
    options.destroy = counter_destroy;
    forget_counts();
    OK(kvreg_server_start(&options, &server, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(cast(server, "add", 1));
    OK(kvreg_server_free(server));
    CHECK(atomic_load(&destroys) == 1);
    OK(kvreg_server_start(&options, &server, &turn));
    OK(kvreg_server_free(server));
    CHECK(atomic_load(&destroys) == 1);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    CHECK(atomic_load(&destroys) == 2);
    /* What is wrong with options. */
    kvreg_server_options wrong = counter_options();
    wrong.handle = NULL;
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_start(&wrong, &server, &turn));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_start(&options, &server, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_start(NULL, &server, &turn));
    CHECK(atomic_load(&destroys) == 4 && server == NULL && turn == NULL);
}

static const test tests[] = {
    TEST(the_owner_calls_on_its_own_thread),
    TEST(mail_is_told_once),
    TEST(a_foreign_call_is_a_message),
    TEST(each_verdict_of_a_call_by_turns),
    TEST(each_verdict_of_a_turn),
    TEST(a_turn_ends_with_its_thread),
    TEST(a_turn_is_detached_by_another_thread),
    TEST(a_turn_of_a_killed_server),
    TEST(the_next_incarnation_begins_with_init),
    TEST(a_call_that_is_not_answered_crashes),
    TEST(answers_by_turns_come_later),
    TEST(a_stranger_with_an_old_message_spoils_no_turn),
    TEST(a_request_nobody_serves_times_out),
    TEST(terminate_comes_by_turns),
    TEST(what_is_sent_next_comes_in_the_same_turn),
    TEST(one_that_nobody_reaches_ends),
};

CHECK_MAIN(tests)
