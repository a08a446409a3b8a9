/*
 * Storms of restarts: many servers that crash as they begin and as they work, on several threads,
 * while others look them up and call. Within max_restarts a name is never away, and beyond it is
 * gone for good; no name leads to one that ended (G5); and each state that an init made is dropped
 * once, each argument destroyed once.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

enum { SERVERS = 32, THREADS = 3, ROUNDS = 2000, FEW_RESTARTS = 3, HOUR_MS = 3600000 };

/* What the program gives for a server, whichever process has its name. */
typedef struct place {
    char name[8];
    uint32_t fails;             /* of so many inits one fails; 0: none */
    atomic_ulong inits;         /* that were tried */
    atomic_ulong failed_inits;  /* that said CRASH or ABORT */
    atomic_ulong crashes;       /* of handlers */
    atomic_ulong drops, destroys;
} place;

/* What an init makes: a process. */
typedef struct process {
    place *place;
    unsigned long number; /* of its place, rising */
    atomic_uint drops;
} process;

static place places[SERVERS];
static kvreg_registry *registry;
static atomic_bool is_over;
static atomic_ulong seen_dead, seen_alive;

static kvreg_verdict begins(kvreg_server *self, void *argument, void **state,
                            kvreg_value *detail) {
    (void)self, (void)detail;
    place *here = argument;
    unsigned long number = atomic_fetch_add(&here->inits, 1) + 1;
    /* Not the first: its failure is the answer of its starter, and no end. */
    if (here->fails != 0 && number > 1 && number % here->fails == 0) {
        atomic_fetch_add(&here->failed_inits, 1);
        return number % 2 == 0 ? KVREG_CRASH : KVREG_ABORT;
    }
    process *made = calloc(1, sizeof *made);
    CHECK(made != NULL);
    made->place = here;
    made->number = number;
    *state = made;
    return KVREG_KEEP;
}

static kvreg_verdict handles(void *state, const kvreg_message *message, kvreg_value *reply) {
    process *me = state;
    CHECK(atomic_load(&me->drops) == 0);
    *reply = kvreg_int((int64_t)me->number);
    if (strcmp(message->tag.data, "crash") != 0) return KVREG_KEEP;
    atomic_fetch_add(&me->place->crashes, 1);
    return KVREG_CRASH;
}

static void is_dropped(void *state) {
    process *me = state;
    CHECK(atomic_fetch_add(&me->drops, 1) == 0);
    atomic_fetch_add(&me->place->drops, 1);
    free(me);
}

static void is_destroyed(void *argument) {
    place *here = argument;
    CHECK(atomic_fetch_add(&here->destroys, 1) == 0);
}

static kvreg_status ask(place *here, const char *tag, int64_t *number) {
    kvreg_value reply;
    kvreg_status status =
        kvreg_registry_call(registry, here->name, KVREG_NUL, tag, KVREG_NUL, NULL, 0, &reply);
    if (status == KVREG_OK) *number = reply.as.integer;
    kvreg_value_clear(&reply);
    return status;
}

static bool has_ended(kvreg_status status) {
    return status == KVREG_SERVER_DOWN || status == KVREG_NO_PROCESS;
}

/* One process of a place as a caller has it: its handle, and its number if it answered. After it
 * is known to have ended, the name leads to another one, or to none. */
static void look(place *here, bool is_kept, bool crashes) {
    kvreg_server *server, *found;
    kvreg_value reply;
    int64_t number = 0, later = 0;
    kvreg_status status =
        kvreg_registry_lookup_server(registry, here->name, KVREG_NUL, &server);
    if (status == KVREG_NOT_FOUND && !is_kept) return;
    OK(status);
    OK(kvreg_server_set_timeout(server, CHECK_PATIENCE * 1000));
    status = kvreg_server_call(server, "number", KVREG_NUL, NULL, 0, &reply);
    if (status == KVREG_OK) number = reply.as.integer;
    if (status == KVREG_OK && crashes) {
        if (number % 2 == 0) {
            status = kvreg_server_call(server, "crash", KVREG_NUL, NULL, 0, NULL);
            CHECK(has_ended(status));
        } else {
            status = kvreg_server_cast(server, "crash", KVREG_NUL, NULL, 0);
            CHECK(status == KVREG_OK || status == KVREG_NO_PROCESS);
            status = kvreg_server_call(server, "number", KVREG_NUL, NULL, 0, NULL);
        }
    }
    if (status == KVREG_OK) {
        CHECK(!crashes); /* G3 */
        atomic_fetch_add(&seen_alive, 1);
    } else {
        CHECK(has_ended(status));
        atomic_fetch_add(&seen_dead, 1);
        status = ask(here, "number", &later);
        if (status == KVREG_OK)
            CHECK(later > number);
        else
            CHECK(has_ended(status) || (!is_kept && status == KVREG_NOT_FOUND));
        status = kvreg_registry_lookup_server(registry, here->name, KVREG_NUL, &found);
        if (status == KVREG_OK) {
            /* Another one: the handle of the old one answers for ever that it has ended. */
            IS(KVREG_NO_PROCESS, kvreg_server_call(server, "number", KVREG_NUL, NULL, 0, NULL));
            /* And whatever became of the new one, it has tried to begin before it answers. */
            status = kvreg_server_call(found, "number", KVREG_NUL, NULL, 0, NULL);
            CHECK(status == KVREG_OK || has_ended(status));
            CHECK((int64_t)atomic_load(&here->inits) > number);
            OK(kvreg_server_free(found));
        } else {
            CHECK(!is_kept && status == KVREG_NOT_FOUND);
        }
    }
    OK(kvreg_server_free(server));
}

