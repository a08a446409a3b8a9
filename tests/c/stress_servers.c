/*
 * Servers that programs write, against each other and against time: calls with deadlines where
 * every change is accounted for; threads that would wait for each other in a circle, through
 * servers, a bucket and a registry; kills in the middle of each handler; forks while all works.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "servers.h"

enum way { BY_CALLBACKS, HANDED_OVER, BY_TURNS, WAYS };
enum { RACES = 100000, CIRCLES = 1000, FORKS = 200, CALLERS = 3, CHILD_SECONDS = 60 };

/* ---- Deadlines ---- */

static atomic_long done, withdrawn, unknown;
static int64_t sum; /* whoever has the turn has it */
static kvreg_inbox *mail;

/* A handler that gives its processor away now and then, so that others wait. */
static kvreg_verdict adds(void *state, const kvreg_message *message, kvreg_value *reply) {
    int64_t *total = state;
    if (message->count != 1) return KVREG_UNHANDLED;
    int64_t before = *total;
    if (before % 7 == 0) sched_yield();
    *total = before + message->values[0].as.integer;
    *reply = kvreg_int(*total);
    return KVREG_KEEP;
}

static void *serves(void *server) {
    for (;;) {
        kvreg_event event;
        kvreg_turn *turn;
        kvreg_message message = kvreg_message_init();
        kvreg_status status = kvreg_inbox_receive(mail, -1, &event);
        if (status == KVREG_BAD_HANDLE) return NULL; /* it was freed: all is done */
        OK(status);
        CHECK(event.type == KVREG_EVENT_MAIL && event.reference == 7);
        kvreg_event_clear(&event);
        status = kvreg_server_begin(server, KVREG_BEGIN_NOW, NULL, &turn);
        if (status == KVREG_TIMEOUT) continue; /* who has the turn handles what waits */
        if (status == KVREG_NO_PROCESS) continue;
        OK(status);
        while (kvreg_turn_next(turn, &message) == KVREG_OK) {
            kvreg_value reply = kvreg_nil();
            kvreg_verdict verdict = adds(&sum, &message, &reply);
            OK(kvreg_turn_answer(turn, verdict, &reply));
            kvreg_message_clear(&message);
        }
        status = kvreg_turn_end(turn, KVREG_KEEP, NULL, 0);
        CHECK(status == KVREG_OK || status == KVREG_SERVER_DOWN);
    }
}

static void note(kvreg_status status) {
    switch (status) {
    case KVREG_OK: atomic_fetch_add(&done, 1); break;
    case KVREG_TIMEOUT: atomic_fetch_add(&withdrawn, 1); break;
    case KVREG_OUTCOME_UNKNOWN: atomic_fetch_add(&unknown, 1); break;
    default: check_status(__FILE__, __LINE__, "a call with a deadline", status, KVREG_OK);
    }
}

struct racer {
    kvreg_server *server;
    enum way way;
};

static void *races(void *data) {
    struct racer *me = data;
    kvreg_server *own;
    OK(kvreg_server_clone(me->server, &own));
    for (unsigned long i = 0; i < check_scaled(RACES) / CALLERS; i++) {
        kvreg_turn *turn;
        OK(kvreg_server_set_timeout(own, (int64_t)(i % 3 == 0)));
        if (me->way != BY_TURNS || i % 2 == 0) {
            note(add(own, 1, NULL));
            continue;
        }
        kvreg_status status = kvreg_server_begin(own, 0, NULL, &turn); /* as its owner does */
        note(status);
        if (status != KVREG_OK) continue;
        sum++;
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    }
    OK(kvreg_server_free(own));
    return NULL;
}

