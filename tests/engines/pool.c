/* See pool.h. One lock guards all; what is told is told without it. */
#define _GNU_SOURCE
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

typedef struct entry {
    char *key;
    size_t key_len;
    kvreg_value value;
    char *text;
    uint64_t revision;
    int64_t expires_ms;
} entry;

/* A change, for watches. Of all that ever was: tests are short. */
typedef struct change {
    uint32_t type;
    entry entry;
} change;

typedef struct pool {
    char name[300];
    entry *entries;
    size_t count;
    change *log;
    size_t logged;
    uint64_t revision;
    int generation; /* of resets */
    bool is_gone;
    struct pool *next;
} pool;

typedef struct send {
    entry entry; /* the change */
    uint32_t kind;
    uint64_t expected;
    int64_t deadline;
    void *sent;
    struct send *next;
} send;

typedef struct store {
    pool *pool;
    const kvreg_engine_host *host;
    void *listener;
    bool is_interrupted, is_closing, was_away, was_told;
    send *first, **last;
    pthread_t thread; /* does what was sent, and tells of the reach */
    struct store *next;
} store;

typedef struct watch {
    store *store;
    void *watcher;
    bool is_over;
    pthread_t thread;
} watch;

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pool *pools;
static store *stores;
static bool is_away, watches_held, sends_held;
static int lost, refused, waiting, waited;
static kvreg_status refusal;
static uint64_t abilities = KVREG_ENGINE_BATCHES | KVREG_ENGINE_TTL;

static void make_moved(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&moved, &attributes);
}

static void take(void) {
    pthread_once(&once, make_moved);
    pthread_mutex_lock(&guard);
}

static void give(void) {
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&guard);
}

static int64_t wall_clock(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
}

/* Waits with the lock for anything to happen; false once the deadline is over. */
static bool wait_until(const kvreg_engine_host *host, int64_t deadline) {
    if (deadline == INT64_MAX) {
        pthread_cond_wait(&moved, &guard);
        return true;
    }
    int64_t left = deadline - host->clock_ns();
    if (left <= 0) return false;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += left / 1000000000;
    until.tv_nsec += left % 1000000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&moved, &guard, &until);
    return true;
}

static bool is_text(const kvreg_value *value) {
    return value->type == KVREG_STRING || value->type == KVREG_BYTES;
}

static entry copy_entry(const kvreg_text *key, const kvreg_value *value, int64_t expires_ms) {
    entry made = {.key = malloc(key->len + 1), .key_len = key->len, .value = *value,
                  .expires_ms = expires_ms};
    memcpy(made.key, key->data, key->len);
    if (is_text(value)) {
        made.text = malloc(value->as.text.len + 1);
        memcpy(made.text, value->as.text.data, value->as.text.len);
        made.value.as.text.data = (const uint8_t *)made.text;
    }
    return made;
}

static entry copy_of(const entry *one) {
    kvreg_text key = {one->key, one->key_len};
    entry made = copy_entry(&key, &one->value, one->expires_ms);
    made.revision = one->revision;
    return made;
}

static void drop_entry(entry *one) {
    free(one->key);
    free(one->text);
}

static void note(pool *of, uint32_t type, const entry *one) {
    of->log = realloc(of->log, (of->logged + 1) * sizeof *of->log);
    of->log[of->logged++] = (change){type, copy_of(one)};
}

static entry *find(pool *of, const char *key, size_t len) {
    for (size_t i = 0; i < of->count; i++) {
        entry *one = &of->entries[i];
        bool is_over = one->expires_ms != -1 && one->expires_ms <= wall_clock();
        if (one->key_len == len && memcmp(one->key, key, len) == 0) return is_over ? NULL : one;
    }
    return NULL;
}

static void remove_key(pool *of, const char *key, size_t len) {
    for (size_t i = 0; i < of->count; i++) {
        entry *one = &of->entries[i];
        if (one->key_len != len || memcmp(one->key, key, len) != 0) continue;
        drop_entry(one);
        *one = of->entries[--of->count];
        return;
    }
}

