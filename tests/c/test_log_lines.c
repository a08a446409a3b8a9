/* What users choose, names and details, forges no line on standard error and in log events. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <unistd.h>

#define NAME "a\nkvreg error: b\x1b[2K"
#define NAME_TOLD "a\\nkvreg error: b\\u{1b}[2K"
#define DETAIL "c\r\nd\xe2\x80\xa8"
#define DETAIL_TOLD "c\\r\\nd\\u{2028}"

static kvreg_registry *registry;
static int printed[2];

static kvreg_bucket *make(void) {
    kvreg_bucket *bucket;
    OK(kvreg_registry_create(registry, NAME, KVREG_NUL, 0, &bucket));
    return bucket;
}

static void an_event_has_no_line_break(void) {
    kvreg_inbox *inbox;
    kvreg_event event;
    kvreg_bucket *bucket = make();
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_ERROR));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, DETAIL, KVREG_NUL));
    OK(kvreg_inbox_receive(inbox, 10000, &event));
    CHECK(event.type == KVREG_EVENT_LOG);
    CHECK(strcmp(event.name.data, NAME_TOLD) == 0);
    CHECK(strstr(event.detail.data, DETAIL_TOLD) != NULL);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(bucket));
}

static void a_line_is_one_line(void) {
    char text[1000];
    kvreg_bucket *bucket = make();
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, DETAIL, KVREG_NUL));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    close(STDERR_FILENO);
    size_t len = 0, lines = 0;
    for (ssize_t more; (more = read(printed[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)more;
    text[len] = '\0';
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    CHECK(lines == 2); /* one from each test */
    CHECK(strncmp(text, "kvreg error: " NAME_TOLD ": ", sizeof "kvreg error: " NAME_TOLD) == 0);
    CHECK(strstr(text, DETAIL_TOLD "\n") != NULL);
}

static const test tests[] = {
    TEST(an_event_has_no_line_break),
    TEST(a_line_is_one_line),
};

int main(void) {
    CHECK(setenv("KVREG_LOG", "error", 1) == 0);
    CHECK(pipe(printed) == 0);
    CHECK(dup2(printed[1], STDERR_FILENO) == STDERR_FILENO);
    close(printed[1]);
    OK(kvreg_registry_start(NULL, &registry));
    return check_run(tests, sizeof tests / sizeof *tests);
}
