/*
 * What a put costs beside watches: `watch_costs [PUTS]` prints the writer's nanoseconds without, beside
 * 1, 4 and 100 watches that are received all the time, beside those that sleep and cover other keys,
 * and after all have left.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"

enum { KEYS = 1000, MOST = 100, ROUNDS = 5 };

static kvreg_bucket *bucket;
static kvreg_inbox *inbox;
static unsigned long calls;
static char keys[KEYS][16];

static double now(void) {
    struct timespec time;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double put_all(void) {
    double begun = now();
    kvreg_value value = kvreg_int(1);
    for (unsigned long i = 0; i < calls; i++) OK(kvreg_bucket_put(bucket, keys[i % KEYS], 8, &value));
    return (now() - begun) / (double)calls;
}

/* The best of some rounds: others use the machine too. */
static double best(void) {
    double least = put_all();
    for (int i = 1; i < ROUNDS; i++) {
        double time = put_all();
        least = time < least ? time : least;
    }
    return least;
}

static void *receive(void *unused) {
    kvreg_event events[64];
    size_t count;
    kvreg_status status;
    (void)unused;
    while ((status = kvreg_inbox_receive_many(inbox, -1, events, 64, &count)) == KVREG_OK)
        for (size_t i = 0; i < count; i++) kvreg_event_clear(&events[i]);
    CHECK(status == KVREG_BAD_HANDLE);
    return NULL;
}

static double beside(unsigned watches, bool sleep) {
    kvreg_watch_options options = kvreg_watch_options_init();
    kvreg_event event;
    pthread_t thread;
    uint64_t reference;
    OK(kvreg_inbox_open(&inbox));
    options.prefix = sleep ? "other" : "";
    options.prefix_len = KVREG_NUL;
    for (unsigned i = 0; i < watches; i++)
        OK(kvreg_inbox_watch(inbox, bucket, &options, &reference));
    if (sleep)
        while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK) kvreg_event_clear(&event);
    else
        CHECK(pthread_create(&thread, NULL, receive, NULL) == 0);
    double time = best();
    OK(kvreg_inbox_free(inbox));
    if (!sleep)
        CHECK(pthread_join(thread, NULL) == 0);
    return time;
}

int main(int count, char **arguments) {
    static const unsigned watches[] = {1, 4, MOST};
    calls = count > 1 ? strtoul(arguments[1], NULL, 10) : 1000000;
    OK(kvreg_bucket_start(&bucket));
    for (int i = 0; i < KEYS; i++) snprintf(keys[i], sizeof keys[i], "key%05d", i);
    double alone = best();
    printf("%8.1f ns a put without watches\n", alone);
    for (int sleep = 0; sleep < 2; sleep++)
        for (size_t i = 0; i < sizeof watches / sizeof *watches; i++) {
            double time = beside(watches[i], sleep);
            printf("%8.1f ns a put beside %u that %s: %.2f times\n", time, watches[i],
                   sleep ? "sleep and cover other keys" : "are received", time / alone);
        }
    double after = best();
    printf("%8.1f ns a put after all have left: %.2f times\n", after, after / alone);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_shutdown(-1));
    return 0;
}