/* Makes one change, whose entry is given away. */
static void make(pool *of, uint32_t kind, entry one) {
    one.revision = ++of->revision;
    remove_key(of, one.key, one.key_len);
    note(of, kind == KVREG_ENGINE_PUT ? KVREG_ENGINE_TOLD_PUT : KVREG_ENGINE_TOLD_DELETE, &one);
    if (kind != KVREG_ENGINE_PUT) {
        drop_entry(&one);
        return;
    }
    of->entries = realloc(of->entries, (of->count + 1) * sizeof *of->entries);
    of->entries[of->count++] = one;
}

static bool holds(pool *of, const char *key, size_t len, uint64_t expected) {
    entry *one = find(of, key, len);
    return expected == KVREG_ENGINE_ANY || (one == NULL ? 0 : one->revision) == expected;
}

/* Waits until the store is in reach; else the answer is not KVREG_OK. */
static kvreg_status reach(store *of, int64_t deadline) {
    kvreg_status status = KVREG_OK;
    waiting++;
    pthread_cond_broadcast(&moved);
    bool has_waited = false;
    while (status == KVREG_OK && is_away && !of->pool->is_gone) {
        if (!has_waited) waited++;
        has_waited = true;
        if (of->is_interrupted || !wait_until(of->host, deadline)) status = KVREG_TIMEOUT;
    }
    if (status == KVREG_OK && deadline != INT64_MAX && of->host->clock_ns() >= deadline)
        status = KVREG_TIMEOUT;
    if (status == KVREG_OK && of->pool->is_gone) status = KVREG_IO;
    waiting--;
    return status;
}

/* Whether there was anything to tell: then the lock was given up meanwhile. */
static bool tell_reach(store *of) {
    kvreg_engine_event event = {.size = sizeof event};
    bool is_gone = of->pool->is_gone && !of->was_told;
    if (of->was_away == is_away && !is_gone) return false;
    event.type = is_gone   ? KVREG_ENGINE_TOLD_DELETED
                 : is_away ? KVREG_ENGINE_TOLD_AWAY
                           : KVREG_ENGINE_TOLD_UP;
    of->was_told |= is_gone;
    of->was_away = is_gone ? of->was_away : is_away;
    pthread_mutex_unlock(&guard);
    of->host->tell(of->listener, &event);
    take();
    return true;
}

/* Does the first of what was sent. */
static void do_sent(store *of) {
    send *one = of->first;
    kvreg_status status = KVREG_OK;
    uint64_t revision = 0;
    of->first = one->next;
    if (of->first == NULL) of->last = &of->first;
    if (refused > 0) {
        refused--;
        status = refusal;
    } else if (!holds(of->pool, one->entry.key, one->entry.key_len, one->expected)) {
        status = KVREG_CONFLICT;
    } else {
        make(of->pool, one->kind, copy_of(&one->entry));
        revision = of->pool->revision;
    }
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&guard);
    of->host->done(one->sent, status, revision);
    drop_entry(&one->entry);
    free(one);
    take();
}

static void refuse_late(store *of) {
    while (of->first != NULL && of->host->clock_ns() >= of->first->deadline) {
        send *one = of->first;
        of->first = one->next;
        if (of->first == NULL) of->last = &of->first;
        pthread_mutex_unlock(&guard);
        of->host->done(one->sent, KVREG_TIMEOUT, 0);
        drop_entry(&one->entry);
        free(one);
        take();
    }
}

static void *serve(void *place) {
    store *of = place;
    take();
    while (!of->is_closing || of->first != NULL) {
        if (tell_reach(of)) continue;
        refuse_late(of);
        if (of->first != NULL && !is_away && !sends_held)
            do_sent(of);
        else if (!of->is_closing || of->first != NULL)
            wait_until(of->host, of->first != NULL ? of->first->deadline : INT64_MAX);
    }
    pthread_mutex_unlock(&guard);
    return NULL;
}

