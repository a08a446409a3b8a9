/* Misuse: every function of the header, called somehow. */
#ifndef MISUSE_FUNCTIONS_H
#define MISUSE_FUNCTIONS_H

#include "servers.h"

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
    case DO_reason_name:
        CHECK(strncmp(kvreg_reason_name(some_number(me, 5)), "KVREG_", 6) == 0);
        break;
    case DO_verdict_name:
        CHECK(strncmp(kvreg_verdict_name(some_number(me, 8)), "KVREG_", 6) == 0);
        break;
    case DO_last_os_error:
        CHECK(kvreg_last_os_error() >= 0);
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
    case DO_event_clear: {
        kvreg_event event;
        memset(&event, 0, sizeof event);
        kvreg_event_clear(OUTPUT(&event));
        kvreg_event_clear(&event);
        break;
    }
    default:
        CHECK(!"a function that no step calls");
    }
    was_called(me, function);
}

static void step_live_counts(struct actor *me) {
    union {
        kvreg_live live;
        unsigned char room[256];
    } counts;
    static const uint32_t sizes[] = {0, 1, 4, 8, 12, 16, 33, sizeof(kvreg_live), 64, 256};
    memset(&counts, 0xa5, sizeof counts);
    counts.live.size =
        once_in(me, 2) ? sizeof counts.live : sizes[below(me, sizeof sizes / sizeof *sizes)];
    uint32_t size = counts.live.size;
    answer(me, DO_live_counts, kvreg_live_counts(OUTPUT(&counts.live)));
    for (size_t i = size < sizeof size ? sizeof size : size; i < sizeof counts; i++)
        CHECK(counts.room[i] == 0xa5); /* not beyond what the size says */
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

static void step_get_into(struct actor *me, struct bytes key) {
    char buffer[64];
    size_t capacity = once_in(me, 2) ? below(me, 32) : sizeof buffer - 1;
    void *to = once_in(me, 8) ? NULL : buffer; /* with a capacity that is a mistake */
    kvreg_value value;
    kvreg_value *out = OUTPUT(&value);
    if (to == NULL && once_in(me, 2))
        capacity = 0;
    memset(&value, 1, sizeof value);
    buffer[sizeof buffer - 1] = 1;
    kvreg_status status =
        answer(me, DO_bucket_get_into,
               kvreg_bucket_get_into(pick(me, BUCKET), key.data, key.len, to, capacity, out));
    CHECK(buffer[sizeof buffer - 1] == 1);
    if (out == NULL)
        return;
    if (status != KVREG_OK)
        CHECK(value.type == KVREG_NIL);
    else if (value.type >= KVREG_STRING && (const void *)value.as.text.data == buffer)
        CHECK(value.as.text.len <= capacity);
    kvreg_value_clear(&value);
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

static void step_columns(struct actor *me) {
    uint64_t key_lens[4], value_lens[4];
    int64_t values[4];
    kvreg_columns columns;
    memset(&columns, 0, sizeof columns);
    columns.size = once_in(me, 32) ? below(me, (uint32_t)sizeof columns) : (uint32_t)sizeof columns;
    columns.type = below(me, once_in(me, 8) ? 9 : 6);
    columns.count = once_in(me, 64) ? SIZE_MAX - below(me, 2) : below(me, 5);
    for (size_t i = 0; i < 4; i++) {
        key_lens[i] = once_in(me, 64) ? UINT64_MAX - below(me, 2) : below(me, 4);
        value_lens[i] = once_in(me, 64) ? UINT64_MAX - below(me, 2) : below(me, 64);
        values[i] = once_in(me, 2) ? below(me, 2) : INT64_MIN;
    }
    columns.keys = once_in(me, 32) ? NULL : big;
    columns.key_lens = once_in(me, 32) ? NULL : key_lens;
    if (!once_in(me, 32))
        columns.values = columns.type == KVREG_STRING || columns.type == KVREG_BYTES
                             ? (const void *)big
                             : (const void *)values;
    columns.value_lens = once_in(me, 32) ? NULL : value_lens;
    answer(me, DO_bucket_put_columns,
           kvreg_bucket_put_columns(pick(me, BUCKET), once_in(me, 32) ? NULL : &columns));
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
           kvreg_update_end(pick(me, UPDATE), some_number(me, KVREG_UNHANDLED + 1),
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

static void step_scan(struct actor *me) {
    kvreg_scan_options options = kvreg_scan_options_init();
    struct bytes prefix = some_key(me), after = some_key(me);
    if (once_in(me, 2)) options.prefix = prefix.data, options.prefix_len = prefix.len;
    if (once_in(me, 2)) options.after = after.data, options.after_len = after.len;
    options.limit = once_in(me, 2) ? below(me, 4) : next_random(me);
    options.flags = once_in(me, 32) ? (uint32_t)next_random(me) : below(me, 2);
    if (once_in(me, 32)) options.size = below(me, (uint32_t)sizeof options);
    const kvreg_scan_options *given = once_in(me, 8) ? NULL : &options;
    MAKE(DO_bucket_scan, ITEMS, kvreg_items, kvreg_bucket_scan(pick(me, BUCKET), given, out));
}

static void step_items_next_entry(struct actor *me) {
    kvreg_value key = poisoned();
    kvreg_entry entry = kvreg_entry_init();
    kvreg_entry *out = OUTPUT(&entry);
    bool has_size = !once_in(me, 48);
    entry.value = poisoned();
    if (!has_size)
        entry.size = below(me, (unsigned)sizeof entry);
    kvreg_status status =
        answer(me, DO_items_next_entry, kvreg_items_next_entry(pick(me, ITEMS), &key, out));
    if (!has_size || out == NULL) {
        CHECK(status != KVREG_OK && key.type == KVREG_NIL);
        return;
    }
    CHECK(status == KVREG_OK ? entry.ttl_ms == KVREG_TTL_NEVER || entry.ttl_ms > 0
                             : entry.ttl_ms == 0);
    read_value(me, status, &key, &key);
    read_value(me, status, &entry.value, &entry.value);
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

static void check_event(const kvreg_event *event) {
    CHECK(event->type <= KVREG_EVENT_REPLY);
    CHECK(strlen(event->name.data) <= event->name.len);
    CHECK(event->name.data[event->name.len] == 0);
    CHECK(event->detail.data[event->detail.len] == 0);
    CHECK(event->level <= KVREG_CHANGE_EVICT);
    (void)sum_of(&event->value);
}

static void step_receive_many(struct actor *me) {
    kvreg_event events[8];
    memset(events, 0xa5, sizeof events);
    size_t count = 12345;
    size_t *second = OUTPUT(&count);
    kvreg_event *out = OUTPUT(events);
    size_t capacity = once_in(me, 8) ? 0 : 1 + below(me, 8);
    int64_t timeout = once_in(me, 64) ? 1 : once_in(me, 16) ? -2 : 0;
    kvreg_status status = answer(me, DO_inbox_receive_many,
                                 kvreg_inbox_receive_many(pick(me, INBOX), timeout, out,
                                                          capacity, second));
    if (out == NULL || second == NULL) {
        CHECK(status != KVREG_OK);
        return;
    }
    CHECK(status == KVREG_OK ? count >= 1 && count <= capacity : count == 0);
    for (size_t i = 0; i < count; i++) {
        check_event(&events[i]);
        kvreg_event_clear(&events[i]);
    }
    for (size_t i = count; i < 8; i++)
        CHECK(((unsigned char *)&events[i])[0] == 0xa5); /* nothing beyond them */
}

static void step_watch(struct actor *me, enum function function) {
    static const uint32_t sizes[] = {0, 1, 8, 12, 16, 24, sizeof(kvreg_watch_options)};
    kvreg_watch_options options = kvreg_watch_options_init();
    struct bytes prefix = some_key(me);
    if (once_in(me, 2)) {
        options.prefix = prefix.data;
        options.prefix_len = prefix.len;
    }
    if (once_in(me, 8))
        options.size = sizes[below(me, sizeof sizes / sizeof *sizes)];
    options.flags = once_in(me, 16) ? (uint32_t)some_number(me, 8) : below(me, 8);
    options.max_pending = once_in(me, 2) ? below(me, 20) : 0;
    const kvreg_watch_options *given = once_in(me, 4) ? NULL : &options;
    uint64_t reference = 0;
    uint64_t *out = OUTPUT(&reference);
    void *inbox = pick(me, INBOX);
    if (function == DO_inbox_watch)
        answer(me, function, kvreg_inbox_watch(inbox, pick(me, BUCKET), given, out));
    else
        answer(me, function, kvreg_inbox_watch_names(inbox, pick(me, REGISTRY), given, out));
    if (reference != 0)
        atomic_store_explicit(&some_reference, reference, memory_order_relaxed);
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
    if (status == KVREG_OK)
        check_event(&event);
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
    case DO_registry_free:
        answer(me, function, kvreg_registry_free(pick_to_free(me, REGISTRY)));
        break;
    default:
        CHECK(!"a function that no step calls");
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
    case DO_bucket_start:
        MAKE(function, BUCKET, kvreg_bucket, kvreg_bucket_start(out));
        break;
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
               kvreg_bucket_exit(pick(me, BUCKET), some_number(me, KVREG_REASON_NOPROC + 1),
                                 text.data, text.len));
        break;
    case DO_bucket_get_bytes:
        step_get_bytes(me, key);
        break;
    case DO_bucket_get_into:
        step_get_into(me, key);
        break;
    case DO_bucket_put_columns:
        step_columns(me);
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
    case DO_bucket_free:
        answer(me, function, kvreg_bucket_free(pick_to_free(me, BUCKET)));
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

static void step_get_entry(struct actor *me, kvreg_bucket *bucket, struct bytes key) {
    kvreg_entry entry = kvreg_entry_init();
    kvreg_entry *out = OUTPUT(&entry);
    bool has_size = !once_in(me, 48);
    entry.value = poisoned();
    if (!has_size)
        entry.size = below(me, (unsigned)sizeof entry);
    kvreg_status status = answer(me, DO_bucket_get_entry,
                                 kvreg_bucket_get_entry(bucket, key.data, key.len, out));
    if (!has_size && out != NULL) {
        CHECK(status != KVREG_OK);
        return;
    }
    if (out != NULL)
        CHECK((status == KVREG_OK) == (entry.revision != 0));
    read_value(me, status, &entry.value, out == NULL ? NULL : &entry.value);
}

/* Mostly a revision of a young bucket, now and then that of a key. */
static uint64_t some_revision(struct actor *me, kvreg_bucket *bucket, struct bytes key) {
    kvreg_entry entry = kvreg_entry_init();
    if (once_in(me, 2) || kvreg_bucket_get_entry(bucket, key.data, key.len, &entry) != KVREG_OK)
        return once_in(me, 4) ? next_random(me) : below(me, 8);
    kvreg_value_clear(&entry.value);
    return entry.revision;
}

static int64_t some_ttl(struct actor *me) {
    switch (below(me, 8)) {
    case 0: return (int64_t)next_random(me);
    case 1: return (int64_t)below(me, 100);     /* over soon */
    case 2: return (int64_t)below(me, 100000);  /* and not */
    default: return (int64_t)below(me, 3) - 2;
    }
}

/* Several changes, of which one may be wrong in any way but for its size, by which the others are
   found: then all are of the size that the first tells. */
static void step_apply(struct actor *me, kvreg_bucket *bucket) {
    enum { OPS = 6 };
    kvreg_op ops[OPS];
    size_t count = below(me, OPS + 1), failed = 77;
    for (int i = 0; i < OPS; i++) {
        struct bytes key = some_key(me);
        ops[i] = kvreg_op_init();
        ops[i].op = once_in(me, 64) ? (uint32_t)next_random(me) : below(me, KVREG_OP_ADD + 1);
        ops[i].key = key.data;
        ops[i].key_len = key.len;
        ops[i].value = some_value(me);
        ops[i].expected = some_revision(me, bucket, key);
        ops[i].delta = (int64_t)next_random(me) >> below(me, 64);
        ops[i].ttl_ms = some_ttl(me);
        if (once_in(me, 4)) /* that some are right */
            continue;
        ops[i].key = big;
        ops[i].key_len = 1 + below(me, 3);
        ops[i].op = once_in(me, 4) ? KVREG_OP_ADD : KVREG_OP_PUT;
        ops[i].value = kvreg_int(i);
        ops[i].delta = i;
        ops[i].ttl_ms = KVREG_TTL_DEFAULT;
    }
    if (once_in(me, 32))
        ops[below(me, OPS)].size = below(me, sizeof(kvreg_op));
    bool has_ops = !once_in(me, 32), has_failed = !once_in(me, 8);
    kvreg_status status = answer(me, DO_bucket_apply,
                                 kvreg_bucket_apply(bucket, has_ops ? ops : NULL, count,
                                                    has_failed ? &failed : NULL));
    CHECK(!has_failed || (status == KVREG_OK ? failed == count : failed <= count));
    for (size_t i = 0; i < count; i++)
        CHECK(status == KVREG_OK ? ops[i].revision == ops[0].revision + i && ops[0].revision > 0
                                 : ops[i].revision == 0);
}

/* A few files that all share; what is in the way of a path is a text that cannot be one. */
static void step_file(struct actor *me, enum function function, kvreg_bucket *bucket) {
    char path[64];
    struct bytes text = some_text(me);
    if (!once_in(me, 3)) {
        text.len = (size_t)snprintf(path, sizeof path, "/tmp/kvreg-misuse-%u", below(me, 3));
        text.data = path;
    } else if (text.len != KVREG_NUL && text.len < 600 && text.len > 0 && text.data != NULL &&
               memchr(text.data, 0, text.len) == NULL) {
        text.data = ""; /* no file of a name that was made up */
        text.len = 1;
    } else if (text.len == KVREG_NUL) {
        text.data = "";
    }
    answer(me, function,
           function == DO_bucket_save ? kvreg_bucket_save(bucket, text.data, text.len)
                                      : kvreg_bucket_restore(bucket, text.data, text.len));
}

static void step_revisions(struct actor *me, enum function function) {
    kvreg_bucket *bucket = pick(me, BUCKET);
    struct bytes key = some_key(me);
    kvreg_value value = some_value(me), expected = some_value(me);
    uint64_t revision = 0;
    int64_t sum = 0;
    switch (function) {
    case DO_bucket_get_entry:
        step_get_entry(me, bucket, key);
        break;
    case DO_bucket_put_entry:
        answer(me, function,
               kvreg_bucket_put_entry(bucket, key.data, key.len, OUTPUT(&value), some_ttl(me),
                                      OUTPUT(&revision)));
        break;
    case DO_bucket_put_if:
        answer(me, function,
               kvreg_bucket_put_if(bucket, key.data, key.len, OUTPUT(&value),
                                   some_revision(me, bucket, key), some_ttl(me),
                                   OUTPUT(&revision)));
        break;
    case DO_bucket_expire:
        answer(me, function,
               kvreg_bucket_expire(bucket, key.data, key.len, some_ttl(me), OUTPUT(&revision)));
        break;
    case DO_bucket_delete_if:
        revision = some_revision(me, bucket, key);
        READ(function, kvreg_bucket_delete_if(bucket, key.data, key.len, revision, out));
        break;
    case DO_bucket_put_if_equal:
        answer(me, function,
               kvreg_bucket_put_if_equal(bucket, key.data, key.len,
                                         once_in(me, 4) ? NULL : &expected,
                                         once_in(me, 4) ? NULL : &value, OUTPUT(&revision)));
        break;
    case DO_bucket_add_int:
        answer(me, function,
               kvreg_bucket_add_int(bucket, key.data, key.len, (int64_t)next_random(me),
                                    OUTPUT(&sum)));
        break;
    case DO_bucket_revision:
        answer(me, function, kvreg_bucket_revision(bucket, OUTPUT(&revision)));
        break;
    case DO_bucket_apply:
        step_apply(me, bucket);
        break;
    case DO_bucket_save: case DO_bucket_restore:
        step_file(me, function, bucket);
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

static void step_inbox(struct actor *me, enum function function) {
    int fd = -1;
    void *handle = NULL;
    uint64_t reference = below(me, 3) == 0
                             ? next_random(me)
                             : atomic_load_explicit(&some_reference, memory_order_relaxed);
    switch (function) {
    case DO_inbox_open:
        MAKE(function, INBOX, kvreg_inbox, kvreg_inbox_open(out));
        break;
    case DO_inbox_watch:
    case DO_inbox_watch_names:
        step_watch(me, function);
        break;
    case DO_inbox_unwatch:
        answer(me, function, kvreg_inbox_unwatch(pick(me, INBOX), reference));
        break;
    case DO_inbox_receive_many:
        step_receive_many(me);
        break;
    case DO_inbox_monitor:
    case DO_inbox_monitor_registry:
        step_monitor(me, function);
        break;
    case DO_inbox_demonitor:
        answer(me, function,
               kvreg_inbox_demonitor(pick(me, INBOX), reference,
                                     (uint32_t)some_number(me, KVREG_DEMONITOR_FLUSH + 1)));
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
    case DO_inbox_handle:
        answer(me, function, kvreg_inbox_handle(pick(me, INBOX), OUTPUT(&handle)));
        break;
    case DO_inbox_free:
        answer(me, function, kvreg_inbox_free(pick_to_free(me, INBOX)));
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

/* Beginnings and ends are rarer, that handles and buckets live long enough to be used. */
static unsigned rarity(enum function function) {
    switch (function) {
    case DO_registry_stop: case DO_bucket_stop: case DO_bucket_exit: case DO_registry_free:
    case DO_registry_exit: case DO_registry_remove: case DO_server_stop: case DO_server_exit:
    case DO_registry_erase:
        return 12;
    case DO_listener_start: /* takes a port */
        return 40;
    case DO_bucket_save: case DO_engine_load: /* these wait for the disk */
        return 50;
    case DO_bucket_restore:
        return 25;
    case DO_registry_start: case DO_registry_clone: case DO_registry_create:
    case DO_registry_lookup: case DO_bucket_start: case DO_bucket_start_with:
    case DO_bucket_clone: case DO_bucket_free: case DO_bucket_clear: case DO_inbox_open:
    case DO_inbox_free: case DO_server_start: case DO_registry_start_server: case DO_server_free:
    case DO_server_link:
        return 4;
    default:
        return 1;
    }
}

/* Calls one function. Each is here: the compiler warns of one that is not. */
static void step(struct actor *me) {
    enum function function;
    do {
        function = (enum function)below(me, COUNT);
    } while (!once_in(me, rarity(function)));
    switch (function) {
    case DO_version_string: case DO_version_number: case DO_status_name:
    case DO_status_message: case DO_reason_name: case DO_verdict_name: case DO_last_error:
    case DO_last_os_error: case DO_value_clear: case DO_event_clear:
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
    case DO_registry_clone: case DO_registry_set_timeout: case DO_registry_create:
    case DO_registry_create_cast: case DO_registry_lookup: case DO_registry_count:
    case DO_registry_names: case DO_registry_send: case DO_registry_stop:
    case DO_registry_free:
        step_registry(me, function);
        break;
    case DO_bucket_start: case DO_bucket_clone: case DO_bucket_put: case DO_bucket_get:
    case DO_bucket_delete: case DO_bucket_put_int: case DO_bucket_put_float:
    case DO_bucket_put_string: case DO_bucket_put_bytes: case DO_bucket_get_int:
    case DO_bucket_get_float: case DO_bucket_get_bytes: case DO_bucket_get_into:
    case DO_bucket_put_cast: case DO_bucket_delete_cast: case DO_bucket_put_many:
    case DO_bucket_put_columns: case DO_bucket_get_many: case DO_bucket_count:
    case DO_bucket_clear: case DO_bucket_items: case DO_bucket_name:
    case DO_bucket_set_timeout: case DO_bucket_stop: case DO_bucket_exit: case DO_bucket_free:
    case DO_bucket_update: case DO_bucket_update_cast: case DO_bucket_update_begin:
        step_bucket(me, function);
        break;
    case DO_bucket_get_entry: case DO_bucket_put_entry: case DO_bucket_put_if:
    case DO_bucket_delete_if: case DO_bucket_put_if_equal: case DO_bucket_add_int:
    case DO_bucket_revision: case DO_bucket_apply: case DO_bucket_expire:
    case DO_bucket_save: case DO_bucket_restore:
        step_revisions(me, function);
        break;
    case DO_update_end:
        step_update_end(me);
        break;
    case DO_update_free:
        answer(me, function, kvreg_update_free(pick_to_free(me, UPDATE)));
        break;
    case DO_bucket_scan:
        step_scan(me);
        break;
    case DO_items_next:
        step_items_next(me);
        break;
    case DO_items_next_entry:
        step_items_next_entry(me);
        break;
    case DO_items_count: {
        size_t count = 0;
        answer(me, function, kvreg_items_count(pick(me, ITEMS), OUTPUT(&count)));
        break;
    }
    case DO_items_free:
        answer(me, function, kvreg_items_free(pick_to_free(me, ITEMS)));
        break;
    case DO_inbox_open: case DO_inbox_monitor: case DO_inbox_monitor_registry:
    case DO_inbox_demonitor: case DO_inbox_subscribe_logs: case DO_inbox_receive:
    case DO_inbox_fd: case DO_inbox_handle: case DO_inbox_free: case DO_inbox_watch:
    case DO_inbox_watch_names: case DO_inbox_unwatch: case DO_inbox_receive_many:
        step_inbox(me, function);
        break;
    case DO_configure: case DO_registry_whereis: case DO_registry_create_with:
    case DO_registry_remove: case DO_registry_erase: case DO_registry_exit: case DO_registry_info:
    case DO_bucket_start_with: case DO_bucket_link: case DO_bucket_unlink: case DO_bucket_info:
        step_process_model(me, function);
        break;
    case DO_engine_register: case DO_engine_load:
        step_engine(me, function);
        break;
    case DO_listener_start: case DO_listener_address: case DO_listener_stop:
    case DO_listener_free:
        step_listener(me, function);
        break;
    case DO_registry_start_server: case DO_server_start:
        step_server_start(me, function);
        break;
    case DO_server_begin: case DO_turn_next: case DO_turn_answer: case DO_turn_defer:
    case DO_turn_end: case DO_turn_free: case DO_turn_detach:
        step_turn(me, function);
        break;
    case DO_reply_send: case DO_reply_free: case DO_message_clear: case DO_message_defer:
    case DO_value_clone:
        step_reply(me, function);
        break;
    case DO_server_call: case DO_registry_call: case DO_server_cast: case DO_server_send:
    case DO_server_send_after: case DO_server_request:
        step_send(me, function);
        break;
    case DO_registry_lookup_server: case DO_registry_servers: case DO_server_self:
    case DO_server_clone: case DO_server_set_timeout: case DO_server_name: case DO_server_info:
    case DO_server_free: case DO_server_cancel: case DO_inbox_monitor_server:
    case DO_server_monitor: case DO_server_demonitor: case DO_inbox_abandon:
    case DO_server_link: case DO_server_unlink: case DO_server_stop: case DO_server_exit:
        step_server_life(me, function);
        break;
    case DO_shutdown: /* the end of the program calls it */
    case COUNT:
        break;
    }
}

static void *work(void *number) {
    struct actor me = {0};
    me.random = seed + (uintptr_t)number * 0x632be59bd9b4e019u;
    for (unsigned long i = 0; i < calls / THREADS; i++) {
        step(&me);
        if (once_in(&me, 8)) /* updates end soon, whoever began them */
            free_quietly(UPDATE, from_pool(&me, UPDATE));
        if (once_in(&me, 8))
            (void)kvreg_turn_end(from_pool(&me, TURN), KVREG_KEEP, NULL, 0);
    }
    clear_stash(&me);
    return NULL;
}

#endif
