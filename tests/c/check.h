/*
 * A small harness: a program is a list of tests, run in order. The first check that does not
 * hold ends the program. At the end everything must be freed, as kvreg_live_counts sees it,
 * and kvreg_shutdown must find nothing stuck.
 */
#ifndef CHECK_H
#define CHECK_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kvreg.h"

typedef struct test {
    const char *name;
    void (*run)(void);
} test;

#define TEST(function) {#function, function}

static unsigned check_passed;

static inline void check_fail(const char *file, int line, const char *what) {
    char text[256];
    kvreg_last_error(text, sizeof text);
    fprintf(stderr, "%s:%d: %s (last error: %s)\n", file, line, what, text);
    fflush(stderr);
    printf("%u passed, 1 failed\n", check_passed);
    fflush(stdout);
    _Exit(EXIT_FAILURE);
}

static inline void check_status(const char *file, int line, const char *call,
                                kvreg_status status, kvreg_status expected) {
    if (status != expected) {
        char what[512];
        snprintf(what, sizeof what, "%s: %s instead of %s", call, kvreg_status_name(status),
                 kvreg_status_name(expected));
        check_fail(file, line, what);
    }
}

/* The condition holds. */
#define CHECK(condition) \
    ((condition) ? (void)0 : check_fail(__FILE__, __LINE__, "not true: " #condition))
/* The call answers this status. */
#define IS(status, call) check_status(__FILE__, __LINE__, #call, (call), (status))
#define OK(call) IS(KVREG_OK, call)

/*
 * What must come is waited for so long: longer than any machine takes that is busy, and yet a test
 * fails where it would hang.
 *
 *     check_patience patience = check_patiently();
 *     while (!it_came) CHECK(check_go_on(&patience));
 */
enum { CHECK_PATIENCE = 60 }; /* seconds */

typedef struct check_patience {
    time_t begin;
} check_patience;

static inline check_patience check_patiently(void) {
    check_patience patience = {time(NULL)};
    return patience;
}

/* Lets others go on; whether there is time left. */
static inline bool check_go_on(const check_patience *patience) {
    sched_yield();
    return time(NULL) - patience->begin <= CHECK_PATIENCE;
}

/* How often to repeat what is repeated: valgrind gets by with less. */
static inline unsigned long check_count(unsigned long count) {
    const char *text = getenv("KVREG_TEST_COUNT");
    unsigned long wanted = text != NULL ? strtoul(text, NULL, 10) : 0;
    return wanted != 0 && wanted < count ? wanted : count;
}

/* The same of what `make test-often` repeats more often than `make test`: by KVREG_TEST_SCALE. */
static inline unsigned long check_scaled(unsigned long count) {
    const char *text = getenv("KVREG_TEST_SCALE");
    unsigned long scale = text != NULL ? strtoul(text, NULL, 10) : 1;
    return check_count(scale != 0 ? count * scale : count);
}

/*
 * Whether ThreadSanitizer is in the program; then it says that the test is left out, and why.
 *
 *     if (LEFT_OUT_BY_TSAN("the child starts threads")) return;
 */
#ifdef __SANITIZE_THREAD__
#define LEFT_OUT_BY_TSAN(reason) \
    (printf("left out under ThreadSanitizer: %s: %s\n", __func__, (reason)), true)
#else
#define LEFT_OUT_BY_TSAN(reason) false
#endif
/*
 * It dies of the first thread that a child starts whose parent had several, and looks at nothing
 * that such a child does.
 */
#define A_CHILD_STARTS_THREADS "a thread is started in the child of several"

/* The value is this text. */
static inline bool check_text(const kvreg_value *value, uint32_t type, const char *text) {
    return value->type == type && value->as.text.len == strlen(text) &&
           memcmp(value->as.text.data, text, strlen(text)) == 0;
}

static inline int check_run(const test *tests, size_t count) {
    for (size_t i = 0; i < count; i++) {
        tests[i].run();
        check_passed++;
        printf("ok %s\n", tests[i].name);
        fflush(stdout);
    }
    kvreg_live live = kvreg_live_init();
    kvreg_status status = kvreg_live_counts(&live);
    if (status != KVREG_SHUT_DOWN) { /* a program may test the shutdown itself */
        OK(status);
        /* A registry that only a listener kept ends on a thread of the library's. */
        check_patience patience = check_patiently();
        while (live.registries + live.buckets + live.servers != 0 && check_go_on(&patience))
            OK(kvreg_live_counts(&live));
        CHECK(live.registry_handles == 0);
        CHECK(live.bucket_handles == 0);
        CHECK(live.update_handles == 0);
        CHECK(live.items_handles == 0);
        CHECK(live.inbox_handles == 0);
        CHECK(live.listener_handles == 0);
        CHECK(live.registries == 0);
        CHECK(live.buckets == 0);
        CHECK(live.server_handles == 0);
        CHECK(live.turn_handles == 0);
        CHECK(live.reply_handles == 0);
        CHECK(live.servers == 0);
        OK(kvreg_shutdown(CHECK_PATIENCE * 1000));
    }
    printf("%u passed, 0 failed\n", check_passed);
    return EXIT_SUCCESS;
}

#define CHECK_MAIN(tests) \
    int main(void) { return check_run(tests, sizeof tests / sizeof *tests); }

#endif
