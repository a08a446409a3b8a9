/* Each verdict of each message of a server that a program writes, by callbacks, by turns and handed
   over: what the caller sees, the monitor, the link, the supervisor, who is queued behind, and the
   log. Beside OTP's column: what a GenServer does that answers so.

   | verdict | OTP, of a call | OTP, of a cast, an info, a timer, a DOWN | here |
   |---|---|---|---|
   | KEEP | {reply, R, S} | {noreply, S} | the same |
   | ABORT | {reply, {error, R}, S} | {noreply, S}, and a warning | the same |
   | CRASH | an exception | an exception | the same: CRASHED, restarted, links go along |
   | STOP | {stop, normal, R, S} | {stop, normal, S} | the same: NORMAL, links live |
   | LATER | {noreply, S} | – | the same; of what was not deferred: a bad return value |
   | UNHANDLED | function_clause: it crashes | function_clause, but of an info a log | it lives |
   | any other | bad_return_value: it crashes | bad_return_value | the same: CRASHED |

   Of init: {ok, S}, ignore, an exception, and for all others bad_return_value. Of terminate the
   answer is not looked at, but an exception is the reason of the end. */

#include "servers.h"

#include <pthread.h>

enum way { BY_CALLBACKS, BY_TURNS, HANDED_OVER, WAYS };
enum kind { CALL, CAST, INFO, TIMER, DOWN, TERMINATE, KINDS };

static const char *const ways[] = {"by callbacks", "by turns", "handed over"};
static const char *const kinds[] = {"call", "cast", "info", "timer", "DOWN", "terminate"};

enum { LIVES = -1, BAD = 42 };

/* What is seen of a verdict. */
struct row {
    const char *otp;
    kvreg_verdict verdict;
    bool is_deferred;
    /* Of a call: what the caller gets, and how the server ends. */
    kvreg_status call;
    int call_ends;
    /* Of what nobody waits for: how the server ends, and whether a warning is logged. */
    int ends;
    bool warns;
    /* Of TERMINATE, whose reason is NORMAL. */
    int terminate_ends;
};

static const struct row rows[] = {
    {"{reply, R, S}", KVREG_KEEP, false, KVREG_OK, LIVES, LIVES, false, KVREG_REASON_NORMAL},
    {"{reply, {error, R}, S}", KVREG_ABORT, false, KVREG_ABORTED, LIVES, LIVES, true,
     KVREG_REASON_NORMAL},
    {"an exception", KVREG_CRASH, false, KVREG_SERVER_DOWN, KVREG_REASON_CRASHED,
     KVREG_REASON_CRASHED, false, KVREG_REASON_CRASHED},
    {"{stop, normal, R, S}", KVREG_STOP, false, KVREG_OK, KVREG_REASON_NORMAL, KVREG_REASON_NORMAL,
     false, KVREG_REASON_NORMAL},
    {"{noreply, S}", KVREG_LATER, true, KVREG_OK, LIVES, KVREG_REASON_CRASHED, false,
     KVREG_REASON_CRASHED},
    {"bad_return_value", KVREG_LATER, false, KVREG_SERVER_DOWN, KVREG_REASON_CRASHED,
     KVREG_REASON_CRASHED, false, KVREG_REASON_CRASHED},
    {"function_clause, but it lives", KVREG_UNHANDLED, false, KVREG_UNSUPPORTED, LIVES, LIVES, true,
     KVREG_REASON_NORMAL},
    {"bad_return_value", KVREG_STORE, false, KVREG_SERVER_DOWN, KVREG_REASON_CRASHED,
     KVREG_REASON_CRASHED, false, KVREG_REASON_CRASHED},
    {"bad_return_value", BAD, false, KVREG_SERVER_DOWN, KVREG_REASON_CRASHED, KVREG_REASON_CRASHED,
     false, KVREG_REASON_CRASHED},
};

static kvreg_registry *registry;
static kvreg_inbox *inbox; /* of all events: MAIL, the monitor's, the answers, the log's */

