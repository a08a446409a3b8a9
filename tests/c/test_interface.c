/* What programs are compiled with: numbers, names, layouts, initialisers, and old names. */

#undef KVREG_NO_OLD_NAMES /* they are tested here too */

#include <stddef.h>

#include "check.h"

/* Each at its place, and nothing between or behind. */
#define NEXT(struct_, before, field) \
    _Static_assert(offsetof(struct_, field) == \
                       offsetof(struct_, before) + sizeof((struct_){0}.before), \
                   #struct_ "." #field)
#define LAST(struct_, field) \
    _Static_assert(sizeof(struct_) == offsetof(struct_, field) + sizeof((struct_){0}.field), \
                   #struct_ " ends")

_Static_assert(offsetof(kvreg_event, type) == 0, "kvreg_event begins");
NEXT(kvreg_event, type, reason);
NEXT(kvreg_event, reason, level);
NEXT(kvreg_event, level, status);
NEXT(kvreg_event, status, reference);
NEXT(kvreg_event, reference, count);
NEXT(kvreg_event, count, revision);
NEXT(kvreg_event, revision, name);
NEXT(kvreg_event, name, detail);
NEXT(kvreg_event, detail, value);
NEXT(kvreg_event, value, private_);
LAST(kvreg_event, private_);
_Static_assert(sizeof(kvreg_event) == 168, "kvreg_event");
_Static_assert(offsetof(kvreg_event, reference) == 16, "reference");
_Static_assert(offsetof(kvreg_event, name) == 40, "name");
_Static_assert(offsetof(kvreg_event, value) == 72, "value");
_Static_assert(offsetof(kvreg_event, private_) == 104, "private_");

_Static_assert(sizeof(kvreg_value) == 32, "kvreg_value");
_Static_assert(offsetof(kvreg_value, as) == 8, "as");
_Static_assert(offsetof(kvreg_value, private_) == 24, "private_");

_Static_assert(offsetof(kvreg_message, size) == 0, "kvreg_message begins");
NEXT(kvreg_message, size, type);
NEXT(kvreg_message, type, reason);
NEXT(kvreg_message, reason, reserved);
NEXT(kvreg_message, reserved, reference);
NEXT(kvreg_message, reference, tag);
NEXT(kvreg_message, tag, values);
NEXT(kvreg_message, values, count);
NEXT(kvreg_message, count, self);
NEXT(kvreg_message, self, private_);
LAST(kvreg_message, private_);

#define IS_INT32(type) _Static_assert(_Generic((type)0, int32_t: 1, default: 0), #type)
IS_INT32(kvreg_status);
IS_INT32(kvreg_reason);
IS_INT32(kvreg_verdict);

typedef struct named {
    int32_t number;
    const char *name;
} named;
#define NAMED(constant) {constant, #constant}
#define COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))

/* They count from 0, and each is called what it is. */
static void are_named(const named *all, int32_t count, const char *(*name)(int32_t)) {
    for (int32_t i = 0; i < count; i++) {
        CHECK(all[i].number == i);
        CHECK(strcmp(name(i), all[i].name) == 0);
    }
    const int32_t unknown[] = {-1, count, INT32_MIN, INT32_MAX};
    for (int32_t i = 0; i < COUNT(unknown); i++)
        CHECK(strcmp(name(unknown[i]), "KVREG_UNKNOWN") == 0);
}

static void reasons_have_names(void) {
    static const named all[] = {
        NAMED(KVREG_REASON_NORMAL),  NAMED(KVREG_REASON_SHUTDOWN), NAMED(KVREG_REASON_KILLED),
        NAMED(KVREG_REASON_CRASHED), NAMED(KVREG_REASON_NOPROC),
    };
    are_named(all, COUNT(all), kvreg_reason_name);
}

static void verdicts_have_names(void) {
    static const named all[] = {
        NAMED(KVREG_KEEP),  NAMED(KVREG_STORE), NAMED(KVREG_REMOVE), NAMED(KVREG_ABORT),
        NAMED(KVREG_CRASH), NAMED(KVREG_STOP),  NAMED(KVREG_LATER),  NAMED(KVREG_UNHANDLED),
    };
    are_named(all, COUNT(all), kvreg_verdict_name);
}

static void numbers_are_those_of_the_contract(void) {
    static const int values[] = {KVREG_NIL,    KVREG_BOOL,  KVREG_INT,   KVREG_FLOAT,
                                 KVREG_STRING, KVREG_BYTES, KVREG_ABSENT};
    static const int events[] = {KVREG_EVENT_DOWN,    KVREG_EVENT_LOG,   KVREG_EVENT_LOST,
                                 KVREG_EVENT_CHANGE,  KVREG_EVENT_RESET, KVREG_EVENT_CURRENT,
                                 KVREG_EVENT_MAIL,    KVREG_EVENT_REPLY, KVREG_EVENT_STORE};
    static const int levels[] = {KVREG_LOG_ERROR, KVREG_LOG_WARN, KVREG_LOG_INFO,
                                 KVREG_LOG_DEBUG};
    static const int restarts[] = {KVREG_TEMPORARY, KVREG_TRANSIENT, KVREG_PERMANENT};
    for (int i = 0; i < COUNT(values); i++) CHECK(values[i] == i);
    for (int i = 0; i < COUNT(events); i++) CHECK(events[i] == i);
    for (int i = 0; i < COUNT(levels); i++) CHECK(levels[i] == i);
    for (int i = 0; i < COUNT(restarts); i++) CHECK(restarts[i] == i);
    static const int messages[] = {KVREG_MESSAGE_INIT, KVREG_MESSAGE_CALL, KVREG_MESSAGE_CAST,
                                   KVREG_MESSAGE_INFO, KVREG_MESSAGE_DOWN,
                                   KVREG_MESSAGE_TERMINATE};
    for (int i = 0; i < COUNT(messages); i++) CHECK(messages[i] == i);
    CHECK(KVREG_CREATE_EXCLUSIVE == 1 && KVREG_DEMONITOR_FLUSH == 1);
    CHECK(KVREG_SERVER_WANTS_TERMINATE == 1 && KVREG_SERVER_HAND_OVER == 2);
    CHECK(KVREG_BEGIN_NOW == 1 && KVREG_SEND_NEXT == 1);
}

static void old_names_stand_for_the_new_ones(void) {
    CHECK(KVREG_NORMAL == KVREG_REASON_NORMAL && KVREG_SHUTDOWN == KVREG_REASON_SHUTDOWN);
    CHECK(KVREG_KILLED == KVREG_REASON_KILLED && KVREG_CRASHED == KVREG_REASON_CRASHED);
    CHECK(KVREG_NOPROC == KVREG_REASON_NOPROC);
    CHECK(KVREG_EXCLUSIVE == KVREG_CREATE_EXCLUSIVE && KVREG_FLUSH == KVREG_DEMONITOR_FLUSH);
}

/* The size is set, and all else is 0. */
#define IS_INITIAL(type) \
    do { \
        type made = type##_init(), zero; \
        CHECK(made.size == sizeof made); \
        made.size = 0; \
        memset(&zero, 0, sizeof zero); \
        CHECK(memcmp(&made, &zero, sizeof made) == 0); \
    } while (0)

static void structs_with_a_size_have_an_initialiser(void) {
    IS_INITIAL(kvreg_options);
    IS_INITIAL(kvreg_bucket_options);
    IS_INITIAL(kvreg_registry_options);
    IS_INITIAL(kvreg_listener_options);
    IS_INITIAL(kvreg_bucket_stats);
    IS_INITIAL(kvreg_registry_stats);
    IS_INITIAL(kvreg_live);
    IS_INITIAL(kvreg_server_options);
    IS_INITIAL(kvreg_server_stats);
    IS_INITIAL(kvreg_message);
    IS_INITIAL(kvreg_columns);
}

static void what_an_initialiser_makes_is_taken(void) {
    kvreg_live live = kvreg_live_init();
    kvreg_columns columns = kvreg_columns_init();
    kvreg_bucket *bucket;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_live_counts(&live));
    CHECK(live.buckets == 1 && live.bucket_handles == 1);
    OK(kvreg_bucket_put_columns(bucket, &columns));
    OK(kvreg_bucket_free(bucket));
}

/* A field that an event does not use is 0, "" or nil, and stays so when it is cleared. */
static bool is_unused(const kvreg_event *event) {
    return event->status == KVREG_OK && event->revision == 0 && event->value.type == KVREG_NIL;
}

static void an_event_is_whole(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    memset(&event, 0xff, sizeof event);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_inbox_open(&inbox));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    CHECK(is_unused(&event) && event.name.len == 0 && event.name.data[0] == '\0');
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_ERROR));
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, "why", 3));
    for (int i = 0; i < 2; i++) {
        OK(kvreg_inbox_receive(inbox, 1000, &event));
        CHECK(is_unused(&event) && strcmp(event.name.data, "b") == 0);
        CHECK(event.type == KVREG_EVENT_LOG || event.type == KVREG_EVENT_DOWN);
        if (event.type == KVREG_EVENT_DOWN) {
            CHECK(event.reference == reference && event.reason == KVREG_REASON_KILLED);
            CHECK(strcmp(event.detail.data, "why") == 0);
        }
        kvreg_event_clear(&event);
        CHECK(is_unused(&event) && event.name.len == 0 && event.name.data[0] == '\0');
        kvreg_event_clear(&event);
    }
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