struct worker {
    unsigned number;
    bool is_kept, crashes;
    pthread_t thread;
};

static void *works(void *data) {
    struct worker *me = data;
    if (me->crashes) {
        for (unsigned long i = 0; i < check_scaled(ROUNDS); i++)
            look(&places[(i * 7 + me->number) % SERVERS], me->is_kept, true);
        return NULL;
    }
    for (unsigned long i = 0; !atomic_load(&is_over); i++)
        look(&places[i % SERVERS], me->is_kept, false);
    return NULL;
}

static void start_all(uint32_t max_restarts, bool hands_over, uint32_t fails) {
    is_over = false;
    seen_dead = seen_alive = 0;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, CHECK_PATIENCE * 1000));
    for (int i = 0; i < SERVERS; i++) {
        kvreg_server_options options = kvreg_server_options_init();
        memset(&places[i], 0, sizeof places[i]);
        snprintf(places[i].name, sizeof places[i].name, "%d", i);
        places[i].fails = i % 2 == 0 ? fails : 0;
        options.init = begins;
        options.handle = handles;
        options.drop = is_dropped;
        options.destroy = is_destroyed;
        options.argument = &places[i];
        options.restart = i % 3 == 0 ? KVREG_PERMANENT : KVREG_TRANSIENT;
        options.max_restarts = max_restarts;
        options.restart_period_ms = HOUR_MS;
        options.flags = hands_over ? KVREG_SERVER_HAND_OVER : 0;
        OK(kvreg_registry_start_server(registry, places[i].name, KVREG_NUL, KVREG_CREATE_EXCLUSIVE,
                                       &options, NULL, NULL));
    }
}

/* Threads that crash them, and one that looks on. */
static void storm(bool is_kept) {
    struct worker workers[THREADS + 1];
    for (unsigned i = 0; i <= THREADS; i++) {
        workers[i] = (struct worker){i, is_kept, i < THREADS, 0};
        CHECK(pthread_create(&workers[i].thread, NULL, works, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) CHECK(pthread_join(workers[i].thread, NULL) == 0);
    atomic_store(&is_over, true);
    CHECK(pthread_join(workers[THREADS].thread, NULL) == 0);
}

/* All has ended: of each place, what was made was dropped, and what was given destroyed. */
static void all_is_gone(void) {
    check_patience patience = check_patiently();
    for (int i = 0; i < SERVERS; i++) {
        place *here = &places[i];
        while (atomic_load(&here->destroys) == 0 ||
               atomic_load(&here->inits) - atomic_load(&here->failed_inits) !=
                   atomic_load(&here->drops))
            CHECK(check_go_on(&patience));
    }
}

static void within_their_restarts_names_stay(void) {
    for (int hands_over = 0; hands_over < 2; hands_over++) {
        unsigned long restarts = 0;
        start_all(UINT32_MAX, hands_over != 0, 3);
        storm(true);
        for (int i = 0; i < SERVERS; i++) {
            kvreg_server_stats stats = kvreg_server_stats_init();
            kvreg_server *server;
            int64_t number = 0;
            check_patience patience = check_patiently();
            /* The last restart may be under way: a call waits for it, or for its failure. */
            kvreg_status status;
            while ((status = ask(&places[i], "number", &number)) != KVREG_OK) {
                CHECK(has_ended(status));
                CHECK(check_go_on(&patience));
            }
            OK(kvreg_registry_lookup_server(registry, places[i].name, KVREG_NUL, &server));
            OK(kvreg_server_info(server, &stats));
            CHECK(stats.restarts ==
                  atomic_load(&places[i].crashes) + atomic_load(&places[i].failed_inits));
            CHECK(stats.restarts + 1 == (uint64_t)number); /* each has tried one init */
            CHECK(number == (int64_t)atomic_load(&places[i].inits));
            restarts += stats.restarts;
            OK(kvreg_server_free(server));
        }
        printf("%lu restarts, %lu times seen dead, %lu alive\n", restarts, seen_dead, seen_alive);
        CHECK(restarts >= check_scaled(ROUNDS) / THREADS);
        for (int i = 0; i < SERVERS; i++) CHECK(atomic_load(&places[i].destroys) == 0);
        OK(kvreg_registry_stop(registry));
        all_is_gone();
        OK(kvreg_registry_free(registry));
    }
}

static void beyond_them_names_are_gone_for_good(void) {
    for (unsigned long i = 0; i < check_scaled(10); i++) {
        start_all(FEW_RESTARTS, i % 2 != 0, 3);
        storm(false);
        for (int at = 0; at < SERVERS; at++) {
            place *here = &places[at];
            kvreg_server *server;
            int64_t number;
            kvreg_status status;
            while (has_ended(status = ask(here, "crash", &number))) continue;
            IS(KVREG_NOT_FOUND, status);
            IS(KVREG_NOT_FOUND,
               kvreg_registry_lookup_server(registry, here->name, KVREG_NUL, &server));
        }
        all_is_gone(); /* before the registry is */
        for (int at = 0; at < SERVERS; at++) {
            /* The first, and one for each restart; the last end was one too many. */
            CHECK(atomic_load(&places[at].inits) == FEW_RESTARTS + 1);
            CHECK(atomic_load(&places[at].crashes) + atomic_load(&places[at].failed_inits) ==
                  FEW_RESTARTS + 1);
        }
        OK(kvreg_registry_stop(registry));
        OK(kvreg_registry_free(registry));
    }
}

static const test tests[] = {
    TEST(within_their_restarts_names_stay),
    TEST(beyond_them_names_are_gone_for_good),
};

CHECK_MAIN(tests)
