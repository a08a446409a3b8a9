/*
 * Every misuse is a status (G9). Two threads share a pool of handles of all kinds and call
 * random functions with random handles (live, freed, of another kind, made up) and random
 * arguments, many of them wrong, while frees race the calls. Callbacks do the same. Nothing
 * here is a bad pointer or a length beyond its object: that alone is the caller's own fault.
 *
 * Every answer must be a status that can be meant, outputs must be clean after a failure, and
 * when all is freed nothing may be left.
 *
 * Usage: misuse [CALLS] [SEED]
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"

enum kind { REGISTRY, BUCKET, UPDATE, ITEMS, INBOX, KINDS };
enum { THREADS = 2, SLOTS = 12, UPDATES = 3, STASH = 4, STATUSES = KVREG_TOO_SMALL + 1 };
enum { BIG = 70000 };

/* All functions but kvreg_shutdown, which the end of the program calls. */
#define FUNCTIONS(F) \
    F(version_string) F(version_number) F(status_name) F(status_message) F(last_error) \
    F(live_counts) F(value_clear) F(value_copy_text) F(event_clear) \
    F(registry_start) F(registry_clone) F(registry_set_timeout) F(registry_create) \
    F(registry_create_cast) F(registry_lookup) F(registry_count) F(registry_names) \
    F(registry_send) F(registry_execute) F(registry_stop) F(registry_free) \
    F(bucket_start) F(bucket_clone) F(bucket_put) F(bucket_get) F(bucket_delete) \
    F(bucket_put_int) F(bucket_put_float) F(bucket_put_string) F(bucket_put_bytes) \
    F(bucket_get_int) F(bucket_get_float) F(bucket_get_bytes) F(bucket_put_cast) \
    F(bucket_delete_cast) F(bucket_put_many) F(bucket_get_many) F(bucket_count) \
    F(bucket_clear) F(bucket_items) F(bucket_name) F(bucket_set_timeout) F(bucket_stop) \
    F(bucket_exit) F(bucket_free) F(bucket_update) F(bucket_update_cast) \
    F(bucket_update_begin) F(update_end) F(update_free) F(items_next) F(items_free) \
    F(inbox_open) F(inbox_monitor) F(inbox_monitor_registry) F(inbox_demonitor) \
    F(inbox_subscribe_logs) F(inbox_receive) F(inbox_fd) F(inbox_free)

#define AS_ENUM(name) DO_##name,
#define AS_TEXT(name) "kvreg_" #name,
enum function { FUNCTIONS(AS_ENUM) COUNT };
static const char *const function_names[COUNT] = {FUNCTIONS(AS_TEXT)};

static unsigned long calls = 10000000;
static uint64_t seed;

/* Handles as numbers, by kind. A slot keeps its handle after it was freed, to be misused. */
static _Atomic uintptr_t pool[KINDS][SLOTS];

static atomic_ulong answers[STATUSES];
static atomic_bool answered_ok[COUNT];
static atomic_bool ending;                /* callbacks do no more */
static atomic_ulong casts_sent, casts_destroyed;
static _Atomic uint64_t some_reference;

static char big[BIG + 1]; /* of 'x' */

/* Whose steps these are: a thread's, or those of a callback on one of the library's. */
struct actor {
    uint64_t random;
    int depth;
    int made_up;   /* handles of the current call that cannot be live */
    int strangers; /* handles of the current call that are, or were, of another kind */
    struct {
        kvreg_value value;
        uint64_t sum;
    } stash[STASH]; /* values kept for a while */
};

static void step(struct actor *me);

