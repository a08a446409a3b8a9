/* What an event loop waits for at an inbox: a descriptor, or on Windows the HANDLE of an event. */
#ifndef POLLED_H
#define POLLED_H

#include "check.h"

#ifdef _WIN32
#include <windows.h>

typedef HANDLE polled;
#define NOT_POLLED NULL

static inline kvreg_status inbox_polled(kvreg_inbox *inbox, polled *what) {
    int fd = 0;
    IS(KVREG_UNSUPPORTED, kvreg_inbox_fd(inbox, &fd));
    CHECK(fd == -1);
    return kvreg_inbox_handle(inbox, what);
}

static inline bool is_raised(polled what) {
    DWORD answer = WaitForSingleObject(what, 0);
    CHECK(answer == WAIT_OBJECT_0 || answer == WAIT_TIMEOUT);
    return answer == WAIT_OBJECT_0;
}

static inline void wait_until_raised(polled what) {
    CHECK(WaitForSingleObject(what, INFINITE) == WAIT_OBJECT_0);
}

#else
#include <poll.h>

typedef int polled;
#define NOT_POLLED (-1)

static inline kvreg_status inbox_polled(kvreg_inbox *inbox, polled *what) {
    void *handle = &handle;
    IS(KVREG_UNSUPPORTED, kvreg_inbox_handle(inbox, &handle));
    CHECK(handle == NULL);
    return kvreg_inbox_fd(inbox, what);
}

static inline bool is_raised(polled what) {
    struct pollfd waiting = {.fd = what, .events = POLLIN};
    int ready = poll(&waiting, 1, 0);
    CHECK(ready >= 0);
    return ready == 1;
}

static inline void wait_until_raised(polled what) {
    struct pollfd waiting = {.fd = what, .events = POLLIN};
    CHECK(poll(&waiting, 1, -1) == 1 && waiting.revents == POLLIN);
}

#endif

#endif
