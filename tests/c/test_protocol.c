/* The text protocol, byte for byte. */

#include "check.h"

static kvreg_registry *registry;

static void start(void) { OK(kvreg_registry_start(NULL, &registry)); }
static void finish(void) { OK(kvreg_registry_free(registry)); }

static void says_n(const char *line, size_t len, const char *reply) {
    kvreg_value value;
    OK(kvreg_registry_execute(registry, line, len, &value));
    if (!check_text(&value, KVREG_STRING, reply)) {
        fprintf(stderr, "%s -> %s", line, value.as.text.data);
        CHECK(!"the reply is another");
    }
    kvreg_value_clear(&value);
}

static void says(const char *line, const char *reply) { says_n(line, KVREG_NUL, reply); }

static void fails(kvreg_status status, const char *line, size_t len) {
    kvreg_value value = kvreg_int(1);
    IS(status, kvreg_registry_execute(registry, line, len, &value));
    CHECK(value.type == KVREG_NIL);
}

static void the_session_of_the_guide(void) {
    start();
    says("UNKNOWN shopping\r\n", "UNKNOWN COMMAND\r\n");
    says("GET shopping eggs\r\n", "NOT FOUND\r\n");
    says("CREATE shopping\r\n", "OK\r\n");
    says("PUT shopping eggs 3\r\n", "OK\r\n");
    says("GET shopping eggs\r\n", "3\r\nOK\r\n");
    says("DELETE shopping eggs\r\n", "OK\r\n");
    says("GET shopping eggs\r\n", "\r\nOK\r\n");
    finish();
}

static void every_line_of_the_table(void) {
    start();
    says("CREATE b", "OK\r\n");
    says("CREATE b", "OK\r\n");
    says("CREATE  b  \r\n", "OK\r\n");
    says("PUT b k v", "OK\r\n");
    says("PUT b k w\n", "OK\r\n");
    says("\t GET\x0b" "b\x0c k \n", "w\r\nOK\r\n");
    says("GET b none", "\r\nOK\r\n");
    says("DELETE b none", "OK\r\n");
    says("DELETE b k", "OK\r\n");
    says("GET b k", "\r\nOK\r\n");
    says("PUT none k v", "NOT FOUND\r\n");
    says("GET none k", "NOT FOUND\r\n");
    says("DELETE none k", "NOT FOUND\r\n");
    says("", "UNKNOWN COMMAND\r\n");
    says("\r\n", "UNKNOWN COMMAND\r\n");
    says("create b", "UNKNOWN COMMAND\r\n");
    says("CREATE", "UNKNOWN COMMAND\r\n");
    says("CREATE a b", "UNKNOWN COMMAND\r\n");
    says("PUT b k", "UNKNOWN COMMAND\r\n");
    says("PUT b k a value", "UNKNOWN COMMAND\r\n");
    says("GET b", "UNKNOWN COMMAND\r\n");
    says("GET b k k", "UNKNOWN COMMAND\r\n");
    says("DELETE b", "UNKNOWN COMMAND\r\n");
    says("SUBSCRIBE b", "UNKNOWN COMMAND\r\n"); /* on connections only */
    finish();
}

static void a_bucket_that_ended_is_not_found(void) {
    kvreg_bucket *bucket;
    start();
    says("CREATE b", "OK\r\n");
    OK(kvreg_registry_lookup(registry, "b", 1, &bucket));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    says("GET b k", "NOT FOUND\r\n");
    says("PUT b k v", "NOT FOUND\r\n");
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void values_are_printed_by_type(void) {
    kvreg_bucket *bucket;
    kvreg_value value = kvreg_nil();
    start();
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_bucket_put(bucket, "k", 1, &value));
    says("GET b k", "\r\nOK\r\n");
    value = kvreg_bool(true);
    OK(kvreg_bucket_put(bucket, "k", 1, &value));
    says("GET b k", "true\r\nOK\r\n");
    OK(kvreg_bucket_put_int(bucket, "k", 1, INT64_MIN));
    says("GET b k", "-9223372036854775808\r\nOK\r\n");
    OK(kvreg_bucket_put_float(bucket, "k", 1, 0.1));
    says("GET b k", "0.1\r\nOK\r\n");
    OK(kvreg_bucket_put_bytes(bucket, "k", 1, "raw", 3));
    says("GET b k", "raw\r\nOK\r\n");

    OK(kvreg_bucket_put_bytes(bucket, "k", 1, "\xff", 1));
    OK(kvreg_registry_execute(registry, "GET b k", KVREG_NUL, &value));
    CHECK(value.type == KVREG_BYTES && value.as.text.len == 7);
    CHECK(memcmp(value.as.text.data, "\xff\r\nOK\r\n", 7) == 0);
    kvreg_value_clear(&value);

    says("PUT b k text", "OK\r\n");
    OK(kvreg_bucket_get(bucket, "k", 1, &value));
    CHECK(check_text(&value, KVREG_STRING, "text"));
    kvreg_value_clear(&value);
    says_n("PUT b k \xff", 9, "OK\r\n");
    OK(kvreg_bucket_get(bucket, "k", 1, &value));
    CHECK(value.type == KVREG_BYTES);
    kvreg_value_clear(&value);
    OK(kvreg_bucket_free(bucket));
    finish();
}

static void failures_are_statuses(void) {
    static char line[70000];
    kvreg_bucket *bucket;
    kvreg_value value;
    start();
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_bucket_put_string(bucket, "k", 1, "two\nlines", KVREG_NUL));
    fails(KVREG_UNSUPPORTED, "GET b k", KVREG_NUL);
    OK(kvreg_bucket_put_string(bucket, "k", 1, "\r", 1));
    fails(KVREG_UNSUPPORTED, "GET b k", KVREG_NUL);
    fails(KVREG_INVALID_ARGUMENT, "CREATE \xff", KVREG_NUL);
    fails(KVREG_INVALID_ARGUMENT, "CREATE a\0b", 10);
    says_n("GET \xff k", 7, "NOT FOUND\r\n");
    memset(line, 'n', sizeof line);
    memcpy(line, "CREATE ", 7);
    fails(KVREG_INVALID_ARGUMENT, line, 7 + 256);
    memcpy(line, "PUT b ", 6);
    memcpy(line + sizeof line - 2, " v", 2);
    fails(KVREG_INVALID_ARGUMENT, line, sizeof line);
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_execute(registry, "GET b k", 7, NULL));
    /* NULL is an empty line, as it is an empty key or message, if that is its length. */
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_execute(registry, NULL, 1, &value));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_execute(registry, NULL, KVREG_NUL, &value));
    OK(kvreg_registry_execute(registry, NULL, 0, &value));
    CHECK(check_text(&value, KVREG_STRING, "UNKNOWN COMMAND\r\n"));
    kvreg_value_clear(&value);
    OK(kvreg_registry_send(registry, NULL, 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_send(registry, NULL, 1));
    OK(kvreg_registry_stop(registry));
    IS(KVREG_NO_PROCESS, kvreg_registry_execute(registry, "GET b k", 7, &value));
    IS(KVREG_NO_PROCESS, kvreg_registry_execute(registry, "CREATE b", 8, &value));
    OK(kvreg_bucket_free(bucket));
    finish();
}

static const test tests[] = {
    TEST(the_session_of_the_guide),
    TEST(every_line_of_the_table),
    TEST(a_bucket_that_ended_is_not_found),
    TEST(values_are_printed_by_type),
    TEST(failures_are_statuses),
};

CHECK_MAIN(tests)
