/*
 * For programs that load the library themselves. `symbol`, which the program has, gives the address of
 * a function in it.
 */
#ifndef LOADED_H
#define LOADED_H

#include "../check.h"

typedef void (*function)(void);
static function symbol(const char *name);

/* A name is looked up, and called as its prototype says. */
#define CALL(name) (*(__typeof__(&name))symbol(#name))

/* The last error is asked of the library that is linked; here none is. */
size_t kvreg_last_error(char *buffer, size_t capacity) {
    if (capacity > 0)
        *buffer = '\0';
    return 0;
}

/* Leaves work in flight. */
static void use(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    kvreg_listener *listener;
    kvreg_update *update;
    kvreg_value value = kvreg_int(1);
    uint64_t reference;
    CHECK(CALL(kvreg_registry_start)(NULL, &registry) == KVREG_OK);
    CHECK(CALL(kvreg_registry_create)(registry, "a", 1, 0, &bucket) == KVREG_OK);
    CHECK(CALL(kvreg_inbox_open)(&inbox) == KVREG_OK);
    CHECK(CALL(kvreg_inbox_monitor)(inbox, bucket, &reference) == KVREG_OK);
    CHECK(CALL(kvreg_listener_start)(registry, "127.0.0.1:0", NULL, &listener) == KVREG_OK);
    CHECK(CALL(kvreg_bucket_update_begin)(bucket, "k", 1, NULL, &update) == KVREG_OK);
    for (int i = 0; i < 1000; i++)
        CHECK(CALL(kvreg_bucket_put_cast)(bucket, "k", 1, &value) == KVREG_OK);
    CHECK(CALL(kvreg_update_end)(update, KVREG_KEEP, NULL) == KVREG_OK);
    CHECK(CALL(kvreg_listener_free)(listener) == KVREG_OK);
}

#endif