static uint64_t next_random(struct actor *me) {
    uint64_t mixed = me->random += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

static unsigned below(struct actor *me, unsigned limit) {
    return (unsigned)((next_random(me) >> 32) * limit >> 32);
}

static bool once_in(struct actor *me, unsigned times) { return below(me, times) == 0; }

/* ---- What is answered ---- */

static void fail_with(enum function function, kvreg_status status, const char *what) {
    char text[128];
    snprintf(text, sizeof text, "%s: %d %s: %s", function_names[function], (int)status,
             kvreg_status_name(status), what);
    check_fail(__FILE__, __LINE__, text);
}

/* Takes note of an answer, which must be one that can be. */
static kvreg_status answer(struct actor *me, enum function function, kvreg_status status) {
    if (status < KVREG_OK || status > KVREG_TOO_SMALL)
        fail_with(function, status, "not a status");
    if (status == KVREG_INTERNAL || status == KVREG_FORKED || status == KVREG_SHUT_DOWN)
        fail_with(function, status, "cannot be meant");
    if (me->made_up > 0 && status != KVREG_BAD_HANDLE)
        fail_with(function, status, "for a handle that was made up");
    if (me->strangers > 0 && status != KVREG_BAD_HANDLE && status != KVREG_WRONG_KIND)
        fail_with(function, status, "for a handle of another kind");
    me->made_up = me->strangers = 0;
    atomic_fetch_add_explicit(&answers[status], 1, memory_order_relaxed);
    if (status == KVREG_OK &&
        !atomic_load_explicit(&answered_ok[function], memory_order_relaxed))
        atomic_store_explicit(&answered_ok[function], true, memory_order_relaxed);
    return status;
}

/* For functions that answer no status. */
static void was_called(struct actor *me, enum function function) {
    answer(me, function, KVREG_OK);
}

/* ---- Handles ---- */

static kvreg_status free_handle(enum kind kind, void *handle) {
    switch (kind) {
    case REGISTRY:
        return kvreg_registry_free(handle);
    case BUCKET:
        return kvreg_bucket_free(handle);
    case UPDATE:
        return kvreg_update_free(handle);
    case ITEMS:
        return kvreg_items_free(handle);
    default:
        return kvreg_inbox_free(handle);
    }
}

/* For what is freed beside the step's own call. */
static void free_quietly(enum kind kind, void *handle) {
    kvreg_status status = free_handle(kind, handle);
    CHECK(status == KVREG_OK || status == KVREG_BAD_HANDLE);
}

/* Few updates at a time: each keeps a bucket busy. */
static unsigned slots_of(enum kind kind) { return kind == UPDATE ? UPDATES : SLOTS; }

static int64_t short_timeout(struct actor *me) {
    switch (below(me, 64)) {
    case 0:
        return 2;
    case 1: case 2: case 3:
        return 1;
    default:
        return 0;
    }
}

/* Puts a new handle into the pool, and frees the one that was there. */
static void keep(struct actor *me, enum kind kind, void *handle) {
    kvreg_status status = KVREG_OK;
    if (kind == REGISTRY)
        status = kvreg_registry_set_timeout(handle, short_timeout(me));
    else if (kind == BUCKET)
        status = kvreg_bucket_set_timeout(handle, short_timeout(me));
    CHECK(status == KVREG_OK || status == KVREG_BAD_HANDLE); /* guessed and freed: who knows */
    uintptr_t old = atomic_exchange_explicit(&pool[kind][below(me, slots_of(kind))],
                                             (uintptr_t)handle, memory_order_relaxed);
    free_quietly(kind, (void *)old);
}

static void *from_pool(struct actor *me, enum kind kind) {
    unsigned slot = below(me, slots_of(kind));
    return (void *)atomic_load_explicit(&pool[kind][slot], memory_order_relaxed);
}

/* Some handle for a parameter of this kind. */
static void *pick(struct actor *me, enum kind kind) {
    static int an_object;
    uintptr_t bits;
    void *handle;
    unsigned choice = below(me, 128);
    if (choice < 108) {
        handle = from_pool(me, kind);
        me->made_up += handle == NULL;
        return handle;
    }
    if (choice < 116) {
        enum kind other = (enum kind)((kind + 1 + below(me, KINDS - 1)) % KINDS);
        handle = from_pool(me, other);
        if (handle == NULL)
            me->made_up++;
        else
            me->strangers++;
        return handle;
    }
    if (choice < 118) /* one bit is wrong: this may happen to be another live handle */
        return (void *)((uintptr_t)from_pool(me, kind) ^ (uintptr_t)1 << below(me, 64));
    me->made_up++;
    switch (choice) {
    case 118: case 119: case 120:
        return NULL;
    case 121: case 122:
        bits = (uintptr_t)next_random(me);
        break;
    case 123:
        bits = below(me, 256);
        break;
    case 124:
        bits = (uintptr_t)me; /* of the stack, or of the heap in a callback */
        break;
    case 125:
        bits = (uintptr_t)&an_object;
        break;
    case 126:
        bits = (uintptr_t)big;
        break;
    default:
        bits = UINTPTR_MAX;
    }
    return (void *)bits;
}

/* ---- Arguments ---- */

struct bytes {
    const char *data;
    size_t len;
};

static struct bytes some_key(struct actor *me) {
    static const char letters[] = "abcd";
    switch (below(me, 24)) {
    case 0:
        return (struct bytes){NULL, 0};
    case 1:
        return (struct bytes){NULL, 1 + below(me, 9)};
    case 2:
        return (struct bytes){"", 0};
    case 3:
        return (struct bytes){"key", KVREG_NUL};
    case 4:
        return (struct bytes){"\0\xff", 2};
    case 5:
        return (struct bytes){big, once_in(me, 2) ? 65537 : BIG};
    case 6:
        return once_in(me, 64) ? (struct bytes){big, 65536} : (struct bytes){big, 300};
    case 7:
        return (struct bytes){NULL, KVREG_NUL};
    case 8:
        return (struct bytes){big, KVREG_NUL}; /* too long, seen only at its NUL */
    default:
        return (struct bytes){letters + below(me, 4), 1};
    }
}

static struct bytes some_name(struct actor *me) {
    static const char digits[] = "012345";
    switch (below(me, 24)) {
    case 0:
        return (struct bytes){NULL, 0};
    case 1:
        return (struct bytes){NULL, 4};
    case 2:
        return (struct bytes){"name", 0};
    case 3:
        return (struct bytes){big, 256};
    case 4:
        return (struct bytes){big, 255};
    case 5:
        return (struct bytes){"\xff\xfe", 2};
    case 6:
        return (struct bytes){"a\0b", 3};
    case 7:
        return (struct bytes){"name", KVREG_NUL};
    case 8:
        return (struct bytes){"\xc3\xbc", 1 + below(me, 2)}; /* sometimes cut in two */
    case 9:
        return (struct bytes){NULL, KVREG_NUL};
    default:
        return (struct bytes){digits + below(me, 6), 1};
    }
}

/* Text or bytes, for values, details and messages. */
static struct bytes some_text(struct actor *me) {
    switch (below(me, 16)) {
    case 0:
        return (struct bytes){NULL, 0};
    case 1:
        return (struct bytes){NULL, 1 + below(me, 9)};
    case 2:
        return (struct bytes){"\xf0\x28\x8c\x28", 4};
    case 3:
        return (struct bytes){"text", KVREG_NUL};
    case 4:
        return (struct bytes){big, once_in(me, 64) ? BIG : 600};
    case 5:
        return (struct bytes){"a\0b", 3};
    case 6:
        return (struct bytes){"\xed\xa0\x80", 3}; /* half a surrogate pair */
    case 7:
        return (struct bytes){big, 505 + below(me, 16)};
    default:
        return (struct bytes){big, below(me, 24)};
    }
}

static kvreg_value some_value(struct actor *me) {
    static const unsigned char two = 2;
    struct bytes text = some_text(me);
    kvreg_value value = kvreg_nil();
    switch (below(me, 12)) {
    case 0:
        break;
    case 1:
        value = kvreg_bool(once_in(me, 2));
        break;
    case 2:
        value = kvreg_bool(true);
        memcpy(&value.as, &two, 1); /* a bool that is none */
        break;
    case 3: case 4: case 5:
        value = kvreg_int((int64_t)next_random(me));
        break;
    case 6:
        value = kvreg_float((double)below(me, 1000) / 3);
        break;
    case 7: case 8:
        value = kvreg_string(text.data, text.len);
        break;
    case 9:
        value.type = KVREG_BYTES + 1 + below(me, 3);
        break;
    case 10:
        value.type = (uint32_t)next_random(me) | 8;
        value.reserved = (uint32_t)next_random(me);
        break;
    default:
        value = kvreg_bytes(text.data, text.len);
    }
    return value;
}

/* A number where few are known. */
static int32_t some_number(struct actor *me, unsigned known) {
    switch (below(me, 16)) {
    case 0:
        return -1;
    case 1:
        return (int32_t)known;
    case 2:
        return (int32_t)next_random(me) | 1 << 20;
    default:
        return (int32_t)below(me, known);
    }
}

static int64_t some_timeout(struct actor *me) {
    switch (below(me, 16)) {
    case 0:
        return -2;
    case 1:
        return INT64_MIN;
    default:
        return short_timeout(me);
    }
}

/* An output is NULL now and then. */
#define OUTPUT(pointer) (once_in(me, 48) ? NULL : (pointer))

/* ---- Outputs ---- */

static kvreg_value poisoned(void) {
    kvreg_value value;
    memset(&value, 0xa5, sizeof value);
    return value;
}

static uint64_t sum_of(const kvreg_value *value) {
    uint64_t sum = value->type;
    if (value->type == KVREG_STRING || value->type == KVREG_BYTES) {
        size_t len = value->as.text.len;
        const uint8_t *data = value->as.text.data;
        CHECK(len <= BIG + 6); /* a reply to GET has "\r\nOK\r\n" too */
        CHECK(data[len] == 0); /* the NUL that does not count */
        for (size_t i = 0; i < len; i += 1 + len / 64)
            sum = sum * 31 + data[i];
    } else {
        CHECK(value->type <= KVREG_FLOAT);
        sum = sum * 31 + (uint64_t)(value->type == KVREG_BOOL ? value->as.boolean
                                                               : value->as.integer);
    }
    return sum;
}

/* A value that was read, or would have been: it is looked at, kept for a while, cleared. */
static void read_value(struct actor *me, kvreg_status status, kvreg_value *value,
                       const kvreg_value *output) {
    if (output == NULL)
        return; /* it was not asked for */
    if (status != KVREG_OK) {
        CHECK(value->type == KVREG_NIL);
    } else if (once_in(me, 2)) {
        unsigned place = below(me, STASH);
        kvreg_value *old = &me->stash[place].value;
        CHECK(sum_of(old) == me->stash[place].sum); /* G13 */
        kvreg_value_clear(old);
        *old = *value; /* moved: the copy is cleared, this one is not */
        me->stash[place].sum = sum_of(old);
        return;
    } else {
        (void)sum_of(value);
    }
    kvreg_value_clear(value);
    CHECK(value->type == KVREG_NIL);
    if (once_in(me, 4))
        kvreg_value_clear(value); /* twice is fine */
}

static void clear_stash(struct actor *me) {
    for (int i = 0; i < STASH; i++) {
        CHECK(sum_of(&me->stash[i].value) == me->stash[i].sum);
        kvreg_value_clear(&me->stash[i].value);
    }
}

/* A call whose output, `*out`, is a handle. */
#define MAKE(function, kind, type, call) \
    do { \
        type *made = (type *)(uintptr_t)0xdead; \
        type **out = OUTPUT(&made); \
        kvreg_status made_status = answer(me, function, call); \
        if (out == NULL) \
            made = NULL; \
        if (made_status != KVREG_OK) \
            CHECK(made == NULL); \
        if (made != NULL) \
            keep(me, kind, made); \
    } while (0)

/* A call whose output, `out`, is a value. */
#define READ(function, call) \
    do { \
        kvreg_value read = poisoned(); \
        kvreg_value *out = OUTPUT(&read); \
        kvreg_status read_status = answer(me, function, call); \
        read_value(me, read_status, &read, out); \
    } while (0)

/* NULL may be freed, so it is not as bad as other made up handles. */
static void *pick_to_free(struct actor *me, enum kind kind) {
    void *handle = pick(me, kind);
    if (handle == NULL)
        me->made_up = 0;
    return handle;
}

/* ---- Callbacks ---- */

static kvreg_verdict decide(struct actor *me, const kvreg_value *current, kvreg_value *next) {
    CHECK(next != NULL && next->type == KVREG_NIL);
    if (current != NULL)
        (void)sum_of(current);
    if (me->depth < 2 && !atomic_load_explicit(&ending, memory_order_relaxed)) {
        /* What the current call had picked is not what the calls in here pick. */
        int made_up = me->made_up;
        int strangers = me->strangers;
        me->made_up = me->strangers = 0;
        me->depth++;
        for (unsigned i = below(me, 3); i > 0; i--)
            step(me);
        me->depth--;
        me->made_up = made_up;
        me->strangers = strangers;
    }
    struct bytes text = some_text(me);
    switch (below(me, 4)) {
    case 0:
        *next = some_value(me);
        break;
    case 1:
        if (current != NULL)
            *next = *current;
        break;
    case 2:
        if (once_in(me, 2))
            next->type = KVREG_BYTES;
        if (kvreg_value_copy_text(next, text.data, text.len) != KVREG_OK)
            *next = kvreg_nil();
        break;
    default:
        break;
    }
    if (once_in(me, 8))
        return some_number(me, KVREG_CRASH + 1);
    return (kvreg_verdict)below(me, KVREG_CRASH); /* crashes are rarer */
}

static kvreg_verdict on_update(void *user_data, const kvreg_value *current, kvreg_value *next) {
    return decide(user_data, current, next);
}

/* A cast has an actor of its own, which `destroy` ends. */
static void on_destroy(void *user_data) {
    struct actor *me = user_data;
    if (once_in(me, 8) && !atomic_load_explicit(&ending, memory_order_relaxed)) {
        me->depth = 2;
        me->made_up = me->strangers = 0;
        step(me);
    }
    clear_stash(me);
    free(me);
    atomic_fetch_add(&casts_destroyed, 1);
}

/* For casts without `destroy`. */
static kvreg_verdict on_plain_cast(void *user_data, const kvreg_value *current,
                                   kvreg_value *next) {
    (void)current;
    *next = kvreg_string(user_data, 600);
    return KVREG_STORE;
}

static struct actor *new_actor(struct actor *me) {
    struct actor *actor = calloc(1, sizeof *actor);
    CHECK(actor != NULL);
    actor->random = next_random(me);
    actor->depth = me->depth + 1;
    return actor;
}

/* ---- The functions ---- */

static void step_plain(struct actor *me, enum function function) {
    switch (function) {
    case DO_version_string:
        CHECK(strlen(kvreg_version_string()) >= 5);
        break;
    case DO_version_number:
        CHECK(kvreg_version_number() >> 24 == 0);
        break;
    case DO_status_name:
        CHECK(strncmp(kvreg_status_name(some_number(me, STATUSES)), "KVREG_", 6) == 0);
        break;
    case DO_status_message:
        CHECK(*kvreg_status_message(some_number(me, STATUSES)) != 0);
        break;
    case DO_last_error: {
        char buffer[40];
        size_t capacity = below(me, sizeof buffer);
        memset(buffer, 1, sizeof buffer);
        size_t full = kvreg_last_error(capacity == 0 ? NULL : buffer, capacity);
        if (capacity > 0)
            CHECK(strlen(buffer) == (full < capacity ? full : capacity - 1));
        CHECK(buffer[capacity] == 1); /* nothing beyond it */
        break;
    }
    case DO_value_clear: {
        kvreg_value value = some_value(me); /* it owns nothing */
        kvreg_value_clear(OUTPUT(&value));
        kvreg_value_clear(&value);
        CHECK(value.type == KVREG_NIL);
        break;
    }
    default: { /* event_clear */
        kvreg_event event;
        memset(&event, 0, sizeof event);
        kvreg_event_clear(OUTPUT(&event));
        kvreg_event_clear(&event);
    }
    }
    was_called(me, function);
}

static void step_live_counts(struct actor *me) {
    union {
        kvreg_live live;
        unsigned char room[256];
    } counts;
    static const uint32_t sizes[] = {0, 1, 4, 8, 12, 16, 33, sizeof(kvreg_live), 72, 256};
    memset(&counts, 0xa5, sizeof counts);
    counts.live.size =
        once_in(me, 2) ? sizeof counts.live : sizes[below(me, sizeof sizes / sizeof *sizes)];
    uint32_t size = counts.live.size;
    answer(me, DO_live_counts, kvreg_live_counts(OUTPUT(&counts.live)));
    for (size_t i = size < sizeof size ? sizeof size : size; i < sizeof counts; i++)
        CHECK(counts.room[i] == 0xa5); /* not beyond what the size says */
}

static void step_registry_start(struct actor *me) {
    union {
        kvreg_registry_options options;
        unsigned char room[256];
    } given;
    memset(&given, 0, sizeof given);
    given.options.size = sizeof given.options;
    if (once_in(me, 3))
        given.options.size = below(me, 40);
    if (once_in(me, 4))
        given.options.reserved = below(me, 3);
    if (once_in(me, 8))
        memset(given.room + sizeof given.options, 1, 64);
    const kvreg_registry_options *options = once_in(me, 2) ? NULL : &given.options;
    MAKE(DO_registry_start, REGISTRY, kvreg_registry, kvreg_registry_start(options, out));
}

static void step_execute(struct actor *me) {
    static const char *const lines[] = {
        "CREATE 1",    "CREATE 2\r\n", "PUT 1 a 5",   "PUT 2 b text\n", "GET 1 a",
        "GET 2 b\r\n", "DELETE 1 a",   "DELETE 2 b",  "GET 5 a",        "get 1 a",
        "PUT 1",       "",             "\r\n",        "PUT 1 a \xff",   "CREATE \xff\xfe",
        "GET 1 c",     "PUT 1 a b\rc", "SUBSCRIBE 1", "CREATE",         "a\nb\nc"};
    const char *line = lines[below(me, sizeof lines / sizeof *lines)];
    size_t len = strlen(line);
    switch (below(me, 16)) {
    case 0:
        line = NULL;
        len = below(me, 2);
        break;
    case 1:
        len = KVREG_NUL;
        break;
    case 2:
        len = below(me, (unsigned)len + 1);
        break;
    case 3:
        line = big;
        len = 1000;
        break;
    default:
        break;
    }
    READ(DO_registry_execute, kvreg_registry_execute(pick(me, REGISTRY), line, len, out));
}

static void step_get_bytes(struct actor *me, struct bytes key) {
    char buffer[64];
    size_t len = 12345;
    size_t *out = OUTPUT(&len);
    size_t capacity = once_in(me, 2) ? below(me, 32) : sizeof buffer - 1;
    void *to = once_in(me, 8) ? NULL : buffer; /* with a capacity that is a mistake */
    if (to == NULL && once_in(me, 2))
        capacity = 0;
    memset(buffer, 1, sizeof buffer);
    kvreg_status status =
        answer(me, DO_bucket_get_bytes,
               kvreg_bucket_get_bytes(pick(me, BUCKET), key.data, key.len, to, capacity, out));
    if (status == KVREG_OK)
        CHECK(len <= capacity);
    else if (status == KVREG_TOO_SMALL)
        CHECK(len > capacity);
    if (status != KVREG_OK)
        CHECK(buffer[0] == 1);
    CHECK(buffer[sizeof buffer - 1] == 1);
}

static void step_many(struct actor *me, enum function function) {
    kvreg_pair pairs[4];
    size_t count = below(me, 5);
    for (size_t i = 0; i < count; i++) {
        struct bytes key = some_key(me);
        pairs[i].key = key.data;
        pairs[i].key_len = key.len;
        pairs[i].value = function == DO_bucket_put_many ? some_value(me) : poisoned();
        if (once_in(me, 4)) /* that some batches are right */
            continue;
        pairs[i].key = big;
        pairs[i].key_len = 1 + below(me, 3);
        if (function == DO_bucket_put_many)
            pairs[i].value = kvreg_int((int64_t)i);
    }
    kvreg_pair *given = OUTPUT(pairs);
    kvreg_bucket *bucket = pick(me, BUCKET);
    if (function == DO_bucket_put_many) {
        answer(me, function, kvreg_bucket_put_many(bucket, given, count));
        return;
    }
    kvreg_status status = answer(me, function, kvreg_bucket_get_many(bucket, given, count));
    for (size_t i = 0; given != NULL && i < count; i++)
        read_value(me, status, &pairs[i].value, &pairs[i].value);
}

static void step_update(struct actor *me, enum function function, struct bytes key) {
    kvreg_bucket *bucket = pick(me, BUCKET);
    bool none = once_in(me, 32);
    if (function == DO_bucket_update) {
        answer(me, function,
               kvreg_bucket_update(bucket, key.data, key.len, none ? NULL : on_update, me));
    } else if (once_in(me, 4)) {
        answer(me, function,
               kvreg_bucket_update_cast(bucket, key.data, key.len,
                                        none ? NULL : on_plain_cast, big, NULL));
    } else {
        atomic_fetch_add(&casts_sent, 1);
        answer(me, function,
               kvreg_bucket_update_cast(bucket, key.data, key.len, none ? NULL : on_update,
                                        new_actor(me), on_destroy));
    }
}

static void step_update_begin(struct actor *me, struct bytes key) {
    kvreg_value read = poisoned();
    kvreg_value *current = once_in(me, 4) ? NULL : &read;
    kvreg_status status = KVREG_OK;
    MAKE(DO_bucket_update_begin, UPDATE, kvreg_update,
         status = kvreg_bucket_update_begin(pick(me, BUCKET), key.data, key.len, current, out));
    read_value(me, status, &read, current);
}

static void step_update_end(struct actor *me) {
    kvreg_value value = some_value(me);
    kvreg_value text = kvreg_nil();
    bool owned = once_in(me, 8) && kvreg_value_copy_text(&text, "copied", 6) == KVREG_OK;
    answer(me, DO_update_end,
           kvreg_update_end(pick(me, UPDATE), some_number(me, KVREG_CRASH + 1),
                            OUTPUT(owned ? &text : &value)));
    kvreg_value_clear(&text);
}

static void step_items_next(struct actor *me) {
    kvreg_value value = poisoned();
    kvreg_value *second = once_in(me, 4) ? NULL : &value;
    kvreg_status status = KVREG_OK;
    READ(DO_items_next, status = kvreg_items_next(pick(me, ITEMS), out, second));
    read_value(me, status, &value, second);
}

static void step_copy_text(struct actor *me) {
    struct bytes text = some_text(me);
    kvreg_value value = kvreg_nil();
    if (once_in(me, 2))
        value.type = once_in(me, 2) ? KVREG_BYTES : KVREG_INT;
    kvreg_status status =
        answer(me, DO_value_copy_text,
               kvreg_value_copy_text(OUTPUT(&value), text.data, text.len));
    if (status == KVREG_OK)
        (void)sum_of(&value);
    kvreg_value_clear(&value);
}

static void step_receive(struct actor *me) {
    kvreg_event event;
    memset(&event, 0xa5, sizeof event);
    kvreg_event *out = OUTPUT(&event);
    int64_t timeout = once_in(me, 64) ? 1 : once_in(me, 16) ? -2 : 0;
    kvreg_status status =
        answer(me, DO_inbox_receive, kvreg_inbox_receive(pick(me, INBOX), timeout, out));
    if (out == NULL)
        return;
    if (status == KVREG_OK) {
        CHECK(event.type <= KVREG_EVENT_LOST);
        CHECK(strlen(event.name.data) <= event.name.len);
        CHECK(event.name.data[event.name.len] == 0);
        CHECK(event.detail.data[event.detail.len] == 0);
    }
    kvreg_event_clear(&event); /* after a failure too */
    if (once_in(me, 4))
        kvreg_event_clear(&event);
}

static void step_monitor(struct actor *me, enum function function) {
    uint64_t reference = 0;
    uint64_t *out = OUTPUT(&reference);
    void *inbox = pick(me, INBOX);
    if (function == DO_inbox_monitor)
        answer(me, function, kvreg_inbox_monitor(inbox, pick(me, BUCKET), out));
    else
        answer(me, function, kvreg_inbox_monitor_registry(inbox, pick(me, REGISTRY), out));
    if (reference != 0)
        atomic_store_explicit(&some_reference, reference, memory_order_relaxed);
}

static void step_registry(struct actor *me, enum function function) {
    struct bytes name = some_name(me);
    struct bytes text = some_text(me);
    uint32_t flags = once_in(me, 8) ? (uint32_t)some_number(me, 2) : below(me, 2);
    size_t count = 0;
    switch (function) {
    case DO_registry_clone:
        MAKE(function, REGISTRY, kvreg_registry, kvreg_registry_clone(pick(me, REGISTRY), out));
        break;
    case DO_registry_set_timeout:
        answer(me, function,
               kvreg_registry_set_timeout(pick(me, REGISTRY), some_timeout(me)));
        break;
    case DO_registry_create:
        MAKE(function, BUCKET, kvreg_bucket,
             kvreg_registry_create(pick(me, REGISTRY), name.data, name.len, flags, out));
        break;
    case DO_registry_create_cast:
        answer(me, function,
               kvreg_registry_create_cast(pick(me, REGISTRY), name.data, name.len));
        break;
    case DO_registry_lookup:
        MAKE(function, BUCKET, kvreg_bucket,
             kvreg_registry_lookup(pick(me, REGISTRY), name.data, name.len, out));
        break;
    case DO_registry_count:
        answer(me, function, kvreg_registry_count(pick(me, REGISTRY), OUTPUT(&count)));
        break;
    case DO_registry_names:
        MAKE(function, ITEMS, kvreg_items, kvreg_registry_names(pick(me, REGISTRY), out));
        break;
    case DO_registry_send:
        answer(me, function, kvreg_registry_send(pick(me, REGISTRY), text.data, text.len));
        break;
    case DO_registry_stop:
        answer(me, function, kvreg_registry_stop(pick(me, REGISTRY)));
        break;
    default:
        answer(me, function, kvreg_registry_free(pick_to_free(me, REGISTRY)));
    }
}

static void step_bucket(struct actor *me, enum function function) {
    struct bytes key = some_key(me);
    struct bytes text = some_text(me);
    kvreg_value value = some_value(me);
    size_t count = 0;
    int64_t integer = 0;
    double real = 0;
    switch (function) {
    case DO_bucket_clone:
        MAKE(function, BUCKET, kvreg_bucket, kvreg_bucket_clone(pick(me, BUCKET), out));
        break;
    case DO_bucket_put:
        answer(me, function,
               kvreg_bucket_put(pick(me, BUCKET), key.data, key.len, OUTPUT(&value)));
        break;
    case DO_bucket_get:
        READ(function, kvreg_bucket_get(pick(me, BUCKET), key.data, key.len, out));
        break;
    case DO_bucket_delete:
        READ(function, kvreg_bucket_delete(pick(me, BUCKET), key.data, key.len, out));
        break;
    case DO_bucket_put_int:
        answer(me, function, kvreg_bucket_put_int(pick(me, BUCKET), key.data, key.len, -1));
        break;
    case DO_bucket_put_float:
        answer(me, function, kvreg_bucket_put_float(pick(me, BUCKET), key.data, key.len, 0.5));
        break;
    case DO_bucket_put_string:
        answer(me, function,
               kvreg_bucket_put_string(pick(me, BUCKET), key.data, key.len, text.data,
                                       text.len));
        break;
    case DO_bucket_put_bytes:
        answer(me, function,
               kvreg_bucket_put_bytes(pick(me, BUCKET), key.data, key.len, text.data,
                                      text.len));
        break;
    case DO_bucket_get_int:
        answer(me, function,
               kvreg_bucket_get_int(pick(me, BUCKET), key.data, key.len, OUTPUT(&integer)));
        break;
    case DO_bucket_get_float:
        answer(me, function,
               kvreg_bucket_get_float(pick(me, BUCKET), key.data, key.len, OUTPUT(&real)));
        break;
    case DO_bucket_put_cast:
        answer(me, function,
               kvreg_bucket_put_cast(pick(me, BUCKET), key.data, key.len, OUTPUT(&value)));
        break;
    case DO_bucket_delete_cast:
        answer(me, function, kvreg_bucket_delete_cast(pick(me, BUCKET), key.data, key.len));
        break;
    case DO_bucket_count:
        answer(me, function, kvreg_bucket_count(pick(me, BUCKET), OUTPUT(&count)));
        break;
    case DO_bucket_clear:
        answer(me, function, kvreg_bucket_clear(pick(me, BUCKET)));
        break;
    case DO_bucket_items:
        MAKE(function, ITEMS, kvreg_items, kvreg_bucket_items(pick(me, BUCKET), out));
        break;
    case DO_bucket_name:
        READ(function, kvreg_bucket_name(pick(me, BUCKET), out));
        break;
    case DO_bucket_set_timeout:
        answer(me, function, kvreg_bucket_set_timeout(pick(me, BUCKET), some_timeout(me)));
        break;
    case DO_bucket_stop:
        answer(me, function, kvreg_bucket_stop(pick(me, BUCKET)));
        break;
    case DO_bucket_exit:
        answer(me, function,
               kvreg_bucket_exit(pick(me, BUCKET), some_number(me, KVREG_NOPROC + 1), text.data,
                                 text.len));
        break;
    case DO_bucket_get_bytes:
        step_get_bytes(me, key);
        break;
    case DO_bucket_put_many:
    case DO_bucket_get_many:
        step_many(me, function);
        break;
    case DO_bucket_update:
    case DO_bucket_update_cast:
        step_update(me, function, key);
        break;
    case DO_bucket_update_begin:
        step_update_begin(me, key);
        break;
    default:
        answer(me, function, kvreg_bucket_free(pick_to_free(me, BUCKET)));
    }
}

static void step_inbox(struct actor *me, enum function function) {
    int fd = -1;
    uint64_t reference = below(me, 3) == 0
                             ? next_random(me)
                             : atomic_load_explicit(&some_reference, memory_order_relaxed);
    switch (function) {
    case DO_inbox_monitor:
    case DO_inbox_monitor_registry:
        step_monitor(me, function);
        break;
    case DO_inbox_demonitor:
        answer(me, function,
               kvreg_inbox_demonitor(pick(me, INBOX), reference,
                                     (uint32_t)some_number(me, KVREG_FLUSH + 1)));
        break;
    case DO_inbox_subscribe_logs:
        answer(me, function,
               kvreg_inbox_subscribe_logs(pick(me, INBOX),
                                          (uint32_t)some_number(me, KVREG_LOG_DEBUG + 1)));
        break;
    case DO_inbox_receive:
        step_receive(me);
        break;
    case DO_inbox_fd:
        answer(me, function, kvreg_inbox_fd(pick(me, INBOX), OUTPUT(&fd)));
        break;
    default:
        answer(me, function, kvreg_inbox_free(pick_to_free(me, INBOX)));
    }
}

/* Beginnings and ends are rarer, that handles and buckets live long enough to be used. */
static unsigned rarity(enum function function) {
    switch (function) {
    case DO_registry_stop: case DO_bucket_stop: case DO_bucket_exit: case DO_registry_free:
        return 12;
    case DO_registry_start: case DO_registry_clone: case DO_registry_create:
    case DO_registry_lookup: case DO_bucket_start: case DO_bucket_clone: case DO_bucket_free:
    case DO_bucket_clear: case DO_inbox_open: case DO_inbox_free:
        return 4;
    default:
        return 1;
    }
}

/* Calls one function. */
static void step(struct actor *me) {
    enum function function;
    do {
        function = (enum function)below(me, COUNT);
    } while (!once_in(me, rarity(function)));
    switch (function) {
    case DO_version_string: case DO_version_number: case DO_status_name:
    case DO_status_message: case DO_last_error: case DO_value_clear: case DO_event_clear:
        step_plain(me, function);
        break;
    case DO_live_counts:
        step_live_counts(me);
        break;
    case DO_value_copy_text:
        step_copy_text(me);
        break;
    case DO_registry_start:
        step_registry_start(me);
        break;
    case DO_registry_execute:
        step_execute(me);
        break;
    case DO_bucket_start:
        MAKE(function, BUCKET, kvreg_bucket, kvreg_bucket_start(out));
        break;
    case DO_update_end:
        step_update_end(me);
        break;
    case DO_update_free:
        answer(me, function, kvreg_update_free(pick_to_free(me, UPDATE)));
        break;
    case DO_items_next:
        step_items_next(me);
        break;
    case DO_items_free:
        answer(me, function, kvreg_items_free(pick_to_free(me, ITEMS)));
        break;
    case DO_inbox_open:
        MAKE(function, INBOX, kvreg_inbox, kvreg_inbox_open(out));
        break;
    default:
        if (function >= DO_inbox_monitor)
            step_inbox(me, function);
        else if (function >= DO_bucket_clone)
            step_bucket(me, function);
        else
            step_registry(me, function);
    }
}

static void *work(void *number) {
    struct actor me = {0};
    me.random = seed + (uintptr_t)number * 0x632be59bd9b4e019u;
    for (unsigned long i = 0; i < calls / THREADS; i++) {
        step(&me);
        if (once_in(&me, 8)) /* updates end soon, whoever began them */
            free_quietly(UPDATE, from_pool(&me, UPDATE));
    }
    clear_stash(&me);
    return NULL;
}

/* ---- The end ---- */

static void free_pool(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        for (int slot = 0; slot < SLOTS; slot++)
            free_quietly((enum kind)kind, (void *)atomic_exchange(&pool[kind][slot], 0));
    }
}

