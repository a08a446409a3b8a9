/* kvreg_macros.h: scopes release what they own, and a call that fails is dealt with once. */
#include <sys/wait.h>
#include <unistd.h>

#include "kvreg_macros.h"

#include "check.h"

static unsigned calls;

static kvreg_status counted(kvreg_status status) {
    calls++;
    return status;
}

/* The live handles of a kind. */
static kvreg_live live(void) {
    kvreg_live counts;
    counts.size = sizeof counts;
    OK(kvreg_live_counts(&counts));
    return counts;
}

static kvreg_status tried(kvreg_status first, kvreg_status second) {
    KVREG_TRY(counted(first));
    KVREG_TRY(counted(second));
    return KVREG_OK;
}

static void try_returns_the_first_failure(void) {
    calls = 0;
    IS(KVREG_OK, tried(KVREG_OK, KVREG_OK));
    IS(KVREG_LIMIT, tried(KVREG_LIMIT, KVREG_IO));
    IS(KVREG_IO, tried(KVREG_OK, KVREG_IO));
    CHECK(calls == 5);
}

static kvreg_status went(kvreg_status answer, int *way) {
    kvreg_status status;
    calls = 0;
    KVREG_GOTO(out, status, counted(answer));
    *way = 1;
    return status;
out:
    *way = 2;
    return status;
}

static kvreg_status last_of(kvreg_status first, kvreg_status second) {
    kvreg_status answers[3] = {KVREG_INTERNAL, KVREG_INTERNAL, KVREG_INTERNAL}, *answer = answers;
    KVREG_GOTO(out, *answer++, first);
    KVREG_GOTO(out, *answer++, second);
out:
    return answer[-1];
}

static void goto_goes_where_things_are_cleaned_up(void) {
    int way = 0;
    IS(KVREG_OK, went(KVREG_OK, &way));
    CHECK(way == 1 && calls == 1);
    IS(KVREG_IO, went(KVREG_IO, &way));
    CHECK(way == 2 && calls == 1);
    IS(KVREG_IO, last_of(KVREG_IO, KVREG_OK)); /* each is evaluated once */
    IS(KVREG_LIMIT, last_of(KVREG_OK, KVREG_LIMIT));
}

/* Returns in the middle, with some of it made. */
static kvreg_status early(bool fails) {
    KVREG_OWNED(registry) *registry = NULL;
    KVREG_OWNED(bucket) *bucket = NULL;
    KVREG_OWNED(inbox) *inbox = NULL;
    KVREG_OWNED(value) large = kvreg_nil();
    KVREG_OWNED(items) *items = NULL;
    KVREG_OWNED(listener) *listener = NULL;
    static char text[100000];
    KVREG_TRY(kvreg_registry_start(NULL, &registry));
    KVREG_TRY(kvreg_registry_create(registry, "b", KVREG_NUL, 0, &bucket));
    KVREG_TRY(kvreg_bucket_put_bytes(bucket, "k", KVREG_NUL, text, sizeof text));
    KVREG_TRY(kvreg_bucket_get(bucket, "k", KVREG_NUL, &large));
    KVREG_TRY(kvreg_bucket_items(bucket, &items));
    KVREG_TRY(kvreg_inbox_open(&inbox));
    KVREG_TRY(fails ? kvreg_bucket_put_bytes(bucket, "k", KVREG_NUL, NULL, 1) : KVREG_OK);
    KVREG_TRY(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
    uint64_t reference;
    KVREG_TRY(kvreg_inbox_monitor(inbox, bucket, &reference));
    KVREG_TRY(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, text, 0));
    KVREG_OWNED(event) down = {0};
    return kvreg_inbox_receive(inbox, 1000, &down);
}

static void a_scope_releases_what_it_owns(void) {
    IS(KVREG_INVALID_ARGUMENT, early(true));
    OK(early(false));
    kvreg_live left = live();
    CHECK(left.registry_handles + left.bucket_handles + left.items_handles == 0);
    CHECK(left.inbox_handles + left.listener_handles == 0);
}

static void an_update_that_is_left_is_given_up(void) {
    KVREG_OWNED(bucket) *bucket = NULL;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_int(bucket, "k", KVREG_NUL, 1));
    {
        KVREG_OWNED(update) *update = NULL;
        OK(kvreg_bucket_update_begin(bucket, "k", KVREG_NUL, NULL, &update));
        IS(KVREG_CALLING_SELF, kvreg_bucket_put_int(bucket, "k", KVREG_NUL, 2));
    }
    OK(kvreg_bucket_put_int(bucket, "k", KVREG_NUL, 3));
    CHECK(live().update_handles == 0);
}

static void must_says_what_failed_and_exits(void) {
    int ends[2], status;
    char said[512] = "";
    KVREG_MUST(KVREG_OK);
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        KVREG_MUST(kvreg_bucket_stop(NULL));
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == EXIT_FAILURE);
    CHECK(strstr(said, "test_macros.c:") != NULL);
    CHECK(strstr(said, ": kvreg_bucket_stop(NULL): KVREG_BAD_HANDLE: ") != NULL);

    /* A status that no call on this thread gave has a text too. */
    memset(said, 0, sizeof said);
    CHECK(pipe(ends) == 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        KVREG_MUST(KVREG_LIMIT);
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == EXIT_FAILURE);
    CHECK(strstr(said, kvreg_status_message(KVREG_LIMIT)) != NULL);
}

static const test tests[] = {
    TEST(must_says_what_failed_and_exits), /* it forks: before there is anything to be inherited */
    TEST(try_returns_the_first_failure),
    TEST(goto_goes_where_things_are_cleaned_up),
    TEST(a_scope_releases_what_it_owns),
    TEST(an_update_that_is_left_is_given_up),
};

CHECK_MAIN(tests)