static void g7_each_race_is_accounted_for(void) {
    for (int way = 0; way < WAYS; way++) {
        kvreg_server_options options = kvreg_server_options_init();
        pthread_t threads[CALLERS], server_thread;
        struct racer racer = {NULL, (enum way)way};
        kvreg_turn *turn;
        sum = 0;
        done = withdrawn = unknown = 0;
        if (way == BY_TURNS) {
            OK(kvreg_inbox_open(&mail));
            options.inbox = mail;
            options.key = 7;
        } else {
            options.handle = adds;
            options.argument = &sum;
            options.flags = way == HANDED_OVER ? KVREG_SERVER_HAND_OVER : 0;
        }
        OK(kvreg_server_start(&options, &racer.server, &turn));
        if (turn != NULL) {
            OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
            CHECK(pthread_create(&server_thread, NULL, serves, racer.server) == 0);
        }
        for (int i = 0; i < CALLERS; i++)
            CHECK(pthread_create(&threads[i], NULL, races, &racer) == 0);
        for (int i = 0; i < CALLERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        OK(kvreg_server_set_timeout(racer.server, CHECK_PATIENCE * 1000));
        OK(kvreg_server_stop(racer.server)); /* after all that was begun, and all that waits */
        printf("way %d: %ld done, %ld withdrawn, %ld unknown\n", way, done, withdrawn, unknown);
        CHECK(sum >= done && sum <= done + unknown);
        if (way == BY_CALLBACKS) CHECK(unknown == 0);
        CHECK((unsigned long)(done + withdrawn + unknown) ==
              check_scaled(RACES) / CALLERS * CALLERS);
        if (way == BY_TURNS) {
            OK(kvreg_inbox_free(mail));
            CHECK(pthread_join(server_thread, NULL) == 0);
        }
        OK(kvreg_server_free(racer.server));
    }
}

/* ---- Circles ---- */

static kvreg_registry *registry;
static kvreg_bucket *bucket;
static atomic_long refused, went_through;
static pthread_barrier_t both;

static void went(kvreg_status status) {
    if (status == KVREG_CALLING_SELF) {
        atomic_fetch_add(&refused, 1);
    } else {
        OK(status); /* TIMEOUT would be a deadlock */
        atomic_fetch_add(&went_through, 1);
    }
}

static kvreg_verdict keeps_all(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    return KVREG_KEEP;
}

static kvreg_verdict asks_first(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    went(kvreg_registry_call(registry, "a", 1, "end", 3, NULL, 0, NULL));
    return KVREG_KEEP;
}

static kvreg_verdict init_asks_second(kvreg_server *self, void *argument, void **state,
                                      kvreg_value *detail) {
    (void)self, (void)argument, (void)state, (void)detail;
    went(kvreg_registry_call(registry, "b", 1, "end", 3, NULL, 0, NULL));
    return KVREG_KEEP;
}

/* Starts a server whose init asks another one, or finds it and waits until it has begun. */
static void start_between(void) {
    kvreg_server_options options = kvreg_server_options_init();
    options.init = init_asks_second;
    options.handle = counter_handle;
    kvreg_status status =
        kvreg_registry_start_server(registry, "between", 7, 0, &options, NULL, NULL);
    /* The other one may remove it as soon as it has begun, before this one was told so. */
    if (status != KVREG_SERVER_DOWN) went(status);
}

static kvreg_verdict goes_on(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state, (void)reply;
    if (is_tag(message, "to the bucket"))
        went(kvreg_bucket_update(bucket, "k", 1, keeps_all, NULL));
    else if (is_tag(message, "to the other"))
        went(kvreg_registry_call(registry, message->values[0].as.text.data[0] == 'a' ? "a" : "b", 1,
                                 "to the bucket", KVREG_NUL, NULL, 0, NULL));
    else if (is_tag(message, "to one that begins"))
        start_between();
    return KVREG_KEEP;
}

/* One of the two who go round, in this way. */
static void go_round(int way, int side) {
    kvreg_value name = kvreg_string(side ? "a" : "b", 1);
    const char *own = side ? "b" : "a";
    switch (way) {
    case 0: /* a server, then a bucket; and the bucket, then the server */
        if (side)
            OK(kvreg_bucket_update(bucket, "k", 1, asks_first, NULL));
        else
            OK(kvreg_registry_call(registry, "a", 1, "to the bucket", KVREG_NUL, NULL, 0, NULL));
        break;
    case 1: /* two servers, each by way of the other, and a bucket behind both */
        OK(kvreg_registry_call(registry, own, 1, "to the other", KVREG_NUL, &name, 1, NULL));
        break;
    default: /* through the registry: by the name of a server that has not begun */
        OK(kvreg_registry_call(registry, own, 1, "to one that begins", KVREG_NUL, NULL, 0, NULL));
        if (side == 0) {
            kvreg_status status = kvreg_registry_remove(registry, "between", 7);
            CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND);
        }
    }
}

