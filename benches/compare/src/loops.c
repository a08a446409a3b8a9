/* kvreg as a C program uses it; the functions come from the shared library. */
#include "kvreg.h"

typedef struct functions {
    kvreg_status (*bucket_start)(kvreg_bucket **);
    kvreg_status (*bucket_put)(kvreg_bucket *, const void *, size_t, const kvreg_value *);
    kvreg_status (*bucket_get)(kvreg_bucket *, const void *, size_t, kvreg_value *);
    kvreg_status (*bucket_get_bytes)(kvreg_bucket *, const void *, size_t, void *, size_t,
                                     size_t *);
    kvreg_status (*bucket_free)(kvreg_bucket *);
    void (*value_clear)(kvreg_value *);
} functions;

/* Keys lie one after another, KEY bytes each. */
enum { KEY = 10 };

/* Each loop answers the number of calls that failed. */
uint64_t loop_put(const functions *kvreg, kvreg_bucket *bucket, const uint8_t *keys,
                  size_t count, const uint8_t *data, size_t len) {
    uint64_t failed = 0;
    kvreg_value value = kvreg_bytes(data, len);
    for (size_t i = 0; i < count; i++)
        failed += kvreg->bucket_put(bucket, keys + i * KEY, KEY, &value) != KVREG_OK;
    return failed;
}

uint64_t loop_get(const functions *kvreg, kvreg_bucket *bucket, const uint8_t *keys,
                  size_t count, uint64_t *sum) {
    uint64_t failed = 0;
    kvreg_value value;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg->bucket_get(bucket, keys + i * KEY, KEY, &value) != KVREG_OK;
        *sum += value.as.text.data[0];
        kvreg->value_clear(&value);
    }
    return failed;
}

uint64_t loop_get_bytes(const functions *kvreg, kvreg_bucket *bucket, const uint8_t *keys,
                        size_t count, uint64_t *sum) {
    uint64_t failed = 0;
    uint8_t buffer[64];
    size_t len;
    for (size_t i = 0; i < count; i++) {
        failed += kvreg->bucket_get_bytes(bucket, keys + i * KEY, KEY, buffer, sizeof buffer,
                                          &len) != KVREG_OK;
        *sum += buffer[0];
    }
    return failed;
}
