/* Programs that were compiled with an older or a newer header: sizes that grow, and versions. */
#include "check.h"

/* Room for what later versions add. */
#define NEWER(type) \
    struct { \
        type known; \
        uint64_t later[2]; \
    }

#define SAYS_NEWER() \
    do { \
        char text[256]; \
        kvreg_last_error(text, sizeof text); \
        CHECK(strstr(text, "newer header") != NULL); \
    } while (0)

static kvreg_registry *registry;

static kvreg_status start_registry(const void *options) {
    kvreg_registry *started;
    kvreg_status status = kvreg_registry_start((const kvreg_registry_options *)options, &started);
    CHECK((status == KVREG_OK) == (started != NULL));
    OK(kvreg_registry_free(started));
    return status;
}

static kvreg_status create_bucket(const void *options) {
    kvreg_bucket *bucket;
    kvreg_status status = kvreg_registry_create_with(
        registry, "a", 1, 0, (const kvreg_bucket_options *)options, &bucket);
    CHECK((status == KVREG_OK) == (bucket != NULL));
    if (status == KVREG_OK) {
        OK(kvreg_bucket_stop(bucket));
        OK(kvreg_bucket_free(bucket));
    }
    return status;
}

static kvreg_status start_listener(const void *options) {
    kvreg_listener *listener;
    kvreg_status status = kvreg_listener_start(registry, "127.0.0.1:0",
                                               (const kvreg_listener_options *)options, &listener);
    CHECK((status == KVREG_OK) == (listener != NULL));
    OK(kvreg_listener_free(listener));
    return status;
}

static kvreg_status put_columns(const void *columns) {
    kvreg_bucket *bucket;
    OK(kvreg_bucket_start(&bucket));
    kvreg_status status = kvreg_bucket_put_columns(bucket, (const kvreg_columns *)columns);
    OK(kvreg_bucket_free(bucket));
    return status;
}

static kvreg_status configure(const void *options) {
    return kvreg_configure((const kvreg_options *)options);
}

/* The struct is the caller's, whose size is larger than the library's. */
static void is_newer(kvreg_status (*call)(const void *), void *given, size_t known,
                     kvreg_status accepted) {
    unsigned char *bytes = (unsigned char *)given;
    uint32_t size = (uint32_t)known;
    for (uint32_t larger = size + 8; larger <= size + 16; larger += 8) {
        memcpy(given, &larger, sizeof larger);
        bytes[larger - 1] = 1;
        IS(KVREG_UNSUPPORTED, call(given));
        SAYS_NEWER();
        bytes[larger - 1] = 0;
    }
    bytes[size + 15] = 1; /* beyond what the size says: not looked at */
    size += 8;
    memcpy(given, &size, sizeof size);
    IS(accepted, call(given));
    bytes[size + 7] = 0;
}

static void options_of_a_newer_header_are_taken_if_what_is_new_is_not_set(void) {
    NEWER(kvreg_options) process;
    NEWER(kvreg_registry_options) of_registry;
    NEWER(kvreg_bucket_options) of_bucket;
    NEWER(kvreg_listener_options) of_listener;
    NEWER(kvreg_columns) columns;
    memset(&process, 0, sizeof process);
    memset(&of_registry, 0, sizeof of_registry);
    memset(&of_bucket, 0, sizeof of_bucket);
    memset(&of_listener, 0, sizeof of_listener);
    memset(&columns, 0, sizeof columns);
    /* First, for it comes too late after the first use. */
    is_newer(configure, &process, sizeof process.known, KVREG_OK);
    OK(kvreg_registry_start(NULL, &registry));
    is_newer(start_registry, &of_registry, sizeof of_registry.known, KVREG_OK);
    is_newer(create_bucket, &of_bucket, sizeof of_bucket.known, KVREG_OK);
    is_newer(start_listener, &of_listener, sizeof of_listener.known, KVREG_OK);
    is_newer(put_columns, &columns, sizeof columns.known, KVREG_OK);
    /* Options within options have a size of their own. */
    of_registry.known = kvreg_registry_options_init();
    of_registry.known.bucket = &of_bucket.known;
    OK(start_registry(&of_registry));
    of_bucket.later[0] = 1;
    of_bucket.known.size = sizeof of_bucket;
    IS(KVREG_UNSUPPORTED, start_registry(&of_registry));
    SAYS_NEWER();
    OK(kvreg_registry_free(registry));
}

static void options_of_an_older_header_have_the_defaults(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    kvreg_value value = kvreg_int(1);
    OK(kvreg_registry_start(NULL, &registry));
    options.max_keys = 1;
    options.max_bytes = 1;
    options.max_value = 1; /* these two are not in the struct of that header */
    options.size = offsetof(kvreg_bucket_options, max_bytes);
    OK(kvreg_registry_create_with(registry, "a", 1, 0, &options, &bucket));
    OK(kvreg_bucket_put(bucket, "key", 3, &value));
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "another", 7, &value));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

/* Nothing is written beyond the size, and nothing that the library does not know. */
static void facts_are_given_as_far_as_both_know_them(void) {
    NEWER(kvreg_bucket_stats) newer;
    kvreg_bucket_stats older;
    kvreg_bucket *bucket;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_int(bucket, "key", 3, 1));
    memset(&newer, 0, sizeof newer);
    newer.later[0] = newer.later[1] = 77;
    newer.known.size = sizeof newer;
    OK(kvreg_bucket_info(bucket, &newer.known));
    CHECK(newer.known.keys == 1 && newer.known.size == sizeof newer);
    CHECK(newer.later[0] == 77 && newer.later[1] == 77);
    memset(&older, 0xa5, sizeof older);
    older.size = offsetof(kvreg_bucket_stats, bytes);
    OK(kvreg_bucket_info(bucket, &older));
    CHECK(older.keys == 1 && older.size == offsetof(kvreg_bucket_stats, bytes));
    CHECK(older.bytes == 0xa5a5a5a5a5a5a5a5u && older.restarts == older.bytes);
    OK(kvreg_bucket_free(bucket));
}

static void the_library_serves_its_own_header(void) {
    CHECK(KVREG_VERSION_NUMBER == kvreg_version_number());
    OK(kvreg_version_check());
}

static const test tests[] = {
    TEST(the_library_serves_its_own_header),
    TEST(options_of_a_newer_header_are_taken_if_what_is_new_is_not_set),
    TEST(options_of_an_older_header_have_the_defaults),
    TEST(facts_are_given_as_far_as_both_know_them),
};

CHECK_MAIN(tests)