static void *goes_round(void *side) {
    for (int way = 0; way < 3; way++)
        for (unsigned long i = 0; i < check_scaled(CIRCLES); i++) {
            pthread_barrier_wait(&both);
            go_round(way, side != NULL);
        }
    return NULL;
}

static void g8_circles_through_all_kinds_are_refused(void) {
    kvreg_server_options options = kvreg_server_options_init();
    pthread_t other;
    options.handle = goes_on;
    refused = went_through = 0;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, CHECK_PATIENCE * 1000));
    OK(kvreg_registry_create(registry, "bucket", 6, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, CHECK_PATIENCE * 1000));
    OK(kvreg_registry_start_server(registry, "a", 1, 0, &options, NULL, NULL));
    OK(kvreg_registry_start_server(registry, "b", 1, 0, &options, NULL, NULL));
    CHECK(pthread_barrier_init(&both, NULL, 2) == 0);
    CHECK(pthread_create(&other, NULL, goes_round, &both) == 0);
    goes_round(NULL);
    CHECK(pthread_join(other, NULL) == 0);
    printf("%ld circles refused\n", refused);
    CHECK(went_through > 0);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    pthread_barrier_destroy(&both);
}

/* ---- Kills in the middle ---- */

enum moment { OF_INIT, OF_CALL, OF_CAST, OF_INFO, OF_TIMER, OF_DOWN, OF_TERMINATE, MOMENTS };

static const uint32_t types[] = {KVREG_MESSAGE_INIT, KVREG_MESSAGE_CALL, KVREG_MESSAGE_CAST,
                                 KVREG_MESSAGE_INFO, KVREG_MESSAGE_INFO, KVREG_MESSAGE_DOWN,
                                 KVREG_MESSAGE_TERMINATE};
static enum moment moment;
static atomic_bool is_inside, may_go_on, has_dropped;
static kvreg_status of_caller;
static kvreg_inbox *inbox;

static void be_inside(void) {
    atomic_store(&is_inside, true);
    check_patience patience = check_patiently();
    while (!atomic_load(&may_go_on)) CHECK(check_go_on(&patience));
}

static kvreg_verdict init_inside(kvreg_server *self, void *argument, void **state,
                                 kvreg_value *detail) {
    (void)self, (void)argument, (void)detail;
    if (moment == OF_INIT) be_inside();
    *state = NULL;
    return KVREG_KEEP;
}

static kvreg_verdict handle_inside(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state, (void)reply;
    CHECK(!atomic_load(&has_dropped)); /* its state is there to the end */
    if (message->type == types[moment]) be_inside();
    CHECK(!atomic_load(&has_dropped));
    return KVREG_KEEP;
}

static void drop_inside(void *state) {
    (void)state;
    atomic_store(&has_dropped, true);
}

static kvreg_server_options killed_options(enum way way) {
    kvreg_server_options options = kvreg_server_options_init();
    options.init = init_inside;
    options.handle = handle_inside;
    options.drop = drop_inside;
    options.flags = way == HANDED_OVER ? KVREG_SERVER_HAND_OVER : 0;
    if (moment == OF_TERMINATE) options.flags |= KVREG_SERVER_WANTS_TERMINATE;
    options.shutdown_ms = CHECK_PATIENCE * 1000;
    return options;
}

/* Who waits for the one that is killed. */
static void *waits_for_it(void *options) {
    kvreg_server *server;
    OK(kvreg_registry_lookup_server(registry, "victim", 6, &server) == KVREG_OK || options != NULL
           ? KVREG_OK
           : KVREG_NOT_FOUND);
    if (moment == OF_INIT)
        of_caller = kvreg_registry_start_server(registry, "victim", 6, 0, options, NULL, NULL);
    else if (moment == OF_CALL)
        of_caller = kvreg_server_call(server, "call", 4, NULL, 0, NULL);
    else
        of_caller = kvreg_server_stop(server);
    if (server != NULL) OK(kvreg_server_free(server));
    return NULL;
}

