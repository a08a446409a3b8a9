/* Misuse: options, names, links, ends and listeners. */
#ifndef MISUSE_PROCESS_MODEL_H
#define MISUSE_PROCESS_MODEL_H

#include "outputs.h"
#include "stores.h"

static uint32_t some_size(struct actor *me, size_t size) {
    return once_in(me, 6) ? below(me, 40) : (uint32_t)size;
}

static uint64_t some_limit(struct actor *me) {
    switch (below(me, 4)) {
    case 0:
        return below(me, 20);
    case 1:
        return next_random(me);
    default:
        return 0;
    }
}

static kvreg_bucket_options some_bucket_options(struct actor *me) {
    kvreg_bucket_options options = kvreg_bucket_options_init();
    options.size = some_size(me, sizeof options);
    options.restart = (uint32_t)some_number(me, KVREG_PERMANENT + 1);
    options.max_restarts = below(me, 3);
    options.restart_period_ms = below(me, 3);
    options.max_mailbox = some_limit(me);
    options.max_keys = some_limit(me);
    options.order = below(me, 2);
    options.max_bytes = some_limit(me);
    if (once_in(me, 8))
        options.max_value = some_limit(me);
    if (once_in(me, 4)) {
        options.store = some_url(me);
        options.store_len = KVREG_NUL;
        options.reads = below(me, 3);
        if (options.size < sizeof options)
            options.size = sizeof options; /* a text has its length */
    }
    return options;
}

/* Names of registries: few, that they are often taken. */
static const char *const registered[] = {"one", "two"};

static void step_registry_start(struct actor *me) {
    union {
        kvreg_registry_options options;
        unsigned char room[256];
    } given;
    kvreg_bucket_options of_buckets = some_bucket_options(me);
    memset(&given, 0, sizeof given);
    given.options.size = some_size(me, sizeof given.options);
    if (once_in(me, 4)) {
        struct bytes name = some_name(me);
        given.options.name = once_in(me, 3) ? name.data : registered[below(me, 2)];
        given.options.name_len = given.options.name == name.data ? name.len : 3;
        if (given.options.size < offsetof(kvreg_registry_options, bucket))
            given.options.size = sizeof given.options; /* a name has its length */
        if (given.options.name == name.data && name.data != NULL)
            given.options.name_len = 0; /* no name of its own is left registered */
    }
    if (once_in(me, 4))
        given.options.bucket = &of_buckets;
    given.options.max_buckets = some_limit(me);
    given.options.max_bytes = some_limit(me);
    given.options.max_mailbox = some_limit(me);
    if (once_in(me, 8))
        given.options.reserved = below(me, 3);
    if (once_in(me, 8)) {
        memset(given.room + sizeof given.options, 1, 64);
        given.options.size = sizeof given.options + 64;
    }
    const kvreg_registry_options *options = once_in(me, 2) ? NULL : &given.options;
    MAKE(DO_registry_start, REGISTRY, kvreg_registry, kvreg_registry_start(options, out));
}

/* A name keeps its registry running: at the end it is stopped. */
static void stop_named(void) {
    for (unsigned i = 0; i < sizeof registered / sizeof *registered; i++) {
        kvreg_registry *registry;
        if (kvreg_registry_whereis(registered[i], 3, &registry) == KVREG_OK) {
            OK(kvreg_registry_set_timeout(registry, -1));
            kvreg_status status = kvreg_registry_stop(registry);
            CHECK(status == KVREG_OK || status == KVREG_NO_PROCESS ||
                  status == KVREG_SERVER_DOWN);
            OK(kvreg_registry_free(registry));
        }
    }
}

static void step_info(struct actor *me, enum function function) {
    union {
        uint32_t size;
        kvreg_registry_stats of_registry;
        kvreg_bucket_stats of_bucket;
        unsigned char room[256];
    } stats;
    memset(&stats, 0xa5, sizeof stats);
    uint32_t size = stats.size = once_in(me, 4) ? below(me, 128) : sizeof stats.of_registry;
    if (function == DO_registry_info)
        answer(me, function,
               kvreg_registry_info(pick(me, REGISTRY), OUTPUT(&stats.of_registry)));
    else
        answer(me, function, kvreg_bucket_info(pick(me, BUCKET), OUTPUT(&stats.of_bucket)));
    for (size_t i = size < sizeof size ? sizeof size : size; i < sizeof stats; i++)
        CHECK(stats.room[i] == 0xa5); /* not beyond what the size says */
}

