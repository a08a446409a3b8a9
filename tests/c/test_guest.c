/*
 * What a host's own code may do where the library calls it, and what is left of a crowd of
 * callbacks.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <time.h>
#ifdef _WIN32
#include <windows.h>

#include <tlhelp32.h>
#else
#include <dirent.h>
#endif

#include "check.h"

enum { CROWD = 40, PATIENCE = 600 };

static void nap(void) {
    struct timespec tenth = {0, 100000000};
    nanosleep(&tenth, NULL);
}

/* Destructors -------------------------------------------------------------------------- */

typedef struct bystander {
    kvreg_listener *listener;
    kvreg_bucket *other;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_destroyed;
} bystander;

static kvreg_verdict store(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current;
    *next = kvreg_int(1);
    return KVREG_STORE;
}

/* Waits for the listener's end, and for a callback. */
static void destroy_slowly(void *data) {
    bystander *me = data;
    int64_t number;
    OK(kvreg_listener_stop(me->listener));
    OK(kvreg_bucket_update_cast(me->other, "k", 1, store, NULL, NULL));
    OK(kvreg_bucket_get_int(me->other, "k", 1, &number));
    pthread_mutex_lock(&me->lock);
    me->is_destroyed = true;
    pthread_cond_signal(&me->changed);
    pthread_mutex_unlock(&me->lock);
}

/* The listener is the last to know its registry; with it goes what is queued there. */
static void destructors_may_wait(void) {
    bystander me = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_update *update;
    OK(kvreg_bucket_start(&me.other));
    OK(kvreg_bucket_set_timeout(me.other, -1));
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &me.listener));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &update));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, store, &me, destroy_slowly));
    OK(kvreg_registry_free(registry));
    OK(kvreg_listener_stop(me.listener));
    pthread_mutex_lock(&me.lock);
    while (!me.is_destroyed)
        pthread_cond_wait(&me.changed, &me.lock);
    pthread_mutex_unlock(&me.lock);
    IS(KVREG_SERVER_DOWN, kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(me.other));
    OK(kvreg_listener_free(me.listener));
}

/* Threads ------------------------------------------------------------------------------ */

#ifdef _WIN32
static int threads(void) {
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry = {.dwSize = sizeof entry};
    int count = 0;
    CHECK(snapshot != INVALID_HANDLE_VALUE);
    for (BOOL more = Thread32First(snapshot, &entry); more; more = Thread32Next(snapshot, &entry))
        count += entry.th32OwnerProcessID == GetCurrentProcessId();
    CloseHandle(snapshot);
    return count;
}
#else
static int threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    CHECK(tasks != NULL);
    while (readdir(tasks) != NULL)
        count++;
    closedir(tasks);
    return count - 2; /* . and .. */
}
#endif

static pthread_barrier_t all_inside;

static kvreg_verdict meet(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    pthread_barrier_wait(&all_inside);
    return KVREG_KEEP;
}

/* Callbacks have a thread each, as long as there are so many. */
static void threads_of_callbacks_end(void) {
    kvreg_bucket *buckets[CROWD];
    int before = threads(), patience = PATIENCE;
    CHECK(pthread_barrier_init(&all_inside, NULL, CROWD + 1) == 0);
    for (int i = 0; i < CROWD; i++) {
        OK(kvreg_bucket_start(&buckets[i]));
        OK(kvreg_bucket_update_cast(buckets[i], "k", 1, meet, NULL, NULL));
    }
    pthread_barrier_wait(&all_inside);
    CHECK(threads() >= CROWD);
    while (threads() > before + 3 && patience-- > 0)
        nap();
    CHECK(patience > 0);
    for (int i = 0; i < CROWD; i++)
        OK(kvreg_bucket_free(buckets[i]));
    pthread_barrier_destroy(&all_inside);
}

static const test tests[] = {
    TEST(destructors_may_wait),
    TEST(threads_of_callbacks_end),
};
CHECK_MAIN(tests)
