/* Loads the library named by its argument, leaves work in flight and unloads it, many times. */
#include <dlfcn.h>

#include "../check.h"

/* A name is looked up, and called as its prototype says. */
#define CALL(name) (*(__typeof__(&name))symbol(library, #name))

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

static void use(void *library) {
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

/* The last error is asked of the library that is linked; here none is. */
size_t kvreg_last_error(char *buffer, size_t capacity) {
    if (capacity > 0)
        *buffer = '\0';
    return 0;
}

int main(int argc, char **argv) {
    for (int i = 0; i < 50; i++) {
        void *library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            fprintf(stderr, "%s\n", dlerror());
        CHECK(library != NULL);
        use(library);
        CHECK(dlclose(library) == 0);
    }
    return 0;
}
