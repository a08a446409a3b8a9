/*
 * The caller's memory may take long to be there, as that of a program that was swapped out does.
 * Whoever waits for it holds up nobody: reads are answered, writes have their turn, and what others
 * overwrite is freed (G14).
 *
 * The memory here is a file that ends too early: who touches what lies behind its end gets a
 * signal, whose handler waits until it is told to let the file grow. Not for valgrind, which does
 * not keep all registers for one that goes on after that.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum {
    LARGE = 100000, /* beyond what is copied in place */
    AREA = 1 << 17,
    NEAR = 1 << 16, /* so much is there, where only the far end is slow */
    TEXT = 256,     /* a text in the area, behind a pair */
    TEXT_LEN = 100,
    OVERWRITES = 400, /* of LARGE bytes: more than may wait to be freed */
};

static char *area;
static int file;
static char contents[AREA]; /* what the area has once it is there */
static size_t there;        /* how much of it is there until then */
static int events[2], orders[2];

static kvreg_registry *registry;
static kvreg_bucket *bucket, *other;
static const char large[LARGE];

/* The file is there from now on. */
static void fetch(int number, siginfo_t *what, void *context) {
    char order;
    (void)context;
    if ((char *)what->si_addr < area || (char *)what->si_addr >= area + AREA) {
        signal(number, SIG_DFL); /* another fault: it comes again */
        return;
    }
    if (write(events[1], "w", 1) != 1 || read(orders[0], &order, 1) != 1 ||
        pwrite(file, contents + there, AREA - there, (off_t)there) != (ssize_t)(AREA - there))
        _Exit(EXIT_FAILURE);
}

/* What is called ----------------------------------------------------------------------- */

static void put_a_slow_text(void) {
    OK(kvreg_bucket_put_bytes(bucket, "k", 1, area + TEXT, TEXT_LEN));
}

static void put_a_slow_large_text(void) {
    OK(kvreg_bucket_put_bytes(bucket, "k", 1, area + TEXT, LARGE));
}

static void put_a_text_with_a_slow_end(void) {
    OK(kvreg_bucket_put_bytes(bucket, "k", 1, area + NEAR - TEXT_LEN, 2 * TEXT_LEN));
}

/* It is looked at twice: if it is UTF-8, too. */
static void put_a_slow_large_string(void) {
    OK(kvreg_bucket_put_string(bucket, "k", 1, area + TEXT, LARGE));
}

static void put_with_a_slow_key(void) {
    OK(kvreg_bucket_put_int(bucket, area + TEXT, TEXT_LEN, 1));
}

/* Its length is to be found there too. */
static void put_with_a_slow_name(void) {
    OK(kvreg_bucket_put_int(bucket, area + TEXT, KVREG_NUL, 1));
}

static void put_a_large_text_with_a_slow_key(void) {
    OK(kvreg_bucket_put_bytes(bucket, area + TEXT, TEXT_LEN, large, LARGE));
}

static void put_cast_with_a_slow_key(void) {
    kvreg_value value = kvreg_bytes(large, LARGE);
    OK(kvreg_bucket_put_cast(bucket, area + TEXT, TEXT_LEN, &value));
}

static void put_cast_a_slow_text(void) {
    kvreg_value value = kvreg_bytes(area + TEXT, TEXT_LEN);
    OK(kvreg_bucket_put_cast(bucket, "k", 1, &value));
}

static void get_with_a_slow_key(void) {
    kvreg_value value;
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, area + TEXT, 1, &value));
}

static void get_with_a_slow_name(void) {
    kvreg_value value;
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, area + NEAR - 1, KVREG_NUL, &value));
}

static void delete_with_a_slow_key(void) {
    kvreg_value value;
    IS(KVREG_NOT_FOUND, kvreg_bucket_delete(bucket, area + TEXT, 1, &value));
}

static void delete_cast_with_a_slow_key(void) {
    OK(kvreg_bucket_delete_cast(bucket, area + TEXT, 1));
}

static void update_with_a_slow_key(void) {
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, area + TEXT, 1, NULL, &update));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
}

static void get_a_text_into_slow_memory(void) {
    kvreg_value value;
    OK(kvreg_bucket_get_into(bucket, "text", 4, area + TEXT, TEXT_LEN, &value));
}

