/* Watches (G18): events, options, waking, ends, and what is refused. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "polled.h"

static kvreg_inbox *inbox;
static kvreg_bucket *bucket;
static uint64_t reference;

static kvreg_watch_options prefixed(const char *prefix, uint32_t flags) {
    kvreg_watch_options options = kvreg_watch_options_init();
    options.prefix = prefix;
    options.prefix_len = KVREG_NUL;
    options.flags = flags;
    return options;
}

static void start(const kvreg_watch_options *options) {
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_int(bucket, "user:1", 6, 1));
    OK(kvreg_bucket_put_int(bucket, "other", 5, 2));
    OK(kvreg_inbox_watch(inbox, bucket, options, &reference));
    CHECK(reference != 0);
}

static void finish(void) {
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_inbox_free(inbox));
}

static void nothing_waits(void) {
    kvreg_event event;
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
}

/* The next event, which is this one; answers its revision. */
static uint64_t next(uint32_t type) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, -1, &event));
    CHECK(event.type == type && event.reference == reference);
    CHECK(event.name.len == 0 && event.value.type == KVREG_NIL && event.level == 0);
    uint64_t revision = event.revision;
    kvreg_event_clear(&event);
    return revision;
}

static uint64_t changed(uint32_t level, const char *key, size_t len, int64_t number) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, -1, &event));
    CHECK(event.type == KVREG_EVENT_CHANGE && event.reference == reference);
    CHECK(event.level == level);
    CHECK(event.name.len == len && memcmp(event.name.data, key, len) == 0);
    CHECK(event.name.data[len] == 0);
    if (number == 0)
        CHECK(event.value.type == KVREG_NIL);
    else
        CHECK(event.value.type == KVREG_INT && event.value.as.integer == number);
    CHECK(event.revision != 0);
    uint64_t revision = event.revision;
    kvreg_event_clear(&event);
    return revision;
}

static void g18_a_round_and_what_comes_after(void) {
    kvreg_watch_options options = prefixed("user:", 0);
    kvreg_entry entry = kvreg_entry_init();
    uint64_t revision, told;
    start(&options);
    CHECK(next(KVREG_EVENT_RESET) == 0);
    told = changed(KVREG_CHANGE_PUT, "user:1", 6, 1);
    OK(kvreg_bucket_get_entry(bucket, "user:1", 6, &entry));
    CHECK(entry.revision == told);
    OK(kvreg_bucket_revision(bucket, &revision));
    CHECK(next(KVREG_EVENT_CURRENT) == revision);
    nothing_waits();
    OK(kvreg_bucket_put_int(bucket, "other", 5, 3));
    OK(kvreg_bucket_put_int(bucket, "user:\0\xff", 7, 4));
    OK(kvreg_bucket_revision(bucket, &revision));
    CHECK(changed(KVREG_CHANGE_PUT, "user:\0\xff", 7, 4) == revision);
    OK(kvreg_bucket_delete(bucket, "user:1", 6, NULL));
    told = changed(KVREG_CHANGE_DELETE, "user:1", 6, 0);
    CHECK(told > revision);
    OK(kvreg_bucket_clear(bucket));
    next(KVREG_EVENT_RESET);
    CHECK(next(KVREG_EVENT_CURRENT) > told);
    nothing_waits();
    finish();
}

static void what_is_wanted_is_told(void) {
    kvreg_watch_options options = prefixed("user:1", KVREG_KEYS_ONLY | KVREG_ONE_KEY);
    start(&options);
    next(KVREG_EVENT_RESET);
    changed(KVREG_CHANGE_PUT, "user:1", 6, 0);
    next(KVREG_EVENT_CURRENT);
    OK(kvreg_inbox_unwatch(inbox, reference));
    options = prefixed("", KVREG_ONLY_NEW);
    OK(kvreg_inbox_watch(inbox, bucket, &options, &reference));
    next(KVREG_EVENT_RESET);
    next(KVREG_EVENT_CURRENT);
    OK(kvreg_bucket_put_int(bucket, "user:12", 7, 1));
    changed(KVREG_CHANGE_PUT, "user:12", 7, 1);
    nothing_waits();
    finish();
}

