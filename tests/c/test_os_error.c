/* KVREG_IO keeps the system's error number: in the text, and by kvreg_last_os_error. */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>

#include "check.h"

#ifdef _WIN32
enum { IN_USE = 10048 }; /* WSAEADDRINUSE */
#else
#include <sys/resource.h>
#include <unistd.h>
enum { IN_USE = EADDRINUSE };
#endif

static kvreg_registry *registry;

/* The last error names the number. */
static bool tells(int number) {
    char text[512], told[32];
    kvreg_last_error(text, sizeof text);
    snprintf(told, sizeof told, "(os error %d)", number);
    return strstr(text, told) != NULL;
}

/* A listener where another one listens. */
static void be_refused(void) {
    kvreg_listener *first, *second;
    kvreg_value address;
    OK(kvreg_listener_start(registry, "127.0.0.1:0", NULL, &first));
    OK(kvreg_listener_address(first, &address));
    const char *taken = (const char *)address.as.text.data;
    IS(KVREG_IO, kvreg_listener_start(registry, taken, NULL, &second));
    CHECK(kvreg_last_os_error() == IN_USE && tells(IN_USE));
    kvreg_value_clear(&address);
    OK(kvreg_listener_stop(first));
    OK(kvreg_listener_free(first));
}

static void it_is_of_the_last_failing_call(void) {
    CHECK(kvreg_last_os_error() == 0); /* none failed */
    OK(kvreg_registry_start(NULL, &registry));
    be_refused();
    OK(kvreg_registry_set_timeout(registry, 5000));
    CHECK(kvreg_last_os_error() == IN_USE); /* a success changes nothing */
    IS(KVREG_BAD_HANDLE, kvreg_registry_stop(NULL));
    CHECK(kvreg_last_os_error() == 0);
    OK(kvreg_registry_free(registry));
}

static void *has_none(void *unused) {
    CHECK(kvreg_last_os_error() == 0);
    IS(KVREG_BAD_HANDLE, kvreg_registry_stop(NULL));
    CHECK(kvreg_last_os_error() == 0);
    return unused;
}

static void each_thread_has_its_own(void) {
    pthread_t thread;
    OK(kvreg_registry_start(NULL, &registry));
    be_refused();
    CHECK(pthread_create(&thread, NULL, has_none, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(kvreg_last_os_error() == IN_USE && tells(IN_USE));
    OK(kvreg_registry_free(registry));
}

#ifndef _WIN32
static void unix_sockets_tell_why(void) {
    char address[64], here[] = "/tmp/kvreg-test-XXXXXX";
    kvreg_listener *listener;
    OK(kvreg_registry_start(NULL, &registry));
    CHECK(mkdtemp(here) != NULL);
    snprintf(address, sizeof address, "unix:%s/none/door", here);
    IS(KVREG_IO, kvreg_listener_start(registry, address, NULL, &listener));
    CHECK(kvreg_last_os_error() == ENOENT && tells(ENOENT));
    snprintf(address, sizeof address, "unix:%s/file", here);
    FILE *file = fopen(address + strlen("unix:"), "w"); /* no socket: it is not replaced */
    CHECK(file != NULL && fclose(file) == 0);
    IS(KVREG_IO, kvreg_listener_start(registry, address, NULL, &listener));
    CHECK(kvreg_last_os_error() == EADDRINUSE && tells(EADDRINUSE));
    CHECK(unlink(address + strlen("unix:")) == 0 && rmdir(here) == 0);
    OK(kvreg_registry_free(registry));
}

static void a_descriptor_that_is_refused(void) {
    struct rlimit was, none;
    kvreg_inbox *inbox;
    int fd;
    OK(kvreg_inbox_open(&inbox));
    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    none = was;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    kvreg_status status = kvreg_inbox_fd(inbox, &fd);
    int number = kvreg_last_os_error();
    CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
    IS(KVREG_IO, status);
    CHECK(number == EMFILE && tells(EMFILE));
    OK(kvreg_inbox_fd(inbox, &fd)); /* now there is one */
    OK(kvreg_inbox_free(inbox));
}
#endif

static const test tests[] = {
    TEST(it_is_of_the_last_failing_call),
    TEST(each_thread_has_its_own),
#ifndef _WIN32
    TEST(unix_sockets_tell_why),
    TEST(a_descriptor_that_is_refused),
#endif
};
CHECK_MAIN(tests)
