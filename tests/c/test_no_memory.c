/*
 * Memory (G14): whichever allocation fails in a call, alone or with all after it, the call answers
 * KVREG_NO_MEMORY or does its work, and what releases does its work. Nothing that was stored is
 * lost, nothing aborts, and nothing is printed.
 */
#define _GNU_SOURCE
#include "check.h"
#include <kvreg_engine.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "misuse/names.h"

/* The allocator: the system's, that fails from the allocation `fails_at` on, until `fails_until`;
   0 is the next one. */

static atomic_long counted;
static atomic_long fails_at = -1, fails_until = -1;

static bool is_to_fail(void) {
    if (atomic_load_explicit(&fails_at, memory_order_relaxed) < 0) return false;
    long number = atomic_fetch_add(&counted, 1);
    if (number < fails_at || number >= fails_until) return false;
    errno = ENOMEM;
    return true;
}

/* `dlsym` allocates nothing as long as it finds what it looks for. */
#define SYSTEM(name, type) ((type)(uintptr_t)dlsym(RTLD_NEXT, name))

void *malloc(size_t size) {
    static void *(*_Atomic system)(size_t);
    if (system == NULL) system = SYSTEM("malloc", void *(*)(size_t));
    return is_to_fail() ? NULL : system(size);
}

void *calloc(size_t count, size_t size) {
    static void *(*_Atomic system)(size_t, size_t);
    if (system == NULL) system = SYSTEM("calloc", void *(*)(size_t, size_t));
    return is_to_fail() ? NULL : system(count, size);
}

