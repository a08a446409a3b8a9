/* A product that links kvreg: it leaves a word in the registry that products meet in. */
#include <kvreg.h>

int product_in_c(void);

int product_in_c(void) {
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    options.name = "products";
    options.name_len = KVREG_NUL;
    if (kvreg_registry_whereis("products", KVREG_NUL, &registry) != KVREG_OK &&
        kvreg_registry_start(&options, &registry) != KVREG_OK)
        return -1;
    if (kvreg_registry_create(registry, "words", KVREG_NUL, 0, &bucket) != KVREG_OK ||
        kvreg_bucket_put_int(bucket, "c", KVREG_NUL, 1) != KVREG_OK)
        return -1;
    kvreg_bucket_free(bucket);
    return kvreg_registry_free(registry);
}
