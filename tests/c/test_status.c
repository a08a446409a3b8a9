/* Statuses, versions, the last error, and the sizes of what C and the library share. */

#include <stddef.h>

#include "check.h"

static void every_status_has_its_name_and_number(void) {
    static const struct {
        kvreg_status status;
        const char *name;
    } all[] = {
#define STATUS(name) {name, #name}
        STATUS(KVREG_OK),           STATUS(KVREG_NOT_FOUND),
        STATUS(KVREG_ALREADY_STARTED), STATUS(KVREG_NO_PROCESS),
        STATUS(KVREG_SERVER_DOWN),  STATUS(KVREG_TIMEOUT),
        STATUS(KVREG_OUTCOME_UNKNOWN), STATUS(KVREG_CALLING_SELF),
        STATUS(KVREG_BAD_HANDLE),   STATUS(KVREG_WRONG_KIND),
        STATUS(KVREG_INVALID_ARGUMENT), STATUS(KVREG_WRONG_TYPE),
        STATUS(KVREG_CONFLICT),     STATUS(KVREG_LIMIT),
        STATUS(KVREG_NO_MEMORY),    STATUS(KVREG_ABORTED),
        STATUS(KVREG_FORKED),       STATUS(KVREG_SHUT_DOWN),
        STATUS(KVREG_UNSUPPORTED),  STATUS(KVREG_IO),
        STATUS(KVREG_INTERNAL),     STATUS(KVREG_TOO_SMALL),
    };
    enum { COUNT = sizeof all / sizeof *all };
    CHECK(COUNT == 22);
    for (int i = 0; i < COUNT; i++) {
        CHECK(all[i].status == i);
        CHECK(strcmp(kvreg_status_name(i), all[i].name) == 0);
        CHECK(strlen(kvreg_status_message(i)) > 0);
    }
    CHECK(strcmp(kvreg_status_name(-1), "KVREG_UNKNOWN") == 0);
    CHECK(strcmp(kvreg_status_name(COUNT), "KVREG_UNKNOWN") == 0);
    CHECK(strlen(kvreg_status_message(INT32_MIN)) > 0);
}

static void the_library_is_the_headers_version(void) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", KVREG_VERSION_MAJOR, KVREG_VERSION_MINOR,
             KVREG_VERSION_PATCH);
    CHECK(strcmp(kvreg_version_string(), text) == 0);
    CHECK(kvreg_version_number() == (uint32_t)(KVREG_VERSION_MAJOR << 16 |
                                               KVREG_VERSION_MINOR << 8 | KVREG_VERSION_PATCH));
}

static void structs_are_laid_out_as_the_library_has_them(void) {
    CHECK(sizeof(kvreg_value) == 32);
    CHECK(offsetof(kvreg_value, as) == 8 && offsetof(kvreg_value, private_) == 24);
    CHECK(offsetof(kvreg_value, as.text.len) == 16);
    CHECK(sizeof(kvreg_pair) == 48 && offsetof(kvreg_pair, value) == 16);
    CHECK(sizeof(kvreg_text) == 16);
    CHECK(sizeof(kvreg_options) == 32);
    CHECK(sizeof(kvreg_bucket_options) == 88);
    CHECK(sizeof(kvreg_registry_options) == 64);
    CHECK(sizeof(kvreg_scan_options) == 48);
    CHECK(sizeof(kvreg_listener_options) == 56);
    CHECK(sizeof(kvreg_bucket_stats) == 112);
    CHECK(sizeof(kvreg_registry_stats) == 56);
    CHECK(sizeof(kvreg_live) == 104);
    CHECK(sizeof(kvreg_server_options) == 112 && sizeof(kvreg_server_stats) == 64);
    CHECK(sizeof(kvreg_message) == 96 && offsetof(kvreg_message, private_) == 64);
}

static void the_last_error_is_a_sentence(void) {
    char text[200], cut[8];
    CHECK(kvreg_last_error(NULL, 0) == 0);
    memset(text, 'x', sizeof text);
    CHECK(kvreg_last_error(text, sizeof text) == 0 && text[0] == '\0');
    IS(KVREG_BAD_HANDLE, kvreg_bucket_clear(NULL));
    size_t len = kvreg_last_error(text, sizeof text);
    CHECK(len == strlen(text) && len > 20);
    CHECK(strstr(text, "kvreg_bucket_clear") != NULL);
    CHECK(kvreg_last_error(cut, sizeof cut) == len);
    CHECK(strlen(cut) == 7 && memcmp(cut, text, 7) == 0);
    CHECK(kvreg_last_error(cut, 1) == len && cut[0] == '\0');
    CHECK(kvreg_last_error(NULL, 5) == len);
}

static void live_counts_fill_what_there_is(void) {
    kvreg_live live = {0};
    kvreg_bucket *bucket;
    IS(KVREG_INVALID_ARGUMENT, kvreg_live_counts(NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_live_counts(&live));
    live.size = 16; /* an older program, without the buckets */
    live.buckets = 77;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_live_counts(&live));
    CHECK(live.registries == 0 && live.buckets == 77);
    live.size = sizeof live;
    OK(kvreg_live_counts(&live));
    CHECK(live.buckets == 1 && live.bucket_handles == 1);
    OK(kvreg_bucket_free(bucket));
}

static const test tests[] = {
    TEST(every_status_has_its_name_and_number),
    TEST(the_library_is_the_headers_version),
    TEST(structs_are_laid_out_as_the_library_has_them),
    TEST(the_last_error_is_a_sentence),
    TEST(live_counts_fill_what_there_is),
};

CHECK_MAIN(tests)
