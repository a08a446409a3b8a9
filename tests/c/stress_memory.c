/*
 * Names leave nothing behind (G14): distinct buckets are made, used and stopped, a million of
 * them and more where that is asked for, and the second half of them must not make the process
 * larger than the first half did. It may for once: where others have the processor, what ended
 * waits longer for who frees it. What is left behind is left by each half.
 *
 * Usage: stress_memory [NAMES]
 */
#define _POSIX_C_SOURCE 200809L

#include <unistd.h>

#include "check.h"

enum { ALLOWED_GROWTH = 2 * 1024 * 1024, HALVES = 6 };

static unsigned long names;

/* The resident memory of this process, in bytes. */
static long resident(void) {
    long size;
    long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%ld %ld", &size, &pages) == 2);
    CHECK(fclose(file) == 0);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Makes and stops the buckets of these numbers; none is left. */
static void come_and_go(kvreg_registry *registry, unsigned long from, unsigned long to) {
    size_t count;
    for (unsigned long i = from; i < to; i++) {
        char name[32];
        int len = snprintf(name, sizeof name, "bucket-%lu", i);
        kvreg_bucket *bucket;
        OK(kvreg_registry_create(registry, name, (size_t)len, KVREG_CREATE_EXCLUSIVE, &bucket));
        OK(kvreg_bucket_put_int(bucket, name, (size_t)len, (int64_t)i));
        OK(kvreg_bucket_stop(bucket));
        OK(kvreg_bucket_free(bucket));
    }
    OK(kvreg_registry_count(registry, &count));
    CHECK(count == 0);
}

static void names_leave_nothing_behind(void) {
    kvreg_registry *registry;
    OK(kvreg_registry_start(NULL, &registry));
    come_and_go(registry, 0, names / 2);
    for (unsigned long half = 1;; half++) {
        CHECK(half < HALVES);
        long before = resident();
        come_and_go(registry, half * (names / 2), (half + 1) * (names / 2));
        long after = resident();
        printf("resident after %lu names: %ld bytes, after %lu names: %ld bytes\n",
               half * (names / 2), before, (half + 1) * (names / 2), after);
        fflush(stdout);
        if (after - before <= ALLOWED_GROWTH) break;
    }
    OK(kvreg_registry_free(registry));
}

int main(int argc, char **argv) {
    static const test tests[] = {TEST(names_leave_nothing_behind)};
    names = argc > 1 ? strtoul(argv[1], NULL, 10) : check_scaled(400000);
    return check_run(tests, sizeof tests / sizeof *tests);
}
