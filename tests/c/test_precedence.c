/*
 * When several statuses apply, the answer is the first in the header's order. Each function of a
 * bucket is called in each state with arguments that are wrong in more than one way.
 */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "check.h"

static kvreg_value one;

static kvreg_verdict keep(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    return KVREG_KEEP;
}

/* How a function of a bucket waits for it. */
typedef enum kind { CALL, CAST, READ, NEVER } kind;

/* With arguments that are in order, or with a key, an output, a constant... that cannot be. */
typedef kvreg_status function(kvreg_bucket *bucket, bool is_right);

static const char *key(bool is_right) { return is_right ? "k" : NULL; } /* with the length 1 */

static kvreg_status put(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_put(bucket, key(is_right), 1, &one);
}
static kvreg_status put_nothing(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_put(bucket, "k", 1, is_right ? &one : NULL);
}
static kvreg_status put_cast(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_put_cast(bucket, key(is_right), 1, &one);
}
static kvreg_status put_int(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_put_int(bucket, key(is_right), 1, 1);
}
static kvreg_status put_string(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_put_string(bucket, "k", 1, is_right ? "text" : "\xff\xff\xff\xff", 4);
}
static kvreg_status put_many(kvreg_bucket *bucket, bool is_right) {
    kvreg_pair pair = {key(is_right), 1, one};
    return kvreg_bucket_put_many(bucket, &pair, 1);
}
static kvreg_status put_columns(kvreg_bucket *bucket, bool is_right) {
    static const uint64_t key_lens[] = {1};
    kvreg_columns columns = kvreg_columns_init();
    columns.count = 1;
    columns.keys = key(is_right);
    columns.key_lens = key_lens;
    return kvreg_bucket_put_columns(bucket, &columns);
}
static kvreg_status apply(kvreg_bucket *bucket, bool is_right) {
    kvreg_op op = kvreg_op_init();
    op.key = key(is_right);
    op.key_len = 1;
    op.value = one;
    return kvreg_bucket_apply(bucket, &op, 1, NULL);
}
static kvreg_status save(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_save(bucket, is_right ? "/none/none" : "", KVREG_NUL);
}
static kvreg_status restore(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_restore(bucket, is_right ? "/none/none" : "", KVREG_NUL);
}
static kvreg_status get(kvreg_bucket *bucket, bool is_right) {
    kvreg_value value;
    return kvreg_bucket_get(bucket, "k", 1, is_right ? &value : NULL);
}
static kvreg_status get_int(kvreg_bucket *bucket, bool is_right) {
    int64_t integer;
    return kvreg_bucket_get_int(bucket, "k", 1, is_right ? &integer : NULL);
}
static kvreg_status get_bytes(kvreg_bucket *bucket, bool is_right) {
    char buffer[8];
    size_t len;
    return kvreg_bucket_get_bytes(bucket, "k", 1, buffer, sizeof buffer, is_right ? &len : NULL);
}
static kvreg_status get_many(kvreg_bucket *bucket, bool is_right) {
    kvreg_pair pair = {key(is_right), 1, kvreg_nil()};
    return kvreg_bucket_get_many(bucket, &pair, 1);
}
static kvreg_status delete_key(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_delete(bucket, key(is_right), 1, NULL);
}
static kvreg_status delete_cast(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_delete_cast(bucket, key(is_right), 1);
}
static kvreg_status update(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_update(bucket, "k", 1, is_right ? keep : NULL, NULL);
}
static kvreg_status update_cast(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_update_cast(bucket, "k", 1, is_right ? keep : NULL, NULL, NULL);
}
static kvreg_status update_begin(kvreg_bucket *bucket, bool is_right) {
    kvreg_update *begun;
    return kvreg_bucket_update_begin(bucket, "k", 1, NULL, is_right ? &begun : NULL);
}
static kvreg_status count(kvreg_bucket *bucket, bool is_right) {
    size_t counted;
    return kvreg_bucket_count(bucket, is_right ? &counted : NULL);
}
static kvreg_status items(kvreg_bucket *bucket, bool is_right) {
    kvreg_items *found;
    return kvreg_bucket_items(bucket, is_right ? &found : NULL);
}
static kvreg_status scan(kvreg_bucket *bucket, bool is_right) {
    kvreg_items *found;
    return kvreg_bucket_scan(bucket, NULL, is_right ? &found : NULL);
}
static kvreg_status exit_(kvreg_bucket *bucket, bool is_right) {
    return kvreg_bucket_exit(bucket, is_right ? KVREG_REASON_KILLED : KVREG_REASON_NOPROC, NULL, 0);
}

