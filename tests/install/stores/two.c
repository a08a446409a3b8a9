/* A program that has two engines itself. With a nats: URL it says what becomes of a bucket there. */
#include <kvreg.h>
#include <kvreg_file.h>
#include <kvreg_nats.h>
#include <stdio.h>

static int opened(const char *url) {
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_bucket_options stored = kvreg_bucket_options_init();
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_status status;
    stored.store = url;
    stored.store_len = KVREG_NUL;
    options.bucket = &stored;
    if (kvreg_registry_start(&options, &registry) != KVREG_OK) return 1;
    kvreg_registry_set_timeout(registry, 200);
    status = kvreg_registry_create(registry, "shop", KVREG_NUL, 0, &bucket);
    printf(" %s", kvreg_status_name(status));
    return kvreg_registry_free(registry);
}

int main(int count, char **arguments) {
    int file = kvreg_engine_register("file", KVREG_NUL, kvreg_file_engine());
    int nats = kvreg_engine_register("nats", KVREG_NUL, kvreg_nats_engine());
    printf("%d %d %d", file, nats, kvreg_file_engine() != kvreg_nats_engine());
    if (count > 1 && opened(arguments[1]) != KVREG_OK) return 1;
    printf("\n");
    return kvreg_shutdown(1000);
}
