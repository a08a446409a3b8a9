/*
 * Forks that no handler of kvreg's sees, or sees too late: _Fork, the system call itself, and a
 * user's child handler that was registered before kvreg's first use. Everything is done twice, the
 * second time on a system that does not empty pages for its children. Each case has a process of
 * its own, so that kvreg's first use is in it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { SECONDS = 60 };

static bool refuses_advice;

int madvise(void *address, size_t length, int advice) {
    int (*real)(void *, size_t, int);
    if (refuses_advice && advice == MADV_WIPEONFORK) {
        errno = EINVAL;
        return -1;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "madvise");
    return real(address, length, advice);
}

static atomic_int asked;

/* A library asks for it by this name. */
pid_t getpid(void) {
    atomic_fetch_add(&asked, 1);
    return (pid_t)syscall(SYS_getpid);
}

/* The ways to fork. */

static pid_t by_system_call(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
static pid_t by_underscore(void) { return _Fork(); }
#else
static pid_t by_underscore(void) { return by_system_call(); }
#endif

static pid_t (*const forks[])(void) = {by_underscore, by_system_call, fork};
enum { WAYS = sizeof forks / sizeof *forks };

static pid_t (*fork_now)(void);

static void await(pid_t pid) {
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static kvreg_registry *registry;
static kvreg_bucket *bucket;
static kvreg_inbox *inbox;
static kvreg_items *items;
static kvreg_listener *listener;
static kvreg_update *update;

static kvreg_verdict add_one(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data;
    *next = kvreg_int(current != NULL ? current->as.integer + 1 : 1);
    return KVREG_STORE;
}

static void start(void) {
    kvreg_bucket *other;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, -1)); /* the alarm ends who waits in vain */
    OK(kvreg_registry_create(registry, "other", 5, 0, &other));
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_registry_names(registry, &items));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
    OK(kvreg_bucket_update_begin(other, "k", 1, NULL, &update));
    OK(kvreg_bucket_free(other));
}

/* It allocates nothing: a child of _Fork may find the allocator's locks taken. */
static void all_is_the_parents(void) {
    kvreg_value value = kvreg_int(1);
    kvreg_event event;
    kvreg_bucket *clone;
    size_t count;
    int64_t number;
    IS(KVREG_FORKED, kvreg_bucket_get_int(bucket, "k", 1, &number));
    IS(KVREG_FORKED, kvreg_bucket_get(bucket, "k", 1, &value));
    IS(KVREG_FORKED, kvreg_bucket_put_int(bucket, "k", 1, 1));
    IS(KVREG_FORKED, kvreg_bucket_put_cast(bucket, "k", 1, &value));
    IS(KVREG_FORKED, kvreg_bucket_update(bucket, "k", 1, add_one, NULL));
    IS(KVREG_FORKED, kvreg_bucket_stop(bucket));
    IS(KVREG_FORKED, kvreg_bucket_clone(bucket, &clone));
    IS(KVREG_FORKED, kvreg_registry_lookup(registry, "b", 1, &clone));
    IS(KVREG_FORKED, kvreg_registry_count(registry, &count));
    IS(KVREG_FORKED, kvreg_registry_stop(registry));
    IS(KVREG_FORKED, kvreg_inbox_receive(inbox, -1, &event));
    IS(KVREG_FORKED, kvreg_items_next(items, &value, NULL));
    IS(KVREG_FORKED, kvreg_listener_stop(listener));
    IS(KVREG_FORKED, kvreg_update_end(update, KVREG_KEEP, NULL));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_put_int(NULL, "k", 1, 1));
    for (int twice = 0; twice < 2; twice++) {
        OK(kvreg_update_free(update));
        OK(kvreg_items_free(items));
        OK(kvreg_inbox_free(inbox));
        OK(kvreg_listener_free(listener));
        OK(kvreg_bucket_free(bucket));
        OK(kvreg_registry_free(registry));
    }
}

/* What is started here works, on threads of this process. */
static void its_own_works(void) {
    kvreg_registry *mine;
    kvreg_bucket *own;
    kvreg_update *begun;
    kvreg_inbox *events;
    kvreg_event event;
    uint64_t reference;
    int64_t number;
    OK(kvreg_registry_start(NULL, &mine));
    OK(kvreg_registry_create(mine, "b", 1, 0, &own));
    OK(kvreg_bucket_set_timeout(own, -1));
    OK(kvreg_bucket_update_begin(own, "k", 1, NULL, &begun));
    OK(kvreg_bucket_update_cast(own, "k", 1, add_one, NULL, NULL));
    OK(kvreg_update_free(begun));
    OK(kvreg_bucket_get_int(own, "k", 1, &number));
    CHECK(number == 1);
    OK(kvreg_inbox_open(&events));
    OK(kvreg_inbox_monitor(events, own, &reference));
    OK(kvreg_registry_stop(mine));
    OK(kvreg_inbox_receive(events, -1, &event)); /* this thread holds no turn here */
    CHECK(event.reference == reference);
    kvreg_event_clear(&event);
    OK(kvreg_inbox_free(events));
    OK(kvreg_bucket_free(own));
    OK(kvreg_registry_free(mine));
}

