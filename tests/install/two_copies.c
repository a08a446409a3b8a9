/*
 * Two copies of the library in one process: one is linked, the other loaded from the file that is
 * named. Each has registries of its own, and takes the other's handles for made up.
 */
#include <dlfcn.h>

#include "check.h"

static struct {
    kvreg_status (*start)(const kvreg_registry_options *, kvreg_registry **);
    kvreg_status (*whereis)(const char *, size_t, kvreg_registry **);
    kvreg_status (*create)(kvreg_registry *, const char *, size_t, uint32_t, kvreg_bucket **);
    kvreg_status (*put_int)(kvreg_bucket *, const void *, size_t, int64_t);
    kvreg_status (*get_int)(kvreg_bucket *, const void *, size_t, int64_t *);
    kvreg_status (*put_cast)(kvreg_bucket *, const void *, size_t, const kvreg_value *);
    kvreg_status (*bucket_free)(kvreg_bucket *);
    kvreg_status (*registry_free)(kvreg_registry *);
    kvreg_status (*shutdown)(int64_t);
} other;

static const char *file;

static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

static void load(void) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    *(void **)&other.start = find(library, "kvreg_registry_start");
    *(void **)&other.whereis = find(library, "kvreg_registry_whereis");
    *(void **)&other.create = find(library, "kvreg_registry_create");
    *(void **)&other.put_int = find(library, "kvreg_bucket_put_int");
    *(void **)&other.get_int = find(library, "kvreg_bucket_get_int");
    *(void **)&other.put_cast = find(library, "kvreg_bucket_put_cast");
    *(void **)&other.bucket_free = find(library, "kvreg_bucket_free");
    *(void **)&other.registry_free = find(library, "kvreg_registry_free");
    *(void **)&other.shutdown = find(library, "kvreg_shutdown");
    CHECK(other.start != kvreg_registry_start);
}

static kvreg_registry *registries[2];
static kvreg_bucket *buckets[2];

static void each_has_its_own_names(void) {
    kvreg_registry_options options = kvreg_registry_options_init();
    options.name = "common";
    options.name_len = KVREG_NUL;
    OK(kvreg_registry_start(&options, &registries[0]));
    IS(KVREG_NOT_FOUND, other.whereis("common", KVREG_NUL, &registries[1]));
    OK(other.start(&options, &registries[1]));
    OK(kvreg_registry_create(registries[0], "shopping", KVREG_NUL, 0, &buckets[0]));
    OK(other.create(registries[1], "shopping", KVREG_NUL, 0, &buckets[1]));
}

static void each_works(void) {
    int64_t number;
    kvreg_value three = kvreg_int(3);
    OK(kvreg_bucket_put_int(buckets[0], "milk", KVREG_NUL, 1));
    OK(other.put_int(buckets[1], "milk", KVREG_NUL, 2));
    OK(kvreg_bucket_put_cast(buckets[0], "eggs", KVREG_NUL, &three));
    OK(other.put_cast(buckets[1], "bread", KVREG_NUL, &three));
    OK(kvreg_bucket_get_int(buckets[0], "milk", KVREG_NUL, &number));
    CHECK(number == 1);
    OK(other.get_int(buckets[1], "milk", KVREG_NUL, &number));
    CHECK(number == 2);
    IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(buckets[0], "bread", KVREG_NUL, &number));
}

static void handles_of_the_other_are_bad(void) {
    int64_t number;
    IS(KVREG_BAD_HANDLE, kvreg_bucket_get_int(buckets[1], "milk", KVREG_NUL, &number));
    IS(KVREG_BAD_HANDLE, other.get_int(buckets[0], "milk", KVREG_NUL, &number));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_free(buckets[1]));
    IS(KVREG_BAD_HANDLE, other.registry_free(registries[0]));
}

static void one_may_shut_down(void) {
    int64_t number;
    OK(other.shutdown(-1));
    IS(KVREG_SHUT_DOWN, other.get_int(buckets[1], "milk", KVREG_NUL, &number));
    OK(other.bucket_free(buckets[1]));
    OK(other.registry_free(registries[1]));
    OK(kvreg_bucket_get_int(buckets[0], "milk", KVREG_NUL, &number));
    CHECK(number == 1);
    OK(kvreg_bucket_free(buckets[0]));
    OK(kvreg_registry_stop(registries[0]));
    OK(kvreg_registry_free(registries[0]));
}

int main(int argc, char **argv) {
    const test tests[] = {
        TEST(load),
        TEST(each_has_its_own_names),
        TEST(each_works),
        TEST(handles_of_the_other_are_bad),
        TEST(one_may_shut_down),
    };
    CHECK(argc == 2);
    file = argv[1];
    return check_run(tests, sizeof tests / sizeof *tests);
}
