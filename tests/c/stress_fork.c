/*
 * Forks at random moments while four threads work. Each child finds that what it inherited is
 * its parent's, frees it, starts a registry of its own, and ends; the parent loses nothing.
 * Each child has a limit of time, so that one that hangs is found.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 4, FORKS = 20, CHILD_SECONDS = 60 };

static kvreg_registry *registry;
static kvreg_bucket *shared;
static kvreg_inbox *inbox;
static kvreg_items *items;
static kvreg_listener *listener;
static kvreg_update *update;
static atomic_bool done;

typedef struct worker {
    pthread_t thread;
    char key[8];
    int64_t rounds;
} worker;

static kvreg_verdict add_one(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    *next = kvreg_int(current != NULL ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

static void *work(void *argument) {
    worker *me = argument;
    kvreg_bucket *own;
    kvreg_event event;
    while (!atomic_load(&done)) {
        OK(kvreg_bucket_update(shared, me->key, KVREG_NUL, add_one, NULL));
        OK(kvreg_bucket_update_cast(shared, me->key, KVREG_NUL, add_one, NULL, NULL));
        OK(kvreg_registry_create(registry, me->key, KVREG_NUL, 0, &own));
        OK(kvreg_bucket_put_int(own, "k", 1, 1));
        OK(kvreg_inbox_monitor(inbox, own, &(uint64_t){0}));
        OK(kvreg_bucket_stop(own));
        OK(kvreg_bucket_free(own));
        OK(kvreg_inbox_receive(inbox, -1, &event));
        kvreg_event_clear(&event);
        me->rounds++;
    }
    return NULL;
}

static void child_finds_what_it_inherited(void) {
    kvreg_value value = kvreg_int(1);
    kvreg_event event;
    size_t count;
    IS(KVREG_FORKED, kvreg_bucket_get(shared, "k", 1, &value));
    CHECK(value.type == KVREG_NIL);
    IS(KVREG_FORKED, kvreg_bucket_put_int(shared, "k", 1, 1));
    IS(KVREG_FORKED, kvreg_bucket_scan(shared, NULL, &(kvreg_items *){NULL}));
    IS(KVREG_FORKED, kvreg_bucket_stop(shared));
    IS(KVREG_FORKED, kvreg_registry_count(registry, &count));
    IS(KVREG_FORKED, kvreg_registry_stop(registry));
    IS(KVREG_FORKED, kvreg_inbox_receive(inbox, -1, &event));
    IS(KVREG_FORKED, kvreg_items_next(items, &value, NULL));
    IS(KVREG_FORKED, kvreg_items_count(items, &count));
    IS(KVREG_FORKED, kvreg_listener_stop(listener));
    IS(KVREG_FORKED, kvreg_update_end(update, KVREG_KEEP, NULL));
    IS(KVREG_FORKED, kvreg_bucket_get((kvreg_bucket *)registry, "k", 1, &value));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get(NULL, "k", 1, &value));
    for (int twice = 0; twice < 2; twice++) {
        OK(kvreg_registry_free(registry));
        OK(kvreg_bucket_free(shared));
        OK(kvreg_inbox_free(inbox));
        OK(kvreg_items_free(items));
        OK(kvreg_update_free(update));
        OK(kvreg_listener_free(listener));
    }
}

static void destroy(void *data) { atomic_store((atomic_bool *)data, true); }

static void child_starts_its_own(kvreg_bucket *inherited) {
    kvreg_registry *mine;
    kvreg_bucket *bucket;
    kvreg_inbox *events;
    kvreg_event event;
    kvreg_update *begun;
    uint64_t reference;
    int64_t number;
    static atomic_bool destroyed;
    OK(kvreg_registry_start(NULL, &mine));
    OK(kvreg_registry_create(mine, "b", 1, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1)); /* the alarm ends who waits in vain */
    OK(kvreg_bucket_put_int(bucket, "k", 1, 41));
    OK(kvreg_bucket_update(bucket, "k", 1, add_one, NULL));
    /* Casts that have to wait: on the child's own threads. */
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &begun));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, add_one, &destroyed, destroy));
    OK(kvreg_update_end(begun, KVREG_KEEP, NULL));
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number));
    CHECK(number == 43 && atomic_load(&destroyed));
    OK(kvreg_inbox_open(&events));
    OK(kvreg_inbox_monitor(events, bucket, &reference));
    OK(kvreg_registry_stop(mine));
    OK(kvreg_inbox_receive(events, -1, &event));
    CHECK(event.reference == reference && event.reason == KVREG_REASON_SHUTDOWN);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(events));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(mine));
    IS(KVREG_FORKED, kvreg_bucket_clear(inherited));
}