static pool *pool_of(const kvreg_engine_open *given, bool make_it) {
    char name[300];
    if (given->bucket.len + given->url.len + 2 > sizeof name) return NULL;
    memcpy(name, given->bucket.data, given->bucket.len);
    name[given->bucket.len] = '\n';
    memcpy(name + given->bucket.len + 1, given->url.data, given->url.len);
    name[given->bucket.len + 1 + given->url.len] = '\0';
    for (pool *one = pools; one != NULL; one = one->next)
        if (!one->is_gone && strcmp(one->name, name) == 0) return one;
    if (!make_it) return NULL;
    pool *made = calloc(1, sizeof *made);
    strcpy(made->name, name);
    made->next = pools;
    return pools = made;
}

static kvreg_status open_store(const kvreg_engine_open *given, int64_t deadline, void **out) {
    if (given->url.len <= strlen("pool:")) {
        given->host->explain("a pool has a name", 17, 0);
        return KVREG_INVALID_ARGUMENT;
    }
    take();
    while (is_away)
        if (!wait_until(given->host, deadline)) {
            give();
            return KVREG_IO;
        }
    store *made = calloc(1, sizeof *made);
    *made = (store){.pool = pool_of(given, true), .host = given->host, .listener = given->listener};
    made->last = &made->first;
    made->next = stores;
    stores = made;
    give();
    pthread_create(&made->thread, NULL, serve, made);
    *out = made;
    return KVREG_OK;
}

static void close_store(void *place) {
    store *of = place;
    take();
    of->is_closing = true;
    give();
    pthread_join(of->thread, NULL);
    take();
    store **at = &stores;
    while (*at != of) at = &(*at)->next;
    *at = of->next;
    give();
    free(of);
}

static kvreg_status write_store(void *place, const kvreg_engine_write *writes, size_t count,
                                int64_t deadline, uint64_t *revision) {
    store *of = place;
    take();
    kvreg_status status = reach(of, deadline);
    if (status == KVREG_OK && count > 1 && (abilities & KVREG_ENGINE_BATCHES) == 0)
        status = KVREG_UNSUPPORTED;
    for (size_t i = 0; status == KVREG_OK && i < count; i++) {
        if (!holds(of->pool, writes[i].key.data, writes[i].key.len, writes[i].expected))
            status = KVREG_CONFLICT;
        else if (writes[i].expires_ms != -1 && (abilities & KVREG_ENGINE_TTL) == 0)
            status = KVREG_UNSUPPORTED;
    }
    if (status == KVREG_OK && refused > 0) refused--, status = refusal;
    if (status == KVREG_OK) {
        *revision = of->pool->revision + 1;
        for (size_t i = 0; i < count; i++)
            make(of->pool, writes[i].kind,
                 copy_entry(&writes[i].key, &writes[i].value, writes[i].expires_ms));
        if (lost > 0) {
            lost--;
            waited++;
            while (!of->is_interrupted && wait_until(of->host, deadline)) continue;
            status = KVREG_OUTCOME_UNKNOWN;
        }
    }
    give();
    return status;
}

static kvreg_engine_entry told_of(const entry *one) {
    kvreg_engine_entry told = {.size = sizeof told, .key = {one->key, one->key_len},
                               .value = one->value, .revision = one->revision,
                               .expires_ms = one->expires_ms};
    return told;
}

static kvreg_status get_key(void *place, const kvreg_text *key, int64_t deadline, void *out) {
    store *of = place;
    take();
    kvreg_status status = reach(of, deadline);
    entry *one = status == KVREG_OK ? find(of->pool, key->data, key->len) : NULL;
    entry copy = {0};
    if (one != NULL) copy = copy_of(one);
    give();
    if (status != KVREG_OK || one == NULL) return status != KVREG_OK ? status : KVREG_NOT_FOUND;
    kvreg_engine_entry told = told_of(&copy);
    status = of->host->found(out, &told);
    drop_entry(&copy);
    return status;
}

