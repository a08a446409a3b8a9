/* What a program in C does with an installed kvreg. */
#include <kvreg.h>
#include <kvreg_macros.h>
#include <stdio.h>

int main(void) {
    kvreg_registry *registry;
    kvreg_value reply;
    if (kvreg_version_number() >> 16 != KVREG_VERSION_MAJOR || kvreg_registry_start(NULL, &registry) ||
        kvreg_registry_execute(registry, "CREATE shopping", KVREG_NUL, &reply))
        return 1;
    printf("%.*s", (int)reply.as.text.len, (const char *)reply.as.text.data);
    kvreg_value_clear(&reply);
    kvreg_registry_free(registry);
    return kvreg_shutdown(1000);
}
