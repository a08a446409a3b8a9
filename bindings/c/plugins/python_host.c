/*
 * A host with a plug-in that is written in Python and lives in the same process.
 *
 *     cc python_host.c $(pkg-config --cflags --libs kvreg) -ldl -pthread -o python_host
 *     PYTHONPATH=. ./python_host "$(python3 libpython.py)" shop
 *
 * The host loads the interpreter by dlopen, so it is built without Python. The plug-in is a module.
 * It starts a server in the host's registry, which all threads of the host call by its name.
 *
 * Who has the interpreter's lock: the host, until the plug-in is imported. Then it gives the lock
 * up for good. A thread of Python serves the plug-in's servers and takes the lock when it has to;
 * who calls a server needs no lock, and should have none: it would wait for that thread.
 */
#define _POSIX_C_SOURCE 200809L

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "kvreg_macros.h"
#include "plugin.h"

/* What is used of Python; it is in each version from 3.6 on. */
static struct python {
    void (*initialize)(int with_signals);
    void *(*import)(const char *module);
    void (*print_error)(void);
    void *(*give_up_lock)(void);
    void (*take_lock)(void *state);
    int (*finalize)(void);
} python;

static bool load_python(const char *file) {
    const struct {
        const char *name;
        void *place;
    } functions[] = {
        {"Py_InitializeEx", &python.initialize},   {"PyImport_ImportModule", &python.import},
        {"PyErr_Print", &python.print_error},      {"PyEval_SaveThread", &python.give_up_lock},
        {"PyEval_RestoreThread", &python.take_lock}, {"Py_FinalizeEx", &python.finalize},
    };
    /* Global, for the modules of Python that are libraries look for it there. */
    void *library = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
    for (size_t i = 0; library != NULL && i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        memcpy(functions[i].place, &function, sizeof function);
        if (function == NULL) library = NULL;
    }
    if (library == NULL) fprintf(stderr, "python_host: %s\n", dlerror());
    return library != NULL;
}

/* Runs the module, which starts its servers. */
static bool import(const char *module) {
    if (python.import(module) != NULL) return true; /* it is kept */
    python.print_error();
    fprintf(stderr, "python_host: cannot use the plug-in %s\n", module);
    return false;
}

/* What the host does with the server of the plug-in. */

enum { THREADS = 4, CALLS = 100 };

static kvreg_registry *registry;

static kvreg_status ask(const char *tag, const char *what, int64_t count, int64_t *number) {
    kvreg_value values[] = {kvreg_string(what, KVREG_NUL), kvreg_int(count)};
    KVREG_OWNED(value) answer = kvreg_nil();
    KVREG_TRY(kvreg_registry_call(registry, "shop", KVREG_NUL, tag, KVREG_NUL, values, 2, &answer));
    *number = answer.as.integer;
    return answer.type == KVREG_INT ? KVREG_OK : KVREG_WRONG_TYPE;
}

static void *buy(void *argument) {
    int64_t *paid = argument, price;
    for (int i = 0; i < CALLS; i++) {
        KVREG_MUST(ask("buy", "milk", 1, &price));
        *paid += price;
    }
    return NULL;
}

static void buy_from_all_threads(void) {
    pthread_t threads[THREADS];
    int64_t paid[THREADS] = {0}, sum = 0, sold;
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, buy, &paid[i]) != 0) {
            perror("python_host");
            exit(EXIT_FAILURE);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += paid[i];
    }
    KVREG_MUST(ask("sold", "milk", 0, &sold));
    printf("%d threads paid %lld for %lld bottles\n", THREADS, (long long)sum, (long long)sold);
}

/* The plug-in refuses, and lives. */
static void buy_nothing(void) {
    char text[256];
    int64_t price;
    kvreg_status status = ask("buy", "milk", 0, &price);
    kvreg_last_error(text, sizeof text);
    printf("%s: %s\n", kvreg_status_name(status), text);
}

/* The plug-in crashes, is heard of, and is there again: with the number of its restarts. */
static void buy_what_is_not_there(void) {
    KVREG_OWNED(server) *shop = NULL, *again = NULL;
    KVREG_OWNED(inbox) *inbox = NULL;
    KVREG_OWNED(event) down = {0};
    kvreg_server_stats stats = kvreg_server_stats_init();
    uint64_t monitor;
    int64_t price, sold;
    KVREG_MUST(kvreg_inbox_open(&inbox));
    KVREG_MUST(kvreg_registry_lookup_server(registry, "shop", KVREG_NUL, &shop));
    KVREG_MUST(kvreg_inbox_monitor_server(inbox, shop, &monitor));
    printf("%s\n", kvreg_status_name(ask("buy", "unicorns", 2, &price)));
    KVREG_MUST(kvreg_inbox_receive(inbox, 5000, &down));
    /* The detail is the traceback, whose last line says what it was. */
    const char *line = down.detail.data;
    for (const char *at = line; (at = strchr(at, '\n')) != NULL && *++at != '\0';) line = at;
    printf("%s is down: %.*s\n", down.name.data, (int)strcspn(line, "\n"), line);
    KVREG_MUST(ask("sold", "unicorns", 0, &sold));
    KVREG_MUST(kvreg_registry_lookup_server(registry, "shop", KVREG_NUL, &again));
    KVREG_MUST(kvreg_server_info(again, &stats));
    printf("a new one has sold %lld; restarts: %d\n", (long long)sold, (int)stats.restarts);
}

int main(int argc, char **argv) {
    kvreg_registry_options options = kvreg_registry_options_init();
    if (argc != 3) {
        fputs("usage: python_host LIBPYTHON MODULE\n", stderr);
        return 2;
    }
    options.name = PLUGIN_REGISTRY;
    options.name_len = KVREG_NUL;
    KVREG_MUST(kvreg_registry_start(&options, &registry));
    /* Python shares the host's copy of kvreg, unless it is told of another one. */
    unsetenv("KVREG_LIBRARY");
    if (!load_python(argv[1])) return EXIT_FAILURE;
    python.initialize(0); /* without Python's handler of SIGINT */
    bool is_well = import(argv[2]);
    void *state = python.give_up_lock();
    if (is_well) {
        buy_from_all_threads();
        buy_nothing();
        buy_what_is_not_there();
    }
    /* The servers of the plug-in end while Python can still serve them; then Python ends. */
    KVREG_MUST(kvreg_registry_stop(registry));
    KVREG_MUST(kvreg_registry_free(registry));
    python.take_lock(state);
    is_well = python.finalize() == 0 && is_well;
    if (fflush(stdout) != 0) {
        perror("python_host: writing");
        return EXIT_FAILURE;
    }
    return is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
