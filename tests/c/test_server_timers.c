/* What reaches a server at a time, or by the end of another: timers, and DOWNs as messages. */

#define _GNU_SOURCE

#ifndef _WIN32 /* where no program can stand in for the system's clock */
#include "clock.h"
#endif
#include "servers.h"

#include <pthread.h>
#include <sched.h>

/* What was told, in order: by callbacks. */
enum { TOLD = 64 };
static atomic_int told;
static struct {
    uint32_t type;
    int32_t reason;
    uint64_t reference;
    char tag[16], detail[16];
} seen[TOLD];

static kvreg_verdict notes(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state;
    if (message->type == KVREG_MESSAGE_CALL) {
        *reply = kvreg_int(atomic_load(&told));
        return KVREG_KEEP;
    }
    int at = atomic_load(&told);
    CHECK(at < TOLD);
    seen[at].type = message->type;
    seen[at].reason = message->reason;
    seen[at].reference = message->reference;
    snprintf(seen[at].tag, sizeof seen[at].tag, "%s", message->tag.data);
    const char *detail = message->count == 1 && message->values[0].type == KVREG_STRING
                             ? (const char *)message->values[0].as.text.data
                             : "";
    snprintf(seen[at].detail, sizeof seen[at].detail, "%s", detail);
    atomic_store(&told, at + 1);
    return KVREG_KEEP;
}

static kvreg_server *start(uint64_t max_mailbox) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    options.handle = notes;
    options.max_mailbox = max_mailbox;
    atomic_store(&told, 0);
    OK(kvreg_server_start(&options, &server, NULL));
    return server;
}

static void wait_for(int count) {
    while (atomic_load(&told) < count) sched_yield();
}

#ifndef _WIN32
static void timers_come_in_the_order_of_their_times(void) {
    kvreg_server *server = start(0);
    uint64_t late, soon, at_once;
    kvreg_value value = kvreg_string("x", 1);
    atomic_store(&clock_now, 1000000000); /* it stands still */
    OK(kvreg_server_send_after(server, 30, "late", 4, NULL, 0, &late));
    OK(kvreg_server_send_after(server, 15, "soon", 4, &value, 1, &soon));
    OK(kvreg_server_send_after(server, 0, "at once", 7, NULL, 0, &at_once));
    wait_for(1);
    atomic_store(&clock_now, 1000000015);
    wait_for(2);
    atomic_store(&clock_now, 1000000030);
    wait_for(3);
    atomic_store(&clock_now, 0);
    CHECK(seen[0].type == KVREG_MESSAGE_INFO && seen[0].reference == at_once);
    CHECK(strcmp(seen[0].tag, "at once") == 0);
    CHECK(seen[1].reference == soon && strcmp(seen[1].detail, "x") == 0);
    CHECK(seen[2].reference == late);
    IS(KVREG_NOT_FOUND, kvreg_server_cancel(server, late, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_send_after(server, -1, "x", 1, NULL, 0, &late));
    IS(KVREG_INVALID_ARGUMENT, kvreg_server_send_after(server, INT64_MAX, "x", 1, NULL, 0, &late));
    OK(kvreg_server_free(server));
}
#endif

static void a_timer_that_is_cancelled_never_comes(void) {
    kvreg_server *server = start(0);
    uint64_t timer;
    int64_t left = -1;
    OK(kvreg_server_send_after(server, 3600000, "never", 5, NULL, 0, &timer));
    OK(kvreg_server_cancel(server, timer, &left));
    CHECK(left > 3500000 && left <= 3600001);
    IS(KVREG_NOT_FOUND, kvreg_server_cancel(server, timer, &left));
    CHECK(left == 0);
    OK(kvreg_server_send_after(server, 1, "after", 5, NULL, 0, &timer));
    wait_for(1);
    CHECK(strcmp(seen[0].tag, "after") == 0);
    OK(kvreg_server_free(server));
}

static void timers_have_places_and_end_with_their_server(void) {
    kvreg_server *server = start(2);
    uint64_t first, second, third;
    OK(kvreg_server_send_after(server, 3600000, "a", 1, NULL, 0, &first));
    OK(kvreg_server_send_after(server, 3600000, "b", 1, NULL, 0, &second));
    IS(KVREG_LIMIT, kvreg_server_send_after(server, 3600000, "c", 1, NULL, 0, &third));
    IS(KVREG_LIMIT, kvreg_server_cast(server, "d", 1, NULL, 0));
    OK(kvreg_server_cancel(server, first, NULL));
    OK(kvreg_server_cast(server, "d", 1, NULL, 0));
    int64_t count = 0;
    OK(ask(server, "count", &count));
    CHECK(count == 1);
    OK(kvreg_server_stop(server));
    IS(KVREG_NO_PROCESS, kvreg_server_cancel(server, second, NULL));
    IS(KVREG_NO_PROCESS, kvreg_server_send_after(server, 1, "e", 1, NULL, 0, &third));
    OK(kvreg_server_free(server));
}

/* The end comes while timers do: each came before it, or not at all. */
static void timers_against_the_end(void) {
    for (unsigned long i = 0; i < check_count(200); i++) {
        kvreg_server *server = start(0);
        for (int k = 0; k < 8; k++)
            OK(kvreg_server_send_after(server, k % 3, "tick", 4, NULL, 0, NULL));
        if (i % 2) sched_yield();
        OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
        OK(kvreg_server_free(server));
    }
    kvreg_live live = kvreg_live_init();
    do OK(kvreg_live_counts(&live)); while (live.servers != 0);
}

static void g4_a_server_is_told_of_an_end(void) {
    kvreg_server *watcher = start(0), *target;
    kvreg_server_options options = counter_options();
    kvreg_bucket *bucket;
    uint64_t first, second, of_bucket, none;
    forget_counts();
    OK(kvreg_server_start(&options, &target, NULL));
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_server_monitor(watcher, target, &first));
    OK(kvreg_server_monitor(watcher, target, &second));
    OK(kvreg_server_monitor(watcher, kvreg_bucket_as_server(bucket), &of_bucket));
    IS(KVREG_UNSUPPORTED, kvreg_server_monitor(kvreg_bucket_as_server(bucket), target, &none));
    OK(kvreg_server_demonitor(watcher, second, 0));
    IS(KVREG_SERVER_DOWN, ask(target, "crash", NULL));
    wait_for(1);
    CHECK(seen[0].type == KVREG_MESSAGE_DOWN && seen[0].reference == first);
    CHECK(seen[0].reason == KVREG_REASON_CRASHED && strcmp(seen[0].detail, "on purpose") == 0);
    OK(kvreg_server_monitor(watcher, target, &none)); /* it is dead already */
    wait_for(2);
    CHECK(seen[1].reference == none && seen[1].reason == KVREG_REASON_NOPROC);
    OK(kvreg_bucket_stop(bucket));
    wait_for(3);
    CHECK(seen[2].reference == of_bucket && seen[2].reason == KVREG_REASON_NORMAL);
    OK(kvreg_server_stop(watcher));
    IS(KVREG_NO_PROCESS, kvreg_server_monitor(watcher, target, &none));
    OK(kvreg_server_free(watcher));
    OK(kvreg_server_free(target));
    OK(kvreg_bucket_free(bucket));
}

