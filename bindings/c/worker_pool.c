/*
 * A pool of workers that is supervised by DOWN events.
 *
 *     cc worker_pool.c $(pkg-config --cflags --libs kvreg) -pthread -o worker_pool && ./worker_pool
 *
 * The jobs are keys of a bucket, whose value is who has them: nobody, a worker, or that they are
 * done. Each worker is a thread with a bucket of its own, which lives as long as the worker is well.
 * The supervisor monitors these: when one goes down, it takes the worker's job back and starts
 * another worker. A worker that was given up but still runs finds that the job is not its own any
 * more, so no job is lost, and none is done twice.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "kvreg_macros.h"

enum { JOBS = 100, WORKERS = 4 };

static kvreg_registry *registry;
static kvreg_bucket *jobs; /* "job 7": "todo", the name of a worker, or "done" */
static atomic_int done[JOBS], tried[JOBS];

/* Gives the job to `next` if it is with `owner`. Only one thread is here at a time: the bucket
 * handles one message after the other. */
static bool pass_on(int job, const char *owner, const char *next) {
    char key[16];
    kvreg_update *update;
    KVREG_OWNED(value) current = kvreg_nil();
    snprintf(key, sizeof key, "job %d", job);
    KVREG_MUST(kvreg_bucket_update_begin(jobs, key, KVREG_NUL, &current, &update));
    bool theirs = strcmp((const char *)current.as.text.data, owner) == 0;
    kvreg_value value = kvreg_string(next, KVREG_NUL);
    KVREG_MUST(kvreg_update_end(update, theirs ? KVREG_STORE : KVREG_KEEP, &value));
    return theirs;
}

/* Every tenth job breaks who tries it first. */
static bool work(int job) { return job % 10 != 0 || atomic_fetch_add(&tried[job], 1) > 0; }

static void crash(kvreg_bucket *me) {
    kvreg_update *update;
    KVREG_MUST(kvreg_bucket_update_begin(me, "", 0, NULL, &update));
    kvreg_update_end(update, KVREG_CRASH, NULL);
    kvreg_bucket_free(me);
}

/* Does jobs until nobody's are left. Its argument is the handle of its own bucket. */
static void *worker(void *argument) {
    kvreg_bucket *me = argument;
    KVREG_OWNED(value) name = kvreg_nil();
    KVREG_MUST(kvreg_bucket_name(me, &name));
    const char *self = (const char *)name.as.text.data;

    for (int job = 0; job < JOBS; job++) {
        if (!pass_on(job, "todo", self)) continue;
        if (!work(job)) {
            crash(me);
            return NULL;
        }
        if (pass_on(job, self, "done")) atomic_fetch_add(&done[job], 1);
    }
    kvreg_bucket_stop(me);
    kvreg_bucket_free(me);
    return NULL;
}

/* Starts a worker and monitors it. */
static pthread_t start(kvreg_inbox *inbox, int number) {
    char name[16];
    kvreg_bucket *bucket;
    uint64_t reference;
    pthread_t thread;
    snprintf(name, sizeof name, "worker %d", number);
    KVREG_MUST(kvreg_registry_create(registry, name, KVREG_NUL, KVREG_CREATE_EXCLUSIVE, &bucket));
    KVREG_MUST(kvreg_inbox_monitor(inbox, bucket, &reference));
    if (pthread_create(&thread, NULL, worker, bucket) != 0) {
        perror("worker_pool");
        exit(EXIT_FAILURE);
    }
    return thread;
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        fputs("usage: worker_pool\n", stderr);
        return 2;
    }
    KVREG_OWNED(inbox) *inbox = NULL;
    pthread_t threads[WORKERS + JOBS];
    int started = 0, alive = 0, crashed = 0, missing = 0;
    KVREG_MUST(kvreg_registry_start(NULL, &registry));
    KVREG_MUST(kvreg_registry_create(registry, "jobs", KVREG_NUL, 0, &jobs));
    KVREG_MUST(kvreg_inbox_open(&inbox));
    for (int job = 0; job < JOBS; job++) {
        char key[16];
        kvreg_value todo = kvreg_string("todo", KVREG_NUL);
        snprintf(key, sizeof key, "job %d", job);
        KVREG_MUST(kvreg_bucket_put(jobs, key, KVREG_NUL, &todo));
    }

    for (; alive < WORKERS; alive++, started++) threads[started] = start(inbox, started);
    while (alive > 0) {
        KVREG_OWNED(event) down = {0};
        KVREG_MUST(kvreg_inbox_receive(inbox, -1, &down));
        alive--;
        if (down.reason == KVREG_REASON_NORMAL) continue;
        crashed++;
        for (int job = 0; job < JOBS; job++) pass_on(job, down.name.data, "todo");
        threads[started] = start(inbox, started);
        started++;
        alive++;
    }

    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    for (int job = 0; job < JOBS; job++) missing += atomic_load(&done[job]) != 1;
    printf("%d jobs, %d not done once; %d workers crashed, %d were started\n", JOBS, missing,
           crashed, started);
    kvreg_bucket_free(jobs);
    kvreg_registry_free(registry);
    if (fflush(stdout) != 0) {
        perror("worker_pool: writing");
        return EXIT_FAILURE;
    }
    return missing == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
