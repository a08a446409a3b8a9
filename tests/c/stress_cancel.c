/*
 * A thread with a pending pthread_cancel calls kvreg: each call does its work and answers, for
 * nothing in the library is a cancellation point, and the thread ends at its own next one. Each
 * call has a process of its own, so that it can be the first of its kind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { SECONDS = 120 };

static kvreg_registry *registry;
static kvreg_bucket *bucket, *other;
static kvreg_inbox *inbox;
static kvreg_listener *listener;
static kvreg_items *items;
static kvreg_update *update;
static uint64_t reference;

static kvreg_verdict store_one(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current;
    pthread_testcancel(); /* not here either: a callback has to return */
    *next = kvreg_int(1);
    return KVREG_STORE;
}

/* What the calls find. */

static void nothing(void) {}

static void servers(void) {
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1)); /* the alarm ends who waits in vain */
    OK(kvreg_registry_create(registry, "other", 5, 0, &other));
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
}

/* The bucket is busy: what is cast is queued, and starts the library's threads. */
static void a_busy_bucket(void) {
    servers();
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
}

/* The next call hands letters over to the library's threads. */
static void a_full_mailbox(void) {
    kvreg_value value = kvreg_int(1);
    a_busy_bucket();
    OK(kvreg_bucket_put_cast(bucket, "k", 1, &value));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, store_one, NULL, NULL));
}

static void a_polled_inbox(void) {
    int fd;
    servers();
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_fd(inbox, &fd));
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG));
}

static void a_down(void) {
    a_polled_inbox();
    OK(kvreg_bucket_stop(bucket));
}

static void a_new_inbox(void) {
    servers();
    OK(kvreg_inbox_open(&inbox));
}

static void a_listener(void) {
    servers();
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
}

/* A client is told of what is put: the thread that puts wakes the connection. */
static void a_subscriber(void) {
    kvreg_value address;
    int port, told = 0;
    a_listener();
    OK(kvreg_listener_address(listener, &address));
    CHECK(sscanf((const char *)address.as.text.data, "127.0.0.1:%d", &port) == 1);
    kvreg_value_clear(&address);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(client, (struct sockaddr *)&to, sizeof to) == 0);
    CHECK(write(client, "SUBSCRIBE b\r\n", 13) == 13);
    struct pollfd polled = {.fd = client, .events = POLLIN};
    while (told == 0) { /* until it has subscribed */
        OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
        told = poll(&polled, 1, 1);
        CHECK(told >= 0);
    }
}

static void some_items(void) {
    servers();
    OK(kvreg_bucket_items(bucket, &items));
}

/* The calls. */

static void configures(void) { OK(kvreg_configure(NULL)); }
static void starts_a_registry(void) { OK(kvreg_registry_start(NULL, &registry)); }
static void starts_a_bucket(void) { OK(kvreg_bucket_start(&bucket)); }
static void opens_an_inbox(void) { OK(kvreg_inbox_open(&inbox)); }
static void creates(void) { OK(kvreg_registry_create(registry, "new", 3, 0, NULL)); }
static void creates_later(void) { OK(kvreg_registry_create_cast(registry, "new", 3)); }
static void sends(void) { OK(kvreg_registry_send(registry, "hello", KVREG_NUL)); }
static void removes(void) { OK(kvreg_registry_remove(registry, "b", 1)); }
static void stops_the_registry(void) { OK(kvreg_registry_stop(registry)); }
static void kills_the_registry(void) {
    OK(kvreg_registry_exit(registry, KVREG_REASON_KILLED, NULL, 0));
}

static void looks_up(void) {
    kvreg_bucket *found;
    OK(kvreg_registry_lookup(registry, "b", 1, &found));
    OK(kvreg_bucket_free(found));
}

static void lists(void) {
    size_t count;
    OK(kvreg_registry_count(registry, &count));
    OK(kvreg_registry_names(registry, &items));
}

static void executes(void) {
    kvreg_value reply;
    OK(kvreg_registry_execute(registry, "PUT b k v\r\n", 11, &reply));
    kvreg_value_clear(&reply);
}

