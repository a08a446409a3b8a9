/*
 * Loads the DLL from a directory whose name is not ASCII, and unloads it: really, as long as nothing
 * was used; from the first use on it stays, with its threads and what they do.
 *
 * Usage: loads FILE
 */
#include <windows.h>

#include "../c/check.h"

/* The last error is asked of the library that is linked; here none is. */
size_t kvreg_last_error(char *buffer, size_t capacity) {
    if (capacity > 0)
        *buffer = '\0';
    return 0;
}

enum { EXPECTED_VERSION = KVREG_VERSION_MAJOR << 16 | KVREG_VERSION_MINOR << 8 | KVREG_VERSION_PATCH };

static HMODULE library;

#pragma GCC diagnostic ignored "-Wcast-function-type"
#pragma GCC diagnostic ignored "-Wpedantic"
/* A name is looked up, and called as its prototype says. */
#define CALL(name) (*(__typeof__(&name))GetProcAddress(library, #name))

static void use(void) {
    kvreg_registry *registry;
    kvreg_bucket *bucket;
    kvreg_inbox *inbox;
    kvreg_listener *listener;
    kvreg_update *update;
    kvreg_value value = kvreg_int(1);
    uint64_t reference;
    CHECK(CALL(kvreg_registry_start)(NULL, &registry) == KVREG_OK);
    CHECK(CALL(kvreg_registry_create)(registry, "a", 1, 0, &bucket) == KVREG_OK);
    CHECK(CALL(kvreg_inbox_open)(&inbox) == KVREG_OK);
    CHECK(CALL(kvreg_inbox_monitor)(inbox, bucket, &reference) == KVREG_OK);
    CHECK(CALL(kvreg_listener_start)(registry, "127.0.0.1:0", NULL, &listener) == KVREG_OK);
    CHECK(CALL(kvreg_bucket_update_begin)(bucket, "k", 1, NULL, &update) == KVREG_OK);
    for (int i = 0; i < 1000; i++)
        CHECK(CALL(kvreg_bucket_put_cast)(bucket, "k", 1, &value) == KVREG_OK);
    CHECK(CALL(kvreg_update_end)(update, KVREG_KEEP, NULL) == KVREG_OK);
    CHECK(CALL(kvreg_listener_free)(listener) == KVREG_OK);
}

/* In a thread of the host's, which ends while the library is loaded, or is not any more. */
static DWORD WINAPI use_in_thread(void *unused) {
    (void)unused;
    use();
    return 0;
}

int wmain(int argc, wchar_t **argv) {
    CHECK(argc == 2);
    for (int i = 0; i < 50; i++) {
        CHECK((library = LoadLibraryW(argv[1])) != NULL);
        CHECK(CALL(kvreg_version_number)() == EXPECTED_VERSION);
        CHECK(FreeLibrary(library));
        CHECK(GetModuleHandleW(L"kvreg.dll") == NULL);
    }
    for (int i = 0; i < 50; i++) {
        CHECK((library = LoadLibraryW(argv[1])) != NULL);
        HANDLE thread = CreateThread(NULL, 0, use_in_thread, NULL, 0, NULL);
        CHECK(thread != NULL);
        use();
        if (i % 2 == 0)
            CHECK(WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
        CHECK(FreeLibrary(library));
        CHECK(GetModuleHandleW(L"kvreg.dll") == library);
        CHECK(WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
        CloseHandle(thread);
    }
    puts("loaded and unloaded 100 times");
    return 0;
}