static kvreg_verdict says(void *verdict, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    *next = kvreg_int(2);
    return *(const kvreg_verdict *)verdict;
}

static void verdicts_of_servers_are_not_of_updates(void) {
    static kvreg_verdict refused[] = {KVREG_STOP, KVREG_LATER, KVREG_UNHANDLED,
                                      KVREG_UNHANDLED + 1, -1};
    kvreg_bucket *bucket;
    kvreg_update *update;
    kvreg_value next = kvreg_int(2);
    int64_t held;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    for (int i = 0; i < COUNT(refused); i++) {
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_update(bucket, "k", 1, says, &refused[i]));
        OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
        IS(KVREG_INVALID_ARGUMENT, kvreg_update_end(update, refused[i], &next));
        IS(KVREG_BAD_HANDLE, kvreg_update_end(update, KVREG_KEEP, NULL)); /* it is freed */
        OK(kvreg_bucket_update_cast(bucket, "k", 1, says, &refused[i], NULL));
        OK(kvreg_bucket_get_int(bucket, "k", 1, &held)); /* after the cast */
        CHECK(held == 1);
    }
    OK(kvreg_bucket_free(bucket));
}

static void a_bucket_without_a_registry_has_options(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    kvreg_value name;
    options.max_keys = 1;
    options.max_value = 4;
    options.max_bytes = 6;
    OK(kvreg_bucket_start_with(&options, &bucket));
    options.max_keys = 9; /* copied */
    IS(KVREG_LIMIT, kvreg_bucket_put_string(bucket, "k", 1, "five!", 5));
    OK(kvreg_bucket_put_string(bucket, "k", 1, "four", 4));
    IS(KVREG_LIMIT, kvreg_bucket_put_string(bucket, "l", 1, "", 0));
    IS(KVREG_LIMIT, kvreg_bucket_put_int(bucket, "k", 1, 1)); /* 9 bytes */
    OK(kvreg_bucket_name(bucket, &name));
    CHECK(name.type == KVREG_NIL);
    OK(kvreg_bucket_free(bucket));

    OK(kvreg_bucket_start_with(NULL, &bucket));
    OK(kvreg_bucket_put_string(bucket, "key", 3, "text", 4));
    OK(kvreg_bucket_free(bucket));

    /* Nobody would start it again. What goes with a restart is not looked at without one. */
    options = kvreg_bucket_options_init();
    options.max_restarts = 1;
    options.restart_period_ms = 1;
    OK(kvreg_bucket_start_with(&options, &bucket));
    OK(kvreg_bucket_free(bucket));
    for (uint32_t restart = KVREG_TRANSIENT; restart <= KVREG_PERMANENT + 1; restart++) {
        options.restart = restart;
        bucket = (kvreg_bucket *)&options;
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_start_with(&options, &bucket));
        CHECK(bucket == NULL);
    }
    options = kvreg_bucket_options_init();
    options.max_value = (512u << 20) + 1;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_start_with(&options, &bucket));
    options.size = 0;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_start_with(&options, &bucket));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_start_with(NULL, NULL));
}

static const test tests[] = {
    TEST(reasons_have_names),
    TEST(verdicts_have_names),
    TEST(numbers_are_those_of_the_contract),
    TEST(old_names_stand_for_the_new_ones),
    TEST(structs_with_a_size_have_an_initialiser),
    TEST(what_an_initialiser_makes_is_taken),
    TEST(an_event_is_whole),
    TEST(verdicts_of_servers_are_not_of_updates),
    TEST(a_bucket_without_a_registry_has_options),
};
CHECK_MAIN(tests)