static void gets(void) {
    kvreg_value value;
    OK(kvreg_bucket_get(bucket, "k", 1, &value));
    kvreg_value_clear(&value);
}

static void puts_one(void) { OK(kvreg_bucket_put_int(bucket, "k", 1, 2)); }
static void deletes(void) { OK(kvreg_bucket_delete(bucket, "k", 1, NULL)); }
static void updates(void) { OK(kvreg_bucket_update(bucket, "k", 1, store_one, NULL)); }
static void clears(void) { OK(kvreg_bucket_clear(bucket)); }
static void takes_items(void) { OK(kvreg_bucket_items(bucket, &items)); }
static void links(void) { OK(kvreg_bucket_link(bucket, other)); }
static void stops(void) { OK(kvreg_bucket_stop(bucket)); }
static void kills(void) { OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "on purpose", 10)); }

static void counts(void) {
    size_t count;
    OK(kvreg_bucket_count(bucket, &count));
}

static void puts_much(void) {
    kvreg_pair pairs[64];
    memset(pairs, 0, sizeof pairs);
    for (int i = 0; i < 64; i++) {
        pairs[i].key = &pairs[i];
        pairs[i].key_len = (size_t)i;
        pairs[i].value = kvreg_int(i);
    }
    OK(kvreg_bucket_put_many(bucket, pairs, 64));
}

static void frees(void) {
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(other));
    OK(kvreg_registry_free(registry)); /* the last: all ends */
}

static void puts_later(void) {
    kvreg_value value = kvreg_int(1);
    OK(kvreg_bucket_put_cast(bucket, "k", 1, &value));
}

static void deletes_later(void) { OK(kvreg_bucket_delete_cast(bucket, "k", 1)); }
static void updates_later(void) {
    OK(kvreg_bucket_update_cast(bucket, "k", 1, store_one, NULL, NULL));
}

static void waits_in_vain(void) {
    IS(KVREG_CALLING_SELF, kvreg_bucket_put_int(bucket, "k", 1, 1));
}

static void begins(void) {
    OK(kvreg_bucket_update_begin(other, "k", 1, NULL, &update));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
}

static void ends_the_update(void) {
    int64_t number;
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number)); /* waits for the casts */
}

static void frees_the_update(void) { OK(kvreg_update_free(update)); }

static void asks_for_a_descriptor(void) {
    int fd;
    OK(kvreg_inbox_fd(inbox, &fd));
}

static void monitors(void) {
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_inbox_demonitor(inbox, reference, KVREG_DEMONITOR_FLUSH));
}

static void subscribes(void) { OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG)); }

static void receives(void) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, -1, &event));
    kvreg_event_clear(&event);
}

static void flushes(void) { OK(kvreg_inbox_demonitor(inbox, reference, KVREG_DEMONITOR_FLUSH)); }

static void receives_in_vain(void) {
    kvreg_event event;
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 10, &event));
}

static void frees_the_inbox(void) { OK(kvreg_inbox_free(inbox)); }

static void listens(void) {
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
}

static void stops_listening(void) { OK(kvreg_listener_stop(listener)); }
static void frees_the_listener(void) { OK(kvreg_listener_free(listener)); }

static void goes_through_items(void) {
    kvreg_value key, value;
    OK(kvreg_items_next(items, &key, &value));
    kvreg_value_clear(&key);
    kvreg_value_clear(&value);
    OK(kvreg_items_free(items));
}

static void shuts_down(void) { OK(kvreg_shutdown(-1)); }

static void asks_about_all(void) {
    kvreg_live live;
    char text[64];
    memset(&live, 0, sizeof live);
    live.size = sizeof live;
    OK(kvreg_live_counts(&live));
    CHECK(kvreg_last_error(text, sizeof text) == 0);
}

