/* Misuse: servers that users write, their messages, turns and answers. */
#ifndef MISUSE_SERVERS_H
#define MISUSE_SERVERS_H

#include "process_model.h"

static atomic_ulong states_made, states_dropped, arguments_given, arguments_destroyed;

/* A handle of a server of any kind: those of buckets and registries are right too. */
static kvreg_server *pick_server(struct actor *me) {
    int strangers = me->strangers;
    void *handle = pick(me, SERVER);
    uint64_t bits = (uint64_t)(uintptr_t)handle;
    if (me->strangers > strangers && (bits >> 56 == 0x61 || bits >> 56 == 0x62))
        me->strangers = strangers;
    return handle;
}

/* Mostly one that no bucket has: of a name that one of the other sort has all is WRONG_KIND. */
static struct bytes some_server_name(struct actor *me) {
    static const char letters_of_servers[] = "st";
    if (once_in(me, 3)) return some_name(me);
    return (struct bytes){letters_of_servers + below(me, 2), 1};
}

static struct bytes some_tag(struct actor *me) {
    static const char *const tags[] = {"add", "later", "stop", "none"};
    const char *tag;
    if (once_in(me, 4)) return some_name(me);
    tag = tags[below(me, sizeof tags / sizeof *tags)];
    return (struct bytes){tag, once_in(me, 4) ? KVREG_NUL : strlen(tag)};
}

struct values {
    kvreg_value some[6];
    const kvreg_value *values;
    size_t count;
};

static void some_values(struct actor *me, struct values *given) {
    given->count = below(me, 7);
    for (size_t i = 0; i < given->count; i++)
        given->some[i] = once_in(me, 8) ? some_value(me) : kvreg_int((int64_t)i);
    given->values = once_in(me, 48) ? NULL : given->some;
    if (once_in(me, 64)) given->count = 256;
    if (given->count == 256) given->values = NULL;
}

static void check_message(const kvreg_message *message) {
    CHECK(message->type <= KVREG_MESSAGE_TERMINATE);
    CHECK(message->tag.data[message->tag.len] == 0);
    CHECK(message->count <= 255);
    for (size_t i = 0; i < message->count; i++) (void)sum_of(&message->values[i]);
}

static kvreg_verdict on_message(void *state, const kvreg_message *message, kvreg_value *reply) {
    struct actor *me = state; /* one thread at a time has it */
    check_message(message);
    if (message->count > 0 && once_in(me, 4)) {
        kvreg_value kept;
        OK(kvreg_value_clone(&message->values[below(me, (unsigned)message->count)], &kept));
        (void)sum_of(&kept);
        kvreg_value_clear(&kept);
    }
    if (message->type == KVREG_MESSAGE_CALL && once_in(me, 4)) {
        kvreg_reply *later;
        kvreg_status status = kvreg_message_defer(message, &later);
        CHECK((status == KVREG_OK) == (later != NULL));
        if (later != NULL && once_in(me, 2)) { /* before it says so */
            kvreg_value value = some_value(me);
            kvreg_status sent = kvreg_reply_send(later, KVREG_KEEP, &value);
            CHECK(sent == KVREG_OK || sent == KVREG_NO_PROCESS || sent == KVREG_INVALID_ARGUMENT ||
                  sent == KVREG_LIMIT || sent == KVREG_BAD_HANDLE);
            if (sent == KVREG_OK) atomic_store(&answered_ok[DO_reply_send], true);
            return KVREG_LATER;
        }
        if (later != NULL) {
            keep(me, REPLY, later);
            if (!once_in(me, 4)) return KVREG_LATER;
        }
    }
    return decide(me, NULL, reply);
}

static kvreg_verdict on_init(kvreg_server *self, void *argument, void **state,
                             kvreg_value *detail) {
    struct actor *made = calloc(1, sizeof *made);
    CHECK(made != NULL && *state == NULL && detail->type == KVREG_NIL);
    made->random = (uint64_t)(uintptr_t)self + (uint64_t)(uintptr_t)argument;
    made->depth = 1;
    if (once_in(made, 8)) {
        free(made);
        *detail = kvreg_string("refused", 7);
        return KVREG_ABORT;
    }
    *state = made;
    atomic_fetch_add(&states_made, 1);
    return KVREG_KEEP;
}