static const struct {
    const char *name;
    function *call;
    kind kind;
} functions[] = {
#define FUNCTION(call, kind) {#call, call, kind}
    FUNCTION(put, CALL),         FUNCTION(put_nothing, CALL), FUNCTION(put_cast, CAST),
    FUNCTION(put_int, CALL),     FUNCTION(put_string, CALL),  FUNCTION(put_many, CALL),
    FUNCTION(put_columns, CALL), FUNCTION(get, READ),         FUNCTION(get_int, READ),
    FUNCTION(get_bytes, READ),   FUNCTION(get_many, READ),    FUNCTION(delete_key, CALL),
    FUNCTION(delete_cast, CAST), FUNCTION(update, CALL),      FUNCTION(update_cast, CAST),
    FUNCTION(update_begin, CALL), FUNCTION(count, READ),      FUNCTION(items, READ),
    FUNCTION(exit_, NEVER),      FUNCTION(apply, CALL),
    FUNCTION(scan, READ),
    FUNCTION(save, READ),         FUNCTION(restore, CALL),
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* Each function of these kinds answers so. */
static void all_answer(kvreg_status expected, kvreg_bucket *bucket, bool is_right, kind last) {
    for (int i = 0; i < FUNCTIONS; i++) {
        if (functions[i].kind > last) continue;
        check_status(__FILE__, __LINE__, functions[i].name, functions[i].call(bucket, is_right),
                     expected);
    }
}

static void a_handle_is_looked_at_first(void) {
    kvreg_bucket *bucket, *freed;
    kvreg_inbox *inbox;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_clone(bucket, &freed));
    OK(kvreg_bucket_free(freed));
    OK(kvreg_inbox_open(&inbox));
    all_answer(KVREG_BAD_HANDLE, NULL, false, NEVER);
    all_answer(KVREG_BAD_HANDLE, freed, false, NEVER);
    all_answer(KVREG_WRONG_KIND, (kvreg_bucket *)inbox, false, NEVER);
    /* Of two handles too, whichever comes first. */
    kvreg_bucket *of_another_kind = (kvreg_bucket *)inbox;
    IS(KVREG_BAD_HANDLE, kvreg_bucket_link(of_another_kind, freed));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_link(freed, of_another_kind));
    IS(KVREG_WRONG_KIND, kvreg_bucket_link(bucket, of_another_kind));
    IS(KVREG_WRONG_KIND, kvreg_bucket_clone(of_another_kind, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_clone(NULL, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_clone(bucket, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_monitor(inbox, NULL, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_monitor(inbox, bucket, NULL));
    kvreg_watch_options wrong = kvreg_watch_options_init();
    wrong.flags = 8;
    IS(KVREG_BAD_HANDLE, kvreg_inbox_watch(inbox, NULL, &wrong, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_watch((kvreg_inbox *)bucket, freed, NULL, NULL));
    IS(KVREG_WRONG_KIND, kvreg_inbox_watch((kvreg_inbox *)bucket, bucket, NULL, NULL));
    IS(KVREG_WRONG_KIND, kvreg_inbox_watch_names(inbox, (kvreg_registry *)bucket, NULL, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_watch(inbox, bucket, NULL, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_unwatch(NULL, 1));
    IS(KVREG_BAD_HANDLE, kvreg_inbox_receive_many(NULL, -2, NULL, 0, NULL));
    IS(KVREG_INVALID_ARGUMENT, kvreg_inbox_receive_many(inbox, 0, NULL, 1, NULL));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(bucket));
}

/* A server by callbacks, one by turns, one with hand-over: what is wrong comes in the same order. */
static kvreg_verdict keeps(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state, (void)message, (void)reply;
    return KVREG_KEEP;
}

static void a_server_answers_in_the_order_too(void) {
    for (int kind = 0; kind < 3; kind++) {
        kvreg_server_options options = kvreg_server_options_init();
        kvreg_server *server, *other;
        kvreg_bucket *bucket;
        kvreg_inbox *inbox;
        kvreg_turn *turn;
        kvreg_value wrong = kvreg_nil();
        uint64_t reference;
        wrong.type = 99;
        if (kind != 1) options.handle = keeps;
        if (kind == 2) options.flags = KVREG_SERVER_HAND_OVER;
        OK(kvreg_server_start(&options, &server, &turn));
        CHECK((turn != NULL) == (kind == 1));
        if (turn != NULL) OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        OK(kvreg_inbox_open(&inbox));
        OK(kvreg_bucket_start(&bucket));
        kvreg_server *stranger = (kvreg_server *)inbox;
        IS(KVREG_BAD_HANDLE, kvreg_server_call(NULL, NULL, 3, NULL, 1, NULL));
        IS(KVREG_WRONG_KIND, kvreg_server_call(stranger, NULL, 3, NULL, 1, NULL));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "t", 1, &wrong, 1, NULL));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_cast(server, "", 0, NULL, 0));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_send(server, 2, "t", 1, NULL, 0));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_begin(server, 2, NULL, &turn));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_begin(server, 0, NULL, NULL));
        IS(kind == 1 ? KVREG_OK : KVREG_UNSUPPORTED, kvreg_server_begin(server, 0, NULL, &turn));
        if (turn != NULL) OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
        IS(KVREG_BAD_HANDLE, kvreg_server_request(stranger, "t", 1, NULL, 0, NULL, &reference));
        IS(KVREG_WRONG_KIND,
           kvreg_server_request(server, "t", 1, NULL, 0, (kvreg_inbox *)bucket, &reference));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_request(server, "t", 1, NULL, 0, inbox, NULL));
        IS(KVREG_BAD_HANDLE, kvreg_server_link(stranger, NULL));
        IS(KVREG_WRONG_KIND, kvreg_server_link(server, stranger));
        IS(KVREG_BAD_HANDLE, kvreg_inbox_monitor_server((kvreg_inbox *)bucket, NULL, NULL));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_clone(server, NULL));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_exit(server, KVREG_REASON_NOPROC, NULL, 0));
        OK(kvreg_server_exit(server, KVREG_REASON_NORMAL, NULL, 0)); /* does nothing */
        OK(kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
        IS(KVREG_INVALID_ARGUMENT, kvreg_server_call(server, "t", 1, &wrong, 1, NULL));
        IS(KVREG_NO_PROCESS, kvreg_server_call(server, "t", 1, NULL, 0, NULL));
        IS(KVREG_NO_PROCESS, kvreg_server_cast(server, "t", 1, NULL, 0));
        IS(KVREG_NO_PROCESS, kvreg_server_request(server, "t", 1, NULL, 0, inbox, &reference));
        IS(KVREG_NO_PROCESS, kvreg_server_stop(server));
        IS(KVREG_NO_PROCESS, kvreg_server_exit(server, KVREG_REASON_KILLED, NULL, 0));
        OK(kvreg_server_clone(server, &other));
        OK(kvreg_server_free(other));
        OK(kvreg_server_free(server));
        IS(KVREG_BAD_HANDLE, kvreg_server_free(server));
        OK(kvreg_inbox_free(inbox));
        OK(kvreg_bucket_free(bucket));
    }
}

