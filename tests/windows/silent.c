/*
 * A program with windows and no console, as `-mwindows` makes them: kvreg is used, threads, a crash
 * and a refused call included, and opens no console and no window.
 */
#include <windows.h>

#include "kvreg.h"

static BOOL CALLBACK count(HWND window, LPARAM counter) {
    DWORD process;
    GetWindowThreadProcessId(window, &process);
    *(int *)counter += process == GetCurrentProcessId();
    return TRUE;
}

static int windows(void) {
    int counter = 0;
    EnumWindows(count, (LPARAM)&counter);
    return counter;
}

static int use(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_listener *listener;
    kvreg_inbox *inbox;
    kvreg_event event;
    uint64_t reference;
    kvreg_value one = kvreg_int(1);
    return kvreg_registry_start(NULL, &registry) == KVREG_OK &&
           kvreg_registry_create(registry, "shopping", KVREG_NUL, 0, &bucket) == KVREG_OK &&
           kvreg_bucket_put_cast(bucket, "milk", KVREG_NUL, &one) == KVREG_OK &&
           kvreg_listener_start(registry, "127.0.0.1:0", NULL, &listener) == KVREG_OK &&
           kvreg_inbox_open(&inbox) == KVREG_OK &&
           kvreg_inbox_monitor(inbox, bucket, &reference) == KVREG_OK &&
           kvreg_bucket_exit(bucket, KVREG_REASON_CRASHED, "out of milk", KVREG_NUL) == KVREG_OK &&
           kvreg_inbox_receive(inbox, -1, &event) == KVREG_OK &&
           kvreg_bucket_put(bucket, "milk", KVREG_NUL, &one) == KVREG_NO_PROCESS;
}

/* 0: silent; 1: kvreg does not work; 2: there was a console; 3: there is one; 4: there is a window. */
int WINAPI WinMain(HINSTANCE instance, HINSTANCE previous, LPSTR arguments, int show) {
    (void)instance, (void)previous, (void)arguments, (void)show;
    if (GetConsoleWindow() != NULL || AttachConsole(GetCurrentProcessId()))
        return 2;
    int before = windows();
    if (!use())
        return 1;
    if (GetConsoleWindow() != NULL || GetConsoleCP() != 0)
        return 3;
    return windows() == before ? 0 : 4;
}
