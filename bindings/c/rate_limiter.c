/*
 * A rate limiter: a server that lets each client do so much at once, and then so much in a time.
 *
 *     cc rate_limiter.c $(pkg-config --cflags --libs kvreg) -pthread -o limiter && ./limiter
 *
 * Each client has a bucket of tokens, and takes one for each request. A timer of the server's own
 * puts tokens back, one for each client in each period. A client that finds none is refused
 * ("take"), or waits in line ("wait"): its answer comes later, when there is a token. While all
 * buckets are full there is no timer, and a client whose bucket is full is forgotten.
 */
#include <pthread.h>
#include <string.h>

#include "kvreg_macros.h"

/* What a server is started with. */
typedef struct limits {
    int burst;
    int64_t period_ms;
} limits;

typedef struct waiting {
    kvreg_reply *reply;
    struct waiting *next;
} waiting;

typedef struct client {
    char name[64];
    int tokens;
    waiting *first;
    struct client *next;
} client;

typedef struct limiter {
    const limits *limits;
    client *clients;
    bool has_timer;
} limiter;

static kvreg_verdict init(kvreg_server *self, void *argument, void **state, kvreg_value *detail) {
    (void)self, (void)detail;
    limiter *made = calloc(1, sizeof *made);
    if (made == NULL) return KVREG_ABORT;
    made->limits = argument;
    *state = made;
    return KVREG_KEEP;
}

static void forget(client **at) {
    client *gone = *at;
    *at = gone->next;
    for (waiting *next; gone->first != NULL; gone->first = next) {
        next = gone->first->next;
        kvreg_reply_free(gone->first->reply); /* the caller gets KVREG_ABORTED */
        free(gone->first);
    }
    free(gone);
}

static void drop(void *state) {
    limiter *me = state;
    while (me->clients != NULL) forget(&me->clients);
    free(me);
}

/* The client of this name, which may be new; NULL: there is no memory. */
static client *find(limiter *me, const char *name) {
    client *found = me->clients;
    while (found != NULL && strcmp(found->name, name) != 0) found = found->next;
    if (found == NULL && (found = calloc(1, sizeof *found)) != NULL) {
        snprintf(found->name, sizeof found->name, "%s", name);
        found->tokens = me->limits->burst;
        found->next = me->clients;
        me->clients = found;
    }
    return found;
}

static void set_timer(limiter *me, kvreg_server *self) {
    if (!me->has_timer && me->clients != NULL)
        me->has_timer = kvreg_server_send_after(self, me->limits->period_ms, "refill", KVREG_NUL,
                                                NULL, 0, NULL) == KVREG_OK;
}

/* Each client gets a token, or whoever is first in its line. */
static void refill(limiter *me) {
    kvreg_value yes = kvreg_bool(true);
    for (client **at = &me->clients; *at != NULL;) {
        client *one = *at;
        bool is_given = false;
        while (one->first != NULL && !is_given) {
            waiting *first = one->first;
            one->first = first->next;
            /* Nobody may wait any more. */
            is_given = kvreg_reply_send(first->reply, KVREG_KEEP, &yes) == KVREG_OK;
            free(first);
        }
        if (!is_given && ++one->tokens >= me->limits->burst && one->first == NULL)
            forget(at);
        else
            at = &one->next;
    }
}

static kvreg_verdict wait_in_line(client *who, const kvreg_message *message) {
    waiting *made = calloc(1, sizeof *made), **last = &who->first;
    if (made == NULL || kvreg_message_defer(message, &made->reply) != KVREG_OK) {
        free(made);
        return KVREG_ABORT;
    }
    while (*last != NULL) last = &(*last)->next;
    *last = made;
    return KVREG_LATER;
}