void *realloc(void *block, size_t size) {
    static void *(*_Atomic system)(void *, size_t);
    if (system == NULL) system = SYSTEM("realloc", void *(*)(void *, size_t));
    return is_to_fail() ? NULL : system(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    static void *(*_Atomic system)(size_t, size_t);
    if (system == NULL) system = SYSTEM("aligned_alloc", void *(*)(size_t, size_t));
    return is_to_fail() ? NULL : system(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    static int (*_Atomic system)(void **, size_t, size_t);
    if (system == NULL) system = SYSTEM("posix_memalign", int (*)(void **, size_t, size_t));
    return is_to_fail() ? ENOMEM : system(block, alignment, size);
}

/* Each function of the header is called once with what stands here before it. */

enum { LARGE = 100000, PAIRS = 40 };

static kvreg_registry *registry, *found;
static kvreg_bucket *bucket, *other, *made;
static kvreg_inbox *inbox, *opened, *watcher;
static kvreg_items *items, *taken;
static kvreg_update *update;
static kvreg_listener *listener;
static kvreg_server *server, *turns, *started;
static kvreg_turn *turn, *begun;
static kvreg_reply *later, *deferred;
static kvreg_message message;
static kvreg_value value, second;
enum { EVENTS = 8 };
static kvreg_event event, events[EVENTS];
static size_t received;
static kvreg_pair pairs[PAIRS];
static uint64_t reference, watch;
static kvreg_entry entry;
static kvreg_op ops[PAIRS];
static char saved[500]; /* a path that is too long for a buffer on the stack */
static char bytes[LARGE], buffer[LARGE];
static uint64_t key_lens[PAIRS];
static int64_t integers[PAIRS];

static kvreg_verdict store(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current;
    return kvreg_value_copy_text(next, bytes, 1000) == KVREG_OK ? KVREG_STORE : KVREG_ABORT;
}

static kvreg_verdict echo(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state;
    if (strcmp(message->tag.data, "later") == 0)
        return kvreg_message_defer(message, &deferred) == KVREG_OK ? KVREG_LATER : KVREG_ABORT;
    if (message->count > 0) *reply = message->values[0];
    return KVREG_KEEP;
}

static kvreg_registry_options named(void) {
    kvreg_registry_options options = kvreg_registry_options_init();
    options.name = "another";
    options.name_len = KVREG_NUL;
    return options;
}

static kvreg_columns columns(void) {
    kvreg_columns columns = kvreg_columns_init();
    columns.type = KVREG_INT;
    columns.count = PAIRS;
    columns.keys = bytes;
    columns.key_lens = key_lens;
    columns.values = integers;
    return columns;
}

enum function {
#define DO(name) DO_##name,
    FUNCTIONS(DO)
#undef DO
    FUNCTIONS_IN_ALL
};

static const char *const names[] = {
#define NAME(name) #name,
    FUNCTIONS(NAME)
#undef NAME
};

/* An engine that keeps nothing. */
static kvreg_status open_none(const kvreg_engine_open *open, int64_t deadline, void **store) {
    (void)deadline;
    *store = (void *)(uintptr_t)open->host;
    return KVREG_OK;
}

static void close_none(void *store) { (void)store; }

static kvreg_status write_none(void *store, const kvreg_engine_write *writes, size_t count,
                               int64_t deadline, uint64_t *revision) {
    (void)store, (void)writes, (void)deadline, (void)revision;
    return count != 0 ? KVREG_OK : KVREG_INTERNAL;
}

/* One entry, that there is something to take over. */
static kvreg_status scan_none(void *store, const kvreg_scan_options *which, int64_t deadline,
                              void *out) {
    const kvreg_engine_host *host = store;
    kvreg_engine_entry one = {.size = sizeof one, .key = {"stored", 6}, .expires_ms = -1};
    (void)deadline, (void)which;
    one.value = kvreg_bytes(bytes, LARGE);
    one.revision = 1;
    return host->found(out, &one);
}

static kvreg_status destroy_none(const kvreg_engine_open *open, int64_t deadline) {
    (void)open, (void)deadline;
    return KVREG_OK;
}

static const kvreg_engine none = {
    .size = sizeof none, .abi = KVREG_ENGINE_ABI, .abilities = KVREG_ENGINE_EXCLUSIVE,
    .open = open_none, .close = close_none, .write = write_none, .scan = scan_none,
    .destroy = destroy_none,
};

/* Whether a store keeps the buckets. */
static bool is_stored;

/* What must work, whether there is memory or not; but a store is told in memory of its own. */
static bool releases(enum function function) {
    if (is_stored && (function == DO_bucket_clear || function == DO_bucket_delete ||
                      function == DO_bucket_delete_if || function == DO_update_end))
        return false;
    switch (function) {
    case DO_registry_free: case DO_registry_stop: case DO_registry_exit: case DO_registry_remove:
    case DO_registry_erase:
    case DO_bucket_free: case DO_bucket_stop: case DO_bucket_exit: case DO_bucket_unlink:
    case DO_bucket_clear: case DO_bucket_delete: case DO_bucket_delete_if: case DO_update_free:
    case DO_update_end: case DO_items_free: case DO_inbox_demonitor: case DO_inbox_unwatch:
    case DO_inbox_free: case DO_listener_stop: case DO_server_free: case DO_server_stop:
    case DO_server_exit: case DO_server_unlink: case DO_server_cancel: case DO_server_demonitor:
    case DO_inbox_abandon: case DO_turn_end: case DO_turn_free: case DO_turn_detach:
    case DO_reply_free: case DO_message_clear: case DO_turn_answer:
    case DO_listener_free: case DO_shutdown:
        return true;
    default:
        return false;
    }
}

static void before(enum function function) {
    switch ((int)function) {
    case DO_update_end: case DO_update_free:
        OK(kvreg_bucket_update_begin(bucket, "text", 4, NULL, &update));
        break;
    case DO_items_next: case DO_items_next_entry: case DO_items_count: case DO_items_free:
        OK(kvreg_bucket_items(bucket, &items));
        break;
    case DO_inbox_receive: case DO_event_clear:
        OK(kvreg_bucket_exit(other, KVREG_REASON_KILLED, bytes, 1000));
        if (function == DO_event_clear) OK(kvreg_inbox_receive(inbox, 0, &event));
        break;
    case DO_inbox_unwatch: case DO_inbox_receive_many:
        OK(kvreg_inbox_watch(inbox, bucket, NULL, &reference));
        break;
    case DO_bucket_unlink:
        OK(kvreg_bucket_link(bucket, other));
        break;
    case DO_server_unlink:
        OK(kvreg_server_link(server, kvreg_bucket_as_server(other)));
        break;
    case DO_server_cancel:
        OK(kvreg_server_send_after(server, 100000, "tick", 4, NULL, 0, &reference));
        break;
    case DO_server_demonitor:
        OK(kvreg_server_monitor(server, kvreg_bucket_as_server(other), &reference));
        break;
    case DO_inbox_abandon:
        OK(kvreg_server_request(turns, "call", 4, NULL, 0, inbox, &reference));
        break;
    case DO_turn_next: case DO_turn_answer: case DO_turn_end: case DO_turn_free:
    case DO_turn_detach: case DO_turn_defer: case DO_message_clear: case DO_message_defer:
    case DO_reply_send: case DO_reply_free: case DO_server_self:
        OK(kvreg_server_request(turns, "call", 4, &pairs[1].value, 1, inbox, &reference));
        OK(kvreg_server_begin(turns, 0, NULL, &turn));
        message = kvreg_message_init();
        if (function != DO_turn_next) OK(kvreg_turn_next(turn, &message));
        if (function == DO_reply_send || function == DO_reply_free)
            OK(kvreg_message_defer(&message, &later));
        break;
    case DO_server_free:
        OK(kvreg_server_clone(server, &started));
        break;
    case DO_bucket_put_if: case DO_bucket_delete_if:
        OK(kvreg_bucket_get_entry(bucket, "text", 4, &entry));
        break;
    case DO_bucket_restore:
        OK(kvreg_bucket_start(&made));
        OK(kvreg_bucket_save(bucket, saved, KVREG_NUL));
        break;
    case DO_value_clear:
        OK(kvreg_bucket_get(bucket, "text", 4, &value));
        break;
    case DO_listener_address: case DO_listener_stop: case DO_listener_free:
        OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
        break;
    default:
        break;
    }
}

static kvreg_status call(enum function function) {
    kvreg_bucket_options bucket_options = kvreg_bucket_options_init();
    kvreg_registry_options registry_options = named();
    kvreg_bucket_stats bucket_stats = kvreg_bucket_stats_init();
    kvreg_registry_stats registry_stats = kvreg_registry_stats_init();
    kvreg_live live = kvreg_live_init();
    kvreg_server_options server_options = kvreg_server_options_init();
    kvreg_server_stats server_stats = kvreg_server_stats_init();
    server_options.handle = echo;
    kvreg_columns many = columns();
    kvreg_value large = kvreg_bytes(bytes, LARGE);
    uint64_t revision;
    size_t count;
    int64_t integer;
    double real;
    int fd;
    void *handle;
    switch (function) {
    case DO_engine_register: /* it is there */
        return kvreg_engine_register("none", 4, &none) == KVREG_OK;
    case DO_engine_load: return kvreg_engine_load("", 0) == KVREG_OK;
    case DO_version_string: return kvreg_version_string() == NULL;
    case DO_version_number: return kvreg_version_number() == 0;
    case DO_configure: return kvreg_configure(NULL);
    case DO_shutdown: return kvreg_shutdown(1000);
    case DO_live_counts: return kvreg_live_counts(&live);
    case DO_status_name: return kvreg_status_name(0) == NULL;
    case DO_status_message: return kvreg_status_message(0) == NULL;
    case DO_reason_name: return kvreg_reason_name(0) == NULL;
    case DO_verdict_name: return kvreg_verdict_name(0) == NULL;
    case DO_last_error:
        kvreg_bucket_get(NULL, "", 0, &value);
        kvreg_last_error(buffer, sizeof buffer);
        return KVREG_OK;
    case DO_last_os_error: return kvreg_last_os_error() * 0;
    case DO_value_clear: kvreg_value_clear(&value); return KVREG_OK;
    case DO_value_copy_text: return kvreg_value_copy_text(&value, bytes, LARGE);
    case DO_registry_start: return kvreg_registry_start(&registry_options, &found);
    case DO_registry_whereis: return kvreg_registry_whereis("known", KVREG_NUL, &found);
    case DO_registry_clone: return kvreg_registry_clone(registry, &found);
    case DO_registry_set_timeout: return kvreg_registry_set_timeout(registry, 1000);
    case DO_registry_create: return kvreg_registry_create(registry, "new", 3, 0, &made);
    case DO_registry_create_with:
        return kvreg_registry_create_with(registry, "new", 3, 0, &bucket_options, &made);
    case DO_registry_create_cast: return kvreg_registry_create_cast(registry, "new", 3);
    case DO_registry_lookup: return kvreg_registry_lookup(registry, "other", 5, &made);
    case DO_registry_remove: return kvreg_registry_remove(registry, "other", 5);
    case DO_registry_erase: return kvreg_registry_erase(registry, "other", 5);
    case DO_registry_count: return kvreg_registry_count(registry, &count);
    case DO_registry_names: return kvreg_registry_names(registry, &items);
    case DO_registry_send: return kvreg_registry_send(registry, bytes, 60000);
    case DO_registry_execute:
        return kvreg_registry_execute(registry, "GET b text", KVREG_NUL, &value);
    case DO_registry_stop: return kvreg_registry_stop(found);
    case DO_registry_exit: return kvreg_registry_exit(found, KVREG_REASON_KILLED, bytes, 60000);
    case DO_registry_info: return kvreg_registry_info(registry, &registry_stats);
    case DO_registry_free: return kvreg_registry_free(found);
    case DO_bucket_start: return kvreg_bucket_start(&made);
    case DO_bucket_start_with: return kvreg_bucket_start_with(&bucket_options, &made);
    case DO_bucket_clone: return kvreg_bucket_clone(bucket, &made);
    case DO_bucket_set_timeout: return kvreg_bucket_set_timeout(bucket, 1000);
    case DO_bucket_name: return kvreg_bucket_name(bucket, &value);
    case DO_bucket_info: return kvreg_bucket_info(bucket, &bucket_stats);
    case DO_bucket_free: return kvreg_bucket_free(made);
    case DO_bucket_stop: return kvreg_bucket_stop(other);
    case DO_bucket_exit: return kvreg_bucket_exit(other, KVREG_REASON_KILLED, bytes, 60000);
    case DO_bucket_link: return kvreg_bucket_link(bucket, other);
    case DO_bucket_unlink: return kvreg_bucket_unlink(bucket, other);
    case DO_bucket_put: return kvreg_bucket_put(bucket, "new", 3, &pairs[0].value);
    case DO_bucket_get: return kvreg_bucket_get(bucket, "text", 4, &value);
    case DO_bucket_delete: return kvreg_bucket_delete(bucket, "text", 4, NULL);
    case DO_bucket_put_cast: return kvreg_bucket_put_cast(bucket, "new", 3, &pairs[0].value);
    case DO_bucket_delete_cast: return kvreg_bucket_delete_cast(bucket, "text", 4);
    case DO_bucket_count: return kvreg_bucket_count(bucket, &count);
    case DO_bucket_clear: return kvreg_bucket_clear(other);
    case DO_bucket_items: return kvreg_bucket_items(bucket, &items);
    case DO_bucket_scan: return kvreg_bucket_scan(bucket, NULL, &items);
    case DO_bucket_put_many: return kvreg_bucket_put_many(bucket, pairs, PAIRS);
    case DO_bucket_get_many: return kvreg_bucket_get_many(other, pairs, PAIRS);
    case DO_bucket_put_columns: return kvreg_bucket_put_columns(bucket, &many);
    case DO_bucket_put_int: return kvreg_bucket_put_int(bucket, "new", 3, 1);
    case DO_bucket_put_float: return kvreg_bucket_put_float(bucket, "new", 3, 1);
    case DO_bucket_put_string: return kvreg_bucket_put_string(bucket, "new", 3, "text", 4);
    case DO_bucket_put_bytes: return kvreg_bucket_put_bytes(bucket, "new", 3, bytes, LARGE);
    case DO_bucket_get_int: return kvreg_bucket_get_int(bucket, "kept", 4, &integer);
    case DO_bucket_get_float: return kvreg_bucket_get_float(bucket, "float", 5, &real);
    case DO_bucket_get_bytes:
        return kvreg_bucket_get_bytes(bucket, "text", 4, buffer, sizeof buffer, &count);
    case DO_bucket_get_into:
        return kvreg_bucket_get_into(bucket, "text", 4, buffer, sizeof buffer, &value);
    case DO_bucket_get_entry: return kvreg_bucket_get_entry(bucket, "text", 4, &entry);
    case DO_bucket_put_entry:
        return kvreg_bucket_put_entry(bucket, "new", 3, &pairs[0].value, KVREG_TTL_DEFAULT,
                                      &revision);
    case DO_bucket_put_if:
        return kvreg_bucket_put_if(bucket, "text", 4, &large, entry.revision, KVREG_TTL_KEEP,
                                   &revision);
    case DO_bucket_expire: return kvreg_bucket_expire(bucket, "text", 4, 100000, &revision);
    case DO_bucket_delete_if:
        return kvreg_bucket_delete_if(bucket, "text", 4, entry.revision, NULL);
    case DO_bucket_put_if_equal:
        return kvreg_bucket_put_if_equal(bucket, "new", 3, NULL, &large, &revision);
    case DO_bucket_add_int: return kvreg_bucket_add_int(bucket, "new", 3, 1, &integer);
    case DO_bucket_revision: return kvreg_bucket_revision(bucket, &revision);
    case DO_bucket_apply: return kvreg_bucket_apply(bucket, ops, PAIRS, &count);
    case DO_bucket_save: return kvreg_bucket_save(bucket, saved, KVREG_NUL);
    case DO_bucket_restore: return kvreg_bucket_restore(made, saved, KVREG_NUL);
    case DO_bucket_update: return kvreg_bucket_update(bucket, "text", 4, store, NULL);
    case DO_bucket_update_cast:
        return kvreg_bucket_update_cast(bucket, "text", 4, store, NULL, NULL);
    case DO_bucket_update_begin:
        return kvreg_bucket_update_begin(bucket, "text", 4, &value, &update);
    case DO_update_end: return kvreg_update_end(update, KVREG_KEEP, NULL);
    case DO_update_free: return kvreg_update_free(update);
    case DO_items_next: return kvreg_items_next(items, &value, &second);
    case DO_items_next_entry: return kvreg_items_next_entry(items, &value, &entry);
    case DO_items_count: return kvreg_items_count(items, &count);
    case DO_items_free: return kvreg_items_free(items);
    case DO_inbox_open: return kvreg_inbox_open(&opened);
    case DO_inbox_monitor: return kvreg_inbox_monitor(inbox, bucket, &reference);
    case DO_inbox_monitor_registry:
        return kvreg_inbox_monitor_registry(inbox, registry, &reference);
    case DO_inbox_demonitor: return kvreg_inbox_demonitor(inbox, reference, KVREG_DEMONITOR_FLUSH);
    case DO_inbox_subscribe_logs: return kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG);
    case DO_inbox_receive: return kvreg_inbox_receive(inbox, 0, &event);
    case DO_inbox_watch: return kvreg_inbox_watch(inbox, bucket, NULL, &reference);
    case DO_inbox_watch_names: return kvreg_inbox_watch_names(inbox, registry, NULL, &reference);
    case DO_inbox_unwatch: return kvreg_inbox_unwatch(inbox, reference);
    case DO_inbox_receive_many:
        return kvreg_inbox_receive_many(inbox, 0, events, EVENTS, &received);
    case DO_inbox_fd: return kvreg_inbox_fd(inbox, &fd);
    case DO_inbox_handle:
        return kvreg_inbox_handle(inbox, &handle) == KVREG_UNSUPPORTED ? KVREG_OK : KVREG_NO_MEMORY;
    case DO_inbox_free: return kvreg_inbox_free(inbox);
    case DO_event_clear: kvreg_event_clear(&event); return KVREG_OK;
    case DO_listener_start:
        return kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener);
    case DO_listener_address: return kvreg_listener_address(listener, &value);
    case DO_listener_stop: return kvreg_listener_stop(listener);
    case DO_listener_free: return kvreg_listener_free(listener);
    case DO_registry_start_server:
        return kvreg_registry_start_server(registry, "new", 3, 0, &server_options, &started, NULL);
    case DO_server_start: return kvreg_server_start(&server_options, &started, NULL);
    case DO_registry_lookup_server:
        return kvreg_registry_lookup_server(registry, "server", 6, &started);
    case DO_registry_servers: return kvreg_registry_servers(registry, &items);
    case DO_server_self: return kvreg_server_self(&started);
    case DO_server_clone: return kvreg_server_clone(server, &started);
    case DO_server_set_timeout: return kvreg_server_set_timeout(server, 1000);
    case DO_server_name: return kvreg_server_name(server, &value);
    case DO_server_info: return kvreg_server_info(server, &server_stats);
    case DO_server_free: return kvreg_server_free(started);
    case DO_server_call: return kvreg_server_call(server, "echo", 4, &large, 1, &value);
    case DO_registry_call:
        return kvreg_registry_call(registry, "server", 6, "echo", 4, &large, 1, &value);
    case DO_server_cast: return kvreg_server_cast(server, "echo", 4, &large, 1);
    case DO_server_send: return kvreg_server_send(server, 0, "echo", 4, &large, 1);
    case DO_server_send_after:
        return kvreg_server_send_after(server, 100000, "echo", 4, &large, 1, &reference);
    case DO_server_cancel: return kvreg_server_cancel(server, reference, NULL);
    case DO_server_request:
        return kvreg_server_request(turns, "echo", 4, &large, 1, inbox, &reference);
    case DO_message_clear: kvreg_message_clear(&message); return KVREG_OK;
    case DO_message_defer: return kvreg_message_defer(&message, &later);
    case DO_value_clone: return kvreg_value_clone(&large, &value);
    case DO_reply_send: return kvreg_reply_send(later, KVREG_KEEP, &large);
    case DO_reply_free: return kvreg_reply_free(later);
    case DO_server_begin: return kvreg_server_begin(turns, 0, NULL, &begun);
    case DO_turn_next: return kvreg_turn_next(turn, &message);
    case DO_turn_answer: return kvreg_turn_answer(turn, KVREG_ABORT, NULL);
    case DO_turn_defer: return kvreg_turn_defer(turn, inbox, &reference, &later);
    case DO_turn_end: /* with a call that was not answered: so the server ends, and says so */
        return kvreg_turn_end(turn, KVREG_ABORT, bytes, 1000) == KVREG_SERVER_DOWN
                   ? KVREG_OK : KVREG_INTERNAL;
    case DO_turn_free: return kvreg_turn_free(turn);
    case DO_turn_detach: return kvreg_turn_detach(turn);
    case DO_inbox_monitor_server: return kvreg_inbox_monitor_server(inbox, server, &reference);
    case DO_server_monitor:
        return kvreg_server_monitor(server, kvreg_bucket_as_server(other), &reference);
    case DO_server_demonitor:
        return kvreg_server_demonitor(server, reference, KVREG_DEMONITOR_FLUSH);
    case DO_inbox_abandon: return kvreg_inbox_abandon(inbox, reference);
    case DO_server_link: return kvreg_server_link(server, kvreg_bucket_as_server(other));
    case DO_server_unlink: return kvreg_server_unlink(server, kvreg_bucket_as_server(other));
    case DO_server_stop: return kvreg_server_stop(server);
    case DO_server_exit: return kvreg_server_exit(server, KVREG_REASON_KILLED, bytes, 60000);
    case FUNCTIONS_IN_ALL: break;
    }
    return -1;
}