static entry *copy_all(pool *of, size_t *count) {
    entry *all = calloc(of->count + 1, sizeof *all);
    *count = 0;
    for (size_t i = 0; i < of->count; i++) {
        const entry *one = &of->entries[i];
        if (one->expires_ms != -1 && one->expires_ms <= wall_clock()) continue;
        all[(*count)++] = copy_of(one);
    }
    return all;
}

static kvreg_status scan_store(void *place, const kvreg_scan_options *which, int64_t deadline,
                               void *out) {
    store *of = place;
    size_t count = 0;
    (void)which; /* all do no harm */
    take();
    kvreg_status status = reach(of, deadline);
    entry *all = copy_all(of->pool, &count);
    give();
    for (size_t i = 0; i < count; i++) {
        kvreg_engine_entry told = told_of(&all[i]);
        if (status == KVREG_OK) status = of->host->found(out, &told);
        drop_entry(&all[i]);
    }
    free(all);
    return status;
}

static kvreg_status count_store(void *place, int64_t deadline, uint64_t *count,
                                uint64_t *revision) {
    store *of = place;
    size_t keys = 0;
    take();
    kvreg_status status = reach(of, deadline);
    entry *all = copy_all(of->pool, &keys);
    for (size_t i = 0; i < keys; i++) drop_entry(&all[i]);
    free(all);
    *count = keys;
    *revision = of->pool->revision;
    give();
    return status;
}

static kvreg_status send_store(void *place, const kvreg_engine_write *writes, size_t count,
                               int64_t deadline, void *sent) {
    store *of = place;
    if (count != 1) return KVREG_UNSUPPORTED;
    send *one = calloc(1, sizeof *one);
    *one = (send){copy_entry(&writes->key, &writes->value, writes->expires_ms), writes->kind,
                  writes->expected, deadline, sent, NULL};
    take();
    *of->last = one;
    of->last = &one->next;
    give();
    return KVREG_OK;
}

static void tell(watch *of, uint32_t type, const entry *one, uint64_t revision) {
    kvreg_engine_event event = {.size = sizeof event, .type = type, .revision = revision};
    if (one != NULL) {
        event.key = (kvreg_text){one->key, one->key_len};
        if (type == KVREG_ENGINE_TOLD_PUT) event.value = one->value;
        event.expires_ms = one->expires_ms;
    }
    of->store->host->tell(of->watcher, &event);
}

static void *follow(void *place) {
    watch *of = place;
    pool *in = of->store->pool;
    int generation = -1;
    size_t at = 0;
    take();
    while (!of->is_over) {
        if (watches_held || is_away || in->is_gone ||
            (generation == in->generation && at == in->logged)) {
            pthread_cond_wait(&moved, &guard);
        } else if (generation != in->generation) {
            size_t count = 0;
            entry *all = copy_all(in, &count);
            uint64_t revision = in->revision;
            generation = in->generation;
            at = in->logged;
            pthread_mutex_unlock(&guard);
            tell(of, KVREG_ENGINE_TOLD_RESET, NULL, 0);
            for (size_t i = 0; i < count; i++) {
                tell(of, KVREG_ENGINE_TOLD_PUT, &all[i], all[i].revision);
                drop_entry(&all[i]);
            }
            tell(of, KVREG_ENGINE_TOLD_CURRENT, NULL, revision);
            free(all);
            take();
        } else {
            change one = {in->log[at].type, copy_of(&in->log[at].entry)};
            at++;
            pthread_mutex_unlock(&guard);
            tell(of, one.type, &one.entry, one.entry.revision);
            drop_entry(&one.entry);
            take();
        }
    }
    pthread_mutex_unlock(&guard);
    return NULL;
}

static kvreg_status begin_watch(void *place, void *watcher, void **out) {
    watch *made = calloc(1, sizeof *made);
    *made = (watch){.store = place, .watcher = watcher};
    *out = made;
    return pthread_create(&made->thread, NULL, follow, made) == 0 ? KVREG_OK : KVREG_NO_MEMORY;
}

static void end_watch(void *place) {
    watch *of = place;
    take();
    of->is_over = true;
    give();
    pthread_join(of->thread, NULL);
    free(of);
}

