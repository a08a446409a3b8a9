/* A plug-in that knows nothing of Python: the two meet in a registry, by its name. */
#include <kvreg.h>

#include <string.h>

/* Each gives a status of kvreg, and takes names that end in NUL. */
int plugin_put(const char *registry_name, const char *bucket_name,
               const char *key, int64_t integer);
int plugin_get(const char *registry_name, const char *bucket_name,
               const char *key, int64_t *integer);
int plugin_add(const char *registry_name, const char *bucket_name,
               const char *key, uint32_t times);
int plugin_start(const char *registry_name, const char *bucket_name);
int plugin_stop(void);
const void *plugin_library(void);

static kvreg_registry *started;

static kvreg_status find(const char *registry_name, const char *bucket_name,
                         kvreg_bucket **bucket)
{
    kvreg_registry *registry;
    kvreg_status status = kvreg_registry_whereis(registry_name, KVREG_NUL, &registry);

    *bucket = NULL;
    if (status == KVREG_OK)
        status = kvreg_registry_lookup(registry, bucket_name, KVREG_NUL, bucket);
    kvreg_registry_free(registry);
    return status;
}

int plugin_put(const char *registry_name, const char *bucket_name,
               const char *key, int64_t integer)
{
    kvreg_bucket *bucket;
    kvreg_status status = find(registry_name, bucket_name, &bucket);

    if (status == KVREG_OK)
        status = kvreg_bucket_put_int(bucket, key, KVREG_NUL, integer);
    kvreg_bucket_free(bucket);
    return status;
}

int plugin_get(const char *registry_name, const char *bucket_name,
               const char *key, int64_t *integer)
{
    kvreg_bucket *bucket;
    kvreg_status status = find(registry_name, bucket_name, &bucket);

    if (status == KVREG_OK)
        status = kvreg_bucket_get_int(bucket, key, KVREG_NUL, integer);
    kvreg_bucket_free(bucket);
    return status;
}

static kvreg_verdict increment(void *user_data, const kvreg_value *current, kvreg_value *next)
{
    (void)user_data;
    *next = kvreg_int(current != NULL ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

/* Adds 1 so many times; does not need Python's lock, and may run beside its threads. */
int plugin_add(const char *registry_name, const char *bucket_name,
               const char *key, uint32_t times)
{
    kvreg_bucket *bucket;
    kvreg_status status = find(registry_name, bucket_name, &bucket);

    for (; status == KVREG_OK && times > 0; times--)
        status = kvreg_bucket_update(bucket, key, KVREG_NUL, increment, NULL);
    kvreg_bucket_free(bucket);
    return status;
}

/* Starts a registry with a bucket, for Python to find. */
int plugin_start(const char *registry_name, const char *bucket_name)
{
    kvreg_registry_options options = kvreg_registry_options_init();
    kvreg_status status;

    options.name = registry_name;
    options.name_len = strlen(registry_name);
    status = kvreg_registry_start(&options, &started);
    if (status == KVREG_OK)
        status = kvreg_registry_create(started, bucket_name, KVREG_NUL, 0, NULL);
    return status;
}

int plugin_stop(void)
{
    kvreg_status status = kvreg_registry_stop(started);

    kvreg_registry_free(started);
    started = NULL;
    return status;
}

/* Tells which copy of the library the plug-in has. */
const void *plugin_library(void)
{
    return kvreg_version_string();
}
