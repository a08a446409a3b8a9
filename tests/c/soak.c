/*
 * Memory is flat (G14), however long a process runs: threads do everything by chance, in phases.
 * After each phase all that they made is gone, and what is resident then may not grow from the
 * first phases to the last.
 *
 * Usage: soak [SECONDS] [SEED]
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 3, NAMES = 8, KEYS = 64, PHASES = 12, WARM = 4, ALLOWED_KIB = 4096 };

static kvreg_registry *registry;
static kvreg_inbox *inbox;
static uint64_t seed;
static unsigned seconds = 3;
static atomic_bool done;
static atomic_ulong made;

static uint64_t draw(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 16;
}

static size_t text_of(char *text, const char *kind, uint64_t number) {
    return (size_t)snprintf(text, 32, "%s %llu", kind, (unsigned long long)number);
}

/* What the bucket's state, or another thread, does not allow is fine; a fault of the library is
   not. */
static void fine(kvreg_status status) {
    switch (status) {
    case KVREG_OK:
    case KVREG_NOT_FOUND:
    case KVREG_NO_PROCESS:
    case KVREG_SERVER_DOWN:
    case KVREG_TIMEOUT:
    case KVREG_WRONG_TYPE:
        break;
    default:
        OK(status);
    }
}

static kvreg_verdict next(void *data, const kvreg_value *current, kvreg_value *to) {
    (void)current;
    *to = kvreg_int((int64_t)(uintptr_t)data);
    return KVREG_STORE;
}

static void snapshot(kvreg_bucket *bucket) {
    kvreg_items *items;
    kvreg_value key, value;
    kvreg_status status = kvreg_bucket_items(bucket, &items);
    fine(status);
    if (status != KVREG_OK)
        return;
    while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
        kvreg_value_clear(&key);
        kvreg_value_clear(&value);
    }
    OK(kvreg_items_free(items));
}

/* One call into a bucket, of whatever kind. */
static void call(kvreg_bucket *bucket, uint64_t *state) {
    static const size_t sizes[] = {0, 8, 64, 65, 128, 512, 513, 4096, 4097, 65536};
    static const char bytes[65536];
    char key[32];
    size_t len = text_of(key, "key", draw(state) % KEYS);
    kvreg_value value = kvreg_bytes(bytes, sizes[draw(state) % 10]), got;
    kvreg_update *update;
    uint64_t reference;
    switch (draw(state) % 16) {
    case 0: fine(kvreg_bucket_delete(bucket, key, len, NULL)); break;
    case 1: fine(kvreg_bucket_put_cast(bucket, key, len, &value)); break;
    case 2: fine(kvreg_bucket_delete_cast(bucket, key, len)); break;
    case 3: fine(kvreg_bucket_update(bucket, key, len, next, NULL)); break;
    case 4: fine(kvreg_bucket_update_cast(bucket, key, len, next, NULL, NULL)); break;
    case 5:
        if (kvreg_bucket_update_begin(bucket, key, len, &got, &update) == KVREG_OK) {
            kvreg_value_clear(&got);
            fine(kvreg_update_end(update, KVREG_STORE, &value));
        }
        break;
    case 6: snapshot(bucket); break;
    case 7:
        if (draw(state) % 8 == 0)
            fine(kvreg_bucket_clear(bucket));
        break;
    case 8:
        OK(kvreg_inbox_monitor(inbox, bucket, &reference));
        if (draw(state) % 2 == 0)
            OK(kvreg_inbox_demonitor(inbox, reference, KVREG_DEMONITOR_FLUSH));
        break;
    case 9: case 10: case 11:
        fine(kvreg_bucket_get(bucket, key, len, &got));
        kvreg_value_clear(&got);
        break;
    default: fine(kvreg_bucket_put(bucket, key, len, &value));
    }
}

static void *work(void *number) {
    uint64_t state = (seed * THREADS + (uint64_t)(uintptr_t)number) * UINT64_C(0x9E3779B97F4A7C15) | 1;
    while (!atomic_load(&done)) {
        char name[32];
        size_t len = text_of(name, "bucket", draw(&state) % NAMES);
        kvreg_bucket *bucket;
        kvreg_event event;
        OK(kvreg_registry_create(registry, name, len, 0, &bucket));
        for (uint64_t left = draw(&state) % 64; left > 0; left--)
            call(bucket, &state);
        switch (draw(&state) % 8) {
        case 0: fine(kvreg_bucket_stop(bucket)); break;
        case 1: fine(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0)); break;
        case 2: fine(kvreg_registry_remove(registry, name, len)); break;
        default: break;
        }
        OK(kvreg_bucket_free(bucket));
        while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK)
            kvreg_event_clear(&event);
        atomic_fetch_add(&made, 1);
    }
    return NULL;
}

static long resident_kib(void) {
    long size, pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%ld %ld", &size, &pages) == 2);
    CHECK(fclose(file) == 0);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void pause_ms(unsigned ms) {
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

/* What is resident after all that the threads made is gone. */
static long phase(unsigned ms) {
    pthread_t threads[THREADS];
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_inbox_open(&inbox));
    atomic_store(&done, false);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pause_ms(ms);
    atomic_store(&done, true);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    pause_ms(100); /* what readers may have seen is freed meanwhile */
    malloc_trim(0);
    return resident_kib();
}

static void memory_is_flat(void) {
    long first = 0, last = 0;
    for (int number = 0; number < PHASES; number++) {
        long kib = phase(seconds * 1000 / PHASES);
        printf("phase %d: %lu handles in all, %ld KiB resident\n", number + 1, atomic_load(&made), kib);
        fflush(stdout);
        seed++;
        if (number < WARM && kib > first)
            first = kib;
        if (number >= PHASES - WARM && (last == 0 || kib < last))
            last = kib;
    }
    /* The least of the last: that one phase ends badly is luck, that all do is a leak. */
    CHECK(last <= first + ALLOWED_KIB);
}

int main(int argc, char **argv) {
    static const test tests[] = {TEST(memory_is_flat)};
    seed = (uint64_t)time(NULL);
    if (argc > 1)
        seconds = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    printf("seed %llu\n", (unsigned long long)seed);
    return check_run(tests, sizeof tests / sizeof *tests);
}