/* The case that is tried, and what was seen. */
static struct {
    enum way way;
    enum kind kind;
    const struct row *row;
    kvreg_server *server;
    kvreg_reply *later;
    uint64_t monitor, behind, last; /* of the process that has the name in the end */
    bool is_gone;
    atomic_bool is_over; /* the server that comes in its place is of no interest */
    kvreg_status caller;
    /* Seen: */
    int met, downs, reason, warnings;
    bool is_answered, has_detail;
    kvreg_status answer; /* of who is queued behind */
} now;

static void fails(const char *what, long seen, long expected) {
    char text[256];
    snprintf(text, sizeof text, "%s, %s, verdict %d (OTP: %s): %s: %ld, not %ld", ways[now.way],
             kinds[now.kind], (int)now.row->verdict, now.row->otp, what, seen, expected);
    check_fail(__FILE__, __LINE__, text);
}

#define SEES(what, seen, expected) \
    ((long)(seen) == (long)(expected) ? (void)0 : fails(what, (long)(seen), (long)(expected)))

static bool is_subject(const kvreg_message *message) {
    static const uint32_t types[] = {KVREG_MESSAGE_CALL, KVREG_MESSAGE_CAST, KVREG_MESSAGE_INFO,
                                     KVREG_MESSAGE_INFO, KVREG_MESSAGE_DOWN,
                                     KVREG_MESSAGE_TERMINATE};
    if (message->type != types[now.kind]) return false;
    if (now.kind == TERMINATE || now.kind == DOWN) return true;
    return is_tag(message, "subject") && (message->reference != 0) == (now.kind == TIMER);
}

/* What the server does, whoever runs it: one call comes behind the message that is tried. */
static kvreg_verdict decide(const kvreg_message *message, kvreg_value *reply) {
    if (!is_subject(message) || atomic_load(&now.is_over)) return KVREG_KEEP;
    now.met++;
    OK(kvreg_server_request(message->self, "behind", 6, NULL, 0, inbox, &now.behind));
    if (now.row->is_deferred && now.kind == CALL) OK(kvreg_message_defer(message, &now.later));
    *reply = now.row->verdict == KVREG_KEEP || now.row->verdict == KVREG_STOP
                 ? kvreg_int(7)
                 : kvreg_string("said", 4);
    return now.row->verdict;
}

static kvreg_verdict on_message(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state;
    return decide(message, reply);
}

static atomic_int inits_to_refuse; /* the first of those that come */
static kvreg_verdict refusal;

static kvreg_verdict verdict_of_init(void) {
    return atomic_fetch_sub(&inits_to_refuse, 1) > 0 ? refusal : KVREG_KEEP;
}

static kvreg_verdict on_init(kvreg_server *self, void *argument, void **state,
                             kvreg_value *detail) {
    (void)self, (void)argument;
    kvreg_verdict verdict = verdict_of_init();
    if (verdict != KVREG_KEEP) {
        *detail = kvreg_string("said", 4);
        return verdict;
    }
    *state = NULL;
    atomic_fetch_add(&inits, 1);
    return KVREG_KEEP;
}

static void on_drop(void *state) {
    (void)state;
    atomic_fetch_add(&drops, 1);
}

static kvreg_server_options options_of(enum way way) {
    kvreg_server_options options = kvreg_server_options_init();
    options.restart = KVREG_TRANSIENT;
    options.destroy = counter_destroy;
    if (way == BY_TURNS) {
        options.inbox = inbox;
    } else {
        options.init = on_init;
        options.handle = on_message;
        options.drop = on_drop;
    }
    if (way == HANDED_OVER) options.flags = KVREG_SERVER_HAND_OVER;
    return options;
}

/* Handles what waits, as an owner's loop does. */
static void serve(void) {
    kvreg_server *server;
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    if (kvreg_registry_lookup_server(registry, "case", 4, &server) != KVREG_OK) return;
    OK(kvreg_server_begin(server, KVREG_BEGIN_NOW, NULL, &turn));
    while (kvreg_turn_next(turn, &message) == KVREG_OK) {
        kvreg_value reply = kvreg_nil();
        bool is_init = message.type == KVREG_MESSAGE_INIT;
        kvreg_verdict verdict = is_init ? verdict_of_init() : decide(&message, &reply);
        if (is_init && verdict != KVREG_KEEP) reply = kvreg_string("said", 4);
        (void)kvreg_turn_answer(turn, verdict, &reply);
        kvreg_message_clear(&message);
        if (is_init && verdict != KVREG_KEEP) break; /* the next one is another process's */
    }
    (void)kvreg_turn_end(turn, KVREG_KEEP, NULL, 0);
    OK(kvreg_server_free(server));
}

