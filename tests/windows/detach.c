/*
 * Threads that end, and call the library when the loader tells the program of it. No other thread
 * begins, or is gone, before that call returns. So the library must wait for none: neither for those
 * that free what is large, or do what waits, nor for its own to leave.
 */
#include <windows.h>

#include <stdatomic.h>

#include "../c/check.h"

enum { KEYS = 400000 };

static kvreg_bucket *large, *held;

/* What the next thread does that ends, and whether it did. */
static void (*in_its_end)(void);
static atomic_bool is_done;

static void NTAPI told(void *module, DWORD reason, void *unused) {
    (void)module, (void)unused;
    if (reason != DLL_THREAD_DETACH || in_its_end == NULL) return;
    void (*call)(void) = in_its_end;
    in_its_end = NULL;
    call();
    atomic_store(&is_done, true);
}

/* Where the loader looks for what a program is told. */
__attribute__((section(".CRT$XLD"), used)) static PIMAGE_TLS_CALLBACK callback = told;

static DWORD WINAPI use_and_end(void *call) {
    OK(kvreg_bucket_put_int(large, "used", 4, 1));
    in_its_end = *(void (**)(void))call;
    return 0;
}

static void end_a_thread(void (*call)(void)) {
    atomic_store(&is_done, false);
    HANDLE thread = CreateThread(NULL, 0, use_and_end, &call, 0, NULL);
    CHECK(thread != NULL);
    CHECK(WaitForSingleObject(thread, CHECK_PATIENCE * 1000) == WAIT_OBJECT_0);
    CHECK(atomic_load(&is_done));
    CloseHandle(thread);
}

static void fill(void) {
    for (int64_t i = 0; i < KEYS; i++)
        OK(kvreg_bucket_put_int(large, (const char *)&i, sizeof i, i));
}

/* Both want the library's threads, which are not started yet. */
static void clear_and_cast(void) {
    size_t count = 1;
    kvreg_value value = kvreg_int(2);
    OK(kvreg_bucket_clear(large));
    OK(kvreg_bucket_count(large, &count));
    CHECK(count == 0);
    IS(KVREG_IO, kvreg_bucket_put_cast(held, "k", 1, &value));
}

static void a_thread_that_ends_starts_none(void) {
    kvreg_update *update;
    kvreg_value value = kvreg_int(3);
    int64_t read = 0;
    OK(kvreg_bucket_start(&large));
    OK(kvreg_bucket_start(&held));
    OK(kvreg_bucket_update_begin(held, "k", 1, NULL, &update));
    fill();
    end_a_thread(clear_and_cast);
    fill();
    OK(kvreg_bucket_put_cast(held, "k", 1, &value)); /* another thread starts them as ever */
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
    OK(kvreg_bucket_get_int(held, "k", 1, &read));
    CHECK(read == 3);
    OK(kvreg_bucket_free(held));
}

static void free_and_shut_down(void) {
    OK(kvreg_bucket_free(large));
    OK(kvreg_shutdown(CHECK_PATIENCE * 1000));
}

static void a_thread_that_ends_shuts_the_library_down(void) {
    end_a_thread(free_and_shut_down);
}

static const test tests[] = {
    TEST(a_thread_that_ends_starts_none),
    TEST(a_thread_that_ends_shuts_the_library_down),
};

CHECK_MAIN(tests)
