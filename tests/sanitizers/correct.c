/*
 * A user's correct program: threads share buckets by values of every size, casts with callbacks,
 * inboxes, snapshots and handles that one frees while others call. All of it is memory of the
 * library's, or given to it and taken back by calls: nothing of the program's own is shared.
 */
#include <pthread.h>

#include "check.h"

enum { THREADS = 4, ROUNDS = 300, LARGE = 4096 };

static kvreg_registry *registry;
static kvreg_bucket *bucket;

static kvreg_verdict add(void *data, const kvreg_value *current, kvreg_value *next) {
    const int64_t *step = data;
    *next = kvreg_int((current != NULL ? current->as.integer : 0) + *step);
    return KVREG_STORE;
}

static void texts(const char *own) {
    char large[LARGE], buffer[64];
    size_t len;
    kvreg_value value;
    memset(large, own[0], sizeof large);
    OK(kvreg_bucket_put_string(bucket, "small", KVREG_NUL, own, KVREG_NUL));
    OK(kvreg_bucket_put_bytes(bucket, "large", KVREG_NUL, large, sizeof large));
    OK(kvreg_bucket_get_bytes(bucket, "small", KVREG_NUL, buffer, sizeof buffer, &len));
    OK(kvreg_bucket_get(bucket, "large", KVREG_NUL, &value));
    CHECK(value.as.text.len == LARGE);
    CHECK(value.as.text.data[0] == value.as.text.data[LARGE - 1]);
    kvreg_value_clear(&value);
    OK(kvreg_bucket_put_cast(bucket, own, KVREG_NUL, &(kvreg_value){.type = KVREG_NIL}));
    (void)kvreg_bucket_delete(bucket, own, KVREG_NUL, &value);
    kvreg_value_clear(&value);
}

static void snapshots(void) {
    kvreg_items *items;
    kvreg_value key, value;
    OK(kvreg_bucket_items(bucket, &items));
    while (kvreg_items_next(items, &key, &value) == KVREG_OK) {
        CHECK(value.type != KVREG_STRING || value.as.text.data[value.as.text.len] == 0);
        kvreg_value_clear(&key);
        kvreg_value_clear(&value);
    }
    OK(kvreg_items_free(items));
}

static void updates(void) {
    static const int64_t one = 1;
    kvreg_update *update;
    kvreg_value current, next;
    OK(kvreg_bucket_update(bucket, "sum", KVREG_NUL, add, (void *)&one));
    OK(kvreg_bucket_update_begin(bucket, "sum", KVREG_NUL, &current, &update));
    next = kvreg_int(current.as.integer + 1);
    OK(kvreg_update_end(update, KVREG_STORE, &next));
}

/* A server of one's own lives and dies. */
static void lives(const char *own) {
    kvreg_bucket *mine, *again;
    kvreg_inbox *inbox;
    kvreg_event down;
    uint64_t reference;
    OK(kvreg_registry_create(registry, own, KVREG_NUL, 0, &mine));
    OK(kvreg_registry_lookup(registry, own, KVREG_NUL, &again));
    OK(kvreg_bucket_free(again));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor(inbox, mine, &reference));
    OK(kvreg_bucket_stop(mine));
    OK(kvreg_inbox_receive(inbox, -1, &down));
    CHECK(down.reference == reference && down.reason == KVREG_REASON_NORMAL);
    kvreg_event_clear(&down);
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(mine));
}

static void *work(void *name) {
    for (int round = 0; round < ROUNDS; round++) {
        texts(name);
        updates();
        if (round % 10 == 0) {
            snapshots();
            lives(name);
        }
    }
    return NULL;
}

static void threads_share_what_the_library_holds(void) {
    static char names[THREADS][8];
    pthread_t threads[THREADS];
    int64_t sum;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shared", KVREG_NUL, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1));
    for (int i = 0; i < THREADS; i++) {
        snprintf(names[i], sizeof names[i], "%c", 'a' + i);
        CHECK(pthread_create(&threads[i], NULL, work, names[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    OK(kvreg_bucket_get_int(bucket, "sum", KVREG_NUL, &sum));
    CHECK(sum == 2 * THREADS * ROUNDS);
}

/* What is given to a cast is read on another thread, and freed there. */
static void casts_take_their_data_along(void) {
    int64_t total;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t *step = malloc(sizeof *step);
        CHECK(step != NULL);
        *step = 2;
        OK(kvreg_bucket_update_cast(bucket, "total", KVREG_NUL, add, step, free));
    }
    OK(kvreg_bucket_get_int(bucket, "total", KVREG_NUL, &total));
    CHECK(total == 2 * ROUNDS);
}

static void all_of_it_ends(void) {
    kvreg_listener *listener;
    OK(kvreg_listener_start(registry, "0", NULL, &listener));
    OK(kvreg_listener_stop(listener));
    OK(kvreg_listener_free(listener));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_stop(registry));
    OK(kvreg_registry_free(registry));
}

int main(void) {
    const test tests[] = {
        TEST(threads_share_what_the_library_holds),
        TEST(casts_take_their_data_along),
        TEST(all_of_it_ends),
    };
    return check_run(tests, sizeof tests / sizeof *tests);
}
