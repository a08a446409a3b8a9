/* The shopping session, and a crash noticed. */

#include <stdio.h>
#include <stdlib.h>

#include "kvreg.h"

static void check(kvreg_status status, const char *what) {
    if (status != KVREG_OK) {
        char text[256];
        kvreg_last_error(text, sizeof text);
        fprintf(stderr, "%s: %s\n", what, text);
        exit(EXIT_FAILURE);
    }
}

static void say(kvreg_registry *registry, const char *line) {
    kvreg_value reply;
    check(kvreg_registry_execute(registry, line, KVREG_NUL, &reply), line);
    printf("%s\n%.*s", line, (int)reply.as.text.len, (const char *)reply.as.text.data);
    kvreg_value_clear(&reply);
}

int main(void) {
    static const char *const reasons[] = {"NORMAL", "SHUTDOWN", "KILLED", "CRASHED", "NOPROC"};
    kvreg_registry *registry;
    kvreg_bucket *shopping, *again;
    kvreg_inbox *inbox;
    kvreg_event down;
    uint64_t reference;

    check(kvreg_registry_start(NULL, &registry), "start");
    say(registry, "CREATE shopping");
    say(registry, "PUT shopping milk 1");
    say(registry, "GET shopping milk");

    check(kvreg_registry_lookup(registry, "shopping", KVREG_NUL, &shopping), "lookup");
    check(kvreg_inbox_open(&inbox), "open");
    check(kvreg_inbox_monitor(inbox, shopping, &reference), "monitor");
    check(kvreg_bucket_exit(shopping, KVREG_REASON_KILLED, "for the demo", KVREG_NUL), "exit");
    check(kvreg_inbox_receive(inbox, 1000, &down), "receive");
    printf("DOWN %s %s %s\n", down.name.data, reasons[down.reason], down.detail.data);
    kvreg_event_clear(&down);

    kvreg_status status = kvreg_registry_lookup(registry, "shopping", KVREG_NUL, &again);
    printf("lookup shopping: %s\n", kvreg_status_name(status));
    say(registry, "GET shopping milk");

    kvreg_inbox_free(inbox);
    kvreg_bucket_free(shopping);
    kvreg_registry_free(registry);
    check(kvreg_shutdown(1000), "shutdown");
    return status == KVREG_NOT_FOUND ? EXIT_SUCCESS : EXIT_FAILURE;
}
