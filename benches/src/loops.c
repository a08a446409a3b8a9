/* kvreg as a C program uses it. Each loop answers the number of calls that failed. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "kvreg.h"

/* Keys and names lie one after another, KEY bytes each. */
enum { KEY = 10 };

uint64_t kvreg_loop_get(kvreg_bucket *bucket, const char *keys, size_t count, uint64_t *sum) {
    uint64_t failed = 0;
    kvreg_value value;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_bucket_get(bucket, keys + i * KEY, KEY, &value) != KVREG_OK;
        *sum += value.as.text.len;
        kvreg_value_clear(&value);
    }
    return failed;
}

uint64_t kvreg_loop_get_into(kvreg_bucket *bucket, const char *keys, size_t count, uint64_t *sum) {
    uint64_t failed = 0;
    char buffer[64];
    size_t len;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_bucket_get_bytes(bucket, keys + i * KEY, KEY, buffer, sizeof buffer,
                                         &len) != KVREG_OK;
        *sum += (unsigned char)buffer[0];
    }
    return failed;
}

uint64_t kvreg_loop_put(kvreg_bucket *bucket, const char *keys, size_t count, const char *data,
                        size_t len) {
    uint64_t failed = 0;
    kvreg_value value = kvreg_bytes(data, len);
    for (size_t i = 0; i < count; i++)
        failed += kvreg_bucket_put(bucket, keys + i * KEY, KEY, &value) != KVREG_OK;
    return failed;
}

/* A bucket that takes keys out when it is full. */
int32_t kvreg_loop_start_cache(uint64_t max_keys, kvreg_bucket **bucket) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.max_keys = max_keys;
    options.on_full = KVREG_EVICT;
    return kvreg_bucket_start_with(&options, bucket);
}

/* What is not found is put. */
uint64_t kvreg_loop_find_or_put(kvreg_bucket *bucket, const char *keys, size_t count,
                                const char *data, size_t len, uint64_t *hits) {
    uint64_t failed = 0;
    kvreg_value value, new_value = kvreg_bytes(data, len);
    for (size_t i = 0; i < count; i++) {
        const char *key = keys + i * KEY;
        if (kvreg_bucket_get(bucket, key, KEY, &value) == KVREG_OK) {
            kvreg_value_clear(&value);
            ++*hits;
        } else {
            failed += kvreg_bucket_put(bucket, key, KEY, &new_value) != KVREG_OK;
        }
    }
    return failed;
}

/* As DashMap does it: the old value is given out. */
uint64_t kvreg_loop_delete(kvreg_bucket *bucket, const char *keys, size_t count) {
    uint64_t failed = 0;
    kvreg_value old;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_bucket_delete(bucket, keys + i * KEY, KEY, &old) != KVREG_OK;
        kvreg_value_clear(&old);
    }
    return failed;
}

static kvreg_verdict add_one(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    *next = kvreg_int(current != NULL && current->type == KVREG_INT ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

uint64_t kvreg_loop_update(kvreg_bucket *bucket, const char *keys, size_t count) {
    uint64_t failed = 0;
    for (size_t i = 0; i < count; i++)
        failed += kvreg_bucket_update(bucket, keys + i * KEY, KEY, add_one, NULL) != KVREG_OK;
    return failed;
}

/* Casts, and that the last one was handled. */
uint64_t kvreg_loop_put_cast(kvreg_bucket *bucket, const char *keys, size_t count,
                             const char *data, size_t len) {
    uint64_t failed = 0;
    size_t keys_now;
    kvreg_value value = kvreg_bytes(data, len);
    for (size_t i = 0; i < count; i++)
        failed += kvreg_bucket_put_cast(bucket, keys + i * KEY, KEY, &value) != KVREG_OK;
    return failed + (kvreg_bucket_count(bucket, &keys_now) != KVREG_OK);
}

uint64_t kvreg_loop_lookup(kvreg_registry *registry, const char *names, size_t count) {
    uint64_t failed = 0;
    kvreg_bucket *bucket;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_registry_lookup(registry, names + i * KEY, KEY, &bucket) != KVREG_OK;
        failed += kvreg_bucket_free(bucket) != KVREG_OK;
    }
    return failed;
}

uint64_t kvreg_loop_create(kvreg_registry *registry, const char *names, size_t count) {
    uint64_t failed = 0;
    for (size_t i = 0; i < count; i++)
        failed += kvreg_registry_create(registry, names + i * KEY, KEY, 0, NULL) != KVREG_OK;
    return failed;
}

/* Create, look up, stop. */
uint64_t kvreg_loop_life(kvreg_registry *registry, const char *names, size_t count) {
    uint64_t failed = 0;
    kvreg_bucket *bucket;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_registry_create(registry, names + i * KEY, KEY, 0, NULL) != KVREG_OK;
        failed += kvreg_registry_lookup(registry, names + i * KEY, KEY, &bucket) != KVREG_OK;
        failed += kvreg_bucket_stop(bucket) != KVREG_OK;
        failed += kvreg_bucket_free(bucket) != KVREG_OK;
    }
    return failed;
}

/* Start, monitor, stop, receive the DOWN. */
uint64_t kvreg_loop_down(kvreg_inbox *inbox, size_t count) {
    uint64_t failed = 0, reference;
    kvreg_bucket *bucket;
    kvreg_event event;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg_bucket_start(&bucket) != KVREG_OK;
        failed += kvreg_inbox_monitor(inbox, bucket, &reference) != KVREG_OK;
        failed += kvreg_bucket_stop(bucket) != KVREG_OK;
        failed += kvreg_inbox_receive(inbox, -1, &event) != KVREG_OK;
        failed += event.reference != reference;
        kvreg_event_clear(&event);
        failed += kvreg_bucket_free(bucket) != KVREG_OK;
    }
    return failed;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Each call alone, in ns, the clock's own cost included: 0 is get, 1 put, 2 put_cast. */
uint64_t kvreg_loop_timed(kvreg_bucket *bucket, const char *keys, size_t count, const char *data,
                          size_t len, int what, uint64_t *times) {
    uint64_t failed = 0;
    kvreg_value value = kvreg_bytes(data, len), got;
    for (size_t i = 0; i < count; i++) {
        const char *key = keys + i * KEY;
        uint64_t start = now();
        switch (what) {
        case 0:
            failed += kvreg_bucket_get(bucket, key, KEY, &got) != KVREG_OK;
            kvreg_value_clear(&got);
            break;
        case 1: failed += kvreg_bucket_put(bucket, key, KEY, &value) != KVREG_OK; break;
        default: failed += kvreg_bucket_put_cast(bucket, key, KEY, &value) != KVREG_OK; break;
        }
        times[i] = now() - start;
    }
    return failed;
}
