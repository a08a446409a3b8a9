/*
 * An engine for tests: slow:BEGUN,GO does each thing when it is told to, and keeps nothing.
 *
 * BEGUN and GO are descriptors of pipes. It writes a letter to the one for what it begins with: o
 * open, w write, c close, d destroy. Then it reads a byte from the other: ! lets it fail, anything
 * else lets it go on. A test that tells nothing for so long fails by that.
 */
#include <kvreg_engine.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000 };

typedef struct slow_store {
    int begun, go;
    const kvreg_engine_host *host;
} slow_store;

static kvreg_status step(const slow_store *store, char letter) {
    static const char text[] = "the test says so";
    struct pollfd told = {.fd = store->go, .events = POLLIN};
    char answer = '!';
    if (write(store->begun, &letter, 1) == 1 && poll(&told, 1, PATIENCE_MS) == 1 &&
        read(store->go, &answer, 1) == 1 && answer != '!')
        return KVREG_OK;
    store->host->explain(text, sizeof text - 1, 0);
    return KVREG_IO;
}

static bool read_url(const kvreg_engine_open *given, slow_store *store) {
    char url[64];
    snprintf(url, sizeof url, "%.*s", (int)given->url.len, given->url.data);
    store->host = given->host;
    return sscanf(url, "slow:%d,%d", &store->begun, &store->go) == 2;
}

static kvreg_status open_store(const kvreg_engine_open *given, int64_t deadline, void **out) {
    slow_store *store = malloc(sizeof *store);
    (void)deadline;
    if (store == NULL) return KVREG_NO_MEMORY;
    kvreg_status status = read_url(given, store) ? step(store, 'o') : KVREG_INVALID_ARGUMENT;
    if (status == KVREG_OK)
        *out = store;
    else
        free(store);
    return status;
}

static void close_store(void *store) {
    step(store, 'c');
    free(store);
}

static kvreg_status write_store(void *store, const kvreg_engine_write *writes, size_t count,
                                int64_t deadline, uint64_t *revision) {
    (void)writes;
    (void)count;
    (void)deadline;
    (void)revision;
    return step(store, 'w');
}

static kvreg_status scan_store(void *store, const kvreg_scan_options *which, int64_t deadline,
                               void *out) {
    (void)store;
    (void)which;
    (void)deadline;
    (void)out;
    return KVREG_OK;
}

static kvreg_status destroy_store(const kvreg_engine_open *given, int64_t deadline) {
    slow_store store;
    (void)deadline;
    return read_url(given, &store) ? step(&store, 'd') : KVREG_INVALID_ARGUMENT;
}

static const kvreg_engine engine = {
    .size = sizeof engine,
    .abi = KVREG_ENGINE_ABI,
    .abilities = KVREG_ENGINE_EXCLUSIVE,
    .open = open_store,
    .close = close_store,
    .write = write_store,
    .scan = scan_store,
    .destroy = destroy_store,
};

__attribute__((visibility("default"))) kvreg_status kvreg_engine_init(uint32_t abi,
                                                                      kvreg_engine_add_fn *add) {
    return abi == KVREG_ENGINE_ABI ? add("slow", KVREG_NUL, &engine) : KVREG_UNSUPPORTED;
}