static void many_are_received_at_once(void) {
    enum { KEYS = 1000, ROOM = 300 };
    static kvreg_event events[ROOM];
    kvreg_watch_options options = prefixed("key", 0);
    size_t count, all = 0;
    start(&options);
    for (int i = 0; i < KEYS; i++) {
        char key[20];
        OK(kvreg_bucket_put_int(bucket, key, (size_t)snprintf(key, sizeof key, "key%d", i), i));
    }
    while (all < KEYS + 2) {
        OK(kvreg_inbox_receive_many(inbox, -1, events, ROOM, &count));
        CHECK(count == (all + ROOM <= KEYS + 2 ? ROOM : KEYS + 2 - all));
        for (size_t i = 0; i < count; i++) kvreg_event_clear(&events[i]);
        all += count;
    }
    count = 1;
    IS(KVREG_TIMEOUT, kvreg_inbox_receive_many(inbox, 0, events, ROOM, &count));
    CHECK(count == 0);
    finish();
}

static void what_is_polled_is_raised_while_there_is_something(void) {
    kvreg_event events[3];
    size_t count;
    polled what;
    start(NULL);
    OK(inbox_polled(inbox, &what));
    CHECK(is_raised(what));
    OK(kvreg_inbox_receive_many(inbox, 0, events, 3, &count));
    CHECK(count == 3 && is_raised(what));
    for (size_t i = 0; i < count; i++) kvreg_event_clear(&events[i]);
    next(KVREG_EVENT_CURRENT);
    CHECK(!is_raised(what));
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    CHECK(is_raised(what));
    OK(kvreg_inbox_unwatch(inbox, reference));
    CHECK(!is_raised(what));
    finish();
}

static void *put_and_end(void *unused) {
    (void)unused;
    for (int i = 1; i <= 1000; i++) OK(kvreg_bucket_put_int(bucket, "k", 1, i));
    return NULL;
}

static void who_waits_is_woken(void) {
    pthread_t thread;
    kvreg_watch_options options = prefixed("k", 0);
    kvreg_event event = {0};
    int64_t last = 0;
    start(&options);
    next(KVREG_EVENT_RESET);
    next(KVREG_EVENT_CURRENT);
    CHECK(pthread_create(&thread, NULL, put_and_end, NULL) == 0);
    while (last != 1000) {
        OK(kvreg_inbox_receive(inbox, -1, &event));
        CHECK(event.type == KVREG_EVENT_CHANGE && event.value.as.integer > last);
        last = event.value.as.integer;
        kvreg_event_clear(&event);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    finish();
}

static void *free_inbox(void *unused) {
    (void)unused;
    OK(kvreg_inbox_free(inbox));
    return NULL;
}

static void an_inbox_is_freed_under_who_waits(void) {
    pthread_t thread;
    kvreg_event event;
    kvreg_status status;
    start(NULL);
    CHECK(pthread_create(&thread, NULL, free_inbox, NULL) == 0);
    while ((status = kvreg_inbox_receive(inbox, -1, &event)) == KVREG_OK)
        kvreg_event_clear(&event);
    CHECK(status == KVREG_BAD_HANDLE);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_bucket_free(bucket));
}

static void g18_the_end_is_told_once_and_last(void) {
    kvreg_event event;
    start(NULL);
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "why", 3));
    OK(kvreg_inbox_receive(inbox, 0, &event));
    CHECK(event.type == KVREG_EVENT_DOWN && event.reference == reference);
    CHECK(event.reason == KVREG_REASON_KILLED && strcmp(event.detail.data, "why") == 0);
    kvreg_event_clear(&event);
    nothing_waits();
    OK(kvreg_inbox_watch(inbox, bucket, NULL, &reference));
    OK(kvreg_inbox_receive(inbox, 0, &event));
    CHECK(event.type == KVREG_EVENT_DOWN && event.reason == KVREG_REASON_NOPROC);
    kvreg_event_clear(&event);
    nothing_waits();
    finish();
}