static void short_sleep(void) {
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

/* What callbacks still do ends, and then nothing lives. */
static void wait_for_quiet(void) {
    kvreg_live live = {0};
    live.size = sizeof live;
    for (int i = 0; atomic_load(&casts_destroyed) != atomic_load(&casts_sent); i++) {
        CHECK(i < 10000);
        free_pool(); /* an update in the pool would keep a bucket waiting */
        short_sleep();
    }
    free_pool();
    for (int i = 0; i < 10000; i++) { /* casts without `destroy` may still be running */
        OK(kvreg_live_counts(&live));
        if (live.registries == 0 && live.buckets == 0)
            break;
        short_sleep();
    }
}

static void every_misuse_is_a_status(void) {
    pthread_t threads[THREADS];
    memset(big, 'x', BIG);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    atomic_store(&ending, true);
    free_pool();
    wait_for_quiet();
    for (int status = 0; status < STATUSES; status++) {
        unsigned long count = atomic_load(&answers[status]);
        if (count > 0)
            printf("%10lu %s\n", count, kvreg_status_name(status));
    }
    printf("%10lu casts with a callback, each destroyed once\n", atomic_load(&casts_sent));
    fflush(stdout);
    for (int function = 0; calls >= 1000000 && function < COUNT; function++) {
        if (!atomic_load(&answered_ok[function])) /* a function that was only refused */
            check_fail(__FILE__, __LINE__, function_names[function]);
    }
}

int main(int argc, char **argv) {
    static const test tests[] = {TEST(every_misuse_is_a_status)};
    seed = (uint64_t)time(NULL);
    if (argc > 1)
        calls = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    return check_run(tests, sizeof tests / sizeof *tests);
}
