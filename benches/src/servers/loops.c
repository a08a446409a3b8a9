/*
 * Servers as a C program uses them, and what it would write without kvreg. Each loop answers the
 * number of calls that failed.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>

#include "kvreg.h"

static int64_t sum; /* the state of all of them: one server works at a time */

static kvreg_verdict adds(void *state, const kvreg_message *message, kvreg_value *reply) {
    int64_t *total = state;
    if (message->count != 1 || message->tag.len != 3) return KVREG_UNHANDLED;
    *total += message->values[0].as.integer;
    *reply = kvreg_int(*total);
    return KVREG_KEEP;
}

int32_t servers_start(uint32_t flags, kvreg_server **server) {
    kvreg_server_options options = kvreg_server_options_init();
    options.handle = adds;
    options.argument = &sum;
    options.flags = flags;
    return kvreg_server_start(&options, server, NULL);
}

uint64_t servers_call(kvreg_server *server, size_t count) {
    uint64_t failed = 0;
    kvreg_value one = kvreg_int(1), reply;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_server_call(server, "add", 3, &one, 1, &reply) != KVREG_OK;
        failed += reply.type != KVREG_INT;
        kvreg_value_clear(&reply);
    }
    return failed;
}

/* Casts, and that the last one was handled. */
uint64_t servers_cast(kvreg_server *server, size_t count) {
    uint64_t failed = 0;
    kvreg_value one = kvreg_int(1);
    for (size_t i = 0; i < count; i++)
        failed += kvreg_server_cast(server, "add", 3, &one, 1) != KVREG_OK;
    return failed + servers_call(server, 1);
}

uint64_t servers_cast_then_call(kvreg_server *server, size_t count) {
    uint64_t failed = 0;
    kvreg_value one = kvreg_int(1), reply;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_server_cast(server, "add", 3, &one, 1) != KVREG_OK;
        failed += kvreg_server_call(server, "add", 3, &one, 1, &reply) != KVREG_OK;
        kvreg_value_clear(&reply);
    }
    return failed;
}

/* What has neither a name nor an end: a lock, and a function that is not inlined. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static kvreg_verdict (*volatile handler)(void *, const kvreg_message *, kvreg_value *) = adds;

uint64_t servers_lock(size_t count) {
    uint64_t failed = 0;
    kvreg_value one = kvreg_int(1), reply;
    kvreg_message message = kvreg_message_init();
    message.tag.len = 3;
    message.values = &one;
    message.count = 1;
    for (size_t i = 0; i < count; i++) {
        failed += pthread_mutex_lock(&mutex) != 0;
        failed += handler(&sum, &message, &reply) != KVREG_KEEP;
        failed += pthread_mutex_unlock(&mutex) != 0;
    }
    return failed;
}

uint64_t servers_put(kvreg_bucket *bucket, size_t count) {
    uint64_t failed = 0;
    kvreg_value one = kvreg_int(1);
    for (size_t i = 0; i < count; i++)
        failed += kvreg_bucket_put(bucket, "sum", 3, &one) != KVREG_OK;
    return failed;
}

uint64_t servers_update(kvreg_bucket *bucket, size_t count) {
    uint64_t failed = 0;
    kvreg_update *update;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_bucket_update_begin(bucket, "sum", 3, NULL, &update) != KVREG_OK;
        failed += kvreg_update_end(update, KVREG_KEEP, NULL) != KVREG_OK;
    }
    return failed;
}

/* By turns: the owner's calls are these, with its own work between them. */
uint64_t servers_begin(kvreg_server *server, size_t count) {
    uint64_t failed = 0;
    kvreg_turn *turn;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_server_begin(server, 0, NULL, &turn) != KVREG_OK;
        sum++;
        failed += kvreg_turn_end(turn, KVREG_KEEP, NULL, 0) != KVREG_OK;
    }
    return failed;
}

/* By turns, served by a thread of the program's: others' calls are messages for it. */
static kvreg_inbox *mail;
static kvreg_server *served;
static pthread_t thread;

static void *serves(void *unused) {
    (void)unused;
    kvreg_event event;
    while (kvreg_inbox_receive(mail, -1, &event) == KVREG_OK) { /* until it is freed */
        kvreg_message message = kvreg_message_init();
        kvreg_turn *turn;
        kvreg_event_clear(&event);
        if (kvreg_server_begin(served, KVREG_BEGIN_NOW, NULL, &turn) != KVREG_OK) continue;
        while (kvreg_turn_next(turn, &message) == KVREG_OK) {
            kvreg_value reply = kvreg_nil();
            kvreg_verdict verdict = adds(&sum, &message, &reply);
            kvreg_turn_answer(turn, verdict, &reply);
            kvreg_message_clear(&message);
        }
        kvreg_turn_end(turn, KVREG_KEEP, NULL, 0);
    }
    return NULL;
}

int32_t servers_start_served(kvreg_server **server) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_turn *turn;
    if (kvreg_inbox_open(&mail) != KVREG_OK) return -1;
    options.inbox = mail;
    kvreg_status status = kvreg_server_start(&options, &served, &turn);
    if (status != KVREG_OK) return status;
    kvreg_turn_end(turn, KVREG_KEEP, NULL, 0);
    *server = served;
    return pthread_create(&thread, NULL, serves, NULL);
}

int32_t servers_stop_served(void) {
    kvreg_status status = kvreg_inbox_free(mail);
    return pthread_join(thread, NULL) != 0 ? -1 : status;
}