/* What the child does, by its number; it does not come back. */
static void child(int number) {
    alarm(CHILD_SECONDS);
    switch (number % 4) {
    case 0: _exit(0);
    case 1: exit(0);
    case 2:
        child_finds_what_it_inherited();
        child_starts_its_own(shared);
        exit(0);
    default:
        child_starts_its_own(shared);
        child_finds_what_it_inherited();
        OK(kvreg_shutdown(-1));
        _exit(0);
    }
}

static void await(pid_t pid) {
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void g11_forks_under_load(void) {
    static worker workers[THREADS];
    kvreg_bucket *other;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, -1)); /* a busy machine is no failure */
    OK(kvreg_registry_create(registry, "shared", KVREG_NUL, 0, &shared));
    OK(kvreg_bucket_set_timeout(shared, -1));
    OK(kvreg_registry_create(registry, "other", KVREG_NUL, 0, &other));
    OK(kvreg_registry_names(registry, &items));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_bucket_update_begin(other, "k", 1, NULL, &update));
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
    for (int i = 0; i < THREADS; i++) {
        workers[i].key[0] = (char)('a' + i);
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    int forks = (int)check_scaled(FORKS);
    for (int number = 0; number < forks; number++) {
        pid_t pid = fork();
        if (pid == 0)
            child(number);
        await(pid);
    }
    atomic_store(&done, true);
    for (int i = 0; i < THREADS; i++) {
        int64_t sum;
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        OK(kvreg_bucket_update(shared, "end", 3, add_one, NULL)); /* after all casts */
        OK(kvreg_bucket_get_int(shared, workers[i].key, KVREG_NUL, &sum));
        CHECK(sum == 2 * workers[i].rounds && sum > 0);
    }
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_listener_stop(listener));
    OK(kvreg_listener_free(listener));
    OK(kvreg_items_free(items));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_free(other));
    OK(kvreg_bucket_free(shared));
    OK(kvreg_registry_free(registry));
}

static atomic_bool enough;

/* Forks, and goes on as what it was called for, in both processes. */
static void fork_here(pid_t *pid) {
    *pid = fork();
    if (*pid == 0)
        alarm(CHILD_SECONDS);
}

static kvreg_verdict fork_and_store(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)current;
    fork_here(data);
    *next = kvreg_int(7);
    return KVREG_STORE;
}

static kvreg_verdict fork_and_crash(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)current, (void)next;
    fork_here(data);
    return *(pid_t *)data == 0 ? KVREG_CRASH : KVREG_KEEP;
}

static void fork_in_destroy(void *data) { fork_here(data); }

/* The data of queued updates are the parent's: a child has copies. */
static pid_t parent;

static void destroy_in_parent(void *data) {
    (void)data;
    if (getpid() != parent)
        _exit(EXIT_FAILURE);
}

static void g11_a_callback_forks(void) {
    kvreg_bucket *bucket;
    kvreg_status status;
    int64_t number;
    pid_t pid = -1;
    OK(kvreg_bucket_start(&bucket));
    status = kvreg_bucket_update(bucket, "k", 1, fork_and_store, &pid);
    if (pid == 0) { /* a call in progress on the forking thread */
        IS(KVREG_FORKED, status);
        IS(KVREG_FORKED, kvreg_bucket_get_int(bucket, "k", 1, &number));
    own:
        OK(kvreg_bucket_free(bucket));
        OK(kvreg_bucket_start(&bucket));
        OK(kvreg_bucket_set_timeout(bucket, -1));
        OK(kvreg_bucket_update_cast(bucket, "k", 1, add_one, NULL, NULL));
        OK(kvreg_bucket_get_int(bucket, "k", 1, &number));
        CHECK(number == 1);
        exit(0);
    }
    OK(status);
    await(pid);
    status = kvreg_bucket_update(bucket, "k", 1, fork_and_crash, &pid);
    if (pid == 0) {
        IS(KVREG_FORKED, status);
        goto own;
    }
    OK(status);
    await(pid);
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number));
    CHECK(number == 7);
    OK(kvreg_bucket_free(bucket));
}

static void g11_a_callback_of_a_cast_forks(void) {
    kvreg_bucket *bucket;
    int64_t number;
    static pid_t pid;
    pid = -1;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_set_timeout(bucket, CHECK_PATIENCE * 1000));
    parent = getpid();
    OK(kvreg_bucket_update_cast(bucket, "k", 1, fork_and_store, &pid, destroy_in_parent));
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number)); /* waits for the cast */
    CHECK(number == 7);
    await(pid); /* it ended when the callback returned */
    OK(kvreg_bucket_free(bucket));
}

