/*
 * Scans of a large bucket beside a writer: how long its puts wait, and how long an ordered bucket
 * takes to be gone through in pages. The times are printed; what is given is checked.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"

static unsigned long all_keys;
static kvreg_bucket *bucket;
static atomic_bool is_over;
static double longest_ms;
static unsigned long done;

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static size_t name_of(char name[40], unsigned long number) {
    unsigned long mixed = (number * 0x9e3779b97f4a7c15u) >> 20;
    return (size_t)snprintf(name, 40, "key:%014lx", mixed);
}

static void *put_all_the_time(void *nothing) {
    for (unsigned long number = 0; !atomic_load(&is_over); number++) {
        char name[40];
        size_t len = name_of(name, number % all_keys);
        double begin = now_ms();
        OK(kvreg_bucket_put_int(bucket, name, len, -1));
        double took = now_ms() - begin;
        if (took > longest_ms) longest_ms = took;
        done++;
    }
    return nothing;
}

static void start(uint32_t order) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.order = order;
    OK(kvreg_bucket_start_with(&options, &bucket));
    double begin = now_ms();
    for (unsigned long number = 0; number < all_keys; number++) {
        char name[40];
        size_t len = name_of(name, number);
        OK(kvreg_bucket_put_int(bucket, name, len, -1));
    }
    printf("   %s, %lu keys: %.0f ns a new key\n", order ? "ordered" : "unordered", all_keys,
           (now_ms() - begin) * 1e6 / (double)all_keys);
}

/* Goes through what a scan gives, which rises from `last` on; answers how many there are. */
static size_t take(kvreg_items *items, char last[40]) {
    kvreg_value key, value;
    size_t taken = 0;
    while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
        const char *found = (const char *)key.as.text.data;
        CHECK(strcmp(last, found) < 0 && value.as.integer == -1);
        strcpy(last, found);
        kvreg_value_clear(&key);
        taken++;
    }
    OK(kvreg_items_free(items));
    return taken;
}

/* What the machine makes of as many puts alone, beside whatever else it does. */
static void puts_alone(void) {
    longest_ms = 0;
    for (unsigned long number = 0; number < all_keys; number++) {
        char name[40];
        size_t len = name_of(name, number);
        double begin = now_ms();
        OK(kvreg_bucket_put_int(bucket, name, len, -1));
        double took = now_ms() - begin;
        if (took > longest_ms) longest_ms = took;
    }
    printf("   of %lu puts alone the longest took %.2f ms\n", all_keys, longest_ms);
}

static void scan_beside_puts(const char *what, const kvreg_scan_options *options, size_t wanted) {
    pthread_t thread;
    kvreg_items *items;
    char last[40] = "";
    atomic_store(&is_over, false);
    longest_ms = 0, done = 0;
    CHECK(pthread_create(&thread, NULL, put_all_the_time, NULL) == 0);
    double begin = now_ms();
    OK(kvreg_bucket_scan(bucket, options, &items));
    double took = now_ms() - begin;
    atomic_store(&is_over, true);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(take(items, last) == wanted);
    printf("   %s: %.0f ms; of %lu puts beside it the longest took %.2f ms\n", what, took, done,
           longest_ms);
}

static void scans_beside_puts(void) {
    for (uint32_t order = 0; order < 2; order++) {
        start(order);
        kvreg_scan_options page = kvreg_scan_options_init();
        page.limit = 1000;
        kvreg_scan_options none = kvreg_scan_options_init();
        none.prefix = "nothing", none.prefix_len = 7;
        puts_alone();
        scan_beside_puts("all", NULL, all_keys);
        scan_beside_puts("all again", NULL, all_keys);
        scan_beside_puts("the first 1,000", &page, all_keys < 1000 ? all_keys : 1000);
        scan_beside_puts("no match", &none, 0);
        OK(kvreg_bucket_stop(bucket));
        OK(kvreg_bucket_free(bucket));
    }
}

static void pages_of_an_ordered_bucket(void) {
    start(KVREG_ORDERED);
    kvreg_scan_options page = kvreg_scan_options_init();
    page.limit = 1000;
    char last[40] = "";
    size_t given = 0, pages = 0, taken;
    double begin = now_ms();
    do {
        kvreg_items *items;
        OK(kvreg_bucket_scan(bucket, &page, &items));
        taken = take(items, last);
        page.after = last, page.after_len = strlen(last);
        given += taken, pages++;
    } while (taken == page.limit);
    printf("   %zu keys in %zu pages: %.0f ms\n", given, pages, now_ms() - begin);
    CHECK(given == all_keys);
    OK(kvreg_bucket_free(bucket));
}

static const test tests[] = {
    TEST(scans_beside_puts),
    TEST(pages_of_an_ordered_bucket),
};

int main(void) {
    all_keys = check_count(1000000);
    return check_run(tests, sizeof tests / sizeof *tests);
}
