/*
 * A program that frees everything and ends as programs end, without kvreg_shutdown: to be run
 * under valgrind, which should find nothing lost, not even possibly.
 *
 *   leaks here       calls, snapshots, inboxes and updates, on this thread and on some that ended
 *   leaks runtime    casts with callbacks and a listener too: threads of the library's live on
 *   leaks held       nothing is freed: all of it can be reached to the end
 */
#include <pthread.h>

#include "check.h"

enum { THREADS = 4, KEYS = 700, LARGE = 2000 };

static kvreg_verdict add(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    *next = kvreg_int(current != NULL ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

typedef struct held {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_bucket *alone;
} held;

/* Tables that grew, were changed and emptied; values of every size. */
static void fill(kvreg_bucket *bucket) {
    char key[16], large[LARGE];
    kvreg_value value;
    memset(large, 'x', sizeof large);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        OK(kvreg_bucket_put_bytes(bucket, key, KVREG_NUL, large, i % 7 == 0 ? LARGE : i % 40));
    }
    for (int i = 0; i < KEYS; i += 2) {
        snprintf(key, sizeof key, "k%d", i);
        OK(kvreg_bucket_get(bucket, key, KVREG_NUL, &value));
        kvreg_value_clear(&value);
        OK(kvreg_bucket_put_int(bucket, key, KVREG_NUL, i));
        OK(kvreg_bucket_delete(bucket, key, KVREG_NUL, NULL));
    }
}

static void update(kvreg_bucket *bucket) {
    kvreg_update *update;
    kvreg_value next = kvreg_int(1);
    OK(kvreg_bucket_update(bucket, "n", KVREG_NUL, add, NULL));
    OK(kvreg_bucket_update_begin(bucket, "n", KVREG_NUL, NULL, &update));
    OK(kvreg_update_end(update, KVREG_STORE, &next));
    OK(kvreg_bucket_update_begin(bucket, "m", KVREG_NUL, NULL, &update));
    OK(kvreg_update_free(update));
}

static void look(kvreg_bucket *bucket) {
    kvreg_items *items;
    kvreg_value key;
    OK(kvreg_bucket_items(bucket, &items));
    OK(kvreg_items_next(items, &key, NULL));
    kvreg_value_clear(&key);
    OK(kvreg_items_free(items));
}

static held start(const char *name) {
    held held;
    kvreg_registry_options options = kvreg_registry_options_init();
    options.name = name;
    options.name_len = strlen(name);
    OK(kvreg_registry_start(&options, &held.registry));
    OK(kvreg_registry_create(held.registry, "b", KVREG_NUL, 0, &held.bucket));
    OK(kvreg_bucket_set_timeout(held.bucket, -1)); /* threads take turns under valgrind */
    OK(kvreg_bucket_start(&held.alone));
    fill(held.bucket);
    fill(held.alone);
    return held;
}

/* One bucket crashes, with a table of its own; the registry comes back once. */
static void end(held held) {
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG));
    OK(kvreg_inbox_monitor(inbox, held.alone, &reference));
    OK(kvreg_inbox_monitor(inbox, held.bucket, &reference));
    OK(kvreg_bucket_exit(held.alone, KVREG_REASON_KILLED, "on purpose", KVREG_NUL));
    OK(kvreg_inbox_receive(inbox, -1, &event));
    kvreg_event_clear(&event);
    OK(kvreg_bucket_clear(held.bucket));
    fill(held.bucket);
    OK(kvreg_registry_exit(held.registry, KVREG_REASON_KILLED, NULL, 0));
    OK(kvreg_registry_stop(held.registry));
    OK(kvreg_bucket_free(held.alone));
    OK(kvreg_bucket_free(held.bucket));
    OK(kvreg_registry_free(held.registry));
    OK(kvreg_inbox_free(inbox));
}

static void *all(void *name) {
    held held = start(name);
    update(held.bucket);
    look(held.bucket);
    end(held);
    return NULL;
}

static void in_threads(void *(*work)(void *)) {
    static char names[THREADS][8];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        snprintf(names[i], sizeof names[i], "r%d", i);
        CHECK(pthread_create(&threads[i], NULL, work, names[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void here(void) {
    all("r");
    in_threads(all);
    all("r");
}

static void *all_by_casts(void *name) {
    held held = start(name);
    kvreg_listener *listener;
    int64_t number;
    for (int i = 0; i < 10; i++)
        OK(kvreg_bucket_update_cast(held.bucket, "n", KVREG_NUL, add, NULL, NULL));
    OK(kvreg_registry_create_cast(held.registry, "later", KVREG_NUL));
    OK(kvreg_bucket_get_int(held.bucket, "n", KVREG_NUL, &number));
    CHECK(number == 10);
    OK(kvreg_listener_start(held.registry, "0", NULL, &listener));
    OK(kvreg_listener_stop(listener));
    OK(kvreg_listener_free(listener));
    end(held);
    return NULL;
}

static void runtime(void) {
    here();
    in_threads(all_by_casts);
    all_by_casts("r");
}

int main(int count, char **arguments) {
    const char *way = count == 2 ? arguments[1] : "";
    if (strcmp(way, "here") == 0) {
        here();
    } else if (strcmp(way, "runtime") == 0) {
        runtime();
    } else if (strcmp(way, "held") == 0) {
        start("r");
    } else {
        fprintf(stderr, "leaks here|runtime|held\n");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
