/*
 * Calls to be counted: `instructions WHAT COUNT`. The instructions of one call are those of a
 * run with 2 N of them less those of a run with N, by N. What is called is looked for once: the
 * loop takes as much whatever it is.
 */
#include <sys/types.h>

#include "check.h"

enum { KEYS = 100, KEY = 10, MANY = 20 };

static char keys[KEYS][KEY + 1];
static uint64_t revisions[KEYS];
static char text[600];
static kvreg_registry *registry;
static kvreg_bucket *bucket;

/*
 * The library draws the seeds of its hashes from the program's own getrandom, if it has one: with
 * the same seeds keys lie at the same places in each process, and counts can be compared.
 */
ssize_t getrandom(void *bytes, size_t size, unsigned flags);
ssize_t getrandom(void *bytes, size_t size, unsigned flags) {
    (void)flags;
    memset(bytes, 7, size);
    return (ssize_t)size;
}

static void nothing(const char *key, kvreg_value value) {
    (void)key;
    (void)value;
}

static void get(const char *key, kvreg_value value) {
    OK(kvreg_bucket_get(bucket, key, KEY, &value));
    kvreg_value_clear(&value);
}

static void put(const char *key, kvreg_value value) {
    OK(kvreg_bucket_put(bucket, key, KEY, &value));
}

static void put_cast(const char *key, kvreg_value value) {
    OK(kvreg_bucket_put_cast(bucket, key, KEY, &value));
}

static void lookup(const char *key, kvreg_value value) {
    kvreg_bucket *found;
    (void)key;
    (void)value;
    OK(kvreg_registry_lookup(registry, "shopping", 8, &found));
    OK(kvreg_bucket_free(found));
}

static kvreg_verdict store(void *value, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    *next = *(const kvreg_value *)value;
    return KVREG_STORE;
}

static void update(const char *key, kvreg_value value) {
    OK(kvreg_bucket_update(bucket, key, KEY, store, &value));
}

static void update_begin(const char *key, kvreg_value value) {
    kvreg_value current;
    kvreg_update *begun;
    OK(kvreg_bucket_update_begin(bucket, key, KEY, &current, &begun));
    OK(kvreg_update_end(begun, KVREG_STORE, &value));
    kvreg_value_clear(&current);
}

/* A batch of `MANY` keys, from one on. */
static void put_from(const char *key, kvreg_value value) {
    kvreg_pair pairs[MANY];
    size_t first = (size_t)(key - keys[0]) / sizeof keys[0];
    for (size_t i = 0; i < MANY; i++) {
        pairs[i].key = keys[(first + i) % KEYS];
        pairs[i].key_len = KEY;
        pairs[i].value = value;
    }
    OK(kvreg_bucket_put_many(bucket, pairs, MANY));
}

/* What is there is of the other length, so nothing is written in its place. */
static void put_anew(const char *key, kvreg_value value) {
    static bool is_longer;
    is_longer = !is_longer;
    value.as.text.len = is_longer ? sizeof text : 8;
    put_from(keys[0], value);
    (void)key;
}

static void get_entry(const char *key, kvreg_value value) {
    kvreg_entry entry = kvreg_entry_init();
    (void)value;
    OK(kvreg_bucket_get_entry(bucket, key, KEY, &entry));
    kvreg_value_clear(&entry.value);
}

static void put_entry(const char *key, kvreg_value value) {
    uint64_t revision;
    OK(kvreg_bucket_put_entry(bucket, key, KEY, &value, KVREG_TTL_NEVER, &revision));
}

static void put_if(const char *key, kvreg_value value) {
    uint64_t *revision = &revisions[(size_t)(key - keys[0]) / sizeof keys[0]];
    OK(kvreg_bucket_put_if(bucket, key, KEY, &value, *revision, KVREG_TTL_NEVER, revision));
}

static void add_int(const char *key, kvreg_value value) {
    int64_t sum;
    (void)value;
    OK(kvreg_bucket_add_int(bucket, key, KEY, 1, &sum));
}

static kvreg_inbox *inbox;
static uint64_t reference;

/* Its receiver is awake, as none has been asleep: so it is not woken. */
static void watch(void) {
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_watch(inbox, bucket, NULL, &reference));
}

static void watch_no_more(void) {
    watch();
    OK(kvreg_inbox_unwatch(inbox, reference));
    OK(kvreg_inbox_free(inbox));
}

static kvreg_server *server;
static int64_t sum_of_server;

static kvreg_verdict adds(void *state, const kvreg_message *message, kvreg_value *reply) {
    int64_t *sum = state;
    *sum += message->values[0].as.integer;
    *reply = kvreg_int(*sum);
    return KVREG_KEEP;
}

static void serve_by_callbacks(void) {
    kvreg_server_options options = kvreg_server_options_init();
    options.handle = adds;
    options.argument = &sum_of_server;
    OK(kvreg_server_start(&options, &server, NULL));
}

static void call_server(const char *key, kvreg_value value) {
    kvreg_value one = kvreg_int(1);
    (void)key;
    OK(kvreg_server_call(server, "add", 3, &one, 1, &value));
}

static void serve_by_turns(void) {
    kvreg_turn *turn;
    kvreg_server_options options = kvreg_server_options_init();
    OK(kvreg_server_start(&options, &server, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
}

static void turn_begin(const char *key, kvreg_value value) {
    kvreg_turn *turn;
    (void)key, (void)value;
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
}

static const struct {
    const char *name;
    void (*call)(const char *key, kvreg_value value);
    void (*prepare)(void);
} calls[] = {
    {"nothing", nothing, NULL},
    {"get", get, NULL},
    {"put", put, NULL},
    {"put_cast", put_cast, NULL},
    {"put_watched", put, watch},
    {"put_unwatched", put, watch_no_more},
    {"lookup", lookup, NULL},
    {"update", update, NULL},
    {"update_begin", update_begin, NULL},
    {"put_many", put_from, NULL},
    {"put_many_anew", put_anew, NULL},
    {"get_entry", get_entry, NULL},
    {"put_entry", put_entry, NULL},
    {"put_if", put_if, NULL},
    {"add_int", add_int, NULL},
    {"call", call_server, serve_by_callbacks},
    {"turn", turn_begin, serve_by_turns},
};

int main(int count, char **arguments) {
    void (*call)(const char *key, kvreg_value value) = NULL;
    void (*prepare)(void) = NULL;
    kvreg_value value;
    CHECK(count == 3);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(arguments[1], calls[i].name) == 0) {
            call = calls[i].call;
            prepare = calls[i].prepare;
        }
    }
    CHECK(call != NULL);
    unsigned long times = strtoul(arguments[2], NULL, 10);
    memset(text, 'x', sizeof text);
    value = call == add_int ? kvreg_int(0) : kvreg_bytes(text, 64);
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", 8, 0, &bucket));
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key%07d", i);
        OK(kvreg_bucket_put_entry(bucket, keys[i], KEY, &value, KVREG_TTL_NEVER, &revisions[i]));
    }
    if (prepare != NULL) {
        prepare();
    }
    for (unsigned long i = 0; i < times; i++) {
        call(keys[i % KEYS], value);
    }
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
    if (server != NULL) {
        OK(kvreg_server_free(server));
    }
    OK(kvreg_shutdown(-1));
    return 0;
}