static void on_drop(void *state) {
    struct actor *me = state;
    clear_stash(me);
    free(me);
    atomic_fetch_add(&states_dropped, 1);
}

static void on_destroy_argument(void *argument) {
    (void)argument;
    atomic_fetch_add(&arguments_destroyed, 1);
}

static kvreg_server_options some_server_options(struct actor *me) {
    kvreg_server_options options = kvreg_server_options_init();
    bool by_turns = once_in(me, 3);
    options.flags = once_in(me, 16) ? (uint32_t)some_number(me, 4) : below(me, 4);
    options.restart = (uint32_t)some_number(me, KVREG_PERMANENT + 1);
    options.max_restarts = below(me, 3);
    options.shutdown_ms = 1;
    options.max_mailbox = once_in(me, 4) ? below(me, 4) : 0;
    options.max_bytes = once_in(me, 8) ? below(me, 100) : 0;
    options.max_value = once_in(me, 8) ? some_limit(me) : 0;
    options.destroy = on_destroy_argument;
    if (by_turns && once_in(me, 2)) options.inbox = from_pool(me, INBOX);
    if (!by_turns || once_in(me, 32)) options.init = on_init;
    if (!by_turns) options.handle = on_message;
    if (!by_turns || once_in(me, 32)) options.drop = on_drop;
    return options;
}

static void step_server_start(struct actor *me, enum function function) {
    kvreg_server_options options = some_server_options(me);
    const kvreg_server_options *given = once_in(me, 32) ? NULL : &options;
    kvreg_server *made = (kvreg_server *)(uintptr_t)0xdead;
    kvreg_turn *turn = (kvreg_turn *)(uintptr_t)0xdead;
    kvreg_server **out = OUTPUT(&made);
    kvreg_turn **turn_out = once_in(me, 8) ? NULL : &turn;
    struct bytes name = some_server_name(me);
    kvreg_status status;
    if (given != NULL) atomic_fetch_add(&arguments_given, 1);
    if (function == DO_server_start)
        status = answer(me, function, kvreg_server_start(given, out, turn_out));
    else
        status = answer(me, function,
                        kvreg_registry_start_server(
                            pick(me, REGISTRY), name.data, name.len,
                            (uint32_t)some_number(me, KVREG_CREATE_EXCLUSIVE + 1), given, out,
                            turn_out));
    if (out != NULL && status != KVREG_OK) CHECK(made == NULL);
    if (turn_out != NULL && status != KVREG_OK) CHECK(turn == NULL);
    if (turn_out != NULL && turn != NULL) {
        if (once_in(me, 8))
            keep(me, TURN, turn);
        else
            (void)kvreg_turn_end(turn, KVREG_KEEP, NULL, 0);
    }
    if (out != NULL && made != NULL) keep(me, SERVER, made);
}

static void step_turn_next(struct actor *me) {
    kvreg_message message = kvreg_message_init();
    kvreg_message *out = OUTPUT(&message);
    kvreg_turn *turn = pick(me, TURN);
    bool has_size = !once_in(me, 48);
    if (!has_size) message.size = below(me, (unsigned)sizeof message);
    kvreg_status status = answer(me, DO_turn_next, kvreg_turn_next(turn, out));
    if (out == NULL || !has_size) {
        CHECK(status != KVREG_OK);
        return;
    }
    if (status != KVREG_OK) {
        CHECK(message.count == 0);
        return;
    }
    check_message(&message);
    if (message.type == KVREG_MESSAGE_CALL && once_in(me, 4)) {
        kvreg_reply *later;
        if (kvreg_message_defer(&message, &later) == KVREG_OK) keep(me, REPLY, later);
    }
    if (once_in(me, 2)) {
        kvreg_value value = some_value(me);
        status = kvreg_turn_answer(turn, some_number(me, KVREG_UNHANDLED + 1), &value);
        if (status == KVREG_OK) atomic_store(&answered_ok[DO_turn_answer], true);
    }
    kvreg_message_clear(&message);
    if (once_in(me, 4)) kvreg_message_clear(&message);
}