static void get_a_text_across_a_slow_end(void) {
    kvreg_value value;
    OK(kvreg_bucket_get_into(bucket, "text", 4, area + NEAR - 1, TEXT_LEN, &value));
}

static void get_a_large_text_into_slow_memory(void) {
    kvreg_value value;
    OK(kvreg_bucket_get_into(bucket, "large", 5, area, AREA, &value));
}

static void get_the_bytes_of_a_text_into_slow_memory(void) {
    size_t len;
    OK(kvreg_bucket_get_bytes(bucket, "text", 4, area + TEXT, TEXT_LEN, &len));
}

static void get_the_bytes_of_a_large_text_into_slow_memory(void) {
    size_t len;
    OK(kvreg_bucket_get_bytes(bucket, "large", 5, area, AREA, &len));
}

static void put_slow_pairs(void) {
    OK(kvreg_bucket_put_many(bucket, (const kvreg_pair *)area, 1));
}

static void get_slow_pairs(void) {
    OK(kvreg_bucket_get_many(bucket, (kvreg_pair *)area, 1));
}

static void put_pairs_with_a_slow_text(void) {
    kvreg_pair pair = {.key = "k", .key_len = 1, .value = kvreg_bytes(area + TEXT, TEXT_LEN)};
    OK(kvreg_bucket_put_many(bucket, &pair, 1));
}

static void put_pairs_with_a_slow_key(void) {
    kvreg_pair pair = {.key = area + TEXT, .key_len = TEXT_LEN, .value = kvreg_int(1)};
    OK(kvreg_bucket_put_many(bucket, &pair, 1));
}

static void get_pairs_with_a_slow_key(void) {
    kvreg_pair pair = {.key = area + TEXT, .key_len = 1};
    OK(kvreg_bucket_get_many(bucket, &pair, 1));
}

static void put_slow_columns(void) {
    static const uint64_t len = TEXT_LEN;
    kvreg_columns columns = kvreg_columns_init();
    columns.type = KVREG_BYTES;
    columns.count = 1;
    columns.keys = columns.values = area + TEXT;
    columns.key_lens = columns.value_lens = &len;
    OK(kvreg_bucket_put_columns(bucket, &columns));
}

static void look_up_a_slow_name(void) {
    kvreg_bucket *found;
    IS(KVREG_NOT_FOUND, kvreg_registry_lookup(registry, area + TEXT, 1, &found));
}

static void create_a_slow_name(void) {
    kvreg_bucket *created;
    OK(kvreg_registry_create(registry, area + TEXT, TEXT_LEN, 0, &created));
    OK(kvreg_bucket_stop(created));
    OK(kvreg_bucket_free(created));
}

static void create_with_slow_options(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *created;
    memcpy(contents + NEAR, &options, sizeof options);
    OK(kvreg_registry_create_with(registry, "b", 1, 0, (const kvreg_bucket_options *)(area + NEAR),
                                  &created));
    memset(contents + NEAR, 'x', sizeof options);
    OK(kvreg_bucket_stop(created));
    OK(kvreg_bucket_free(created));
}

static void send_slow_bytes(void) {
    OK(kvreg_registry_send(registry, area + TEXT, TEXT_LEN));
}

static void exit_with_a_slow_detail(void) {
    kvreg_bucket *ended;
    OK(kvreg_bucket_start(&ended));
    OK(kvreg_bucket_exit(ended, KVREG_REASON_KILLED, area + TEXT, TEXT_LEN));
    OK(kvreg_bucket_free(ended));
}

static void execute_a_slow_line(void) {
    kvreg_value reply;
    OK(kvreg_registry_execute(registry, area + TEXT, TEXT_LEN, &reply));
    kvreg_value_clear(&reply);
}

/* Meanwhile ---------------------------------------------------------------------------- */

static void *call(void *function) {
    ((const test *)function)->run();
    CHECK(write(events[1], "d", 1) == 1);
    return NULL;
}

static char next_event(void) {
    char event;
    CHECK(read(events[0], &event, 1) == 1);
    return event;
}

/* A writer that would pass the bound is refused when its patience ends. */
static void nobody_is_held_up(kvreg_bucket *at_once) {
    int64_t number;
    OK(kvreg_bucket_get_int(at_once, "hot", 3, &number));
    OK(kvreg_bucket_put_int(at_once, "hot", 3, number + 1));
    for (int i = 0; i < OVERWRITES; i++)
        OK(kvreg_bucket_put_bytes(other, "k", 1, large, LARGE));
}