static void kill_in_the_middle(enum way way) {
    kvreg_server_options options = killed_options(way);
    kvreg_server *server = NULL;
    kvreg_bucket *watched;
    pthread_t waiter;
    uint64_t monitor, reference;
    bool has_waiter = moment == OF_INIT || moment == OF_CALL || moment == OF_TERMINATE;
    is_inside = may_go_on = has_dropped = false;
    OK(kvreg_bucket_start(&watched));
    if (moment != OF_INIT)
        OK(kvreg_registry_start_server(registry, "victim", 6, 0, &options, &server, NULL));
    if (has_waiter) {
        void *given = moment == OF_INIT ? &options : NULL;
        CHECK(pthread_create(&waiter, NULL, waits_for_it, given) == 0);
    }
    switch (moment) {
    case OF_CAST: OK(kvreg_server_cast(server, "cast", 4, NULL, 0)); break;
    case OF_INFO: OK(kvreg_server_send(server, 0, "info", 4, NULL, 0)); break;
    case OF_TIMER: OK(kvreg_server_send_after(server, 0, "timer", 5, NULL, 0, NULL)); break;
    case OF_DOWN:
        OK(kvreg_server_monitor(server, kvreg_bucket_as_server(watched), &reference));
        OK(kvreg_bucket_stop(watched));
        break;
    default: break;
    }
    check_patience patience = check_patiently();
    while (!atomic_load(&is_inside)) CHECK(check_go_on(&patience));
    if (server == NULL) OK(kvreg_registry_lookup_server(registry, "victim", 6, &server));
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    OK(kvreg_server_exit(server, KVREG_REASON_KILLED, "now", 3));
    /* The handler is not interrupted, and all that others see is over. */
    kvreg_server *found;
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "victim", 6, &found));
    IS(KVREG_NO_PROCESS, ask(server, "get", NULL));
    is_down(inbox, monitor, KVREG_REASON_KILLED, "now");
    CHECK(!atomic_load(&has_dropped));
    atomic_store(&may_go_on, true);
    if (has_waiter) {
        CHECK(pthread_join(waiter, NULL) == 0);
        IS(KVREG_SERVER_DOWN, of_caller);
    }
    while (!atomic_load(&has_dropped)) CHECK(check_go_on(&patience));
    OK(kvreg_server_free(server));
    OK(kvreg_bucket_free(watched));
}

/* By turns: the same, of the message that was taken out. */
static void kill_in_a_turn(void) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server, *found;
    kvreg_bucket *watched;
    kvreg_turn *turn;
    kvreg_event event;
    kvreg_message message = kvreg_message_init();
    uint64_t monitor, reference = 0, waiting = 0;
    pthread_t waiter;
    bool has_request = moment == OF_CALL, has_waiter = moment == OF_TERMINATE;
    options.restart = KVREG_TEMPORARY;
    options.shutdown_ms = CHECK_PATIENCE * 1000;
    if (moment == OF_TERMINATE) options.flags |= KVREG_SERVER_WANTS_TERMINATE;
    OK(kvreg_bucket_start(&watched));
    OK(kvreg_registry_start_server(registry, "victim", 6, 0, &options, &server, &turn));
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    if (moment != OF_INIT) {
        kvreg_server_stats stats = kvreg_server_stats_init();
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        switch (moment) {
        case OF_CALL:
            OK(kvreg_server_request(server, "call", 4, NULL, 0, inbox, &reference));
            break;
        case OF_CAST: OK(kvreg_server_cast(server, "cast", 4, NULL, 0)); break;
        case OF_INFO: OK(kvreg_server_send(server, 0, "info", 4, NULL, 0)); break;
        case OF_TIMER: OK(kvreg_server_send_after(server, 0, "timer", 5, NULL, 0, NULL)); break;
        case OF_DOWN:
            OK(kvreg_server_monitor(server, kvreg_bucket_as_server(watched), &reference));
            OK(kvreg_bucket_stop(watched));
            break;
        default: CHECK(pthread_create(&waiter, NULL, waits_for_it, NULL) == 0);
        }
        check_patience patience = check_patiently();
        do {
            OK(kvreg_server_info(server, &stats));
            CHECK(check_go_on(&patience));
        } while (stats.mailbox == 0);
        OK(kvreg_server_begin(server, 0, &waiting, &turn));
        CHECK(waiting == 1);
        OK(kvreg_turn_next(turn, &message));
        CHECK(message.type == types[moment]);
    }
    OK(kvreg_server_exit(server, KVREG_REASON_KILLED, "now", 3));
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup_server(registry, "victim", 6, &found));
    for (int i = 0; i < 1 + has_request; i++) {
        OK(kvreg_inbox_receive(inbox, 0, &event)); /* who has a turn does not wait for events */
        if (event.type == KVREG_EVENT_DOWN)
            CHECK(event.reference == monitor && event.reason == KVREG_REASON_KILLED);
        else
            CHECK(event.reference == reference && event.status == KVREG_SERVER_DOWN);
        kvreg_event_clear(&event);
    }
    if (moment != OF_INIT) {
        kvreg_status status = kvreg_turn_answer(turn, KVREG_KEEP, NULL);
        CHECK(status == KVREG_OK); /* of what nobody waits for */
        kvreg_message_clear(&message);
        IS(KVREG_SERVER_DOWN, kvreg_turn_next(turn, &message));
    }
    IS(KVREG_SERVER_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    if (has_waiter) {
        CHECK(pthread_join(waiter, NULL) == 0);
        IS(KVREG_SERVER_DOWN, of_caller);
    }
    OK(kvreg_server_free(server));
    OK(kvreg_bucket_free(watched));
}