/* Takes the next event, and does what it asks for. */
static void next_event(void) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, CHECK_PATIENCE * 1000, &event));
    switch (event.type) {
    case KVREG_EVENT_MAIL:
        serve();
        break;
    case KVREG_EVENT_DOWN:
        if (now.last != 0 && event.reference == now.last) {
            now.is_gone = true;
            break;
        }
        CHECK(event.reference == now.monitor);
        now.downs++;
        now.reason = event.reason;
        now.has_detail = strcmp(event.detail.data, "said") == 0;
        break;
    case KVREG_EVENT_REPLY:
        CHECK(event.reference == now.behind);
        now.is_answered = true;
        now.answer = event.status;
        break;
    case KVREG_EVENT_LOG:
        if (event.level == KVREG_LOG_WARN && strcmp(event.name.data, "case") == 0) now.warnings++;
        break;
    default:
        CHECK(!"an event that nobody asked for");
    }
    kvreg_event_clear(&event);
}

static void *calls_or_stops(void *unused) {
    kvreg_value reply;
    (void)unused;
    if (now.kind == TERMINATE) {
        now.caller = kvreg_server_stop(now.server);
    } else {
        now.caller = kvreg_server_call(now.server, "subject", 7, NULL, 0, &reply);
        if (now.caller == KVREG_OK) CHECK(reply.type == KVREG_INT && reply.as.integer == 7);
        if (now.caller == KVREG_ABORTED) CHECK(last_error_says("said"));
        kvreg_value_clear(&reply);
    }
    return NULL;
}

static void *removes(void *unused) {
    OK(kvreg_registry_remove(registry, "case", 4));
    return unused;
}