static void an_argument_comes_before_what_became_of_the_bucket(void) {
    kvreg_bucket *bucket;
    kvreg_registry *registry;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_stop(bucket));
    all_answer(KVREG_INVALID_ARGUMENT, bucket, false, NEVER);
    all_answer(KVREG_NO_PROCESS, bucket, true, NEVER);
    OK(kvreg_bucket_free(bucket));

    kvreg_value reply;
    size_t counted;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_stop(registry));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, "", 0, 0, &bucket));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create(registry, "b", 1, 2, &bucket));
    IS(KVREG_NO_PROCESS, kvreg_registry_create(registry, "b", 1, 0, &bucket));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_create_cast(registry, "\xff", 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_lookup(registry, "b", 1, NULL));
    IS(KVREG_NO_PROCESS, kvreg_registry_lookup(registry, "b", 1, &bucket));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_remove(registry, "", 0));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_count(registry, NULL));
    IS(KVREG_NO_PROCESS, kvreg_registry_count(registry, &counted));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_send(registry, NULL, 1));
    IS(KVREG_INVALID_ARGUMENT, kvreg_registry_execute(registry, NULL, 1, &reply));
    IS(KVREG_NO_PROCESS, kvreg_registry_execute(registry, "GET b k", KVREG_NUL, &reply));
    IS(KVREG_INVALID_ARGUMENT,
       kvreg_registry_exit(registry, KVREG_REASON_NOPROC, NULL, 0));
    OK(kvreg_registry_free(registry));
}

