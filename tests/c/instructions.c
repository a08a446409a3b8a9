/*
 * Calls to be counted: `instructions WHAT COUNT`. The instructions of one call are those of a
 * run with 2 N of them less those of a run with N, by N.
 */
#include "check.h"

enum { KEYS = 100, KEY = 10 };

static char keys[KEYS][KEY + 1], numbers[KEYS][KEY + 1];

enum call { NOTHING, GET, PUT, PUT_CAST, LOOKUP, GET_ENTRY, PUT_ENTRY, PUT_IF, ADD_INT, CALLS };

static const char *const names[CALLS] = {"nothing",   "get",       "put",    "put_cast", "lookup",
                                         "get_entry", "put_entry", "put_if", "add_int"};

int main(int count, char **arguments) {
    kvreg_registry *registry;
    kvreg_bucket *bucket, *found;
    kvreg_value value, got;
    kvreg_entry entry = kvreg_entry_init();
    uint64_t revision, revisions[KEYS];
    int64_t sum;
    char text[64];
    CHECK(count == 3);
    int call = 0;
    while (call < CALLS && strcmp(names[call], arguments[1]) != 0)
        call++;
    CHECK(call < CALLS);
    unsigned long calls = strtoul(arguments[2], NULL, 10);
    memset(text, 'x', sizeof text);
    value = kvreg_bytes(text, sizeof text);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", 8, 0, &bucket));
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key%07d", i);
        snprintf(numbers[i], sizeof numbers[i], "num%07d", i);
        OK(kvreg_bucket_put_entry(bucket, keys[i], KEY, &value, -1, &revisions[i]));
        OK(kvreg_bucket_put_int(bucket, numbers[i], KEY, 0));
    }
    for (unsigned long i = 0; i < calls; i++) {
        const char *key = keys[i % KEYS];
        switch (call) {
        case GET:
            OK(kvreg_bucket_get(bucket, key, KEY, &got));
            kvreg_value_clear(&got);
            break;
        case PUT:
            OK(kvreg_bucket_put(bucket, key, KEY, &value));
            break;
        case PUT_CAST:
            OK(kvreg_bucket_put_cast(bucket, key, KEY, &value));
            break;
        case LOOKUP:
            OK(kvreg_registry_lookup(registry, "shopping", 8, &found));
            OK(kvreg_bucket_free(found));
            break;
        case GET_ENTRY:
            OK(kvreg_bucket_get_entry(bucket, key, KEY, &entry));
            kvreg_value_clear(&entry.value);
            break;
        case PUT_ENTRY:
            OK(kvreg_bucket_put_entry(bucket, key, KEY, &value, -1, &revision));
            break;
        case PUT_IF:
            OK(kvreg_bucket_put_if(bucket, key, KEY, &value, revisions[i % KEYS], -1,
                                   &revisions[i % KEYS]));
            break;
        case ADD_INT:
            OK(kvreg_bucket_add_int(bucket, numbers[i % KEYS], KEY, 1, &sum));
            break;
        default:
            break;
        }
    }
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    OK(kvreg_shutdown(-1));
    return 0;
}
