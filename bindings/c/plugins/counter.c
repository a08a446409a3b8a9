/* A plug-in that counts its runs: the count lives in a bucket, not in the plug-in, so it outlives it. */
#include "plugin.h"

#include "kvreg_macros.h"

static int run(void) {
    KVREG_OWNED(registry) *registry = NULL;
    KVREG_OWNED(bucket) *bucket = NULL;
    KVREG_OWNED(value) count = kvreg_nil();
    kvreg_update *update;
    KVREG_TRY(kvreg_registry_whereis(PLUGIN_REGISTRY, KVREG_NUL, &registry));
    KVREG_TRY(kvreg_registry_create(registry, "counts", KVREG_NUL, 0, &bucket));
    KVREG_TRY(kvreg_bucket_update_begin(bucket, "runs", KVREG_NUL, &count, &update));
    kvreg_value next = kvreg_int(count.type == KVREG_INT ? count.as.integer + 1 : 1);
    return kvreg_update_end(update, KVREG_STORE, &next);
}

const plugin *plugin_get(void) {
    static const plugin counter = {PLUGIN_VERSION, "counter", run};
    return &counter;
}
