/*
 * Very many servers that programs write, at rest: what each takes of the memory, and of the time
 * when it is started, sent something, called and ended. What the program gave is dropped and
 * destroyed once for each of them, whether they end one by one or all together.
 *
 * Usage: stress_many_servers [SERVERS]
 */
#define _POSIX_C_SOURCE 200809L

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { FEW = 10000, NAME = 8 };

/* What a server is. All of them are made, and touched, before the first is started: so what the
 * process grows by is kvreg's. */
typedef struct own {
    int64_t sum;
    atomic_uchar inits, drops, destroys;
} own;

static unsigned long count;
static own *all;
static kvreg_registry *registry;
static atomic_ulong drops, destroys;

static long resident(void) {
    long size, pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%ld %ld", &size, &pages) == 2);
    CHECK(fclose(file) == 0);
    return pages * sysconf(_SC_PAGESIZE);
}

static double now(void) {
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* A line that make bench-servers reads. */
static void told(const char *way, const char *what, double figure, const char *unit) {
    printf("%lu by %s, %s: %.1f %s\n", count, way, what, figure, unit);
    fflush(stdout);
}

static kvreg_verdict begins(kvreg_server *self, void *argument, void **state,
                            kvreg_value *detail) {
    (void)self, (void)detail;
    own *me = argument;
    atomic_fetch_add(&me->inits, 1);
    *state = me;
    return KVREG_KEEP;
}

static void adds(own *me, const kvreg_message *message) {
    CHECK(message->count == 1 && message->values[0].type == KVREG_INT);
    me->sum += message->values[0].as.integer;
}

static kvreg_verdict handles(void *state, const kvreg_message *message, kvreg_value *reply) {
    own *me = state;
    CHECK(atomic_load(&me->drops) == 0);
    adds(me, message);
    *reply = kvreg_int(me->sum);
    return KVREG_KEEP;
}

static void is_dropped(void *state) {
    own *me = state;
    atomic_fetch_add(&me->drops, 1);
    atomic_fetch_add(&drops, 1);
}

static void is_destroyed(void *argument) {
    own *me = argument;
    atomic_fetch_add(&me->destroys, 1);
    atomic_fetch_add(&destroys, 1);
}

static const char *name_of(unsigned long number) {
    static char name[NAME + 1]; /* of the one thread there is */
    snprintf(name, sizeof name, "%08lu", number);
    return name;
}

static kvreg_server_options options_of(bool by_turns, own *me) {
    kvreg_server_options options = kvreg_server_options_init();
    options.argument = me;
    options.destroy = is_destroyed;
    if (by_turns) return options;
    options.init = begins;
    options.handle = handles;
    options.drop = is_dropped;
    return options;
}

static void start(bool by_turns, unsigned long number) {
    kvreg_server_options options = options_of(by_turns, &all[number]);
    kvreg_server *server = NULL;
    kvreg_turn *turn = NULL;
    OK(kvreg_registry_start_server(registry, name_of(number), NAME, KVREG_CREATE_EXCLUSIVE, &options,
                                   by_turns ? &server : NULL, &turn));
    if (!by_turns) return;
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_free(server));
}

static void send(unsigned long number) {
    kvreg_value one = kvreg_int(1);
    kvreg_server *server;
    OK(kvreg_registry_lookup_server(registry, name_of(number), NAME, &server));
    OK(kvreg_server_cast(server, "add", 3, &one, 1));
    OK(kvreg_server_free(server));
}

/* As its owner calls, who handles first what waits. */
static void call_by_turns(unsigned long number) {
    kvreg_message message = kvreg_message_init();
    kvreg_server *server;
    kvreg_turn *turn;
    OK(kvreg_registry_lookup_server(registry, name_of(number), NAME, &server));
    OK(kvreg_server_begin(server, 0, NULL, &turn));
    while (kvreg_turn_next(turn, &message) == KVREG_OK) {
        adds(&all[number], &message);
        kvreg_message_clear(&message);
    }
    all[number].sum += 1;
    OK(kvreg_turn_end(turn, KVREG_KEEP, NULL, 0));
    OK(kvreg_server_free(server));
}

static void call_by_callbacks(unsigned long number) {
    kvreg_value one = kvreg_int(1), reply;
    OK(kvreg_registry_call(registry, name_of(number), NAME, "add", 3, &one, 1, &reply));
    CHECK(reply.type == KVREG_INT && reply.as.integer == all[number].sum);
}

/* Each is ended, its state dropped, and its argument destroyed: once. */
static void all_is_gone(bool by_turns) {
    check_patience patience = check_patiently();
    unsigned long expected = by_turns ? 0 : count;
    while (atomic_load(&drops) < expected || atomic_load(&destroys) < count)
        CHECK(check_go_on(&patience));
    for (unsigned long i = 0; i < count; i++) {
        CHECK(all[i].sum == 2);
        CHECK(atomic_load(&all[i].inits) == !by_turns);
        CHECK(atomic_load(&all[i].drops) == !by_turns);
        CHECK(atomic_load(&all[i].destroys) == 1);
    }
    CHECK(atomic_load(&drops) == expected && atomic_load(&destroys) == count);
}

static void live_and_end(bool by_turns) {
    const char *way = by_turns ? "turns" : "callbacks";
    unsigned long i, half = count / 2;
    memset(all, 0, count * sizeof *all);
    drops = destroys = 0;
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_set_timeout(registry, -1));
    long before = resident();
    double begin = now();
    for (i = 0; i < count; i++) start(by_turns, i);
    told(way, "to start one", (now() - begin) / (double)count, "ns");
    told(way, "memory of one", (double)(resident() - before) / (double)count, "bytes");
    begin = now();
    for (i = 0; i < count; i++) send(i);
    told(way, "to look one up and cast", (now() - begin) / (double)count, "ns");
    begin = now();
    for (i = 0; i < count; i++) by_turns ? call_by_turns(i) : call_by_callbacks(i);
    told(way, "to call one by its name", (now() - begin) / (double)count, "ns");
    begin = now();
    for (i = 0; i < half; i++) OK(kvreg_registry_remove(registry, name_of(i), NAME));
    told(way, "to remove one", (now() - begin) / (double)half, "ns");
    begin = now();
    OK(kvreg_registry_stop(registry));
    told(way, "to end one with the registry", (now() - begin) / (double)(count - half), "ns");
    all_is_gone(by_turns);
    OK(kvreg_registry_free(registry));
}

static void by_callbacks(void) {
    live_and_end(false);
}

static void by_turns(void) {
    live_and_end(true);
}

/* Each way in a process of its own, for what one leaves free another does not ask the system for. */
int main(int argc, char **argv) {
    static const test tests[] = {TEST(by_callbacks), TEST(by_turns)};
    count = argc > 1 ? strtoul(argv[1], NULL, 10) : check_scaled(FEW);
    CHECK(count >= 2 && count < 100000000); /* each has a name of its own, of NAME digits */
    for (size_t way = 0; way < sizeof tests / sizeof *tests; way++) {
        int ended = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            all = malloc(count * sizeof *all);
            CHECK(all != NULL);
            int status = check_run(&tests[way], 1);
            free(all);
            return status;
        }
        CHECK(waitpid(child, &ended, 0) == child);
        if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