/* What a call freed itself is not freed again. */
static void after(enum function function) {
    if (function == DO_update_end || function == DO_update_free) update = NULL;
    if (function == DO_items_free) items = NULL;
    if (function == DO_inbox_free) inbox = NULL;
    if (function == DO_registry_free) found = NULL;
    if (function == DO_bucket_free) made = NULL;
    if (function == DO_listener_free) listener = NULL;
    kvreg_update_free(update);
    if (function == DO_turn_end || function == DO_turn_free) turn = NULL;
    if (function == DO_reply_free || function == DO_reply_send) later = NULL;
    if (function == DO_server_free) started = NULL;
    kvreg_message_clear(&message);
    if (turn != NULL) kvreg_turn_free(turn);
    if (begun != NULL) kvreg_turn_end(begun, KVREG_KEEP, NULL, 0);
    OK(kvreg_reply_free(later));
    OK(kvreg_server_free(started));
    OK(kvreg_server_free(server));
    OK(kvreg_server_free(turns));
    turn = begun = NULL, later = NULL, started = server = turns = NULL;
    OK(kvreg_items_free(items));
    OK(kvreg_items_free(taken));
    if (listener != NULL) OK(kvreg_listener_stop(listener));
    OK(kvreg_listener_free(listener));
    OK(kvreg_bucket_free(made));
    OK(kvreg_bucket_free(other));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_inbox_free(opened));
    OK(kvreg_inbox_free(watcher));
    OK(kvreg_registry_free(found)); /* it stops, unless it has a name */
    if (kvreg_registry_whereis("another", KVREG_NUL, &found) == KVREG_OK)
        OK(kvreg_registry_stop(found));
    OK(kvreg_registry_free(found));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
    kvreg_value_clear(&value);
    kvreg_value_clear(&second);
    kvreg_value_clear(&entry.value);
    kvreg_event_clear(&event);
    for (size_t i = 0; i < received; i++) kvreg_event_clear(&events[i]);
    received = 0;
    for (int i = 0; i < PAIRS; i++)
        if (function == DO_bucket_get_many) kvreg_value_clear(&pairs[i].value);
    update = NULL, items = taken = NULL, listener = NULL, made = other = bucket = NULL;
    inbox = opened = watcher = NULL, found = registry = NULL;
}

