/* Loads the library named by its argument, leaves work in flight and unloads it, many times. */
#include <dlfcn.h>

#include "loaded.h"

static void *library;

static function symbol(const char *name) {
    function found;
    *(void **)&found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

int main(int argc, char **argv) {
    unsigned long times = check_scaled(5);
    for (unsigned long i = 0; i < times; i++) {
        library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            fprintf(stderr, "%s\n", dlerror());
        CHECK(library != NULL);
        use();
        CHECK(dlclose(library) == 0);
    }
    return 0;
}