static void try_row(enum way way, enum kind kind, const struct row *row) {
    kvreg_server_options options = options_of(way);
    kvreg_bucket *linked, *watched;
    kvreg_turn *turn;
    pthread_t thread;
    bool has_caller = kind == CALL || kind == TERMINATE;
    int ends = kind == CALL ? row->call_ends : kind == TERMINATE ? row->terminate_ends : row->ends;
    bool warns = !has_caller && row->warns;
    forget_counts();
    memset(&now, 0, sizeof now);
    now.way = way, now.kind = kind, now.row = row;
    atomic_store(&inits_to_refuse, 0);
    if (kind == TERMINATE) options.flags |= KVREG_SERVER_WANTS_TERMINATE;
    OK(kvreg_registry_start_server(registry, "case", 4, 0, &options, &now.server, &turn));
    if (turn != NULL) OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_set_timeout(now.server, -1));
    OK(kvreg_inbox_monitor_server(inbox, now.server, &now.monitor));
    OK(kvreg_bucket_start(&linked));
    OK(kvreg_bucket_start(&watched));
    OK(kvreg_server_link(now.server, kvreg_bucket_as_server(linked)));
    if (kind == DOWN) {
        uint64_t reference;
        kvreg_server *of_bucket = kvreg_bucket_as_server(watched);
        OK(kvreg_server_monitor(now.server, of_bucket, &reference));
    }
    switch (kind) {
    case CALL:
    case TERMINATE:
        CHECK(pthread_create(&thread, NULL, calls_or_stops, NULL) == 0);
        break;
    case CAST:
        OK(kvreg_server_cast(now.server, "subject", 7, NULL, 0));
        break;
    case INFO:
        OK(kvreg_server_send(now.server, 0, "subject", 7, NULL, 0));
        break;
    case TIMER:
        OK(kvreg_server_send_after(now.server, 0, "subject", 7, NULL, 0, NULL));
        break;
    default:
        OK(kvreg_bucket_stop(watched));
    }
    while (!now.is_answered || (ends != LIVES && now.downs == 0) || (warns && now.warnings == 0))
        next_event();
    if (now.later != NULL) {
        kvreg_value seven = kvreg_int(7);
        OK(kvreg_reply_send(now.later, KVREG_KEEP, &seven));
    }
    if (has_caller) {
        CHECK(pthread_join(thread, NULL) == 0);
        if (kind == CALL)
            SEES("the caller", now.caller, row->call);
        else
            SEES("who stops", now.caller,
                 ends == KVREG_REASON_NORMAL ? KVREG_OK : KVREG_SERVER_DOWN);
    }
    atomic_store(&now.is_over, true);
    SEES("times that it was handled", now.met, 1);
    SEES("who is queued behind", now.answer, ends == LIVES ? KVREG_OK : KVREG_SERVER_DOWN);
    SEES("DOWNs", now.downs, ends == LIVES ? 0 : 1);
    SEES("warnings", now.warnings, warns ? 1 : 0);
    if (ends != LIVES) SEES("the DOWN's reason", now.reason, ends);
    if (row->verdict == KVREG_CRASH) SEES("the DOWN's detail", now.has_detail, 1);
    size_t count;
    bool is_crash = ends == KVREG_REASON_CRASHED;
    check_patience patience = check_patiently(); /* who is linked goes after the DOWN */
    while (is_crash && kvreg_bucket_count(linked, &count) == KVREG_OK && check_go_on(&patience)) {}
    SEES("the link", kvreg_bucket_count(linked, &count), is_crash ? KVREG_NO_PROCESS : KVREG_OK);
    kvreg_server *found;
    kvreg_status found_status = kvreg_registry_lookup_server(registry, "case", 4, &found);
    SEES("the supervisor", found_status,
         ends == KVREG_REASON_NORMAL ? KVREG_NOT_FOUND : KVREG_OK);
    if (found != NULL) {
        kvreg_server_stats stats = kvreg_server_stats_init();
        OK(kvreg_server_info(found, &stats));
        SEES("restarts", stats.restarts, is_crash ? 1 : 0);
        OK(kvreg_inbox_monitor_server(inbox, found, &now.last));
        OK(kvreg_server_free(found));
        CHECK(pthread_create(&thread, NULL, removes, NULL) == 0); /* TERMINATE is served here */
        while (!now.is_gone) next_event();
        CHECK(pthread_join(thread, NULL) == 0);
    }
    while (now.downs == 0) next_event();
    OK(kvreg_server_free(now.server));
    OK(kvreg_bucket_free(linked));
    OK(kvreg_bucket_free(watched));
    await_leavers();
    kvreg_event event;
    while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK) { /* of who came last */
        CHECK(event.type == KVREG_EVENT_MAIL || event.type == KVREG_EVENT_LOG);
        kvreg_event_clear(&event);
    }
}

static void open_all(void) {
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_WARN));
}

static void close_all(void) {
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    OK(kvreg_inbox_free(inbox));
}

static void each_verdict_of_each_message(void) {
    open_all();
    for (int way = 0; way < WAYS; way++)
        for (int kind = 0; kind < KINDS; kind++)
            for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
                try_row((enum way)way, (enum kind)kind, &rows[row]);
    close_all();
}

/* What is seen of the init of a start: by callbacks what it said, by turns the end of its turn. */
static const struct {
    const char *otp;
    kvreg_verdict verdict;
    kvreg_status start, turn;
    bool lives, lives_by_turns;
} of_init[] = {
    {"{ok, S}", KVREG_KEEP, KVREG_OK, KVREG_OK, true, true},
    {"ignore", KVREG_ABORT, KVREG_ABORTED, KVREG_OK, false, false},
    {"an exception", KVREG_CRASH, KVREG_SERVER_DOWN, KVREG_OK, false, false},
    /* A turn that is ended so has begun before. */
    {"bad_return_value", KVREG_STOP, KVREG_SERVER_DOWN, KVREG_OK, false, false},
    {"bad_return_value", KVREG_LATER, KVREG_SERVER_DOWN, KVREG_INVALID_ARGUMENT, false, false},
    {"bad_return_value", KVREG_UNHANDLED, KVREG_SERVER_DOWN, KVREG_INVALID_ARGUMENT, false, false},
    {"bad_return_value", KVREG_STORE, KVREG_SERVER_DOWN, KVREG_INVALID_ARGUMENT, false, false},
    {"bad_return_value", BAD, KVREG_SERVER_DOWN, KVREG_INVALID_ARGUMENT, false, false},
};

enum { INITS = sizeof of_init / sizeof *of_init };

