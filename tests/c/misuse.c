/*
 * Every misuse is a status (G9). Two threads share a pool of handles of all kinds and call
 * random functions with random handles (live, freed, of another kind, made up) and random
 * arguments, many of them wrong, while frees race the calls. Callbacks do the same. Nothing
 * here is a bad pointer or a length beyond its object: that alone is the caller's own fault.
 *
 * Every answer must be a status that can be meant, outputs must be clean after a failure, and
 * when all is freed nothing may be left.
 *
 * Usage: misuse [CALLS] [SEED]
 */
#define _POSIX_C_SOURCE 200809L

#include <time.h>

#include "misuse/functions.h"

enum { PATIENCE_MS = 60000 };

/* Of the two, each platform has one. */
#ifdef _WIN32
static const enum function not_here = DO_inbox_fd;
#else
static const enum function not_here = DO_inbox_handle;
#endif

static void free_pool(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        for (int slot = 0; slot < SLOTS; slot++)
            free_quietly((enum kind)kind, (void *)atomic_exchange(&pool[kind][slot], 0));
    }
    stop_named();
}

static void short_sleep(void) {
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

/* What callbacks still do ends, and then nothing lives. */
static void wait_for_quiet(void) {
    kvreg_live live = kvreg_live_init();
    for (int i = 0; atomic_load(&casts_destroyed) != atomic_load(&casts_sent); i++) {
        CHECK(i < PATIENCE_MS);
        free_pool(); /* an update in the pool would keep a bucket waiting */
        short_sleep();
    }
    free_pool();
    for (int i = 0; i < PATIENCE_MS; i++) { /* casts without `destroy` may still be running */
        OK(kvreg_live_counts(&live));
        if (live.registries == 0 && live.buckets == 0 && live.listener_handles == 0 &&
            live.servers == 0 && states_made == states_dropped &&
            arguments_given == arguments_destroyed)
            break;
        short_sleep();
    }
}

static void every_misuse_is_a_status(void) {
    pthread_t threads[THREADS];
    memset(big, 'x', BIG);
    OK(kvreg_configure(NULL)); /* first use: from here on it is too late */
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    atomic_store(&ending, true);
    free_pool();
    wait_for_quiet();
    CHECK(states_made == states_dropped && arguments_given == arguments_destroyed);
    printf("%10lu states of servers, each dropped once\n", atomic_load(&states_made));
    for (int status = 0; status < STATUSES; status++) {
        unsigned long count = atomic_load(&answers[status]);
        if (count > 0)
            printf("%10lu %s\n", count, kvreg_status_name(status));
    }
    printf("%10lu casts with a callback, each destroyed once\n", atomic_load(&casts_sent));
    fflush(stdout);
    for (int function = 0; calls >= 1000000 && function < COUNT; function++) {
        if (function == DO_shutdown || function == (int)not_here)
            continue;
        if (!atomic_load(&answered_ok[function])) /* a function that was only refused */
            check_fail(__FILE__, __LINE__, function_names[function]);
    }
}

int main(int argc, char **argv) {
    static const test tests[] = {TEST(every_misuse_is_a_status)};
    seed = (uint64_t)time(NULL);
    if (argc > 1)
        calls = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    return check_run(tests, sizeof tests / sizeof *tests);
}