/* Whether the bucket is full, and takes keys out to make room. */
static bool is_full;

static void fill(void) {
    for (int i = 0; i < PAIRS; i++) OK(kvreg_bucket_put_int(bucket, bytes + 1, 200 + (size_t)i, i));
}

/* Of all buckets. */
static uint32_t order = KVREG_UNORDERED;

/* With the three others 64 keys: an ordered bucket has no room for another in its first run. */
static void fill_runs(void) {
    for (int i = 0; order == KVREG_ORDERED && i < 61; i++) {
        char key[8];
        snprintf(key, sizeof key, "full%02d", i);
        OK(kvreg_bucket_put_int(bucket, key, KVREG_NUL, i));
    }
}

/* What was refused is neither in the table nor in the order. */
static void order_has_what_is_there(void) {
    kvreg_items *all;
    size_t scanned, there;
    OK(kvreg_bucket_scan(bucket, NULL, &all));
    OK(kvreg_items_count(all, &scanned));
    OK(kvreg_items_free(all));
    OK(kvreg_bucket_count(bucket, &there));
    CHECK(scanned == there);
}

static void begin(enum function function) {
    kvreg_bucket_options of_bucket = kvreg_bucket_options_init();
    kvreg_registry_options options = kvreg_registry_options_init();
    of_bucket.order = order;
    of_bucket.store = is_stored ? "none:x" : NULL;
    of_bucket.store_len = is_stored ? 6 : 0;
    options.bucket = &of_bucket;
    options.name = "known";
    options.name_len = KVREG_NUL;
    OK(kvreg_registry_start(&options, &registry));
    of_bucket.on_full = is_full ? KVREG_EVICT : KVREG_REFUSE;
    of_bucket.max_keys = is_full ? PAIRS + 3 : 0;
    OK(kvreg_registry_create_with(registry, "b", 1, 0, &of_bucket, &bucket));
    OK(kvreg_registry_create(registry, "other", 5, 0, &other));
    if (is_full) fill();
    fill_runs();
    OK(kvreg_bucket_put_int(bucket, "kept", 4, 77));
    OK(kvreg_bucket_put_float(bucket, "float", 5, 1));
    OK(kvreg_bucket_put_bytes(bucket, "text", 4, bytes, 300));
    OK(kvreg_bucket_put_int(other, "k", 1, 1));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG));
    OK(kvreg_inbox_monitor(inbox, other, &reference));
    /* Who changes something wakes it. */
    OK(kvreg_inbox_open(&watcher));
    OK(kvreg_inbox_watch(watcher, bucket, NULL, &watch));
    OK(kvreg_inbox_watch_names(watcher, registry, NULL, &watch));
    while (kvreg_inbox_receive(watcher, 0, &event) == KVREG_OK) kvreg_event_clear(&event);
    entry = kvreg_entry_init();
    if (function == DO_registry_stop || function == DO_registry_exit ||
        function == DO_registry_free) {
        kvreg_bucket *child;
        OK(kvreg_registry_start(NULL, &found));
        OK(kvreg_registry_create(found, "child", 5, 0, &child));
        OK(kvreg_bucket_free(child));
    }
    if (function == DO_bucket_free) OK(kvreg_bucket_start(&made));
    for (int i = 0; i < PAIRS; i++) {
        pairs[i] = (kvreg_pair){&bytes[i], (size_t)i, kvreg_bytes(bytes, 100)};
        key_lens[i] = (uint64_t)i;
        ops[i] = kvreg_op_init();
        ops[i].key = &bytes[i];
        ops[i].key_len = (size_t)i + 10;
        ops[i].op = i % 3 == 0 ? KVREG_OP_ADD : KVREG_OP_PUT;
        ops[i].value = i % 2 ? kvreg_bytes(bytes, LARGE) : kvreg_int(i);
    }
    ops[1] = kvreg_op_init();
    ops[1].op = KVREG_OP_DELETE;
    ops[1].key = "text";
    ops[1].key_len = 4;
    kvreg_server_options of_server = kvreg_server_options_init();
    OK(kvreg_registry_start_server(registry, "turns", 5, 0, &of_server, &turns, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    turn = NULL;
    of_server.handle = echo;
    OK(kvreg_registry_start_server(registry, "server", 6, 0, &of_server, &server, NULL));
    before(function);
}

/* What is printed while memory fails is caught here. */
static FILE *caught;

/* Whether an allocation of the call was to fail: else it has none so late. */
static bool fail_in(enum function function, long place, bool and_later) {
    begin(function);
    fflush(stderr);
    int printed = dup(2);
    CHECK(printed >= 0 && dup2(fileno(caught), 2) == 2);
    fails_until = and_later ? 1L << 60 : place + 1;
    counted = 0;
    fails_at = place;
    kvreg_status status = call(function);
    fails_at = -1;
    bool has_failed = counted > place;
    CHECK(dup2(printed, 2) == 2);
    close(printed);
    bool is_fine = status == KVREG_OK ||
                   (!releases(function) && (status == KVREG_NO_MEMORY || status == KVREG_ABORTED));
    if (!is_fine) {
        fprintf(stderr, "%s, place %ld%s: %s\n", names[function], place,
                and_later ? " and all later" : "", kvreg_status_name(status));
        CHECK(!"NO_MEMORY, or done");
    }
    int64_t kept = 0;
    kvreg_status got = kvreg_bucket_get_int(bucket, "kept", 4, &kept);
    CHECK(got == KVREG_OK ? kept == 77 : is_full && got == KVREG_NOT_FOUND);
    if (is_full) { /* it goes on as a full one */
        size_t count;
        OK(kvreg_bucket_put_int(bucket, "one more", 8, 1));
        OK(kvreg_bucket_count(bucket, &count));
        CHECK(count <= PAIRS + 3);
        fill();
        OK(kvreg_bucket_get_int(bucket, bytes + 1, 200 + PAIRS - 1, &kept));
    }
    order_has_what_is_there();
    after(function);
    return has_failed;
}

/* More than any call has. */
enum { PLACES = 2000 };

static void in_each_place(enum function function) {
    for (int and_later = 0; and_later < 2; and_later++) {
        long place = 0;
        while (fail_in(function, place, and_later)) CHECK(++place < PLACES);
    }
}

static void begin_catching(void) {
    caught = tmpfile();
    CHECK(caught != NULL);
    strcpy(saved, "/tmp/");
    while (strlen(saved) < 400) strcat(saved, "./");
    snprintf(saved + strlen(saved), 50, "kvreg-no-memory-%ld", (long)getpid());
}

static void nothing_was_printed(void) {
    char text[200] = "";
    CHECK(fseek(caught, 0, SEEK_END) == 0);
    long printed = ftell(caught);
    rewind(caught);
    if (printed > 0 && fgets(text, sizeof text, caught) != NULL) fputs(text, stderr);
    CHECK(printed == 0);
    fclose(caught);
}

static void g14_every_function_in_each_place(void) {
    begin_catching();
    kvreg_engine_register("none", 4, &none);
    /* The threads that it needs are there: what starts them allocates in the system itself. */
    begin(DO_bucket_update_cast);
    OK(kvreg_bucket_update_cast(bucket, "text", 4, store, NULL, NULL));
    OK(kvreg_bucket_get(bucket, "text", 4, &value));
    OK(kvreg_server_send_after(server, 100000, "tick", 4, NULL, 0, &reference));
    after(DO_bucket_update_cast);
    for (int function = 0; function < FUNCTIONS_IN_ALL; function++)
        if (function != DO_configure && function != DO_shutdown)
            in_each_place((enum function)function);
    nothing_was_printed();
    remove(saved);
}

static void g14_writes_that_make_room_in_each_place(void) {
    const enum function writes[] = {
        DO_bucket_put,       DO_bucket_put_cast,     DO_bucket_put_many, DO_bucket_put_columns,
        DO_bucket_put_bytes, DO_bucket_put_entry,    DO_bucket_put_if,   DO_bucket_put_if_equal,
        DO_bucket_add_int,   DO_bucket_put_int,      DO_bucket_update,   DO_bucket_get,
        DO_bucket_delete,    DO_bucket_delete_cast,  DO_bucket_clear,    DO_bucket_stop,
    };
    begin_catching();
    is_full = true;
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) in_each_place(writes[i]);
    is_full = false;
    nothing_was_printed();
}

