/* kvreg_shutdown: what still works afterwards, and what it does to those who wait. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>

#include "polled.h"

static kvreg_registry *registry;
static kvreg_bucket *bucket, *waiting_for;
static kvreg_inbox *inbox;
static pthread_barrier_t ready, done;

static void *receive_for_ever(void *unused) {
    kvreg_event event;
    (void)unused;
    pthread_barrier_wait(&ready);
    IS(KVREG_SHUT_DOWN, kvreg_inbox_receive(inbox, -1, &event));
    return NULL;
}

static void *put_for_ever(void *unused) {
    (void)unused;
    pthread_barrier_wait(&ready);
    kvreg_status status = kvreg_bucket_put_int(waiting_for, "n", 1, 1);
    /* It was waiting, or came too late for that. */
    CHECK(status == KVREG_SERVER_DOWN || status == KVREG_NO_PROCESS ||
          status == KVREG_SHUT_DOWN);
    return NULL;
}

/* Has the turn that the other one waits for, until all is over. */
static void *hold_the_turn(void *unused) {
    kvreg_update *update;
    (void)unused;
    OK(kvreg_bucket_update_begin(waiting_for, "n", 1, NULL, &update));
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&done);
    IS(KVREG_SHUT_DOWN, kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_update_free(update));
    return NULL;
}

static kvreg_verdict keep(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_KEEP;
}

static void shutdown_ends_everything_and_leaves_values(void) {
    polled what = NOT_POLLED;
    kvreg_value small, large, value = kvreg_int(1);
    kvreg_items *items;
    kvreg_update *update;
    kvreg_event event;
    pthread_t receiver, putter, holder;
    uint64_t reference;
    size_t count;
    static char big[100000];

    IS(KVREG_INVALID_ARGUMENT, kvreg_shutdown(-2));
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_put_string(bucket, "small", 5, "text", 4));
    OK(kvreg_bucket_put_bytes(bucket, "large", 5, big, sizeof big));
    OK(kvreg_bucket_get(bucket, "small", 5, &small));
    OK(kvreg_bucket_get(bucket, "large", 5, &large));
    OK(kvreg_bucket_items(bucket, &items));
    OK(kvreg_bucket_update_cast(bucket, "n", 1, keep, NULL, NULL)); /* starts the threads */
    OK(kvreg_bucket_count(bucket, &count));
    OK(kvreg_inbox_open(&inbox));
    OK(inbox_polled(inbox, &what));
    CHECK(!is_raised(what));
    OK(kvreg_bucket_start(&waiting_for));
    OK(kvreg_bucket_set_timeout(waiting_for, -1));
    CHECK(pthread_barrier_init(&ready, NULL, 4) == 0);
    CHECK(pthread_barrier_init(&done, NULL, 2) == 0);
    CHECK(pthread_create(&receiver, NULL, receive_for_ever, NULL) == 0);
    CHECK(pthread_create(&putter, NULL, put_for_ever, NULL) == 0);

    CHECK(pthread_create(&holder, NULL, hold_the_turn, NULL) == 0);

    OK(kvreg_bucket_update_begin(bucket, "n", 1, NULL, &update));
    IS(KVREG_CALLING_SELF, kvreg_shutdown(-1));
    OK(kvreg_update_free(update));
    pthread_barrier_wait(&ready);
    OK(kvreg_shutdown(10000));
    pthread_barrier_wait(&done);
    CHECK(pthread_join(holder, NULL) == 0);
    CHECK(pthread_join(receiver, NULL) == 0);
    CHECK(pthread_join(putter, NULL) == 0);

    /* Who polls the inbox is woken, and nothing else gets the number of what is polled. */
    wait_until_raised(what);

    IS(KVREG_SHUT_DOWN, kvreg_shutdown(0));
    IS(KVREG_SHUT_DOWN, kvreg_registry_start(NULL, &registry));
    CHECK(registry == NULL);
    IS(KVREG_SHUT_DOWN, kvreg_bucket_put(bucket, "n", 1, &value));
    IS(KVREG_SHUT_DOWN, kvreg_bucket_get(NULL, "n", 1, &value));
    CHECK(value.type == KVREG_NIL);
    IS(KVREG_SHUT_DOWN, kvreg_bucket_start(NULL));
    IS(KVREG_SHUT_DOWN, kvreg_items_next(items, &value, NULL));
    IS(KVREG_SHUT_DOWN, kvreg_inbox_open(&inbox));
    IS(KVREG_SHUT_DOWN, kvreg_inbox_monitor(NULL, bucket, &reference));
    IS(KVREG_SHUT_DOWN, kvreg_inbox_receive(inbox, 0, &event));
    IS(KVREG_SHUT_DOWN, kvreg_live_counts(NULL));

    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(waiting_for));
    OK(kvreg_items_free(items));
    OK(kvreg_update_free(update));
    CHECK(check_text(&small, KVREG_STRING, "text"));
    CHECK(large.as.text.len == sizeof big && memcmp(large.as.text.data, big, sizeof big) == 0);
    kvreg_value_clear(&small);
    kvreg_value_clear(&large);
    kvreg_event_clear(&event);
    pthread_barrier_destroy(&ready);
    pthread_barrier_destroy(&done);
}

static const test tests[] = {TEST(shutdown_ends_everything_and_leaves_values)};

CHECK_MAIN(tests)