static void a_child_and_its_child(void) {
    start();
    pid_t pid = fork_now();
    if (pid == 0) {
        alarm(SECONDS);
        all_is_the_parents();
        its_own_works();
        all_is_the_parents();
        pid = fork_now();
        if (pid == 0) {
            alarm(SECONDS);
            its_own_works();
            all_is_the_parents();
            OK(kvreg_shutdown(-1));
            _exit(0);
        }
        await(pid);
        its_own_works();
        exit(0);
    }
    await(pid);
    OK(kvreg_bucket_update(bucket, "k", 1, add_one, NULL));
}

/* The grandchild's parent has not used kvreg at all. */
static void a_child_that_does_nothing_has_a_child(void) {
    start();
    pid_t pid = fork_now();
    if (pid == 0) {
        pid = fork_now();
        if (pid == 0) {
            alarm(SECONDS);
            all_is_the_parents();
            its_own_works();
            exit(0);
        }
        await(pid);
        exit(0);
    }
    await(pid);
}

/* Where the system empties pages, it is asked for nothing on the way of a call. */
static void calls_ask_for_nothing(void) {
    int64_t number;
    start();
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number));
    int before = atomic_load(&asked);
    for (int i = 0; i < 100; i++) {
        OK(kvreg_bucket_get_int(bucket, "k", 1, &number));
        OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
        OK(kvreg_bucket_update(bucket, "k", 1, add_one, NULL));
    }
    CHECK((atomic_load(&asked) == before) == !refuses_advice);
}

static pid_t forked;

static kvreg_verdict fork_and_store(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current;
    forked = fork_now();
    if (forked == 0)
        alarm(SECONDS);
    *next = kvreg_int(7);
    return KVREG_STORE;
}

static pid_t parent;

static void destroy_in_parent(void *data) {
    (void)data;
    if (getpid() != parent)
        _exit(EXIT_FAILURE);
}

static void fork_in_destroy(void *data) {
    (void)data;
    forked = fork_now();
    if (forked == 0)
        alarm(SECONDS);
}

/* The first thing that kvreg does in the child is to come back from the callback. */
static void a_call_in_progress(void) {
    start();
    kvreg_status status = kvreg_bucket_update(bucket, "k", 1, fork_and_store, NULL);
    if (forked == 0) {
        IS(KVREG_FORKED, status);
        its_own_works();
        all_is_the_parents();
        exit(0);
    }
    OK(status);
    await(forked);
}

static void a_callback_of_a_cast(void) {
    int64_t number;
    start();
    parent = getpid();
    OK(kvreg_bucket_update_cast(bucket, "k", 1, fork_and_store, NULL, destroy_in_parent));
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number)); /* waits for the cast */
    CHECK(number == 7);
    await(forked); /* it ended when the callback returned */
}

static void a_destructor(void) {
    kvreg_update *begun;
    start();
    parent = getpid();
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &begun));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, add_one, NULL, fork_in_destroy));
    OK(kvreg_bucket_update_cast(bucket, "k", 1, add_one, NULL, destroy_in_parent));
    kvreg_status status = kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0);
    if (forked == 0) {
        IS(KVREG_FORKED, status);
        its_own_works();
        exit(0);
    }
    OK(status);
    await(forked);
    OK(kvreg_update_free(begun));
}

/* The thread that forked is not the first to come; it still has what it had at its parent's. */

static void *first_to_come(void *unused) {
    its_own_works();
    return unused;
}

