/*
 * Calls to be counted: `instructions WHAT COUNT`. The instructions of one call are those of a
 * run with 2 N of them less those of a run with N, by N.
 */
#include "check.h"

enum { KEYS = 100, KEY = 10 };

static char keys[KEYS][KEY + 1];

int main(int count, char **arguments) {
    kvreg_registry *registry;
    kvreg_bucket *bucket, *found;
    kvreg_value value, got;
    char text[64];
    CHECK(count == 3);
    const char *what = arguments[1];
    unsigned long calls = strtoul(arguments[2], NULL, 10);
    memset(text, 'x', sizeof text);
    value = kvreg_bytes(text, sizeof text);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", 8, 0, &bucket));
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key%07d", i);
        OK(kvreg_bucket_put(bucket, keys[i], KEY, &value));
    }
    for (unsigned long i = 0; i < calls; i++) {
        const char *key = keys[i % KEYS];
        if (strcmp(what, "get") == 0) {
            OK(kvreg_bucket_get(bucket, key, KEY, &got));
            kvreg_value_clear(&got);
        } else if (strcmp(what, "put") == 0) {
            OK(kvreg_bucket_put(bucket, key, KEY, &value));
        } else if (strcmp(what, "put_cast") == 0) {
            OK(kvreg_bucket_put_cast(bucket, key, KEY, &value));
        } else if (strcmp(what, "lookup") == 0) {
            OK(kvreg_registry_lookup(registry, "shopping", 8, &found));
            OK(kvreg_bucket_free(found));
        } else {
            CHECK(strcmp(what, "nothing") == 0);
        }
    }
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    OK(kvreg_shutdown(-1));
    return 0;
}
