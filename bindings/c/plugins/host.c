/*
 * A host with plug-ins that are loaded by dlopen, and meet in a named registry.
 *
 *     flags=$(pkg-config --cflags --libs kvreg)
 *     for p in counter faulty; do cc -shared -fPIC $p.c $flags -o $p.so; done
 *     cc host.c $flags -ldl -o host && ./host ./counter.so ./faulty.so ./counter.so
 *
 * Each plug-in is loaded, run and unloaded, in the order given; one may come again. The host makes a
 * bucket of each one's name for it, and hears by DOWN when a plug-in crashed it.
 */
#include <dlfcn.h>

#include "kvreg_macros.h"
#include "plugin.h"

/* What became of the buckets since it was last asked. */
static void report(kvreg_inbox *inbox) {
    static const char *const reasons[] = {"normal", "shutdown", "killed", "crashed", "noproc"};
    kvreg_event event;
    while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK) {
        printf("the bucket of %s is down: %s\n", event.name.data, reasons[event.reason]);
        kvreg_event_clear(&event);
    }
}

/* Loads, runs and unloads a plug-in; false if it cannot be used. */
static bool use(const char *file, kvreg_registry *registry, kvreg_inbox *inbox) {
    KVREG_OWNED(bucket) *bucket = NULL;
    const plugin *(*get)(void);
    uint64_t reference;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return false;
    }
    *(void **)&get = dlsym(library, "plugin_get");
    const plugin *it = get != NULL ? get() : NULL;
    if (it == NULL || it->version != PLUGIN_VERSION) {
        fprintf(stderr, "host: %s: not a plug-in of version %d\n", file, PLUGIN_VERSION);
        dlclose(library);
        return false;
    }
    kvreg_status named = kvreg_registry_create(registry, it->name, KVREG_NUL, 0, &bucket);
    if (named != KVREG_OK) { /* the name is the plug-in's: no reason for the host to end */
        fprintf(stderr, "host: %s: its name: %s\n", file, kvreg_status_message(named));
        dlclose(library);
        return false;
    }
    KVREG_MUST(kvreg_inbox_monitor(inbox, bucket, &reference));
    printf("%s: %s\n", it->name, kvreg_status_name(it->run()));
    report(inbox);
    /* Told once: where it lives on, the next run monitors it again. */
    KVREG_MUST(kvreg_inbox_demonitor(inbox, reference, KVREG_DEMONITOR_FLUSH));
    dlclose(library);
    return true;
}

int main(int argc, char **argv) {
    KVREG_OWNED(registry) *registry = NULL;
    KVREG_OWNED(bucket) *counts = NULL;
    KVREG_OWNED(inbox) *inbox = NULL;
    kvreg_registry_options options = kvreg_registry_options_init();
    bool well = argc > 1;
    int64_t runs;
    options.name = PLUGIN_REGISTRY;
    options.name_len = KVREG_NUL;
    KVREG_MUST(kvreg_registry_start(&options, &registry));
    KVREG_MUST(kvreg_inbox_open(&inbox));
    if (argc < 2) fprintf(stderr, "host: which plug-ins?\n");
    for (int i = 1; i < argc; i++) well = use(argv[i], registry, inbox) && well;

    /* What a plug-in left is there when the plug-in is not; it may be anything. */
    if (kvreg_registry_lookup(registry, "counts", KVREG_NUL, &counts) == KVREG_OK &&
        kvreg_bucket_get_int(counts, "runs", KVREG_NUL, &runs) == KVREG_OK)
        printf("counted: %lld\n", (long long)runs);
    KVREG_MUST(kvreg_registry_stop(registry));
    if (fflush(stdout) != 0) {
        perror("host: writing");
        return EXIT_FAILURE;
    }
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
