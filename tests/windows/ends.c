/*
 * A process with everything in flight: threads in calls, waits and callbacks, queued casts, a
 * listener. Its argument says how it ends; whatever that is, its exit status is 7 (0 after a return
 * from main) and it prints nothing. Windows kills the other threads wherever they are, perhaps with
 * a lock of kvreg's, and then calls what is left.
 */
#include <windows.h>

#include <process.h>
#include <stdatomic.h>

#include "../c/check.h"

static kvreg_registry *registry;
static kvreg_bucket *bucket, *held;
static kvreg_inbox *inbox;
static atomic_int ready;

/* To the end of the process, which comes first. */
static void sleep_on(void) {
    for (;;)
        Sleep(INFINITE);
}

static kvreg_verdict for_ever(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    atomic_fetch_add(&ready, 1);
    sleep_on();
    return KVREG_KEEP;
}

static unsigned __stdcall calls(void *data) {
    (void)data;
    atomic_fetch_add(&ready, 1);
    kvreg_status status;
    unsigned i = 0;
    do { /* takes and leaves all locks there are, as fast as it can */
        char name[16];
        kvreg_bucket *other;
        snprintf(name, sizeof name, "b%u", i++ % 1000);
        status = kvreg_registry_create(registry, name, KVREG_NUL, 0, &other);
        if (status == KVREG_OK) {
            kvreg_bucket_put_int(other, "k", 1, 1);
            kvreg_bucket_stop(other);
            kvreg_bucket_free(other);
        }
    } while (status != KVREG_SHUT_DOWN);
    return 0;
}

static unsigned __stdcall waits_for_an_event(void *data) {
    kvreg_event event;
    (void)data;
    atomic_fetch_add(&ready, 1);
    while (kvreg_inbox_receive(inbox, -1, &event) == KVREG_OK)
        kvreg_event_clear(&event);
    return 0;
}

static unsigned __stdcall waits_for_its_turn(void *data) {
    (void)data;
    atomic_fetch_add(&ready, 1);
    kvreg_bucket_put_int(held, "k", 1, 1);
    return 0;
}

static unsigned __stdcall holds(void *data) {
    kvreg_update *update;
    (void)data;
    OK(kvreg_bucket_update_begin(held, "k", 1, NULL, &update));
    atomic_fetch_add(&ready, 1);
    sleep_on();
    return 0;
}

static void wait_for(int count) {
    while (atomic_load(&ready) < count)
        SwitchToThread();
}

static void start(void) {
    unsigned(__stdcall *const work[])(void *) = {calls, calls, waits_for_an_event,
                                                 waits_for_its_turn};
    kvreg_listener *listener;
    uint64_t reference;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "bucket", KVREG_NUL, 0, &bucket));
    OK(kvreg_registry_create(registry, "held", KVREG_NUL, 0, &held));
    OK(kvreg_bucket_set_timeout(held, -1));
    OK(kvreg_inbox_open(&inbox));
    OK(kvreg_inbox_monitor(inbox, bucket, &reference));
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener));
    kvreg_listener *none;
    IS(KVREG_UNSUPPORTED, kvreg_listener_start(registry, "unix:door", NULL, &none));
    CHECK(_beginthreadex(NULL, 0, holds, NULL, 0, NULL) != 0);
    wait_for(1);
    OK(kvreg_bucket_update_cast(bucket, "slow", 4, for_ever, NULL, NULL));
    for (int i = 0; i < 4; i++)
        CHECK(_beginthreadex(NULL, 0, work[i], NULL, 0, NULL) != 0);
    for (int i = 0; i < 1000; i++) {
        kvreg_value value = kvreg_int(i);
        OK(kvreg_bucket_put_cast(held, "k", 1, &value));
    }
    wait_for(6);
}

static unsigned __stdcall exits(void *data) {
    (void)data;
    ExitProcess(7);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    start();
    if (strcmp(how, "return") == 0)
        return 0;
    if (strcmp(how, "exit") == 0)
        exit(7);
    if (strcmp(how, "ExitProcess") == 0)
        ExitProcess(7);
    if (strcmp(how, "thread") == 0) { /* another thread ends it, this one sleeps */
        CHECK(_beginthreadex(NULL, 0, exits, NULL, 0, NULL) != 0);
        sleep_on();
    }
    if (strcmp(how, "stuck") == 0) {
        IS(KVREG_TIMEOUT, kvreg_shutdown(1));
        exit(7);
    }
    return 2;
}
