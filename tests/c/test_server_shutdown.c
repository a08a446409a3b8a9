/* kvreg_shutdown with servers at work: they are told before, at most for its timeout. */

#define _POSIX_C_SOURCE 200809L

#include "servers.h"

#include <pthread.h>

static kvreg_server *served, *begun;
static pthread_barrier_t ready;

/* Serves the one by turns until it ends. */
static void *serves(void *inbox) {
    kvreg_event event;
    kvreg_turn *turn;
    kvreg_message message = kvreg_message_init();
    pthread_barrier_wait(&ready);
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_MAIL);
    kvreg_event_clear(&event);
    OK(kvreg_server_begin(served, KVREG_BEGIN_NOW, NULL, &turn));
    OK(kvreg_turn_next(turn, &message));
    CHECK(message.type == KVREG_MESSAGE_TERMINATE && message.reason == KVREG_REASON_SHUTDOWN);
    kvreg_message_clear(&message);
    kvreg_turn_end(turn, KVREG_KEEP, NULL, 0); /* perhaps too late to be answered */
    atomic_fetch_add(&terminates, 1);
    return NULL;
}

static void *calls_for_ever(void *unused) {
    (void)unused;
    OK(kvreg_server_set_timeout(begun, -1));
    pthread_barrier_wait(&ready);
    kvreg_status status = ask(begun, "get", NULL);
    CHECK(status == KVREG_SERVER_DOWN || status == KVREG_NO_PROCESS || status == KVREG_SHUT_DOWN);
    return NULL;
}

static void g12_shutdown_tells_servers_first(void) {
    kvreg_server_options options = counter_options();
    kvreg_registry *registry;
    kvreg_server *server, *alone;
    kvreg_turn *turn;
    kvreg_inbox *inbox, *downs;
    kvreg_event event;
    kvreg_reply *reply;
    uint64_t monitor, reference;
    pthread_t server_thread, caller;
    forget_counts();
    CHECK(pthread_barrier_init(&ready, NULL, 3) == 0);
    options.flags = KVREG_SERVER_WANTS_TERMINATE;
    options.restart = KVREG_PERMANENT;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_registry_start_server(registry, "told", 4, 0, &options, &server, NULL));
    OK(kvreg_inbox_open(&downs));
    OK(kvreg_inbox_monitor_server(downs, server, &monitor));
    options.restart = KVREG_TEMPORARY;
    OK(kvreg_server_start(&options, &alone, NULL));
    kvreg_server_options by_turns = kvreg_server_options_init();
    by_turns.flags = KVREG_SERVER_WANTS_TERMINATE;
    by_turns.inbox = inbox;
    OK(kvreg_server_start(&by_turns, &served, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    by_turns.flags = 0;
    by_turns.inbox = NULL;
    OK(kvreg_server_start(&by_turns, &begun, &turn));
    OK(kvreg_turn_detach(turn)); /* or the shutdown would wait for its own thread */
    OK(kvreg_turn_defer(turn, downs, &reference, &reply));
    OK(kvreg_server_send_after(server, 3600000, "never", 5, NULL, 0, NULL));
    CHECK(pthread_create(&server_thread, NULL, serves, inbox) == 0);
    CHECK(pthread_create(&caller, NULL, calls_for_ever, NULL) == 0);
    pthread_barrier_wait(&ready);
    OK(kvreg_shutdown(10000));
    CHECK(pthread_join(server_thread, NULL) == 0);
    CHECK(pthread_join(caller, NULL) == 0);
    CHECK(atomic_load(&terminates) == 3);
    CHECK(atomic_load(&drops) == 2 && atomic_load(&destroys) == 2);
    /* From here on everything answers so, and what was given is freed. */
    IS(KVREG_SHUT_DOWN, ask(server, "get", NULL));
    IS(KVREG_SHUT_DOWN, kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    IS(KVREG_SHUT_DOWN, kvreg_reply_send(reply, KVREG_KEEP, NULL));
    IS(KVREG_SHUT_DOWN, kvreg_server_start(&options, &alone, NULL));
    CHECK(atomic_load(&destroys) == 3);
    IS(KVREG_SHUT_DOWN, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_turn_free(turn));
    OK(kvreg_reply_free(reply));
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(served));
    OK(kvreg_server_free(begun));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_inbox_free(downs));
    OK(kvreg_registry_free(registry));
}

static const test tests[] = {TEST(g12_shutdown_tells_servers_first)};

CHECK_MAIN(tests)