static void from_inside_the_bucket(void) {
    kvreg_bucket *bucket;
    kvreg_update *begun;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &begun));
    all_answer(KVREG_INVALID_ARGUMENT, bucket, false, NEVER);
    all_answer(KVREG_CALLING_SELF, bucket, true, CALL);
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    all_answer(KVREG_NO_PROCESS, bucket, true, NEVER);
    IS(KVREG_SERVER_DOWN, kvreg_update_end(begun, KVREG_KEEP, NULL));
    OK(kvreg_bucket_free(bucket));
}

/* What cannot be stored whoever has the turn, and however long one waits. */
static kvreg_status put_five(kvreg_bucket *bucket) {
    return kvreg_bucket_put_string(bucket, "five", 4, "five!", 5);
}
static kvreg_status put_many_five(kvreg_bucket *bucket) {
    kvreg_pair pairs[] = {{"a", 1, kvreg_int(1)}, {"five", 4, kvreg_string("five!", 5)}};
    return kvreg_bucket_put_many(bucket, pairs, 2);
}

static void *from_another_thread(void *data) {
    kvreg_bucket *bucket = data;
    IS(KVREG_INVALID_ARGUMENT, put(bucket, false));
    IS(KVREG_LIMIT, put_five(bucket));
    IS(KVREG_LIMIT, put_many_five(bucket));
    /* And then what the work would find: it is not asked. */
    all_answer(KVREG_TIMEOUT, bucket, true, CALL);
    IS(KVREG_TIMEOUT, kvreg_bucket_delete(bucket, "none", 4, NULL));
    IS(KVREG_TIMEOUT, kvreg_bucket_put_int(bucket, "third", 5, 1)); /* no room for it */
    return NULL;
}

static void a_limit_known_beforehand_comes_before_the_wait(void) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    kvreg_bucket *bucket;
    kvreg_update *begun;
    kvreg_value value;
    int64_t integer;
    pthread_t thread;
    options.max_value = 4;
    options.max_keys = 2;
    OK(kvreg_bucket_start_with(&options, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, 0));
    OK(kvreg_bucket_put_int(bucket, "second", 6, 1));
    OK(kvreg_bucket_put_string(bucket, "k", 1, "text", 4));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &begun));
    IS(KVREG_CALLING_SELF, put_five(bucket));
    IS(KVREG_CALLING_SELF, put_many_five(bucket));
    CHECK(pthread_create(&thread, NULL, from_another_thread, bucket) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_update_end(begun, KVREG_KEEP, NULL));
    IS(KVREG_LIMIT, kvreg_bucket_put_int(bucket, "third", 5, 1));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(bucket, "none", 4, &value));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(bucket, "none", 4, &integer));
    IS(KVREG_WRONG_TYPE, kvreg_bucket_get_int(bucket, "k", 1, &integer));
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, put_five(bucket));
    IS(KVREG_NO_PROCESS, put_many_five(bucket));
    OK(kvreg_bucket_free(bucket));
}