static void another_thread_comes_first(void) {
    kvreg_bucket *own;
    kvreg_value value;
    pthread_t thread;
    start();
    pid_t pid = fork_now();
    if (pid == 0) {
        alarm(SECONDS);
        CHECK(pthread_create(&thread, NULL, first_to_come, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        OK(kvreg_bucket_start(&own));
        for (int i = 0; i < 10000; i++) { /* much to free, by epochs of this process */
            OK(kvreg_bucket_put_int(own, "k", 1, i));
            OK(kvreg_bucket_put_string(own, "text", 4, "too long for a word", KVREG_NUL));
        }
        OK(kvreg_bucket_get(own, "k", 1, &value));
        CHECK(value.as.integer == 9999);
        OK(kvreg_bucket_free(own));
        its_own_works();
        all_is_the_parents();
        OK(kvreg_shutdown(-1));
        exit(0);
    }
    await(pid);
}

/* Beside threads that are in the middle of everything. */

static void *busy(void *data) {
    atomic_int *rounds = data;
    kvreg_value value = kvreg_int(1);
    for (;;) {
        kvreg_update *begun;
        OK(kvreg_bucket_update_begin(bucket, "busy", 4, NULL, &begun));
        OK(kvreg_bucket_put_cast(bucket, "cast", 4, &value));
        OK(kvreg_update_free(begun));
        atomic_fetch_add(rounds, 1);
    }
    return NULL;
}

static void threads_are_busy(void) {
    static atomic_int rounds[2];
    pthread_t threads[2];
    start();
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, busy, &rounds[i]) == 0);
        while (atomic_load(&rounds[i]) == 0)
            sched_yield();
    }
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork_now();
        if (pid == 0) {
            alarm(SECONDS);
            all_is_the_parents();
            _exit(0);
        }
        await(pid);
    }
    exit(0);
}

/* A child that never calls ends as any thread does. */
static void *fork_and_return(void *unused) {
    int64_t number;
    OK(kvreg_bucket_get_int(bucket, "k", 1, &number));
    for (int i = 0; i < 400; i++)
        OK(kvreg_bucket_put_string(bucket, "text", 4, "too long for a word", KVREG_NUL));
    forked = fork_now();
    if (forked == 0)
        alarm(SECONDS);
    return unused;
}

static void a_thread_forks_and_ends(void) {
    pthread_t thread;
    start();
    CHECK(pthread_create(&thread, NULL, fork_and_return, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    await(forked); /* its only thread has returned */
}

static bool is_handled;

static void in_handler(void) {
    if (!is_handled)
        return;
    alarm(SECONDS);
    all_is_the_parents();
    its_own_works();
}

static kvreg_bucket *kept;

static void keep_one_in_handler(void) {
    in_handler();
    if (is_handled)
        OK(kvreg_bucket_start(&kept));
}

static void a_handler_that_comes_first(void) {
    if (fork_now != fork)
        return;
    CHECK(pthread_atfork(NULL, NULL, keep_one_in_handler) == 0);
    start();
    is_handled = true;
    pid_t pid = fork();
    if (pid == 0) {
        /* kvreg's own handler, which came after it, left alone what was started there. */
        OK(kvreg_bucket_put_int(kept, "k", 1, 1));
        OK(kvreg_bucket_free(kept));
        all_is_the_parents();
        exit(0);
    }
    await(pid);
}

static void in_all_ways(void (*body)(void)) {
    for (int refuses = 0; refuses < 2; refuses++) {
        for (int way = 0; way < WAYS; way++) {
            pid_t pid = fork();
            if (pid == 0) {
                alarm(2 * SECONDS);
                refuses_advice = refuses == 1;
                fork_now = forks[way];
                forked = -1;
                body();
                _exit(0);
            }
            await(pid);
        }
    }
}

#define IN_ALL_WAYS(body) \
    static void g11_##body(void) { in_all_ways(body); }

IN_ALL_WAYS(a_child_and_its_child)
IN_ALL_WAYS(a_child_that_does_nothing_has_a_child)
IN_ALL_WAYS(calls_ask_for_nothing)
IN_ALL_WAYS(a_call_in_progress)
IN_ALL_WAYS(a_callback_of_a_cast)
IN_ALL_WAYS(a_destructor)
IN_ALL_WAYS(another_thread_comes_first)
IN_ALL_WAYS(threads_are_busy)
IN_ALL_WAYS(a_thread_forks_and_ends)
IN_ALL_WAYS(a_handler_that_comes_first)

static const test tests[] = {
    TEST(g11_a_child_and_its_child),     TEST(g11_a_child_that_does_nothing_has_a_child),
    TEST(g11_calls_ask_for_nothing),
    TEST(g11_a_call_in_progress),        TEST(g11_a_callback_of_a_cast),
    TEST(g11_a_destructor),              TEST(g11_another_thread_comes_first),
    TEST(g11_threads_are_busy),          TEST(g11_a_thread_forks_and_ends),
    TEST(g11_a_handler_that_comes_first),
};
CHECK_MAIN(tests)