static void g14_every_function_of_ordered_buckets(void) {
    order = KVREG_ORDERED;
    g14_every_function_in_each_place();
    order = KVREG_UNORDERED;
}

static void g14_every_function_of_stored_buckets(void) {
    is_stored = true;
    g14_every_function_in_each_place();
    is_stored = false;
}

/* More buckets than the reserve has blocks, each updated for the first time. */
enum { MANY_BUCKETS = 300 };

static kvreg_verdict one_more(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    *next = kvreg_int(current->as.integer + 1);
    return KVREG_STORE;
}

static void g14_first_updates_of_many_buckets(void) {
    static kvreg_bucket *many[MANY_BUCKETS];
    kvreg_status answers[MANY_BUCKETS];
    for (int i = 0; i < MANY_BUCKETS; i++) {
        OK(kvreg_bucket_start(&many[i]));
        OK(kvreg_bucket_put_int(many[i], "n", 1, 1));
    }
    counted = 0;
    fails_until = 1L << 60;
    fails_at = 0;
    for (int i = 0; i < MANY_BUCKETS; i++)
        answers[i] = kvreg_bucket_update(many[i], "n", 1, one_more, NULL);
    fails_at = -1;
    for (int i = 0; i < MANY_BUCKETS; i++) {
        int64_t n = 0;
        CHECK(answers[i] == KVREG_OK || answers[i] == KVREG_NO_MEMORY);
        OK(kvreg_bucket_get_int(many[i], "n", 1, &n));
        CHECK(n == (answers[i] == KVREG_OK ? 2 : 1));
        OK(kvreg_bucket_free(many[i]));
    }
    CHECK(answers[0] == KVREG_OK);
}

