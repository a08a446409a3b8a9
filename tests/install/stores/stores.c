/* A program that keeps a bucket in the file that it is told. With ENGINE it has the engine itself;
 * else kvreg finds it beside its own library. */
#include <kvreg.h>
#include <stdio.h>
#ifdef ENGINE
#include <kvreg_file.h>
#endif

int main(int count, char **arguments) {
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_bucket_options stored = kvreg_bucket_options_init();
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    int64_t visits;
    char why[1024] = "";
    if (count != 2) return 2;
#ifdef ENGINE
    if (kvreg_engine_register("file", KVREG_NUL, kvreg_file_engine()) != KVREG_OK) return 1;
#endif
    stored.store = arguments[1];
    stored.store_len = KVREG_NUL;
    options.bucket = &stored;
    if (kvreg_registry_start(&options, &registry) != KVREG_OK) return 1;
    if (kvreg_registry_create(registry, "shop", KVREG_NUL, 0, &bucket) != KVREG_OK) {
        kvreg_last_error(why, sizeof why);
        printf("%s\n", why);
        return 1;
    }
    if (kvreg_bucket_add_int(bucket, "visits", KVREG_NUL, 1, &visits) != KVREG_OK) return 1;
    printf("%d\n", (int)visits);
    kvreg_bucket_free(bucket);
    kvreg_registry_free(registry);
    return kvreg_shutdown(1000);
}
