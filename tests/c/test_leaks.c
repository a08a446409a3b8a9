/* kvreg_test.h: what a test leaves behind is told, and what it has cleaned up is not. */
#include <unistd.h>

#include "kvreg_test.h"

#include "check.h"

static char said[1024];

/* The answer of kvreg_test_end; what it says goes to `said`. */
static bool ends(const kvreg_live *before) {
    int pipes[2], stderr_before = dup(STDERR_FILENO);
    CHECK(stderr_before >= 0 && pipe(pipes) == 0);
    fflush(stderr);
    dup2(pipes[1], STDERR_FILENO);
    bool clean = kvreg_test_end(before);
    fflush(stderr);
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    close(pipes[1]);
    ssize_t length = read(pipes[0], said, sizeof said - 1);
    CHECK(length >= 0);
    said[length] = '\0';
    close(pipes[0]);
    return clean;
}

static void what_is_cleaned_up_is_not_left(void) {
    kvreg_live before = kvreg_test_begin();
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    CHECK(ends(&before));
    CHECK(strcmp(said, "") == 0);
}

static void handles_and_servers_that_are_left_are_told(void) {
    kvreg_live before = kvreg_test_begin();
    kvreg_registry *registry;
    kvreg_bucket *bucket, *again;
    kvreg_inbox *inbox;
    kvreg_items *items;
    kvreg_update *update;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_clone(bucket, &again));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_items(bucket, &items));
    OK(kvreg_bucket_update_begin(bucket, "k", KVREG_NUL, NULL, &update));
    CHECK(!ends(&before));
    CHECK(strcmp(said, "left behind in kvreg: 1 registries\n"
                       "left behind in kvreg: 1 buckets\n"
                       "left behind in kvreg: 1 registry handles\n"
                       "left behind in kvreg: 2 bucket handles\n"
                       "left behind in kvreg: 1 update handles\n"
                       "left behind in kvreg: 1 items handles\n"
                       "left behind in kvreg: 1 inbox handles\n") == 0);
    /* What was there before is not this test's. */
    kvreg_live since = kvreg_test_begin();
    CHECK(ends(&since));
    OK(kvreg_update_free(update));
    OK(kvreg_items_free(items));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(again));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    CHECK(ends(&before));
}

static void a_server_without_a_handle_is_told(void) {
    kvreg_live before = kvreg_test_begin();
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_registry *registry;
    options.name = "kitchen";
    options.name_len = KVREG_NUL;
    OK(kvreg_registry_start(&options, &registry));
    OK(kvreg_registry_free(registry));
    CHECK(!ends(&before));
    CHECK(strcmp(said, "left behind in kvreg: 1 registries\n") == 0);
    OK(kvreg_registry_whereis("kitchen", KVREG_NUL, &registry));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    CHECK(ends(&before));
}

static void what_ends_on_a_thread_of_the_library_is_waited_for(void) {
    kvreg_live before = kvreg_test_begin();
    for (unsigned long i = 0; i < check_count(20); i++) {
        kvreg_registry *registry;
        kvreg_listener *listener;
        OK(kvreg_registry_start(NULL, &registry));
        OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
        OK(kvreg_registry_free(registry)); /* the listener keeps it */
        OK(kvreg_listener_free(listener));
        CHECK(ends(&before));
    }
}

static void after_the_shutdown_nothing_is_left(void) {
    kvreg_live before = kvreg_test_begin();
    kvreg_bucket *bucket;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_shutdown(10000));
    CHECK(ends(&before));
    OK(kvreg_bucket_free(bucket));
}

static const test tests[] = {
    TEST(what_is_cleaned_up_is_not_left),
    TEST(handles_and_servers_that_are_left_are_told),
    TEST(a_server_without_a_handle_is_told),
    TEST(what_ends_on_a_thread_of_the_library_is_waited_for),
    TEST(after_the_shutdown_nothing_is_left),
};

CHECK_MAIN(tests)
