/* Something to log: an error, and what is for debugging only. */
#include "../check.h"

int main(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_send(registry, "hello", KVREG_NUL));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "on purpose", KVREG_NUL));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, NULL));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    return 0;
}