/* A turn of a server that nobody else knows, with mail. Little of it is right by luck. */
static void step_turn_rightly(struct actor *me) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_message message = kvreg_message_init();
    kvreg_value value = some_value(me);
    kvreg_server *server;
    kvreg_turn *turn;
    uint64_t waiting = 0;
    if (kvreg_server_start(&options, &server, &turn) != KVREG_OK) return; /* too many turns */
    answer(me, DO_turn_end, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    if (once_in(me, 2)) { /* withdrawn before it has begun */
        kvreg_inbox *inbox;
        uint64_t reference = 0;
        OK(kvreg_inbox_open(&inbox));
        OK(kvreg_server_request(server, "add", 3, NULL, 0, inbox, &reference));
        answer(me, DO_inbox_abandon, kvreg_inbox_abandon(inbox, reference));
        free_quietly(INBOX, inbox);
    }
    OK(kvreg_server_cast(server, "add", 3, NULL, 0));
    if (answer(me, DO_server_begin, kvreg_server_begin(server, 0, &waiting, &turn)) == KVREG_OK) {
        CHECK(waiting == 1);
        if (answer(me, DO_turn_next, kvreg_turn_next(turn, &message)) == KVREG_OK)
            answer(me, DO_turn_answer, kvreg_turn_answer(turn, some_number(me, 8), &value));
        kvreg_message_clear(&message);
        if (once_in(me, 2)) answer(me, DO_turn_detach, kvreg_turn_detach(turn));
        if (once_in(me, 2)) {
            kvreg_inbox *inbox;
            kvreg_reply *reply;
            uint64_t reference = 0;
            OK(kvreg_inbox_open(&inbox));
            if (answer(me, DO_turn_defer, kvreg_turn_defer(turn, inbox, &reference, &reply)) ==
                KVREG_OK) {
                if (once_in(me, 2))
                    answer(me, DO_inbox_abandon, kvreg_inbox_abandon(inbox, reference));
                answer(me, DO_reply_send, kvreg_reply_send(reply, KVREG_KEEP, &value));
            }
            free_quietly(INBOX, inbox);
        }
        answer(me, DO_turn_end, kvreg_turn_end(turn, some_number(me, 8), NULL, 0));
    }
    free_quietly(SERVER, server);
}

