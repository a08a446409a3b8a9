/*
 * A host with a listener, for the tests of the listener. Its arguments are options of the
 * listener, like max_connections=2, its address, its password, or the default timeout of calls;
 * the first line it prints is the address. Then it carries
 * out lines from standard input, through the C interface, and prints "done" after each:
 *
 *     !kill BUCKET            ends the bucket, reason KILLED
 *     !put BUCKET KEY VALUE   stores a string
 *     !bytes BUCKET KEY       stores "a\r\nb", which no reply can show
 *     !every BUCKET           changes the bucket in each way there is
 *     !key BUCKET             stores and deletes a key that no line can tell
 *     !hold BUCKET            keeps the bucket busy, until its !release
 *     !release BUCKET         lets it go again
 *     !stop                   stops the listener; prints "stopped" first
 *     !start                  starts another with the same options; prints its status first
 *
 * At end of input it frees everything, shuts the library down and exits with 0. Whatever goes
 * wrong ends it with another status and a line on standard error.
 */
#define _POSIX_C_SOURCE 200809L
#include "../c/check.h"

#define WORDS 4

#define HELD 64

static kvreg_registry *registry;
static kvreg_listener *listener;
static const char *wanted = "127.0.0.1:0";
static kvreg_listener_options options;

/* What !hold began. */
static struct {
    char bucket[32];
    kvreg_update *update;
} held[HELD];

static void give_up(const char *what, const char *word) {
    fprintf(stderr, "host: %s: %s\n", what, word);
    fflush(stderr);
    _Exit(EXIT_FAILURE);
}

/* Tests wait for each line. */
static void say(const char *line) {
    if (puts(line) < 0 || fflush(stdout) != 0)
        give_up("nobody reads", line);
}

static bool is_option(const char *argument, const char *name, long long *number) {
    size_t len = strlen(name);
    if (strncmp(argument, name, len) != 0 || argument[len] != '=')
        return false;
    char *end;
    *number = strtoll(argument + len + 1, &end, 10);
    if (end == argument + len + 1 || *end != '\0')
        give_up("not a number", argument);
    return true;
}

/* What comes after this word and "=". */
static const char *text_of(const char *argument, const char *name) {
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && argument[len] == '=' ? argument + len + 1 : NULL;
}

static void set_option(const char *argument) {
    long long number;
    if (text_of(argument, "address") != NULL) {
        wanted = text_of(argument, "address");
    } else if (text_of(argument, "password") != NULL) {
        options.password = text_of(argument, "password");
        options.password_len = KVREG_NUL;
    } else if (is_option(argument, "default_timeout_ms", &number)) {
        kvreg_options process = kvreg_options_init();
        process.default_timeout_ms = number;
        OK(kvreg_configure(&process));
    } else if (is_option(argument, "unix_mode", &number))
        options.unix_mode = (uint32_t)number;
    else if (is_option(argument, "max_connections", &number))
        options.max_connections = (uint32_t)number;
    else if (is_option(argument, "max_line", &number))
        options.max_line = (uint64_t)number;
    else if (is_option(argument, "max_backlog", &number))
        options.max_backlog = (uint64_t)number;
    else if (is_option(argument, "idle_timeout_ms", &number))
        options.idle_timeout_ms = number;
    else
        give_up("no such option", argument);
}

static kvreg_bucket *find(const char *name) {
    kvreg_bucket *bucket;
    OK(kvreg_registry_lookup(registry, name, KVREG_NUL, &bucket));
    return bucket;
}

static void kill_bucket(const char *name) {
    kvreg_bucket *bucket = find(name);
    OK(kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0));
    OK(kvreg_bucket_free(bucket));
}

static void put(const char *name, const char *key, const char *value) {
    kvreg_bucket *bucket = find(name);
    OK(kvreg_bucket_put_string(bucket, key, KVREG_NUL, value, KVREG_NUL));
    OK(kvreg_bucket_free(bucket));
}

static void put_bytes(const char *name, const char *key) {
    kvreg_bucket *bucket = find(name);
    OK(kvreg_bucket_put_bytes(bucket, key, KVREG_NUL, "a\r\nb", 4));
    OK(kvreg_bucket_free(bucket));
}

static void change_a_key_with_a_line_break(const char *name) {
    kvreg_bucket *bucket = find(name);
    OK(kvreg_bucket_put_int(bucket, "a\r\nb", KVREG_NUL, 1));
    OK(kvreg_bucket_delete(bucket, "a\r\nb", KVREG_NUL, NULL));
    OK(kvreg_bucket_free(bucket));
}

static size_t place_of(const char *name) {
    for (size_t i = 0; i < HELD; i++)
        if (strcmp(held[i].bucket, name) == 0)
            return i;
    give_up("no such place", name);
    return 0;
}

static void hold(const char *name) {
    size_t place = place_of("");
    kvreg_bucket *bucket = find(name);
    snprintf(held[place].bucket, sizeof held[place].bucket, "%s", name);
    OK(kvreg_bucket_update_begin(bucket, "held", KVREG_NUL, NULL, &held[place].update));
    OK(kvreg_bucket_free(bucket));
}

