/*
 * A DLL of the host's that uses kvreg when the process ends, as the destructors of its static objects
 * would: by then the other threads are gone, wherever they were.
 */
#include <windows.h>

#include "kvreg.h"

static kvreg_registry *registry;
static kvreg_bucket *held;
static kvreg_inbox *inbox;

__declspec(dllexport) void late_uses(kvreg_registry *its_registry, kvreg_bucket *its_bucket,
                                     kvreg_inbox *its_inbox);

void late_uses(kvreg_registry *its_registry, kvreg_bucket *its_bucket, kvreg_inbox *its_inbox) {
    registry = its_registry;
    held = its_bucket;
    inbox = its_inbox;
}

static bool is_as_promised(void) {
    kvreg_value value = kvreg_int(1);
    kvreg_bucket *found = held;
    kvreg_inbox *opened = inbox;
    return kvreg_registry_create(registry, "late", KVREG_NUL, 0, &found) == KVREG_SHUT_DOWN &&
           found == NULL && kvreg_inbox_open(&opened) == KVREG_SHUT_DOWN && opened == NULL &&
           kvreg_bucket_put_cast(held, "k", 1, &value) == KVREG_SHUT_DOWN &&
           kvreg_registry_stop(registry) == KVREG_SHUT_DOWN &&
           kvreg_shutdown(-1) == KVREG_SHUT_DOWN && kvreg_inbox_free(inbox) == KVREG_OK &&
           kvreg_bucket_free(held) == KVREG_OK && kvreg_registry_free(registry) == KVREG_OK;
}

BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void *at_the_end) {
    (void)module;
    if (reason == DLL_PROCESS_DETACH && at_the_end != NULL && registry != NULL) {
        /* The process has its exit status already: only so can this tell. */
        TerminateProcess(GetCurrentProcess(), is_as_promised() ? 8 : 9);
    }
    return TRUE;
}