static void step_turn(struct actor *me, enum function function) {
    kvreg_value value = some_value(me);
    struct bytes text = some_text(me);
    uint64_t waiting = 0, reference = 0;
    if (once_in(me, 32)) step_turn_rightly(me);
    switch (function) {
    case DO_server_begin: {
        kvreg_turn *made = (kvreg_turn *)(uintptr_t)0xdead;
        kvreg_turn **out = OUTPUT(&made);
        uint32_t flags = once_in(me, 8) ? (uint32_t)some_number(me, 2) : below(me, 2);
        kvreg_status status =
            answer(me, function,
                   kvreg_server_begin(pick_server(me), flags, once_in(me, 4) ? NULL : &waiting, out));
        if (out == NULL) break;
        CHECK((status == KVREG_OK) == (made != NULL));
        if (made != NULL) keep(me, TURN, made);
        break;
    }
    case DO_turn_next:
        step_turn_next(me);
        break;
    case DO_turn_answer:
        answer(me, function,
               kvreg_turn_answer(pick(me, TURN), some_number(me, KVREG_UNHANDLED + 1),
                                 once_in(me, 4) ? NULL : &value));
        break;
    case DO_turn_defer: {
        kvreg_reply *made = (kvreg_reply *)(uintptr_t)0xdead;
        kvreg_reply **out = OUTPUT(&made);
        kvreg_turn *turn = pick(me, TURN);
        kvreg_inbox *inbox = pick(me, INBOX);
        kvreg_status status =
            answer(me, function, kvreg_turn_defer(turn, inbox, OUTPUT(&reference), out));
        if (out == NULL) break;
        CHECK((status == KVREG_OK) == (made != NULL));
        if (made != NULL) keep(me, REPLY, made);
        break;
    }
    case DO_turn_end:
        answer(me, function,
               kvreg_turn_end(pick(me, TURN), some_number(me, KVREG_UNHANDLED + 1), text.data,
                              text.len));
        break;
    case DO_turn_free:
        answer(me, function, kvreg_turn_free(pick_to_free(me, TURN)));
        break;
    case DO_turn_detach:
        answer(me, function, kvreg_turn_detach(pick(me, TURN)));
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

static void step_reply(struct actor *me, enum function function) {
    kvreg_value value = some_value(me);
    kvreg_message message = kvreg_message_init();
    switch (function) {
    case DO_reply_send:
        answer(me, function,
               kvreg_reply_send(pick(me, REPLY), some_number(me, KVREG_UNHANDLED + 1),
                                once_in(me, 8) ? NULL : &value));
        break;
    case DO_reply_free:
        answer(me, function, kvreg_reply_free(pick_to_free(me, REPLY)));
        break;
    case DO_message_clear:
        kvreg_message_clear(OUTPUT(&message));
        kvreg_message_clear(&message);
        was_called(me, function);
        break;
    case DO_message_defer: { /* of a message that nobody has; those that somebody has: on_message */
        kvreg_reply *made = (kvreg_reply *)(uintptr_t)0xdead;
        kvreg_status status = kvreg_message_defer(OUTPUT(&message), &made);
        CHECK(status == KVREG_INVALID_ARGUMENT && made == NULL);
        was_called(me, function);
        break;
    }
    case DO_value_clone: {
        kvreg_value clone = poisoned();
        kvreg_status status = answer(me, function, kvreg_value_clone(OUTPUT(&value), &clone));
        CHECK(status == KVREG_OK || clone.type == KVREG_NIL);
        kvreg_value_clear(&clone);
        break;
    }
    default:
        CHECK(!"a function that no step calls");
    }
}

/* A server that nobody else knows, by its name. */
static void call_rightly(struct actor *me) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_registry *registry;
    options.init = on_init;
    options.handle = on_message;
    options.drop = on_drop;
    OK(kvreg_registry_start(NULL, &registry));
    if (kvreg_registry_start_server(registry, "s", 1, 0, &options, NULL, NULL) == KVREG_OK)
        answer(me, DO_registry_call,
               kvreg_registry_call(registry, "s", 1, "add", 3, NULL, 0, NULL));
    free_quietly(REGISTRY, registry);
}

static void step_send(struct actor *me, enum function function) {
    struct bytes tag = some_tag(me), name = some_server_name(me);
    struct values given;
    uint64_t reference = 0;
    some_values(me, &given);
    switch (function) {
    case DO_server_call:
        READ(function, kvreg_server_call(pick_server(me), tag.data, tag.len, given.values,
                                         given.count, out));
        break;
    case DO_registry_call:
        if (once_in(me, 16)) call_rightly(me);
        READ(function, kvreg_registry_call(pick(me, REGISTRY), name.data, name.len, tag.data,
                                           tag.len, given.values, given.count, out));
        break;
    case DO_server_cast:
        answer(me, function, kvreg_server_cast(pick_server(me), tag.data, tag.len, given.values,
                                               given.count));
        break;
    case DO_server_send:
        answer(me, function, kvreg_server_send(pick_server(me), (uint32_t)some_number(me, 2),
                                               tag.data, tag.len, given.values, given.count));
        break;
    case DO_server_send_after:
        answer(me, function,
               kvreg_server_send_after(pick_server(me), (int64_t)below(me, 50) - 1, tag.data, tag.len,
                                       given.values, given.count, OUTPUT(&reference)));
        break;
    case DO_server_request: {
        kvreg_server *server = pick_server(me);
        kvreg_inbox *inbox = pick(me, INBOX);
        answer(me, function,
               kvreg_server_request(server, tag.data, tag.len, given.values, given.count, inbox,
                                    OUTPUT(&reference)));
        break;
    }
    default:
        CHECK(!"a function that no step calls");
    }
    if (reference != 0)
        atomic_store_explicit(&some_reference, reference, memory_order_relaxed);
}

static void step_server_life(struct actor *me, enum function function) {
    struct bytes text = some_text(me), name = some_server_name(me);
    uint64_t reference = 0,
             known = atomic_load_explicit(&some_reference, memory_order_relaxed);
    int64_t left = 0;
    union {
        kvreg_server_stats stats;
        unsigned char room[128];
    } facts;
    switch (function) {
    case DO_registry_lookup_server:
        MAKE(function, SERVER, kvreg_server,
             kvreg_registry_lookup_server(pick(me, REGISTRY), name.data, name.len, out));
        break;
    case DO_registry_servers:
        MAKE(function, ITEMS, kvreg_items, kvreg_registry_servers(pick(me, REGISTRY), out));
        break;
    case DO_server_self:
        MAKE(function, SERVER, kvreg_server, kvreg_server_self(out));
        break;
    case DO_server_clone: {
        kvreg_server *clone = NULL;
        if (answer(me, function, kvreg_server_clone(pick_server(me), OUTPUT(&clone))) == KVREG_OK)
            free_quietly(SERVER, clone);
        break;
    }
    case DO_server_set_timeout:
        answer(me, function, kvreg_server_set_timeout(pick_server(me), some_timeout(me)));
        break;
    case DO_server_name:
        READ(function, kvreg_server_name(pick_server(me), out));
        break;
    case DO_server_info:
        memset(&facts, 0xa5, sizeof facts);
        facts.stats.size = once_in(me, 4) ? below(me, 128) : sizeof facts.stats;
        reference = facts.stats.size;
        answer(me, function, kvreg_server_info(pick_server(me), OUTPUT(&facts.stats)));
        for (size_t i = reference < 4 ? 4 : reference; i < sizeof facts; i++)
            CHECK(facts.room[i] == 0xa5); /* not beyond what the size says */
        break;
    case DO_server_free:
    {
        kvreg_server *server = pick_server(me);
        if (server == NULL) me->made_up = 0; /* which may be freed */
        answer(me, function, kvreg_server_free(server));
        break;
    }
    case DO_server_cancel:
        answer(me, function, kvreg_server_cancel(pick_server(me), known, OUTPUT(&left)));
        break;
    case DO_inbox_monitor_server:
        answer(me, function,
               kvreg_inbox_monitor_server(pick(me, INBOX), pick_server(me), OUTPUT(&reference)));
        break;
    case DO_server_monitor:
        answer(me, function,
               kvreg_server_monitor(pick_server(me), pick_server(me), OUTPUT(&reference)));
        break;
    case DO_server_demonitor:
        answer(me, function,
               kvreg_server_demonitor(pick_server(me), known, (uint32_t)some_number(me, 2)));
        break;
    case DO_inbox_abandon:
        answer(me, function, kvreg_inbox_abandon(pick(me, INBOX), known));
        break;
    case DO_server_link:
        answer(me, function, kvreg_server_link(pick_server(me), pick_server(me)));
        break;
    case DO_server_unlink:
        answer(me, function, kvreg_server_unlink(pick_server(me), pick_server(me)));
        break;
    case DO_server_stop:
        answer(me, function, kvreg_server_stop(pick_server(me)));
        break;
    case DO_server_exit:
        answer(me, function,
               kvreg_server_exit(pick_server(me), some_number(me, KVREG_REASON_NOPROC + 1),
                                 text.data, text.len));
        break;
    default:
        CHECK(!"a function that no step calls");
    }
    if (reference != 0 && function != DO_server_info)
        atomic_store_explicit(&some_reference, reference, memory_order_relaxed);
}

#endif
