/* Inboxes: monitors, DOWN, logs, waiting and polling. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>

#include "polled.h"

static kvreg_inbox *inbox;

static void start(void) { OK(kvreg_inbox_open(&inbox)); }

static void finish(void) {
    kvreg_event event;
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_inbox_free(inbox));
}

static void down(uint64_t reference, kvreg_reason reason, const char *name, const char *detail) {
    kvreg_event event;
    OK(kvreg_inbox_receive(inbox, -1, &event));
    CHECK(event.type == KVREG_EVENT_DOWN);
    CHECK(event.reference == reference);
    CHECK(event.reason == reason);
    CHECK(strcmp(event.name.data, name) == 0 && event.name.len == strlen(name));
    CHECK(strcmp(event.detail.data, detail) == 0 && event.detail.len == strlen(detail));
    kvreg_event_clear(&event);
    kvreg_event_clear(&event);
}

static void each_monitor_gives_one_down(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    uint64_t first, second, of_registry;
    start();
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_inbox_monitor_registry(inbox, registry, &of_registry));
    OK(kvreg_inbox_monitor(inbox, bucket, &first));
    OK(kvreg_inbox_monitor(inbox, bucket, &second));
    CHECK(first != second && second != of_registry);
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "a reason", KVREG_NUL));
    down(first, KVREG_REASON_KILLED, "shopping", "a reason");
    down(second, KVREG_REASON_KILLED, "shopping", "a reason");
    OK(kvreg_inbox_monitor(inbox, bucket, &first));
    down(first, KVREG_REASON_NOPROC, "shopping", "");
    OK(kvreg_registry_stop(registry));
    down(of_registry, KVREG_REASON_NORMAL, "", "");
    OK(kvreg_inbox_monitor_registry(inbox, registry, &of_registry));
    down(of_registry, KVREG_REASON_NOPROC, "", "");
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    finish();
}

static void of_two_handles_a_bad_one_is_named_first(void) {
    kvreg_bucket *bucket;
    uint64_t reference;
    start();
    OK(kvreg_bucket_start(&bucket));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_monitor((kvreg_inbox *)bucket, NULL, &reference));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_monitor(NULL, (kvreg_bucket *)inbox, &reference));
    IS(KVREG_WRONG_KIND, kvreg_inbox_monitor((kvreg_inbox *)bucket, bucket, &reference));
    IS(KVREG_WRONG_KIND, kvreg_inbox_monitor(inbox, (kvreg_bucket *)inbox, &reference));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_monitor(inbox, bucket, NULL));
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void demonitor_takes_it_back(void) {
    kvreg_bucket *bucket;
    uint64_t taken, flushed, kept;
    start();
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_inbox_monitor(inbox, bucket, &taken));
    OK(kvreg_inbox_monitor(inbox, bucket, &flushed));
    OK(kvreg_inbox_monitor(inbox, bucket, &kept));
    OK(kvreg_inbox_demonitor(inbox, taken, 0));
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_inbox_demonitor(inbox, flushed, KVREG_DEMONITOR_FLUSH));
    OK(kvreg_inbox_demonitor(inbox, kept, 0)); /* too late without KVREG_DEMONITOR_FLUSH */
    down(kept, KVREG_REASON_NORMAL, "", "");
    OK(kvreg_inbox_demonitor(inbox, kept, KVREG_DEMONITOR_FLUSH));
    OK(kvreg_inbox_demonitor(inbox, 987654321, 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_demonitor(inbox, kept, 2));
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void monitors_that_come_and_go_leave_nothing(void) {
    kvreg_bucket *bucket;
    uint64_t reference;
    start();
    OK(kvreg_bucket_start(&bucket));
    /* More than there are places: each is given back. */
    unsigned long rounds = check_count(1200000);
    for (unsigned long i = 0; i < rounds; i++) {
        OK(kvreg_inbox_monitor(inbox, bucket, &reference));
        OK(kvreg_inbox_demonitor(inbox, reference, 0));
    }
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void places_are_bounded_and_no_down_is_lost(void) {
    enum { PLACES = 1 << 20 };
    kvreg_bucket *bucket;
    kvreg_event event;
    uint64_t reference, sum = 0;
    if (check_count(PLACES) < PLACES)
        return; /* under valgrind this takes minutes */
    start();
    OK(kvreg_bucket_start(&bucket));
    for (int i = 0; i < PLACES; i++) {
        OK(kvreg_inbox_monitor(inbox, bucket, &reference));
        sum += reference;
    }
    IS(KVREG_LIMIT, kvreg_inbox_monitor(inbox, bucket, &reference));
    CHECK(reference == 0);
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_LIMIT, kvreg_inbox_monitor(inbox, bucket, &reference));
    for (int i = 0; i < PLACES; i++) {
        OK(kvreg_inbox_receive(inbox, 0, &event));
        sum -= event.reference;
        kvreg_event_clear(&event);
    }
    CHECK(sum == 0);
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    down(reference, KVREG_REASON_NOPROC, "", "");
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void receive_waits_as_long_as_it_is_told(void) {
    kvreg_event event;
    start();
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 5, &event));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_receive(inbox, -2, &event));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_receive(inbox, 0, NULL));
    kvreg_event_clear(&event);
    CHECK(strcmp(event.name.data, "") == 0 && strcmp(event.detail.data, "") == 0);
    kvreg_event_clear(NULL);
    finish();
}

