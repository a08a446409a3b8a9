/* Servers for tests: a counter by callbacks and one by turns, which know the same messages. */
#ifndef SERVERS_H
#define SERVERS_H

#include <stdatomic.h>

#include "check.h"

/* What becomes of what the program gave: each argument that was given is destroyed once. */
static atomic_int inits, drops, starts, destroys, terminates, terminate_reason;

static void counter_destroy(void *argument) {
    (void)argument;
    atomic_fetch_add(&destroys, 1);
}

static inline void count_start(const kvreg_server_options *options) {
    if (options != NULL && options->destroy == counter_destroy) atomic_fetch_add(&starts, 1);
}

#define kvreg_server_start(options, server, turn) \
    (count_start(options), (kvreg_server_start)(options, server, turn))
#define kvreg_registry_start_server(registry, name, name_len, flags, options, server, turn) \
    (count_start(options),                                                                \
     (kvreg_registry_start_server)(registry, name, name_len, flags, options, server, turn))

/* All that was given is gone: a callback thread may be about to leave yet. */
static inline void await_leavers(void) {
    while (atomic_load(&inits) != atomic_load(&drops)) sched_yield();
    while (atomic_load(&starts) != atomic_load(&destroys)) sched_yield();
}

/* Begins anew, once all that was given before is gone. */
static inline void forget_counts(void) {
    await_leavers();
    atomic_store(&inits, 0);
    atomic_store(&drops, 0);
    atomic_store(&starts, 0);
    atomic_store(&destroys, 0);
    atomic_store(&terminates, 0);
    atomic_store(&terminate_reason, -1);
}

typedef struct counter {
    int64_t sum;
    kvreg_reply *later; /* of the call "later" that was put off last */
} counter;

static inline bool is_tag(const kvreg_message *message, const char *tag) {
    return strcmp(message->tag.data, tag) == 0 && message->tag.len == strlen(tag);
}

static kvreg_verdict counter_init(kvreg_server *self, void *argument, void **state,
                                  kvreg_value *detail) {
    counter *made = calloc(1, sizeof *made);
    CHECK(self != NULL && *state == NULL && detail->type == KVREG_NIL);
    CHECK(made != NULL);
    made->sum = argument != NULL ? *(int64_t *)argument : 0;
    *state = made;
    atomic_fetch_add(&inits, 1);
    return KVREG_KEEP;
}

static void counter_drop(void *state) {
    free(state);
    atomic_fetch_add(&drops, 1);
}

/* What a counter does, whoever runs it. */
static kvreg_verdict counter_handle(void *state, const kvreg_message *message, kvreg_value *reply) {
    counter *me = state;
    CHECK(message->size == sizeof *message);
    if (message->type == KVREG_MESSAGE_TERMINATE) {
        atomic_fetch_add(&terminates, 1);
        atomic_store(&terminate_reason, message->reason);
        return KVREG_KEEP;
    }
    if (message->type == KVREG_MESSAGE_DOWN) {
        me->sum += 1000;
        return KVREG_KEEP;
    }
    CHECK(message->self != NULL);
    if (is_tag(message, "add")) {
        for (size_t i = 0; i < message->count; i++) {
            if (message->values[i].type != KVREG_INT) {
                OK(kvreg_value_copy_text(reply, "not a number", 12));
                return KVREG_ABORT;
            }
            me->sum += message->values[i].as.integer;
        }
        *reply = kvreg_int(me->sum);
        return KVREG_KEEP;
    }
    if (is_tag(message, "get")) {
        *reply = kvreg_int(me->sum);
        return KVREG_KEEP;
    }
    if (is_tag(message, "echo")) {
        if (message->count > 0) *reply = message->values[0];
        return KVREG_KEEP;
    }
    if (is_tag(message, "abort")) {
        *reply = kvreg_string("no", 2);
        return KVREG_ABORT;
    }
    if (is_tag(message, "crash")) {
        *reply = kvreg_string("on purpose", 10);
        return KVREG_CRASH;
    }
    if (is_tag(message, "stop")) {
        *reply = kvreg_int(me->sum);
        return KVREG_STOP;
    }
    if (is_tag(message, "bad")) return 99;
    if (is_tag(message, "bad reply")) {
        reply->type = 77;
        return KVREG_KEEP;
    }
    if (is_tag(message, "later at once")) return KVREG_LATER; /* without having deferred it */
    if (is_tag(message, "later")) {
        OK(kvreg_message_defer(message, &me->later));
        return KVREG_LATER;
    }
    if (is_tag(message, "now")) { /* answers what was put off */
        kvreg_value answer = kvreg_int(me->sum);
        *reply = kvreg_int(kvreg_reply_send(me->later, KVREG_KEEP, &answer));
        me->later = NULL;
        return KVREG_KEEP;
    }
    return KVREG_UNHANDLED;
}

static inline kvreg_server_options counter_options(void) {
    kvreg_server_options options = kvreg_server_options_init();
    options.init = counter_init;
    options.handle = counter_handle;
    options.drop = counter_drop;
    options.destroy = counter_destroy;
    return options;
}

/* A call without or with one number. */
static inline kvreg_status ask(kvreg_server *server, const char *tag, int64_t *answer) {
    kvreg_value reply;
    kvreg_status status = kvreg_server_call(server, tag, KVREG_NUL, NULL, 0, &reply);
    if (answer != NULL && status == KVREG_OK) {
        CHECK(reply.type == KVREG_INT);
        *answer = reply.as.integer;
    }
    if (status != KVREG_OK) CHECK(reply.type == KVREG_NIL);
    kvreg_value_clear(&reply);
    return status;
}

static inline kvreg_status add(kvreg_server *server, int64_t by, int64_t *answer) {
    kvreg_value value = kvreg_int(by), reply;
    kvreg_status status = kvreg_server_call(server, "add", 3, &value, 1, &reply);
    if (answer != NULL && status == KVREG_OK) *answer = reply.as.integer;
    kvreg_value_clear(&reply);
    return status;
}

static inline kvreg_status cast(kvreg_server *server, const char *tag, int64_t by) {
    kvreg_value value = kvreg_int(by);
    return kvreg_server_cast(server, tag, KVREG_NUL, &value, 1);
}

/* The next event of an inbox is the end of this monitor. */
static inline void is_down(kvreg_inbox *inbox, uint64_t monitor, kvreg_reason reason,
                           const char *detail) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_DOWN && event.reference == monitor);
    CHECK(event.reason == reason);
    CHECK(detail == NULL || strcmp(event.detail.data, detail) == 0);
    kvreg_event_clear(&event);
}

static inline bool last_error_says(const char *text) {
    char said[512];
    kvreg_last_error(said, sizeof said);
    return strstr(said, text) != NULL;
}

#endif