static void slow(const test *function, size_t at_first) {
    pthread_t thread;
    kvreg_bucket *at_once;
    OK(kvreg_bucket_clone(bucket, &at_once));
    OK(kvreg_bucket_set_timeout(at_once, 0));
    there = at_first;
    CHECK(ftruncate(file, 0) == 0);
    CHECK(pwrite(file, contents, there, 0) == (ssize_t)there);
    CHECK(pthread_create(&thread, NULL, call, (void *)(uintptr_t)function) == 0);
    CHECK(next_event() == 'w');
    nobody_is_held_up(at_once);
    CHECK(write(orders[1], "g", 1) == 1);
    CHECK(next_event() == 'd');
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_bucket_free(at_once));
    printf("ok %s\n", function->name);
}

static void g14_slow_memory_holds_up_nobody(void) {
    static const test all_slow[] = {
        TEST(put_a_slow_text),
        TEST(put_a_slow_large_text),
        TEST(put_a_slow_large_string),
        TEST(put_with_a_slow_key),
        TEST(put_with_a_slow_name),
        TEST(put_a_large_text_with_a_slow_key),
        TEST(put_cast_with_a_slow_key),
        TEST(put_cast_a_slow_text),
        TEST(get_with_a_slow_key),
        TEST(delete_with_a_slow_key),
        TEST(delete_cast_with_a_slow_key),
        TEST(update_with_a_slow_key),
        TEST(get_a_text_into_slow_memory),
        TEST(get_a_large_text_into_slow_memory),
        TEST(get_the_bytes_of_a_text_into_slow_memory),
        TEST(get_the_bytes_of_a_large_text_into_slow_memory),
        TEST(put_slow_pairs),
        TEST(get_slow_pairs),
        TEST(put_pairs_with_a_slow_text),
        TEST(put_pairs_with_a_slow_key),
        TEST(get_pairs_with_a_slow_key),
        TEST(put_slow_columns),
        TEST(look_up_a_slow_name),
        TEST(create_a_slow_name),
        TEST(create_with_slow_options),
        TEST(send_slow_bytes),
        TEST(exit_with_a_slow_detail),
        TEST(execute_a_slow_line),
    };
    static const test slow_ends[] = {
        TEST(put_a_text_with_a_slow_end),
        TEST(get_with_a_slow_name),
        TEST(get_a_text_across_a_slow_end),
        TEST(get_a_large_text_into_slow_memory),
        TEST(get_the_bytes_of_a_large_text_into_slow_memory),
    };
    struct sigaction action = {.sa_sigaction = fetch, .sa_flags = SA_SIGINFO}, before;
    kvreg_pair pair = {.key = "hot", .key_len = 3, .value = kvreg_int(1)};
    FILE *opened = tmpfile();
    CHECK(opened != NULL && pipe(events) == 0 && pipe(orders) == 0);
    file = fileno(opened);
    area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(area != MAP_FAILED);
    memset(contents, 'x', sizeof contents);
    memcpy(contents, &pair, sizeof pair);
    contents[TEXT + TEXT_LEN] = contents[NEAR + TEXT_LEN] = '\0';
    CHECK(sigaction(SIGBUS, &action, &before) == 0);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_start(&other));
    OK(kvreg_bucket_set_timeout(other, CHECK_PATIENCE * 1000));
    OK(kvreg_bucket_put_int(bucket, "hot", 3, 1));
    OK(kvreg_bucket_put_bytes(bucket, "text", 4, large, TEXT_LEN));
    OK(kvreg_bucket_put_bytes(bucket, "large", 5, large, LARGE));
    for (size_t i = 0; i < sizeof all_slow / sizeof *all_slow; i++)
        slow(&all_slow[i], 0);
    for (size_t i = 0; i < sizeof slow_ends / sizeof *slow_ends; i++)
        slow(&slow_ends[i], NEAR);
    OK(kvreg_bucket_free(other));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    CHECK(sigaction(SIGBUS, &before, NULL) == 0);
    CHECK(munmap(area, AREA) == 0 && fclose(opened) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(close(events[i]) == 0 && close(orders[i]) == 0);
}

static const test tests[] = {
    TEST(g14_slow_memory_holds_up_nobody),
};
CHECK_MAIN(tests)
