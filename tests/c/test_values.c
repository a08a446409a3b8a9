/* Values: every type and size, into a bucket and out again, and what cannot be a value. */

#include <math.h>

#include "check.h"

static kvreg_bucket *bucket;

static void start(void) { OK(kvreg_bucket_start(&bucket)); }
static void finish(void) { OK(kvreg_bucket_free(bucket)); }

static kvreg_value through(kvreg_value value) {
    kvreg_value seen;
    OK(kvreg_bucket_put(bucket, "k", 1, &value));
    OK(kvreg_bucket_get(bucket, "k", 1, &seen));
    CHECK(seen.type == value.type);
    return seen;
}

static void scalars_come_back(void) {
    start();
    CHECK(through(kvreg_nil()).type == KVREG_NIL);
    CHECK(through(kvreg_bool(true)).as.boolean);
    CHECK(!through(kvreg_bool(false)).as.boolean);
    CHECK(through(kvreg_int(INT64_MIN)).as.integer == INT64_MIN);
    CHECK(through(kvreg_int(INT64_MAX)).as.integer == INT64_MAX);
    CHECK(through(kvreg_float(-0.5)).as.real == -0.5);
    CHECK(isnan(through(kvreg_float(NAN)).as.real));
    finish();
}

static void texts_of_all_sizes_come_back_with_a_nul(void) {
    static const size_t sizes[] = {0,    1,    15,   64,      511,      512,
                                   513,  4096, 65536, 1 << 20, 16 << 20};
    start();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t len = sizes[i];
        char *text = malloc(len + 1);
        CHECK(text != NULL);
        memset(text, 'a' + (int)i, len);
        text[len] = '\0';
        kvreg_value string = through(kvreg_string(text, KVREG_NUL));
        kvreg_value bytes = through(kvreg_bytes(text, len));
        /* Read once more, and both stay what they are. */
        OK(kvreg_bucket_clear(bucket));
        CHECK(string.as.text.len == len && bytes.as.text.len == len);
        CHECK(memcmp(string.as.text.data, text, len + 1) == 0);
        CHECK(memcmp(bytes.as.text.data, text, len + 1) == 0);
        CHECK(string.as.text.data != bytes.as.text.data);
        kvreg_value_clear(&string);
        CHECK(string.type == KVREG_NIL);
        kvreg_value_clear(&string);
        kvreg_value_clear(&bytes);
        free(text);
    }
    finish();
}

static void bytes_may_be_anything(void) {
    start();
    kvreg_value seen = through(kvreg_bytes("a\0\xff", 3));
    CHECK(seen.as.text.len == 3 && memcmp(seen.as.text.data, "a\0\xff", 4) == 0);
    kvreg_value_clear(&seen);
    kvreg_value empty = through(kvreg_bytes(NULL, 0));
    CHECK(empty.as.text.len == 0 && empty.as.text.data != NULL);
    kvreg_value_clear(&empty);
    finish();
}

static void a_value_that_was_read_can_be_stored(void) {
    start();
    kvreg_value seen = through(kvreg_string("text", KVREG_NUL));
    OK(kvreg_bucket_put(bucket, "copy", KVREG_NUL, &seen));
    kvreg_value_clear(&seen);
    OK(kvreg_bucket_get(bucket, "copy", KVREG_NUL, &seen));
    CHECK(check_text(&seen, KVREG_STRING, "text"));
    kvreg_value_clear(&seen);
    finish();
}

static void what_cannot_be_is_refused(void) {
    static char key[65537];
    kvreg_value bad = kvreg_int(1);
    start();
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put(bucket, "k", 1, NULL));
    bad.type = 6;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put(bucket, "k", 1, &bad));
    bad.type = UINT32_MAX;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_cast(bucket, "k", 1, &bad));
    bad = kvreg_bool(true);
    memset(&bad.as, 2, 1);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put(bucket, "k", 1, &bad));
    bad = kvreg_string("\xff", 1);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put(bucket, "k", 1, &bad));
    bad = kvreg_bytes(NULL, 1);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put(bucket, "k", 1, &bad));
    bad = kvreg_bytes("", (512u << 20) + 1);
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "k", 1, &bad));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_int(bucket, NULL, 1, 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_int(bucket, key, sizeof key, 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get(bucket, "k", 1, NULL));

    size_t count;
    OK(kvreg_bucket_count(bucket, &count));
    CHECK(count == 0);
    OK(kvreg_bucket_put_int(bucket, key, 65536, 1));
    OK(kvreg_bucket_put_int(bucket, NULL, 0, 2));
    int64_t found;
    OK(kvreg_bucket_get_int(bucket, "", 0, &found));
    CHECK(found == 2);
    finish();
}