static void a_down_that_waits_is_flushed(void) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *watcher;
    kvreg_turn *turn;
    kvreg_bucket *bucket;
    uint64_t kept, flushed, waiting;
    kvreg_message message = kvreg_message_init();
    OK(kvreg_server_start(&options, &watcher, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_server_monitor(watcher, kvreg_bucket_as_server(bucket), &kept));
    OK(kvreg_server_monitor(watcher, kvreg_bucket_as_server(bucket), &flushed));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "gone", 4));
    OK(kvreg_server_demonitor(watcher, kept, 0)); /* too late for this one */
    OK(kvreg_server_demonitor(watcher, flushed, KVREG_DEMONITOR_FLUSH));
    OK(kvreg_server_demonitor(watcher, 12345, KVREG_DEMONITOR_FLUSH));
    OK(kvreg_server_begin(watcher, 0, &waiting, &turn));
    CHECK(waiting == 1);
    OK(kvreg_turn_next(turn, &message));
    CHECK(message.type == KVREG_MESSAGE_DOWN && message.reference == kept);
    CHECK(message.reason == KVREG_REASON_KILLED);
    CHECK(message.count == 1 && check_text(&message.values[0], KVREG_STRING, "gone"));
    kvreg_message_clear(&message);
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_free(watcher));
    OK(kvreg_bucket_free(bucket));
}

static atomic_int holds;

static kvreg_verdict waits_in_terminate(void *state, const kvreg_message *message,
                                        kvreg_value *reply) {
    (void)state, (void)reply;
    if (message->type == KVREG_MESSAGE_TERMINATE)
        while (atomic_load(&holds)) sched_yield();
    return KVREG_KEEP;
}

static void *stops(void *server) {
    kvreg_status status = kvreg_server_stop(server);
    CHECK(status == KVREG_SERVER_DOWN);
    return NULL;
}

/* A handler that does not end in time is left alone, and its server killed. */
static void terminate_has_its_time(void) {
    kvreg_server_options options = kvreg_server_options_init();
    kvreg_server *server;
    kvreg_inbox *inbox;
    uint64_t monitor;
    pthread_t thread;
    options.handle = waits_in_terminate;
    options.flags = KVREG_SERVER_WANTS_TERMINATE;
    options.shutdown_ms = 1;
    atomic_store(&holds, 1);
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_server_start(&options, &server, NULL));
    OK(kvreg_inbox_monitor_server(inbox, server, &monitor));
    CHECK(pthread_create(&thread, NULL, stops, server) == 0);
    is_down(inbox, monitor, KVREG_REASON_KILLED, NULL);
    atomic_store(&holds, 0);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_server_free(server));
    OK(kvreg_inbox_free(inbox));
}

static const test tests[] = {
#ifndef _WIN32
    TEST(timers_come_in_the_order_of_their_times),
#endif
    TEST(a_timer_that_is_cancelled_never_comes),
    TEST(timers_have_places_and_end_with_their_server),
    TEST(timers_against_the_end),
    TEST(g4_a_server_is_told_of_an_end),
    TEST(a_down_that_waits_is_flushed),
    TEST(terminate_has_its_time),
};

CHECK_MAIN(tests)