static void g11_a_destructor_forks(void) {
    kvreg_bucket *bucket;
    kvreg_update *begun;
    kvreg_status status;
    static pid_t pid;
    pid = -1;
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &begun));
    parent = getpid();
    OK(kvreg_bucket_update_cast(bucket, "k", 1, add_one, &pid, fork_in_destroy));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, add_one, NULL, destroy_in_parent));
    status = kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0); /* drops the cast */
    if (pid == 0) {
        IS(KVREG_FORKED, status);
        child_starts_its_own(bucket);
        exit(0);
    }
    OK(status);
    await(pid);
    pid = -1;
    status = kvreg_bucket_update_cast(bucket, "k", 1, add_one, &pid, fork_in_destroy);
    if (pid == 0) {
        IS(KVREG_FORKED, status);
        exit(0);
    }
    IS(KVREG_NO_PROCESS, status);
    await(pid);
    IS(KVREG_SERVER_DOWN, kvreg_update_end(begun, KVREG_KEEP, NULL));
    OK(kvreg_bucket_free(bucket));
}

static void *make_and_free(void *argument) {
    kvreg_bucket *shared = argument, *clone;
    while (!atomic_load(&enough)) {
        OK(kvreg_bucket_clone(shared, &clone));
        OK(kvreg_bucket_free(clone));
    }
    return NULL;
}

/* What the forking thread keeps of the parent's is not looked after by the child's end. */
static void g11_a_child_exits_while_handles_come_and_go(void) {
    pthread_t threads[2];
    kvreg_registry *registry;
    kvreg_bucket *bucket, *clone;
    pid_t pid;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket));
    atomic_store(&enough, false);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, make_and_free, bucket) == 0);
    int forks = (int)check_scaled(FORKS);
    for (int i = 0; i < forks; i++) {
        for (int j = 0; j < 300; j++) {
            OK(kvreg_bucket_clone(bucket, &clone));
            OK(kvreg_bucket_free(clone));
        }
        fork_here(&pid);
        if (pid == 0)
            exit(0);
        await(pid);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

/* A child's child inherits from both. */
static void g11_a_child_forks(void) {
    kvreg_bucket *ours, *childs;
    int64_t number;
    OK(kvreg_bucket_start(&ours));
    pid_t pid = fork();
    if (pid == 0) {
        alarm(CHILD_SECONDS);
        OK(kvreg_bucket_start(&childs));
        pid = fork();
        if (pid == 0) {
            alarm(CHILD_SECONDS);
            IS(KVREG_FORKED, kvreg_bucket_get_int(ours, "k", 1, &number));
            IS(KVREG_FORKED, kvreg_bucket_get_int(childs, "k", 1, &number));
            OK(kvreg_bucket_free(ours));
            child_starts_its_own(childs);
            exit(0);
        }
        OK(kvreg_bucket_put_int(childs, "k", 1, 1));
        await(pid);
        exit(0);
    }
    await(pid);
    OK(kvreg_bucket_put_int(ours, "k", 1, 1));
    OK(kvreg_bucket_free(ours));
}

/* What a process that was shut down had are all handles that it does not know: its child's are not
 * among them. */
static void g11_a_child_of_one_that_was_shut_down_frees_its_own(void) {
    kvreg_bucket *own, *another;
    kvreg_update *begun;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(CHILD_SECONDS);
        OK(kvreg_bucket_start(&own));
        OK(kvreg_shutdown(-1));
        pid = fork();
        if (pid == 0) {
            alarm(CHILD_SECONDS);
            OK(kvreg_bucket_start(&another));
            OK(kvreg_bucket_update_begin(another, "k", 1, NULL, &begun));
            OK(kvreg_update_free(begun));
            OK(kvreg_bucket_put_int(another, "k", 1, 1)); /* the turn came back */
            OK(kvreg_bucket_free(another));
            OK(kvreg_bucket_free(own));
            kvreg_live live;
            memset(&live, 0, sizeof live);
            live.size = sizeof live;
            OK(kvreg_live_counts(&live));
            CHECK(live.buckets == 0 && live.bucket_handles == 0 && live.update_handles == 0);
            _exit(0);
        }
        await(pid);
        _exit(0);
    }
    await(pid);
}

static const test tests[] = {
    TEST(g11_forks_under_load),           TEST(g11_a_callback_forks), TEST(g11_a_callback_of_a_cast_forks),
    TEST(g11_a_destructor_forks),         TEST(g11_a_child_forks),
    TEST(g11_a_child_of_one_that_was_shut_down_frees_its_own),
    TEST(g11_a_child_exits_while_handles_come_and_go),
};
CHECK_MAIN(tests)
