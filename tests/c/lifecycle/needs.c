/* For a look from outside: what the library has asked the system for, up to each step. */
#define _POSIX_C_SOURCE 200809L
#include <unistd.h>

#include "../check.h"

static void mark(const char *text) { CHECK(write(1, text, strlen(text)) > 0); }

static kvreg_verdict keep(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    return KVREG_KEEP;
}

int main(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    CHECK(kvreg_version_number() > 0);
    mark("== loaded\n");
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "a", 1, 0, &bucket));
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_bucket_update(bucket, "k", 1, keep, NULL));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_bucket_stop(bucket));
    OK(kvreg_inbox_receive(inbox, -1, &event));
    kvreg_event_clear(&event);
    mark("== worked\n");
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_create(registry, "a", 1, 0, &bucket));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, keep, NULL, NULL));
    OK(kvreg_bucket_clear(bucket)); /* waits for the cast */
    mark("== cast\n");
    _Exit(0);
}