static void what_is_polled_is_raised_while_events_wait(void) {
    kvreg_bucket *bucket;
    uint64_t first, second, third;
    polled what, again;
    start();
    OK(kvreg_bucket_start(&bucket));
    OK(inbox_polled(inbox, &what));
    OK(inbox_polled(inbox, &again));
    CHECK(what != NOT_POLLED && what == again && !is_raised(what));
    OK(kvreg_inbox_monitor(inbox, bucket, &first));
    OK(kvreg_inbox_monitor(inbox, bucket, &second));
    OK(kvreg_inbox_monitor(inbox, bucket, &third));
    CHECK(!is_raised(what));
    OK(kvreg_bucket_stop(bucket));
    CHECK(is_raised(what));
    down(first, KVREG_REASON_NORMAL, "", "");
    CHECK(is_raised(what));
    OK(kvreg_inbox_demonitor(inbox, third, KVREG_DEMONITOR_FLUSH));
    CHECK(is_raised(what));
    down(second, KVREG_REASON_NORMAL, "", "");
    CHECK(!is_raised(what));
    OK(kvreg_inbox_monitor(inbox, bucket, &first));
    CHECK(is_raised(what));
    OK(kvreg_inbox_demonitor(inbox, first, KVREG_DEMONITOR_FLUSH));
    CHECK(!is_raised(what));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_fd(inbox, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_handle(inbox, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_handle(NULL, NULL));
    OK(kvreg_bucket_free(bucket));
    finish();

    /* Events that came before it was asked for count too. */
    start();
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_inbox_monitor(inbox, bucket, &first));
    OK(kvreg_bucket_stop(bucket));
    OK(inbox_polled(inbox, &what));
    CHECK(is_raised(what));
    down(first, KVREG_REASON_NORMAL, "", "");
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void *receive_for_ever(void *unused) {
    kvreg_event event;
    (void)unused;
    IS(KVREG_BAD_HANDLE, kvreg_inbox_receive(inbox, -1, &event));
    CHECK(event.type == 0 && event.reference == 0);
    return NULL;
}

static void free_wakes_its_receivers(void) {
    pthread_t threads[3];
    kvreg_event event;
    start();
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, receive_for_ever, NULL) == 0);
    OK(kvreg_inbox_free(inbox)); /* before, while or after they wait */
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    IS(KVREG_BAD_HANDLE, kvreg_inbox_receive(inbox, 0, &event));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_free(inbox));
}

static void a_freed_inbox_takes_its_monitors_back(void) {
    kvreg_bucket *bucket;
    uint64_t reference;
    start();
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_bucket_free(bucket));
}

static void no_waiting_inside_an_update(void) {
    kvreg_bucket *bucket;
    kvreg_update *update;
    kvreg_event event;
    start();
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    IS(KVREG_CALLING_SELF, kvreg_inbox_receive(inbox, -1, &event));
    IS(KVREG_CALLING_SELF, kvreg_inbox_receive(inbox, 1, &event));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_update_free(update));
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void logs_arrive_at_their_level_and_what_does_not_fit_is_counted(void) {
    enum { RING = 1024, MORE = 500 };
    kvreg_registry *registry;
    kvreg_event event;
    uint64_t of_registry;
    start();
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_inbox_monitor_registry(inbox, registry, &of_registry));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_INFO));
    OK(kvreg_registry_send(registry, "hello", KVREG_NUL)); /* at debug: not wanted */
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG));
    OK(kvreg_registry_send(registry, "hello\n\xff", KVREG_NUL));
    OK(kvreg_inbox_receive(inbox, -1, &event));
    CHECK(event.type == KVREG_EVENT_LOG && event.level == KVREG_LOG_DEBUG);
    CHECK(strstr(event.detail.data, "\"hello\\n\\xff\"") != NULL);
    kvreg_event_clear(&event);

    for (int i = 0; i < RING + MORE; i++)
        OK(kvreg_registry_send(registry, "x", 1));
    OK(kvreg_registry_stop(registry)); /* its DOWN has its place all the same */
    for (int i = 0; i < RING; i++) {
        OK(kvreg_inbox_receive(inbox, 0, &event));
        CHECK(event.type == KVREG_EVENT_LOG);
        kvreg_event_clear(&event);
    }
    OK(kvreg_inbox_receive(inbox, 0, &event));
    CHECK(event.type == KVREG_EVENT_LOST && event.count == MORE);
    kvreg_event_clear(&event);
    down(of_registry, KVREG_REASON_NORMAL, "", "");
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_subscribe_logs(inbox, 4));
    OK(kvreg_registry_free(registry));
    finish();
}

static const test tests[] = {
    TEST(each_monitor_gives_one_down),
    TEST(of_two_handles_a_bad_one_is_named_first),
    TEST(demonitor_takes_it_back),
    TEST(monitors_that_come_and_go_leave_nothing),
    TEST(places_are_bounded_and_no_down_is_lost),
    TEST(receive_waits_as_long_as_it_is_told),
    TEST(what_is_polled_is_raised_while_events_wait),
    TEST(free_wakes_its_receivers),
    TEST(a_freed_inbox_takes_its_monitors_back),
    TEST(no_waiting_inside_an_update),
    TEST(logs_arrive_at_their_level_and_what_does_not_fit_is_counted),
};

CHECK_MAIN(tests)