static void interrupt_store(void *place) {
    take();
    ((store *)place)->is_interrupted = true;
    give();
}

static uint64_t abilities_of(void *place) {
    (void)place;
    take();
    uint64_t told = abilities;
    give();
    return told;
}

static void clear_pool(pool *of) {
    for (size_t i = 0; i < of->count; i++) drop_entry(&of->entries[i]);
    of->count = 0;
}

static kvreg_status destroy_store(const kvreg_engine_open *given, int64_t deadline) {
    (void)deadline;
    take();
    pool *of = pool_of(given, false);
    if (of != NULL) clear_pool(of), of->is_gone = true;
    give();
    return of != NULL ? KVREG_OK : KVREG_NOT_FOUND;
}

static const kvreg_engine engine = {
    .size = sizeof engine,
    .abi = KVREG_ENGINE_ABI,
    .abilities = KVREG_ENGINE_SHARED | KVREG_ENGINE_BATCHES | KVREG_ENGINE_TTL,
    .open = open_store,
    .close = close_store,
    .write = write_store,
    .scan = scan_store,
    .destroy = destroy_store,
    .get = get_key,
    .count = count_store,
    .send = send_store,
    .watch = begin_watch,
    .unwatch = end_watch,
    .interrupt = interrupt_store,
    .abilities_of = abilities_of,
};

POOL_API kvreg_status kvreg_engine_init(uint32_t abi, kvreg_engine_add_fn *add) {
    return abi == KVREG_ENGINE_ABI ? add("pool", KVREG_NUL, &engine) : KVREG_UNSUPPORTED;
}

void pool_set_away(bool away) {
    take();
    is_away = away;
    give();
}

void pool_lose_answers(int changes) {
    take();
    lost = changes;
    give();
}

void pool_refuse(int changes, kvreg_status status) {
    take();
    refused = changes;
    refusal = status;
    give();
}

void pool_hold_watches(bool is_held) {
    take();
    watches_held = is_held;
    give();
}

void pool_hold_sends(bool is_held) {
    take();
    sends_held = is_held;
    give();
}

void pool_set_abilities(uint64_t given) {
    take();
    abilities = given;
    give();
}

void pool_sweep(void) {
    int64_t now = wall_clock();
    take();
    for (pool *of = pools; of != NULL; of = of->next)
        for (size_t i = 0; i < of->count;) {
            entry *one = &of->entries[i];
            if (one->expires_ms == -1 || one->expires_ms > now) {
                i++;
                continue;
            }
            one->revision = ++of->revision;
            note(of, KVREG_ENGINE_TOLD_EXPIRE, one);
            remove_key(of, one->key, one->key_len);
        }
    give();
}

static bool is_bucket(const pool *of, const char *bucket) {
    size_t len = strlen(bucket);
    return !of->is_gone && strncmp(of->name, bucket, len) == 0 && of->name[len] == '\n';
}

void pool_erase(const char *bucket) {
    take();
    for (pool *of = pools; of != NULL; of = of->next)
        if (is_bucket(of, bucket)) clear_pool(of), of->is_gone = true;
    give();
}

void pool_make_anew(const char *bucket) {
    take();
    for (pool *of = pools; of != NULL; of = of->next)
        if (is_bucket(of, bucket)) clear_pool(of), of->revision = 0, of->generation++;
    give();
}

void pool_reset_watches(const char *bucket) {
    take();
    for (pool *of = pools; of != NULL; of = of->next)
        if (is_bucket(of, bucket)) of->generation++;
    give();
}

int pool_open_stores(void) {
    int count = 0;
    take();
    for (store *one = stores; one != NULL; one = one->next) count++;
    give();
    return count;
}

int pool_waiting(void) {
    take();
    int count = waiting;
    give();
    return count;
}

void pool_await_waiting(int calls) {
    take();
    while (waited < calls) pthread_cond_wait(&moved, &guard);
    waited -= calls;
    give();
}