static void names_are_watched(void) {
    kvreg_registry *registry;
    kvreg_bucket *made;
    kvreg_watch_options options = prefixed("shop", 0);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch_names(inbox, registry, &options, &reference));
    next(KVREG_EVENT_RESET);
    next(KVREG_EVENT_CURRENT);
    OK(kvreg_registry_create(registry, "shopping", 8, 0, &made));
    changed(KVREG_CHANGE_PUT, "shopping", 8, 0);
    OK(kvreg_bucket_stop(made));
    changed(KVREG_CHANGE_DELETE, "shopping", 8, 0);
    OK(kvreg_bucket_free(made));
    OK(kvreg_inbox_unwatch(inbox, reference));
    OK(kvreg_registry_stop(registry));
    nothing_waits();
    OK(kvreg_registry_free(registry));
    OK(kvreg_inbox_free(inbox));
}

static void what_is_wrong_is_refused(void) {
    kvreg_watch_options options = kvreg_watch_options_init();
    kvreg_event event;
    size_t count = 1;
    uint64_t refused = 1;
    start(NULL);
    options.flags = 8;
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_watch(inbox, bucket, &options, &refused));
    CHECK(refused == 0);
    options.flags = 0;
    options.size = 0;
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_watch(inbox, bucket, &options, &refused));
    options = kvreg_watch_options_init();
    options.prefix_len = 1;
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_watch(inbox, bucket, &options, &refused));
    options.prefix = "";
    options.prefix_len = 65537;
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_watch(inbox, bucket, &options, &refused));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_watch(inbox, bucket, NULL, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_receive_many(inbox, 0, &event, 0, &count));
    CHECK(count == 0);
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_receive_many(inbox, -2, &event, 1, &count));
    OK(kvreg_inbox_unwatch(inbox, 12345678));
    OK(kvreg_inbox_demonitor(inbox, reference, KVREG_DEMONITOR_FLUSH));
    next(KVREG_EVENT_RESET);
    finish();
}

#ifndef _WIN32
static void a_child_has_no_watches(void) {
    if (LEFT_OUT_BY_TSAN(A_CHILD_STARTS_THREADS)) return;
    start(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        kvreg_event event;
        size_t count;
        uint64_t mine;
        IS(KVREG_FORKED, kvreg_inbox_watch(inbox, bucket, NULL, &mine));
        IS(KVREG_FORKED, kvreg_inbox_unwatch(inbox, reference));
        IS(KVREG_FORKED, kvreg_inbox_receive_many(inbox, -1, &event, 1, &count));
        IS(KVREG_FORKED, kvreg_bucket_put_int(bucket, "k", 1, 1));
        OK(kvreg_bucket_free(bucket));
        OK(kvreg_inbox_free(inbox));
        kvreg_watch_options options = prefixed("user:", 0);
        start(&options);
        next(KVREG_EVENT_RESET);
        changed(KVREG_CHANGE_PUT, "user:1", 6, 1);
        next(KVREG_EVENT_CURRENT);
        finish();
        /* What it inherited is nobody's here: valgrind need not look for it. */
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    next(KVREG_EVENT_RESET);
    finish();
}
#endif

static const test tests[] = {
    TEST(g18_a_round_and_what_comes_after),
    TEST(what_is_wanted_is_told),
    TEST(many_are_received_at_once),
    TEST(what_is_polled_is_raised_while_there_is_something),
    TEST(who_waits_is_woken),
    TEST(an_inbox_is_freed_under_who_waits),
    TEST(g18_the_end_is_told_once_and_last),
    TEST(names_are_watched),
    TEST(what_is_wrong_is_refused),
#ifndef _WIN32
    TEST(a_child_has_no_watches),
#endif
};

CHECK_MAIN(tests)