/* Values beyond what any bucket takes are told by their length alone, which comes after an
 * argument that cannot be, wherever in the batch that is. */
static void in_a_batch_an_argument_comes_before_a_limit(void) {
    static const uint64_t key_lens[] = {1, 65537}, value_lens[] = {UINT64_C(1) << 30, 1};
    kvreg_value huge = kvreg_bytes("x", (size_t)1 << 30);
    kvreg_pair pairs[] = {{"a", 1, huge}, {"b", 1, kvreg_int(1)}, {NULL, 1, kvreg_int(1)}};
    kvreg_columns columns = kvreg_columns_init();
    kvreg_bucket *bucket;
    OK(kvreg_bucket_start(&bucket));
    IS(KVREG_LIMIT, kvreg_bucket_put(bucket, "a", 1, &huge));
    IS(KVREG_LIMIT, kvreg_bucket_put_many(bucket, pairs, 2));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_many(bucket, pairs, 3));
    columns.type = KVREG_BYTES;
    columns.count = 1;
    columns.keys = "ab";
    columns.key_lens = key_lens;
    columns.values = "x";
    columns.value_lens = value_lens;
    IS(KVREG_LIMIT, kvreg_bucket_put_columns(bucket, &columns));
    columns.count = 2;
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_put_columns(bucket, &columns));
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, kvreg_bucket_put_many(bucket, pairs, 2));
    OK(kvreg_bucket_free(bucket));
}

#ifndef _WIN32
/* A child can shut the library down, and the tests go on. */
static void in_a_child(kvreg_bucket *inherited) {
    kvreg_bucket *own, *freed;
    all_answer(KVREG_FORKED, inherited, false, NEVER);
    OK(kvreg_bucket_start(&own));
    IS(KVREG_FORKED, kvreg_bucket_link(NULL, inherited));
    IS(KVREG_FORKED, kvreg_bucket_link(own, inherited));
    OK(kvreg_bucket_start(&freed));
    OK(kvreg_bucket_free(freed));
    OK(kvreg_shutdown(1000));
    all_answer(KVREG_FORKED, inherited, false, NEVER);
    all_answer(KVREG_SHUT_DOWN, own, false, NEVER);
    all_answer(KVREG_SHUT_DOWN, freed, false, NEVER);
    all_answer(KVREG_SHUT_DOWN, NULL, false, NEVER);
    IS(KVREG_FORKED, kvreg_bucket_link(own, inherited));
    IS(KVREG_FORKED, kvreg_bucket_link(NULL, inherited));
    IS(KVREG_SHUT_DOWN, kvreg_bucket_start(NULL));
    IS(KVREG_SHUT_DOWN, kvreg_registry_start(NULL, NULL));
    IS(KVREG_SHUT_DOWN, kvreg_shutdown(-2));
    IS(KVREG_SHUT_DOWN, kvreg_live_counts(NULL));
    /* Without an end of its own, at which valgrind would count what a child leaks on purpose. */
    raise(SIGKILL);
}

static void after_a_fork_and_after_the_shutdown(void) {
    kvreg_bucket *bucket;
    int status;
    if (LEFT_OUT_BY_TSAN(A_CHILD_STARTS_THREADS)) return;
    OK(kvreg_bucket_start(&bucket));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) in_a_child(bucket);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    OK(kvreg_bucket_free(bucket));
}
#endif

static const test tests[] = {
    TEST(a_handle_is_looked_at_first),
    TEST(a_server_answers_in_the_order_too),
    TEST(an_argument_comes_before_what_became_of_the_bucket),
    TEST(from_inside_the_bucket),
    TEST(a_limit_known_beforehand_comes_before_the_wait),
    TEST(in_a_batch_an_argument_comes_before_a_limit),
#ifndef _WIN32
    TEST(after_a_fork_and_after_the_shutdown),
#endif
};

int main(void) {
    one = kvreg_int(1);
    return check_run(tests, sizeof tests / sizeof *tests);
}