static void each_verdict_of_an_init(void) {
    open_all();
    for (int way = 0; way < WAYS; way++)
        for (int i = 0; i < INITS; i++) {
            kvreg_server_options options = options_of((enum way)way);
            kvreg_server *server, *found;
            kvreg_turn *turn;
            bool by_turns = way == BY_TURNS;
            bool lives = by_turns ? of_init[i].lives_by_turns : of_init[i].lives;
            forget_counts();
            refusal = of_init[i].verdict;
            atomic_store(&inits_to_refuse, 1);
            kvreg_status started = kvreg_registry_start_server(registry, "case", 4, 0, &options,
                                                               &server, &turn);
            check_status(__FILE__, __LINE__, of_init[i].otp, started,
                         by_turns ? KVREG_OK : of_init[i].start);
            CHECK((turn != NULL) == by_turns);
            if (by_turns)
                check_status(__FILE__, __LINE__, of_init[i].otp,
                             kvreg_turn_end(turn, of_init[i].verdict, "said", 4), of_init[i].turn);
            else if (started == KVREG_ABORTED)
                CHECK(last_error_says("said"));
            /* The name is free again, or it stands. */
            IS(lives ? KVREG_OK : KVREG_NOT_FOUND,
               kvreg_registry_lookup_server(registry, "case", 4, &found));
            if (lives) {
                OK(kvreg_server_free(found));
                OK(kvreg_registry_remove(registry, "case", 4));
            }
            if (server != NULL) OK(kvreg_server_free(server));
            await_leavers(); /* nothing is started again */
            CHECK(atomic_load(&inits) == (lives && !by_turns ? 1 : 0));
        }
    close_all();
}

/* The init of a process that comes in the place of another: what is no KEEP counts as an end, and
   the next one comes. Who waits for it gets SERVER_DOWN. */
static void each_verdict_of_an_init_again(void) {
    open_all();
    for (int way = 0; way < WAYS; way++)
        for (int i = 0; i < INITS; i++) {
            kvreg_server_options options = options_of((enum way)way);
            kvreg_server_stats stats = kvreg_server_stats_init();
            kvreg_server *server, *found;
            kvreg_turn *turn;
            kvreg_event event;
            bool by_turns = way == BY_TURNS, lives = of_init[i].lives;
            uint64_t restarts = 0, expected = lives ? 1 : 2;
            forget_counts();
            memset(&now, 0, sizeof now);
            now.row = rows;
            refusal = of_init[i].verdict;
            atomic_store(&inits_to_refuse, 0);
            OK(kvreg_registry_start_server(registry, "case", 4, 0, &options, &server, &turn));
            if (by_turns) OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
            atomic_store(&inits_to_refuse, 1);
            OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
            if (by_turns) {
                /* Nobody serves yet: who asks the new process waits behind its INIT. */
                OK(kvreg_registry_lookup_server(registry, "case", 4, &found));
                OK(kvreg_inbox_monitor_server(inbox, found, &now.monitor));
                OK(kvreg_server_request(found, "behind", 6, NULL, 0, inbox, &now.behind));
                OK(kvreg_server_free(found));
                while (!now.is_answered) next_event();
                IS(lives ? KVREG_OK : KVREG_SERVER_DOWN, now.answer);
                while (!lives && now.downs == 0) next_event();
                if (!lives) CHECK(now.reason == KVREG_REASON_CRASHED);
            }
            do { /* a callback thread is at it */
                OK(kvreg_registry_lookup_server(registry, "case", 4, &found));
                OK(kvreg_server_info(found, &stats));
                restarts = stats.restarts;
                OK(kvreg_server_free(found));
            } while (restarts < expected || (!by_turns && atomic_load(&inits) < 2));
            CHECK(restarts == expected);
            CHECK(stats.last_exit == (lives ? KVREG_REASON_KILLED : KVREG_REASON_CRASHED));
            OK(kvreg_registry_remove(registry, "case", 4));
            OK(kvreg_server_free(server));
            await_leavers();
            while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK) kvreg_event_clear(&event);
        }
    close_all();
}

static const test tests[] = {
    TEST(each_verdict_of_each_message),
    TEST(each_verdict_of_an_init),
    TEST(each_verdict_of_an_init_again),
};

CHECK_MAIN(tests)
