/* A plug-in with a fault: what it finds in its bucket it cannot go on with, so it lets the bucket
 * crash. Nothing else is harmed. */
#include "plugin.h"

#include "kvreg_macros.h"

static kvreg_verdict give_up(void *user_data, const kvreg_value *current, kvreg_value *next) {
    (void)user_data, (void)current, (void)next;
    return KVREG_CRASH;
}

static int run(void) {
    KVREG_OWNED(registry) *registry = NULL;
    KVREG_OWNED(bucket) *bucket = NULL;
    KVREG_TRY(kvreg_registry_whereis(PLUGIN_REGISTRY, KVREG_NUL, &registry));
    KVREG_TRY(kvreg_registry_lookup(registry, "faulty", KVREG_NUL, &bucket));
    return kvreg_bucket_update(bucket, "state", KVREG_NUL, give_up, NULL);
}

const plugin *plugin_get(void) {
    static const plugin faulty = {PLUGIN_VERSION, "faulty", run};
    return &faulty;
}
