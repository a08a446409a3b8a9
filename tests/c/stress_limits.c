/*
 * A limit of bytes bounds memory: a writer that tries for 1 GiB, by calls and by casts, keeps
 * resident memory within the limit and a stated overhead.
 */
#include <malloc.h>
#include <pthread.h>

#include "check.h"

enum { LIMIT_MIB = 64, OVERHEAD_MIB = 16, TRIED_MIB = 1024, BUCKETS = 8 };


/* ThreadSanitizer's notes on what is stored, and on what was, are resident too. */
#ifdef __SANITIZE_THREAD__
enum { TIMES = 8 };
#else
enum { TIMES = 1 };
#endif
static const long most_kib = (LIMIT_MIB + OVERHEAD_MIB) * 1024L * TIMES;

static long resident_kib(void) {
    char line[128];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(status);
    CHECK(kib > 0);
    return kib;
}

/* Before anything was stored: what an allocator keeps for itself counts. */
static long baseline;

/*
 * What clear takes out, and what an end leaves, is freed as a whole by and by, and no part of the
 * bound until then: what a busy machine has not come to yet is waited for, as what malloc has given
 * and not got back.
 */
static size_t in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void wait_until_freed(size_t at_most) {
    check_patience patience = check_patiently();
    while (in_use() > at_most) {
        CHECK(check_go_on(&patience));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* In use before anything was stored, and what earlier tests may have left for good. */
static size_t empty;
enum { LEFT = 1 << 20 };

static void wait_until_empty(void) { wait_until_freed(empty + LEFT); }

static uint64_t state = 1;

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Tries to store TRIED_MIB in the buckets, and takes keys out only when it is refused. */
static void write_on(kvreg_bucket **buckets, unsigned count) {
    static char text[64 << 10];
    long most = baseline;
    unsigned long refused = 0, steps = 0;
    int64_t tried = 0;
    wait_until_empty();
    memset(text, 'x', sizeof text);
    while (tried < (int64_t)TRIED_MIB << 20) {
        size_t len = 256 + next_random() % (next_random() % 4 == 0 ? sizeof text - 256 : 4096);
        uint64_t key = next_random();
        kvreg_bucket *bucket = buckets[key % count];
        kvreg_value value = kvreg_bytes(text, len);
        kvreg_status status = steps % 2 == 0 ? kvreg_bucket_put(bucket, &key, sizeof key, &value)
                                             : kvreg_bucket_put_cast(bucket, &key, sizeof key, &value);
        tried += (int64_t)len;
        if (status == KVREG_LIMIT) {
            refused++;
            if (refused % 500 == 0) { /* make room now and then, all at once */
                kvreg_bucket_stats stats = kvreg_bucket_stats_init();
                size_t before = in_use();
                OK(kvreg_bucket_info(bucket, &stats));
                OK(kvreg_bucket_clear(bucket));
                wait_until_freed(before - stats.bytes / 10 * 9);
            }
        } else {
            OK(status);
        }
        if (++steps % 256 == 0) {
            long now = resident_kib();
            most = now > most ? now : most;
        }
    }
    printf("%d MiB tried, %lu of %lu refused, resident memory grew by %ld KiB at most\n",
           TRIED_MIB, refused, steps, most - baseline);
    CHECK(refused > 0);
    CHECK(most - baseline <= most_kib);
}

enum { WRITERS = 3 };

/* Stores TRIED_MIB in a bucket that takes keys out when it is full: nothing is refused. */
static void *write_cache(void *data) {
    kvreg_bucket *bucket = data;
    static char text[64 << 10]; /* zeros */
    uint64_t random = (uint64_t)(uintptr_t)&bucket | 1;
    for (int64_t tried = 0; tried < ((int64_t)TRIED_MIB << 20) / WRITERS;) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t key = random >> 40;
        size_t len = 256 + (random >> 20) % (key % 4 == 0 ? sizeof text - 256 : 4096);
        kvreg_value value = kvreg_bytes(text, len);
        OK(kvreg_bucket_put(bucket, &key, sizeof key, &value));
        tried += (int64_t)len;
        if (key % 16 == 0) {
            kvreg_status status = kvreg_bucket_get(bucket, &key, sizeof key, &value);
            CHECK(status == KVREG_OK || status == KVREG_NOT_FOUND);
            kvreg_value_clear(&value);
        }
    }
    return NULL;
}

/*
 * What the allocator was asked for: what it makes of that where several threads allocate, and free
 * what others allocated, is its own matter.
 */
static void g14_of_a_cache(void) {
    kvreg_bucket *bucket;
    pthread_t writers[WRITERS];
    wait_until_empty();
    size_t before = in_use(), most = before;
    kvreg_bucket_stats stats = kvreg_bucket_stats_init();
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_bytes = (uint64_t)LIMIT_MIB << 20;
    options.on_full = KVREG_EVICT;
    OK(kvreg_bucket_start_with(&options, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
    for (int i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&writers[i], NULL, write_cache, bucket) == 0);
    do {
        OK(kvreg_bucket_info(bucket, &stats));
        CHECK(stats.bytes <= options.max_bytes);
        size_t now = in_use();
        most = now > most ? now : most;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    } while (stats.handled < 50000);
    for (int i = 0; i < WRITERS; i++) CHECK(pthread_join(writers[i], NULL) == 0);
    OK(kvreg_bucket_info(bucket, &stats));
    printf("%llu of %llu puts made room, memory grew by %zu KiB at most\n",
           (unsigned long long)stats.evicted, (unsigned long long)stats.handled,
           (most - before) >> 10);
    CHECK(stats.evicted > 0 && stats.bytes > options.max_bytes / 10 * 9);
    CHECK(most - before <= (size_t)most_kib << 10);
    OK(kvreg_bucket_free(bucket));
}

static void g14_of_a_bucket(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_bytes = (uint64_t)LIMIT_MIB << 20;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create_with(registry, "a", 1, 0, &options, &bucket));
    write_on(&bucket, 1);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static void g14_of_a_registry(void) {
    kvreg_registry *registry;
    kvreg_bucket *buckets[BUCKETS];
    kvreg_registry_options options = kvreg_registry_options_init();
    options.max_bytes = (uint64_t)LIMIT_MIB << 20;
    OK(kvreg_registry_start(&options, &registry));
    for (unsigned i = 0; i < BUCKETS; i++)
        OK(kvreg_registry_create(registry, (const char[]){(char)('a' + i)}, 1, 0, &buckets[i]));
    write_on(buckets, BUCKETS);
    for (unsigned i = 0; i < BUCKETS; i++)
        OK(kvreg_bucket_free(buckets[i]));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

/* Casts that wait are counted: a mailbox is no way around the limit. */
static void g14_of_what_waits(void) {
    static char text[64 << 10];
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_update *update;
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_value value = kvreg_bytes(text, sizeof text);
    unsigned queued = 0;
    baseline = resident_kib();
    empty = in_use();
    options.max_bytes = (uint64_t)LIMIT_MIB << 20;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create_with(registry, "a", 1, 0, &options, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    for (unsigned i = 0; i < (TRIED_MIB << 10) / 64; i++) {
        kvreg_status status = kvreg_bucket_put_cast(bucket, "key", 3, &value);
        queued += status == KVREG_OK;
        CHECK(status == KVREG_OK || status == KVREG_LIMIT);
    }
    CHECK(queued == (LIMIT_MIB << 20) / (sizeof text + 3));
    CHECK(resident_kib() - baseline <= most_kib);
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_bucket_put(bucket, "key", 3, &value));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

static const test tests[] = {
    TEST(g14_of_what_waits),
    TEST(g14_of_a_bucket),
    TEST(g14_of_a_registry),
    TEST(g14_of_a_cache), /* leaves the allocator's arenas in pieces */
};
CHECK_MAIN(tests)