static void release(const char *name) {
    size_t place = place_of(name);
    OK(kvreg_update_free(held[place].update)); /* whether the bucket is still there or not */
    held[place].bucket[0] = '\0';
}

static void start_another(void) {
    kvreg_listener *another;
    kvreg_status status = kvreg_listener_start(registry, wanted, &options, &another);
    if (status == KVREG_OK)
        OK(kvreg_listener_stop(another));
    OK(kvreg_listener_free(another));
    say(kvreg_status_name(status));
}

static kvreg_verdict store_six(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current;
    *next = kvreg_int(6);
    return KVREG_STORE;
}

/* The lines a subscriber gets for it are in test_listener.py. */
static void change_in_every_way(const char *name) {
    kvreg_bucket *bucket = find(name);
    kvreg_value value = kvreg_bool(true);
    OK(kvreg_bucket_clear(bucket));
    OK(kvreg_bucket_put(bucket, "put", KVREG_NUL, &value));
    OK(kvreg_bucket_put_int(bucket, "int", KVREG_NUL, -7));
    OK(kvreg_bucket_put_float(bucket, "float", KVREG_NUL, 1.0));
    OK(kvreg_bucket_put_bytes(bucket, "bytes", KVREG_NUL, "\xff", 1));
    value = kvreg_nil();
    OK(kvreg_bucket_put_cast(bucket, "cast", KVREG_NUL, &value));
    kvreg_pair pairs[] = {{"many", 4, kvreg_int(4)}, {"more", 4, kvreg_int(5)}};
    OK(kvreg_bucket_put_many(bucket, pairs, 2));
    OK(kvreg_bucket_update(bucket, "update", KVREG_NUL, store_six, NULL));
    OK(kvreg_bucket_update_cast(bucket, "later", KVREG_NUL, store_six, NULL, NULL));
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, "begun", KVREG_NUL, NULL, &update));
    value = kvreg_int(8);
    OK(kvreg_update_end(update, KVREG_STORE, &value));
    OK(kvreg_bucket_delete(bucket, "put", KVREG_NUL, NULL));
    OK(kvreg_bucket_delete_cast(bucket, "int", KVREG_NUL));
    OK(kvreg_bucket_update_begin(bucket, "float", KVREG_NUL, NULL, &update));
    OK(kvreg_update_end(update, KVREG_REMOVE, NULL));
    /* Neither of these changes anything. */
    OK(kvreg_bucket_update_begin(bucket, "many", KVREG_NUL, NULL, &update));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_bucket_update_begin(bucket, "many", KVREG_NUL, NULL, &update));
    IS(KVREG_ABORTED, kvreg_update_end(update, KVREG_ABORT, NULL));
    OK(kvreg_bucket_free(bucket));
}

static void carry_out(char *line) {
    char *words[WORDS] = {NULL}, *rest = NULL;
    size_t count = 0;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest)) {
        if (count == WORDS)
            give_up("too many words", line);
        words[count++] = word;
    }
    if (count == 2 && strcmp(words[0], "!kill") == 0) {
        kill_bucket(words[1]);
    } else if (count == 4 && strcmp(words[0], "!put") == 0) {
        put(words[1], words[2], words[3]);
    } else if (count == 3 && strcmp(words[0], "!bytes") == 0) {
        put_bytes(words[1], words[2]);
    } else if (count == 2 && strcmp(words[0], "!every") == 0) {
        change_in_every_way(words[1]);
    } else if (count == 2 && strcmp(words[0], "!key") == 0) {
        change_a_key_with_a_line_break(words[1]);
    } else if (count == 2 && strcmp(words[0], "!hold") == 0) {
        hold(words[1]);
    } else if (count == 2 && strcmp(words[0], "!release") == 0) {
        release(words[1]);
    } else if (count == 1 && strcmp(words[0], "!start") == 0) {
        start_another();
    } else if (count == 1 && strcmp(words[0], "!stop") == 0) {
        OK(kvreg_listener_stop(listener));
        say("stopped");
    } else {
        give_up("unknown command", line);
    }
    say("done");
}

int main(int argc, char **argv) {
    options = kvreg_listener_options_init();
    for (int i = 1; i < argc; i++)
        set_option(argv[i]);

    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_listener_start(registry, wanted, &options, &listener));
    kvreg_value address;
    OK(kvreg_listener_address(listener, &address));
    CHECK(address.type == KVREG_STRING);
    say((const char *)address.as.text.data);
    kvreg_value_clear(&address);

    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) >= 0)
        carry_out(line);
    free(line);

    OK(kvreg_listener_free(listener));
    OK(kvreg_registry_free(registry));
    kvreg_live live = {0};
    live.size = sizeof live;
    OK(kvreg_live_counts(&live));
    CHECK(live.registry_handles == 0 && live.bucket_handles == 0);
    CHECK(live.update_handles == 0 && live.listener_handles == 0);
    OK(kvreg_shutdown(10000));
    return EXIT_SUCCESS;
}