static const struct try {
    void (*prepare)(void);
    const char *name;
    void (*call)(void);
} tries[] = {
#define TRY(prepare, call) {prepare, #prepare ", " #call, call}
    TRY(nothing, configures),
    TRY(nothing, starts_a_registry),
    TRY(nothing, starts_a_bucket),
    TRY(nothing, opens_an_inbox),
    TRY(nothing, asks_about_all),
    TRY(nothing, shuts_down),
    TRY(servers, creates),
    TRY(servers, creates_later),
    TRY(servers, sends),
    TRY(servers, removes),
    TRY(servers, stops_the_registry),
    TRY(servers, kills_the_registry),
    TRY(servers, looks_up),
    TRY(servers, lists),
    TRY(servers, executes),
    TRY(servers, gets),
    TRY(servers, puts_one),
    TRY(servers, deletes),
    TRY(servers, updates),
    TRY(servers, clears),
    TRY(servers, takes_items),
    TRY(servers, links),
    TRY(servers, stops),
    TRY(servers, kills),
    TRY(servers, counts),
    TRY(servers, puts_much),
    TRY(servers, frees),
    TRY(servers, begins),
    TRY(servers, updates_later),
    TRY(servers, listens),
    TRY(servers, shuts_down),
    TRY(a_busy_bucket, puts_later),
    TRY(a_busy_bucket, deletes_later),
    TRY(a_busy_bucket, updates_later),
    TRY(a_busy_bucket, waits_in_vain),
    TRY(a_full_mailbox, ends_the_update),
    TRY(a_full_mailbox, frees_the_update),
    TRY(a_full_mailbox, kills),
    TRY(a_new_inbox, asks_for_a_descriptor),
    TRY(a_new_inbox, monitors),
    TRY(a_new_inbox, subscribes),
    TRY(a_new_inbox, receives_in_vain),
    TRY(a_polled_inbox, stops),
    TRY(a_polled_inbox, kills),
    TRY(a_polled_inbox, sends),
    TRY(a_polled_inbox, removes),
    TRY(a_polled_inbox, stops_the_registry),
    TRY(a_polled_inbox, receives_in_vain),
    TRY(a_polled_inbox, frees_the_inbox),
    TRY(a_polled_inbox, shuts_down),
    TRY(a_down, receives),
    TRY(a_down, flushes),
    TRY(a_down, frees_the_inbox),
    TRY(a_listener, stops_listening),
    TRY(a_listener, frees_the_listener),
    TRY(a_listener, stops_the_registry),
    TRY(a_listener, shuts_down),
    TRY(a_subscriber, puts_one),
    TRY(a_subscriber, puts_much),
    TRY(a_subscriber, deletes),
    TRY(a_subscriber, updates),
    TRY(a_subscriber, stops),
    TRY(a_subscriber, shuts_down),
    TRY(some_items, goes_through_items),
};

static bool called;

static void *cancelled(void *data) {
    const struct try *this = data;
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    this->prepare();
    pthread_cancel(pthread_self());
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    this->call();
    called = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    if (state != PTHREAD_CANCEL_ENABLE) /* as it was before the call */
        _exit(2);
    pthread_setcancelstate(state, NULL);
    pthread_testcancel();
    return NULL;
}

/* Answers whether the thread called, and was cancelled afterwards. */
static bool is_cancelled_afterwards(const struct try *this) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        void *result = NULL;
        alarm(SECONDS);
        /* What it logs goes nowhere, and so does what glibc says when it aborts. */
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        setenv("KVREG_LOG", "debug", 1);
        if (dup2(nowhere, 2) != 2)
            _exit(2);
        if (pthread_create(&thread, NULL, cancelled, (void *)(uintptr_t)this) != 0)
            _exit(2);
        pthread_join(thread, &result);
        _exit(called && result == PTHREAD_CANCELED ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void g10_a_call_is_no_cancellation_point(void) {
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        if (!is_cancelled_afterwards(&tries[i])) {
            fprintf(stderr, "ended by it: %s\n", tries[i].name);
            wrong++;
        }
    }
    CHECK(wrong == 0);
}

static const test tests[] = {TEST(g10_a_call_is_no_cancellation_point)};
CHECK_MAIN(tests)