static kvreg_verdict handle(void *state, const kvreg_message *message, kvreg_value *reply) {
    limiter *me = state;
    if (message->type == KVREG_MESSAGE_INFO && strcmp(message->tag.data, "refill") == 0) {
        me->has_timer = false;
        refill(me);
        set_timer(me, message->self);
        return KVREG_KEEP;
    }
    bool waits = strcmp(message->tag.data, "wait") == 0;
    if (message->type != KVREG_MESSAGE_CALL || message->count != 1 ||
        message->values[0].type != KVREG_STRING ||
        !(waits || strcmp(message->tag.data, "take") == 0))
        return KVREG_UNHANDLED;
    client *who = find(me, (const char *)message->values[0].as.text.data);
    if (who == NULL) return KVREG_ABORT;
    set_timer(me, message->self);
    bool has_token = who->tokens > 0 && who->first == NULL;
    if (waits && !has_token) return wait_in_line(who, message);
    if (has_token) who->tokens--;
    *reply = kvreg_bool(has_token);
    return KVREG_KEEP;
}

/* What users of it call. */

static void start_limiter(kvreg_registry *registry, const char *name, limits *given) {
    kvreg_server_options options = kvreg_server_options_init();
    options.init = init;
    options.handle = handle;
    options.drop = drop;
    options.argument = given;
    options.restart = KVREG_TRANSIENT;
    KVREG_MUST(kvreg_registry_start_server(registry, name, KVREG_NUL, KVREG_CREATE_EXCLUSIVE,
                                           &options, NULL, NULL));
}

/* Whether the client may; `how` is "take" or "wait". */
static bool may(kvreg_registry *registry, const char *limiter, const char *how, const char *who) {
    kvreg_value name = kvreg_string(who, KVREG_NUL), answer;
    KVREG_MUST(kvreg_registry_call(registry, limiter, KVREG_NUL, how, KVREG_NUL, &name, 1,
                                   &answer));
    return answer.as.boolean;
}

/* A busy hour of two clients, each with some threads. */

enum { CLIENTS = 2, THREADS = 4, REQUESTS = 50 };

static const char *const names[CLIENTS] = {"Ann", "Bob"};
static kvreg_registry *registry;

typedef struct work {
    int client, taken, waited;
} work;

static void *ask(void *argument) {
    work *mine = argument;
    for (int i = 0; i < REQUESTS; i++)
        mine->taken += may(registry, "an hour", "take", names[mine->client]);
    for (int i = 0; i < 5; i++)
        mine->waited += may(registry, "a moment", "wait", names[mine->client]);
    return NULL;
}

int main(void) {
    /* Static, for a handler that runs when the registry stops is not waited for. */
    static limits an_hour = {10, 60 * 60 * 1000}, a_moment = {2, 5};
    pthread_t threads[CLIENTS * THREADS];
    work works[CLIENTS * THREADS] = {0};
    KVREG_MUST(kvreg_registry_start(NULL, &registry));
    KVREG_MUST(kvreg_registry_set_timeout(registry, -1)); /* who waits in line, waits */
    start_limiter(registry, "an hour", &an_hour);
    start_limiter(registry, "a moment", &a_moment);
    for (int i = 0; i < CLIENTS * THREADS; i++) {
        works[i].client = i % CLIENTS;
        if (pthread_create(&threads[i], NULL, ask, &works[i]) != 0) return EXIT_FAILURE;
    }
    work sums[CLIENTS] = {0};
    for (int i = 0; i < CLIENTS * THREADS; i++) {
        pthread_join(threads[i], NULL);
        sums[works[i].client].taken += works[i].taken;
        sums[works[i].client].waited += works[i].waited;
    }
    for (int i = 0; i < CLIENTS; i++)
        printf("%s: %d of %d at once, %d of %d in line\n", names[i], sums[i].taken,
               THREADS * REQUESTS, sums[i].waited, THREADS * 5);
    KVREG_MUST(kvreg_registry_stop(registry));
    KVREG_MUST(kvreg_registry_free(registry));
    return EXIT_SUCCESS;
}