/* In a process of its own, where nothing was started: the child ends with 0 if that is as it
   should be, and with 3 if the call has no such place. */
static kvreg_status first_call(enum function function) {
    switch ((int)function) {
    case DO_bucket_start: return kvreg_bucket_start(&made);
    case DO_inbox_open: return kvreg_inbox_open(&inbox);
    case DO_configure: {
        kvreg_options options = kvreg_options_init();
        return kvreg_configure(&options);
    }
    default: return kvreg_registry_start(NULL, &registry);
    }
}

enum { DONE = 0, NO_MORE = 3 };

static void first_in_child(enum function function, long place, bool and_later) {
    fails_until = and_later ? 1L << 60 : place + 1;
    counted = 0;
    fails_at = place;
    kvreg_status status = function == DO_shutdown ? KVREG_OK : first_call(function);
    fails_at = -1;
    if (function == DO_shutdown) {
        OK(kvreg_registry_start(NULL, &registry));
        OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
        counted = 0;
        fails_at = place;
        status = kvreg_shutdown(CHECK_PATIENCE * 1000);
        fails_at = -1;
    }
    if (status != KVREG_OK && (status != KVREG_NO_MEMORY || function == DO_shutdown)) _exit(1);
    if (status == KVREG_NO_MEMORY) OK(first_call(function)); /* as if nothing had been */
    _exit(counted > place ? DONE : NO_MORE);
}