static void g6_a_kill_in_each_handler(void) {
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, CHECK_PATIENCE * 1000));
    OK(kvreg_inbox_open(&inbox));
    for (unsigned long i = 0; i < check_scaled(10); i++)
        for (int at = 0; at < MOMENTS; at++) {
            moment = (enum moment)at;
            kill_in_the_middle(BY_CALLBACKS);
            kill_in_the_middle(HANDED_OVER);
            kill_in_a_turn();
        }
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

/* ---- Forks ---- */

static atomic_bool is_over;
static kvreg_server *at_work[WAYS];

static void *works(void *unused) {
    (void)unused;
    while (!atomic_load(&is_over)) {
        kvreg_turn *turn;
        for (int way = 0; way < BY_TURNS; way++) {
            OK(cast(at_work[way], "add", 1));
            OK(add(at_work[way], 1, NULL));
        }
        OK(kvreg_server_send_after(at_work[BY_CALLBACKS], 1, "get", 3, NULL, 0, NULL));
        OK(kvreg_server_begin(at_work[BY_TURNS], 0, NULL, &turn));
        OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    }
    return NULL;
}

static void child_goes_its_own_way(void) {
    kvreg_server_options options = counter_options();
    kvreg_server *own;
    kvreg_turn *turn;
    int64_t seen = 0;
    alarm(CHILD_SECONDS);
    for (int way = 0; way < WAYS; way++) {
        IS(KVREG_FORKED, ask(at_work[way], "get", NULL));
        IS(KVREG_FORKED, cast(at_work[way], "add", 1));
        IS(KVREG_FORKED, kvreg_server_begin(at_work[way], 0, NULL, &turn));
        IS(KVREG_FORKED, kvreg_server_stop(at_work[way]));
        OK(kvreg_server_free(at_work[way]));
    }
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        OK(kvreg_server_start(&options, &own, NULL));
        OK(kvreg_server_set_timeout(own, -1));
        OK(cast(own, "add", 1));
        OK(add(own, 1, &seen));
        CHECK(seen == 2);
        OK(kvreg_server_stop(own));
        OK(kvreg_server_free(own));
    }
    _exit(0);
}

static void g11_forks_while_servers_work(void) {
    pthread_t threads[2];
    kvreg_turn *turn;
    if (LEFT_OUT_BY_TSAN(A_CHILD_STARTS_THREADS)) return;
    is_over = false;
    for (int way = 0; way < WAYS; way++) {
        kvreg_server_options options = counter_options();
        if (way == HANDED_OVER) options.flags = KVREG_SERVER_HAND_OVER;
        if (way == BY_TURNS) options = kvreg_server_options_init();
        OK(kvreg_server_start(&options, &at_work[way], &turn));
        if (turn != NULL) OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        OK(kvreg_server_set_timeout(at_work[way], -1));
    }
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, works, NULL) == 0);
    for (unsigned long i = 0; i < check_scaled(FORKS); i++) {
        int ended = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) child_goes_its_own_way();
        CHECK(waitpid(child, &ended, 0) == child);
        CHECK(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int way = 0; way < WAYS; way++) {
        OK(kvreg_server_stop(at_work[way]));
        OK(kvreg_server_free(at_work[way]));
    }
    await_leavers();
}

static const test tests[] = {
    TEST(g7_each_race_is_accounted_for),
    TEST(g8_circles_through_all_kinds_are_refused),
    TEST(g6_a_kill_in_each_handler),
    TEST(g11_forks_while_servers_work),
};

CHECK_MAIN(tests)
