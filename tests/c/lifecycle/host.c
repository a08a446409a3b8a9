/*
 * A host with everything in flight: threads in calls, waits and callbacks, queued casts, a
 * listener with a client. Its argument says how it ends; whatever that is, its exit status is
 * 0 and it prints nothing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"

static kvreg_registry *registry;
static kvreg_bucket *bucket, *held;
static kvreg_inbox *inbox;
static kvreg_listener *listener;
static atomic_int threads_ready;
static atomic_bool give_up;

static kvreg_verdict slowly(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    atomic_fetch_add(&threads_ready, 1);
    while (!atomic_load(&give_up))
        usleep(1000);
    return KVREG_KEEP;
}

/* All of these end when the process does, or when they are told that kvreg is gone. */
static void *calls(void *data) {
    (void)data;
    atomic_fetch_add(&threads_ready, 1);
    while (kvreg_bucket_put_int(bucket, "k", 1, 1) != KVREG_SHUT_DOWN &&
           !atomic_load(&give_up)) {
    }
    return NULL;
}

static void *waits_for_an_event(void *data) {
    kvreg_event event;
    (void)data;
    atomic_fetch_add(&threads_ready, 1);
    while (kvreg_inbox_receive(inbox, -1, &event) == KVREG_OK)
        kvreg_event_clear(&event);
    return NULL;
}

static void *waits_for_its_turn(void *data) {
    (void)data;
    atomic_fetch_add(&threads_ready, 1);
    kvreg_bucket_put_int(held, "k", 1, 1);
    return NULL;
}

/* Has the turn of `held`, and does not give it back. */
static void *holds(void *data) {
    kvreg_update *update;
    (void)data;
    OK(kvreg_bucket_update_begin(held, "k", 1, NULL, &update));
    atomic_fetch_add(&threads_ready, 1);
    pause();
    return NULL;
}

static void *casts(void *data) {
    kvreg_value value = kvreg_int(1);
    (void)data;
    atomic_fetch_add(&threads_ready, 1);
    for (;;) {
        kvreg_status status = kvreg_bucket_put_cast(held, "k", 1, &value);
        if (status != KVREG_OK && status != KVREG_LIMIT)
            return NULL;
    }
}

static void start(bool with_callback) {
    kvreg_value address;
    uint64_t reference;
    pthread_t thread;
    int port;
    void *(*const work[])(void *) = {calls, waits_for_an_event, waits_for_its_turn, casts};
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "bucket", KVREG_NUL, 0, &bucket));
    OK(kvreg_registry_create(registry, "held", KVREG_NUL, 0, &held));
    OK(kvreg_bucket_set_timeout(held, -1));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
    OK(kvreg_listener_address(listener, &address));
    CHECK(sscanf((const char *)address.as.text.data, "127.0.0.1:%d", &port) == 1);
    kvreg_value_clear(&address);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(client, (struct sockaddr *)&to, sizeof to) == 0);
    CHECK(write(client, "SUBSCRIBE bucket\r\nGET", 21) == 21);
    CHECK(pthread_create(&thread, NULL, holds, NULL) == 0);
    while (atomic_load(&threads_ready) < 1)
        sched_yield();
    int expected = 5;
    if (with_callback) {
        OK(kvreg_bucket_update_cast(bucket, "slow", 4, slowly, NULL, NULL));
        expected++;
    }
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&thread, NULL, work[i], NULL) == 0);
    while (atomic_load(&threads_ready) < expected)
        sched_yield();
}

static pthread_t main_thread;
static atomic_int terminated;

static void on_sigterm(int number) {
    (void)number;
    atomic_store(&terminated, pthread_equal(pthread_self(), main_thread) ? 1 : 2);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    main_thread = pthread_self();
    if (strcmp(how, "return") == 0) {
        start(true);
        return 0;
    }
    if (strcmp(how, "exit") == 0) {
        start(true);
        exit(0);
    }
    if (strcmp(how, "shutdown") == 0) {
        start(false);
        OK(kvreg_shutdown(-1));
        IS(KVREG_SHUT_DOWN, kvreg_shutdown(-1));
        IS(KVREG_SHUT_DOWN, kvreg_bucket_put_int(bucket, "k", 1, 1));
        IS(KVREG_SHUT_DOWN, kvreg_registry_start(NULL, &registry));
        OK(kvreg_bucket_free(bucket));
        return 0;
    }
    if (strcmp(how, "stuck") == 0) { /* a callback is running: it is named, and left alone */
        char text[256];
        start(true);
        IS(KVREG_TIMEOUT, kvreg_shutdown(1));
        kvreg_last_error(text, sizeof text);
        CHECK(strstr(text, "\"bucket\"") != NULL);
        IS(KVREG_SHUT_DOWN, kvreg_bucket_put_int(bucket, "k", 1, 1));
        return 0;
    }
    if (strcmp(how, "sigterm") == 0) { /* the host's business: it goes to the host's thread */
        struct sigaction action = {.sa_handler = on_sigterm};
        start(true);
        CHECK(sigaction(SIGTERM, &action, NULL) == 0);
        CHECK(kill(getpid(), SIGTERM) == 0);
        while (atomic_load(&terminated) == 0)
            sched_yield();
        return 0;
    }
    if (strcmp(how, "killed") == 0) { /* and its default is still the default */
        start(true);
        puts("ready");
        fflush(stdout);
        for (;;)
            pause();
    }
    fprintf(stderr, "unknown: %s\n", how);
    return 2;
}