static void step_listener(struct actor *me, enum function function) {
    static const char *const addresses[] = {"127.0.0.1:0", "0", ":0", "[::1]:0", "127.0.0.1",
                                            "example.org:1", "", "256.0.0.1:0", "\xff", "1.1.1.1:1",
                                            "unix:", "unix:/dev/null", "unix:/none/x"};
    kvreg_listener_options options = kvreg_listener_options_init();
    switch (function) {
    case DO_listener_start: {
        const char *address = addresses[below(me, sizeof addresses / sizeof *addresses)];
        options.size = some_size(me, sizeof options);
        options.max_connections = below(me, 3);
        options.max_line = some_limit(me);
        options.max_backlog = some_limit(me);
        options.idle_timeout_ms = some_timeout(me);
        options.unix_mode = below(me, 3) * 0777;
        options.password = once_in(me, 2) ? NULL : "secret";
        options.password_len = options.password != NULL ? below(me, 7) : below(me, 2);
        MAKE(function, LISTENER, kvreg_listener,
             kvreg_listener_start(pick(me, REGISTRY), address, once_in(me, 2) ? NULL : &options,
                                  out));
        break;
    }
    case DO_listener_address:
        READ(function, kvreg_listener_address(pick(me, LISTENER), out));
        break;
    case DO_listener_stop:
        answer(me, function, kvreg_listener_stop(pick(me, LISTENER)));
        break;
    case DO_listener_free:
        answer(me, function, kvreg_listener_free(pick_to_free(me, LISTENER)));
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

static void step_process_model(struct actor *me, enum function function) {
    struct bytes name = some_name(me), detail = some_text(me);
    kvreg_bucket_options options = some_bucket_options(me);
    switch (function) {
    case DO_configure: /* it is too late for that */
        CHECK(kvreg_configure(NULL) == KVREG_ALREADY_STARTED);
        was_called(me, function);
        break;
    case DO_registry_whereis:
        if (once_in(me, 2))
            name = (struct bytes){registered[below(me, 2)], 3};
        MAKE(function, REGISTRY, kvreg_registry, kvreg_registry_whereis(name.data, name.len, out));
        break;
    case DO_registry_create_with:
        MAKE(function, BUCKET, kvreg_bucket,
             kvreg_registry_create_with(pick(me, REGISTRY), name.data, name.len,
                                        (uint32_t)some_number(me, KVREG_CREATE_EXCLUSIVE + 1),
                                        once_in(me, 4) ? NULL : &options, out));
        break;
    case DO_registry_remove:
        answer(me, function, kvreg_registry_remove(pick(me, REGISTRY), name.data, name.len));
        break;
    case DO_registry_erase:
        answer(me, function, kvreg_registry_erase(pick(me, REGISTRY), name.data, name.len));
        break;
    case DO_registry_exit:
        answer(me, function,
               kvreg_registry_exit(pick(me, REGISTRY), some_number(me, KVREG_REASON_NOPROC + 1),
                                   detail.data, detail.len));
        break;
    case DO_bucket_start_with:
        MAKE(function, BUCKET, kvreg_bucket,
             kvreg_bucket_start_with(once_in(me, 4) ? NULL : &options, out));
        break;
    case DO_bucket_link:
        answer(me, function, kvreg_bucket_link(pick(me, BUCKET), pick(me, BUCKET)));
        break;
    case DO_bucket_unlink:
        answer(me, function, kvreg_bucket_unlink(pick(me, BUCKET), pick(me, BUCKET)));
        break;
    case DO_registry_info: case DO_bucket_info:
        step_info(me, function);
        break;
    default:
        CHECK(!"a function that no step calls");
    }
}

#endif
