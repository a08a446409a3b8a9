/*
 * Loads the DLL from a directory whose name is not ASCII, and unloads it: really, as long as nothing
 * was used; from the first use on it stays, with its threads and what they do.
 *
 * Usage: loads FILE
 */
#include <windows.h>

#include "../c/lifecycle/loaded.h"

enum { EXPECTED_VERSION = KVREG_VERSION_MAJOR << 16 | KVREG_VERSION_MINOR << 8 | KVREG_VERSION_PATCH };

static HMODULE library;

static function symbol(const char *name) {
    FARPROC found = GetProcAddress(library, name);
    CHECK(found != NULL);
    return (function)found;
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
