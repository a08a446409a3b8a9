/* What the wide measurement does with structs of the interface. Each answers the first failure. */
#include <stdlib.h>

#include "kvreg.h"

kvreg_status wide_limited(uint64_t max_bytes, kvreg_registry **registry) {
    kvreg_registry_options options = kvreg_registry_options_init();
    options.max_bytes = max_bytes;
    return kvreg_registry_start(&options, registry);
}

/* On a port of the system's choice; a subscriber who does not read is not cut off. */
kvreg_status wide_listen(kvreg_registry *registry, kvreg_listener **listener, uint16_t *port) {
    kvreg_listener_options options = kvreg_listener_options_init();
    kvreg_value address;
    options.max_backlog = UINT64_C(1) << 30;
    kvreg_status status = kvreg_listener_start(registry, "127.0.0.1:0", &options, listener);
    if (status != KVREG_OK) return status;
    status = kvreg_listener_address(*listener, &address);
    if (status != KVREG_OK) return status;
    *port = (uint16_t)atoi(strrchr((const char *)address.as.text.data, ':') + 1);
    kvreg_value_clear(&address);
    return KVREG_OK;
}

kvreg_status wide_unlisten(kvreg_listener *listener) {
    kvreg_status status = kvreg_listener_stop(listener);
    return status != KVREG_OK ? status : kvreg_listener_free(listener);
}

kvreg_status wide_monitor(kvreg_inbox *inbox, kvreg_bucket *bucket, size_t count) {
    kvreg_status status = KVREG_OK;
    uint64_t reference;
    for (size_t i = 0; i < count && status == KVREG_OK; i++)
        status = kvreg_inbox_monitor(inbox, bucket, &reference);
    return status;
}

kvreg_status wide_kill_and_receive(kvreg_inbox *inbox, kvreg_bucket *bucket, size_t count) {
    kvreg_status status = kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0);
    kvreg_event event;
    for (size_t i = 0; i < count && status == KVREG_OK; i++) {
        status = kvreg_inbox_receive(inbox, 0, &event);
        kvreg_event_clear(&event);
    }
    return status;
}
