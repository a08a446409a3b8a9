/*
 * Two threads wait by WaitForSingleObject for the HANDLE of an inbox, and take DOWNs from it, while
 * the main thread ends buckets. Each DOWN reaches one of them, none is missed.
 */
#include <windows.h>

#include <stdatomic.h>

#include "../c/check.h"

enum { BUCKETS = 20000, WAITERS = 2 };

static kvreg_inbox *inbox;
static HANDLE handle;
static uint64_t references[BUCKETS];
static atomic_int seen[BUCKETS];
static atomic_int downs;

static DWORD WINAPI wait_for_downs(void *unused) {
    (void)unused;
    for (;;) {
        kvreg_event event;
        CHECK(WaitForSingleObject(handle, INFINITE) == WAIT_OBJECT_0);
        kvreg_status status = kvreg_inbox_receive(inbox, 0, &event);
        if (status == KVREG_TIMEOUT) /* the other one was faster */
            continue;
        CHECK(status == KVREG_OK);
        if (event.type == KVREG_EVENT_LOG) { /* that is the end */
            kvreg_event_clear(&event);
            return 0;
        }
        CHECK(event.type == KVREG_EVENT_DOWN && event.reason == KVREG_REASON_NORMAL);
        int found = (int)(event.reference - references[0]);
        CHECK(found >= 0 && found < BUCKETS && references[found] == event.reference);
        CHECK(atomic_fetch_add(&seen[found], 1) == 0);
        atomic_fetch_add(&downs, 1);
        kvreg_event_clear(&event);
    }
}

static void downs_come_through_the_handle(void) {
    static kvreg_bucket *buckets[BUCKETS];
    HANDLE threads[WAITERS];
    void *raw, *again;
    int fd = 0;
    DWORD flags = HANDLE_FLAG_INHERIT;
    OK(kvreg_inbox_open(&inbox));
    IS(KVREG_UNSUPPORTED, kvreg_inbox_fd(inbox, &fd));
    CHECK(fd == -1);
    OK(kvreg_inbox_handle(inbox, &raw));
    OK(kvreg_inbox_handle(inbox, &again));
    CHECK(raw != NULL && raw == again);
    handle = raw;
    CHECK(GetHandleInformation(handle, &flags) && !(flags & HANDLE_FLAG_INHERIT));
    CHECK(WaitForSingleObject(handle, 0) == WAIT_TIMEOUT);
    for (int i = 0; i < BUCKETS; i++) {
        OK(kvreg_bucket_start(&buckets[i]));
        OK(kvreg_inbox_monitor(inbox, buckets[i], &references[i]));
        CHECK(references[i] == references[0] + (uint64_t)i);
    }
    for (int i = 0; i < WAITERS; i++) {
        threads[i] = CreateThread(NULL, 0, wait_for_downs, NULL, 0, NULL);
        CHECK(threads[i] != NULL);
    }
    for (int i = 0; i < BUCKETS; i++) {
        OK(kvreg_bucket_stop(buckets[i]));
        OK(kvreg_bucket_free(buckets[i]));
    }
    /* Events that end the waiters, who may both be asleep: logs, one for each. */
    while (atomic_load(&downs) < BUCKETS)
        SwitchToThread();
    kvreg_registry *registry;
    OK(kvreg_inbox_subscribe_logs(inbox, KVREG_LOG_DEBUG));
    OK(kvreg_registry_start(NULL, &registry));
    for (int i = 0; i < WAITERS; i++)
        OK(kvreg_registry_send(registry, "end", 3));
    CHECK(WaitForMultipleObjects(WAITERS, threads, TRUE, INFINITE) == WAIT_OBJECT_0);
    for (int i = 0; i < WAITERS; i++)
        CloseHandle(threads[i]);
    OK(kvreg_registry_free(registry));
    kvreg_event event;
    while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK)
        kvreg_event_clear(&event);
    CHECK(WaitForSingleObject(handle, 0) == WAIT_TIMEOUT);
    OK(kvreg_inbox_free(inbox));
    CHECK(!GetHandleInformation(handle, &flags)); /* closed with the inbox */
}

static const test tests[] = {TEST(downs_come_through_the_handle)};

CHECK_MAIN(tests)
