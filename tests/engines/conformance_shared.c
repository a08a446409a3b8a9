/*
 * What any engine of shared stores must do, as a program of kvreg's sees it.
 *
 *     conformance_shared URL ENGINE       a store without buckets, and the shared object of its engine
 */
#define _GNU_SOURCE

#include "sharing.h"

static void nothing_is_left(void) {
    OK(kvreg_registry_stop(here));
    OK(kvreg_registry_stop(there));
    OK(kvreg_registry_free(here));
    OK(kvreg_registry_free(there));
}

int main(int count, char **arguments) {
    static const test tests[] = {SHARING_TESTS, TEST(nothing_is_left)};
    if (count < 3) {
        fprintf(stderr, "conformance_shared URL ENGINE\n");
        return 2;
    }
    url = arguments[1];
    OK(kvreg_engine_load(arguments[2], KVREG_NUL));
    OK(kvreg_registry_start(NULL, &here));
    OK(kvreg_registry_start(NULL, &there));
    return check_run(tests, sizeof tests / sizeof *tests);
}
