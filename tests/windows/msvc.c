/* A program that is compiled as Microsoft's tools would, for their ABI, and linked to kvreg.lib. There
 * is no C library of theirs to be had, so it uses none: its status says which step failed. */
#include "kvreg.h"

__declspec(dllimport) __declspec(noreturn) void ExitProcess(unsigned status);

int _fltused; /* what the compiler asks of a C library where there are floats */

static unsigned failed_step(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    kvreg_value value = kvreg_string("one and a half", KVREG_NUL);
    kvreg_event down;
    uint64_t reference;
    double real;

    if (kvreg_registry_start(NULL, &registry) != KVREG_OK) return 1;
    if (kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket) != KVREG_OK) return 2;
    if (kvreg_bucket_put(bucket, "text", KVREG_NUL, &value) != KVREG_OK) return 3;
    if (kvreg_bucket_get(bucket, "text", KVREG_NUL, &value) != KVREG_OK) return 4;
    if (value.type != KVREG_STRING || value.as.text.len != 14) return 5;
    kvreg_value_clear(&value);
    if (kvreg_bucket_put_float(bucket, "real", KVREG_NUL, 1.5) != KVREG_OK) return 6;
    if (kvreg_bucket_get_float(bucket, "real", KVREG_NUL, &real) != KVREG_OK) return 7;
    if (real < 1.5 || real > 1.5) return 8;
    if (kvreg_inbox_open(&inbox) != KVREG_OK) return 9;
    if (kvreg_inbox_monitor(inbox, bucket, &reference) != KVREG_OK) return 10;
    if (kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0) != KVREG_OK) return 11;
    if (kvreg_inbox_receive(inbox, 0, &down) != KVREG_OK) return 12;
    if (down.reason != KVREG_REASON_KILLED || down.reference != reference) return 13;
    kvreg_event_clear(&down);
    kvreg_inbox_free(inbox);
    kvreg_bucket_free(bucket);
    kvreg_registry_free(registry);
    return 0;
}

void start(void);
void start(void) { ExitProcess(failed_step()); }