static void g14_the_first_call_of_a_process(void) {
    const enum function calls[] = {DO_registry_start, DO_bucket_start, DO_inbox_open,
                                   DO_configure, DO_shutdown};
    begin_catching();
    /* The reserve alone has hundreds of blocks: a look at some of them is enough. */
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int and_later = 0; and_later < 2; and_later++) {
            int status = 0;
            for (long place = 0; WEXITSTATUS(status) != NO_MORE; place += 1 + place / 8) {
                CHECK(place < PLACES);
                pid_t child = fork();
                CHECK(child >= 0);
                if (child == 0) {
                    dup2(fileno(caught), 2);
                    first_in_child(calls[i], place, and_later);
                }
                CHECK(waitpid(child, &status, 0) == child);
                if (!WIFEXITED(status) || (WEXITSTATUS(status) | NO_MORE) != NO_MORE)
                    fprintf(stderr, "%s, place %ld: %x\n", names[calls[i]], place, status);
                CHECK(WIFEXITED(status));
                CHECK(WEXITSTATUS(status) == DONE || WEXITSTATUS(status) == NO_MORE);
            }
        }
    }
    nothing_was_printed();
}

static const test tests[] = {
    TEST(g14_the_first_call_of_a_process),
    TEST(g14_every_function_in_each_place),
    TEST(g14_writes_that_make_room_in_each_place),
    TEST(g14_every_function_of_ordered_buckets),
    TEST(g14_every_function_of_stored_buckets),
    TEST(g14_first_updates_of_many_buckets),
};

CHECK_MAIN(tests)