static void the_plain_helpers(void) {
    int64_t integer = 7;
    double real = 7;
    size_t len = 7;
    char buffer[8] = "";
    start();
    OK(kvreg_bucket_put_int(bucket, "int", 3, -5));
    OK(kvreg_bucket_put_float(bucket, "float", 5, 2.5));
    OK(kvreg_bucket_put_string(bucket, "string", 6, "text", KVREG_NUL));
    OK(kvreg_bucket_put_bytes(bucket, "bytes", 5, "\0\1", 2));
    OK(kvreg_bucket_get_int(bucket, "int", 3, &integer));
    CHECK(integer == -5);
    OK(kvreg_bucket_get_float(bucket, "float", 5, &real));
    CHECK(real == 2.5);
    OK(kvreg_bucket_get_bytes(bucket, "string", 6, buffer, sizeof buffer, &len));
    CHECK(len == 4 && memcmp(buffer, "text", 4) == 0);
    OK(kvreg_bucket_get_bytes(bucket, "bytes", 5, buffer, 2, &len));
    CHECK(len == 2 && memcmp(buffer, "\0\1", 2) == 0);

    IS(KVREG_TOO_SMALL, kvreg_bucket_get_bytes(bucket, "string", 6, buffer, 3, &len));
    CHECK(len == 4);
    IS(KVREG_TOO_SMALL, kvreg_bucket_get_bytes(bucket, "string", 6, NULL, 0, &len));
    CHECK(len == 4);
    IS(KVREG_WRONG_TYPE, kvreg_bucket_get_int(bucket, "string", 6, &integer));
    CHECK(integer == 0);
    IS(KVREG_WRONG_TYPE, kvreg_bucket_get_float(bucket, "int", 3, &real));
    IS(KVREG_WRONG_TYPE, kvreg_bucket_get_bytes(bucket, "int", 3, buffer, 8, &len));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(bucket, "none", 4, &integer));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_bytes(bucket, "string", 6, NULL, 8, &len));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_bytes(bucket, "string", 6, buffer, 8, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_int(bucket, "int", 3, NULL));
    finish();
}

static void a_get_into_a_buffer_needs_no_clearing(void) {
    kvreg_value value = kvreg_nil();
    char buffer[8], large[1000];
    start();
    memset(large, 'x', sizeof large);
    OK(kvreg_bucket_put_string(bucket, "string", 6, "text", 4));
    OK(kvreg_bucket_put_bytes(bucket, "bytes", 5, "\0\1", 2));
    OK(kvreg_bucket_put_bytes(bucket, "empty", 5, "", 0));
    OK(kvreg_bucket_put_string(bucket, "large", 5, large, sizeof large));
    OK(kvreg_bucket_put_int(bucket, "int", 3, -5));

    OK(kvreg_bucket_get_into(bucket, "string", 6, buffer, 4, &value));
    CHECK(value.type == KVREG_STRING && (const void *)value.as.text.data == buffer && value.as.text.len == 4);
    CHECK(memcmp(buffer, "text", 4) == 0);
    OK(kvreg_bucket_get_into(bucket, "bytes", 5, buffer, sizeof buffer, &value));
    CHECK(value.type == KVREG_BYTES && (const void *)value.as.text.data == buffer && value.as.text.len == 2);
    CHECK(memcmp(buffer, "\0\1", 2) == 0);
    kvreg_value_clear(&value); /* does nothing */
    OK(kvreg_bucket_get_into(bucket, "empty", 5, buffer, sizeof buffer, &value));
    CHECK(value.type == KVREG_BYTES && value.as.text.len == 0);
    OK(kvreg_bucket_get_into(bucket, "int", 3, buffer, sizeof buffer, &value));
    CHECK(value.type == KVREG_INT && value.as.integer == -5);

    /* What has no room comes as from kvreg_bucket_get. */
    OK(kvreg_bucket_get_into(bucket, "string", 6, buffer, 3, &value));
    CHECK(check_text(&value, KVREG_STRING, "text"));
    kvreg_value_clear(&value);
    OK(kvreg_bucket_get_into(bucket, "large", 5, buffer, sizeof buffer, &value));
    CHECK(value.as.text.len == sizeof large && memcmp(value.as.text.data, large, 1000) == 0);
    kvreg_value_clear(&value);
    OK(kvreg_bucket_get_into(bucket, "string", 6, NULL, 0, &value));
    CHECK(check_text(&value, KVREG_STRING, "text"));
    kvreg_value_clear(&value);
    /* Shared ones are copied too, if they have room. */
    memset(large, 0, sizeof large);
    OK(kvreg_bucket_get_into(bucket, "large", 5, large, sizeof large, &value));
    CHECK((const void *)value.as.text.data == large && large[0] == 'x' && large[999] == 'x');
    /* Behind a cast of this thread, which is the long way. */
    OK(kvreg_bucket_put_cast(bucket, "string", 6, &value));
    OK(kvreg_bucket_get_into(bucket, "string", 6, large, sizeof large, &value));
    CHECK((const void *)value.as.text.data == large && value.as.text.len == sizeof large);

    IS(KVREG_NOT_FOUND, kvreg_bucket_get_into(bucket, "none", 4, buffer, 8, &value));
    CHECK(value.type == KVREG_NIL);
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_into(bucket, "string", 6, NULL, 8, &value));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_get_into(bucket, "string", 6, buffer, 8, NULL));
    finish();
}

static void copied_text_outside_a_callback_is_owned(void) {
    kvreg_value value = kvreg_nil();
    start();
    OK(kvreg_value_copy_text(&value, "text", KVREG_NUL));
    CHECK(check_text(&value, KVREG_STRING, "text"));
    OK(kvreg_bucket_put(bucket, "k", 1, &value));
    kvreg_value_clear(&value);
    value.type = KVREG_BYTES;
    OK(kvreg_value_copy_text(&value, "\xff", 1));
    CHECK(value.type == KVREG_BYTES);
    kvreg_value_clear(&value);
    IS(KVREG_INVALID_ARGUMENT, kvreg_value_copy_text(&value, "\xff", 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_value_copy_text(NULL, "", 0));
    kvreg_value_clear(NULL);
    finish();
}

static const test tests[] = {
    TEST(scalars_come_back),
    TEST(texts_of_all_sizes_come_back_with_a_nul),
    TEST(bytes_may_be_anything),
    TEST(a_value_that_was_read_can_be_stored),
    TEST(what_cannot_be_is_refused),
    TEST(the_plain_helpers),
    TEST(a_get_into_a_buffer_needs_no_clearing),
    TEST(copied_text_outside_a_callback_is_owned),
};

CHECK_MAIN(tests)
