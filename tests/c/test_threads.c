/*
 * What a thread is to the library, from its first call to its last: its own casts and turns in
 * the destructors of its storage too (G3, G8), how many turns it holds, and what becomes of them
 * when it ends.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>

#include "check.h"

/* Of destructors. After two ThreadSanitizer takes down what it needs to follow a thread's calls. */
#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 2 };
#else
enum { ROUNDS = 4 };
#endif
enum { TURNS = 256 };

static kvreg_registry *registry;
static kvreg_bucket *bucket, *other;
static pthread_key_t key;
/* What a destructor does: called in each round, from the `first` on. */
static void (*in_destructor)(void);
static int first;
/*
 * How often the destructor was called for the thread that ends: there is one at a time. It lies in
 * no storage of the thread's, which may be taken down before: MinGW emulates that by a key as well.
 */
static int round;

static void destroy(void *value) {
    if (++round >= first) in_destructor();
    if (round < ROUNDS) pthread_setspecific(key, value);
}

static void *use_and_end(void *use) {
    if (use != NULL) {
        kvreg_update *update;
        kvreg_value value = kvreg_int(0);
        OK(kvreg_bucket_update_begin(bucket, "used", 4, NULL, &update));
        OK(kvreg_bucket_put_cast(bucket, "used", 4, &value));
        OK(kvreg_update_free(update));
    }
    pthread_setspecific(key, &key);
    return NULL;
}

static void wait_for(void *(*run)(void *), void *argument) {
    pthread_t thread;
    round = 0;
    CHECK(pthread_create(&thread, NULL, run, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* In a thread that used the library before, and in one that did not; from each round on. */
static void in_destructors(void (*run)(void)) {
    in_destructor = run;
    for (first = 1; first <= ROUNDS; first++) {
        wait_for(use_and_end, NULL);
        wait_for(use_and_end, &key);
    }
}

/*
 * A thread beside, for work that is to be in the way of another thread. It is there before a
 * destructor needs it: MinGW lets none begin while a destructor runs.
 */
static pthread_t beside;
static pthread_barrier_t beside_begins, beside_ends;
static void (*work_beside)(void);

static void *be_beside(void *unused) {
    pthread_barrier_wait(&beside_ends); /* it has begun */
    for (;;) {
        pthread_barrier_wait(&beside_begins);
        if (work_beside == NULL) return unused;
        work_beside();
        pthread_barrier_wait(&beside_ends);
    }
}

static void begin_beside(void (*work)(void)) {
    work_beside = work;
    pthread_barrier_wait(&beside_begins);
}

static void await_beside(void) {
    pthread_barrier_wait(&beside_ends);
}

static void start(void) {
    pthread_barrier_init(&beside_begins, NULL, 2);
    pthread_barrier_init(&beside_ends, NULL, 2);
    CHECK(pthread_create(&beside, NULL, be_beside, NULL) == 0);
    await_beside();
    OK(kvreg_registry_start(NULL, &registry));
    OK(kvreg_registry_create(registry, "b", 1, 0, &bucket));
    OK(kvreg_bucket_set_timeout(bucket, CHECK_PATIENCE * 1000));
    OK(kvreg_registry_create(registry, "other", 5, 0, &other));
}

static void stop(void) {
    begin_beside(NULL);
    CHECK(pthread_join(beside, NULL) == 0);
    CHECK(pthread_barrier_destroy(&beside_begins) == 0);
    CHECK(pthread_barrier_destroy(&beside_ends) == 0);
    OK(kvreg_registry_stop(registry));
    OK(kvreg_bucket_free(other));
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_registry_free(registry));
}

/* Holds the turn for as long as the read takes to come, so that the cast has to wait. */
static pthread_barrier_t held, sent;

static void hold(void) {
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(bucket, "held", 4, NULL, &update));
    pthread_barrier_wait(&held);
    pthread_barrier_wait(&sent);
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
}

static void cast_and_read(void) {
    kvreg_value value = kvreg_int(round);
    int64_t read = -1;
    begin_beside(hold);
    pthread_barrier_wait(&held);
    OK(kvreg_bucket_put_cast(bucket, "cast", 4, &value));
    OK(kvreg_bucket_put_cast(bucket, "cast", 4, &value));
    pthread_barrier_wait(&sent);
    OK(kvreg_bucket_get_int(bucket, "cast", 4, &read));
    CHECK(read == round);
    OK(kvreg_bucket_delete(bucket, "cast", 4, NULL));
    await_beside();
}

static void g3_a_read_in_a_destructor_sees_the_threads_own_casts(void) {
    start();
    pthread_barrier_init(&held, NULL, 2);
    pthread_barrier_init(&sent, NULL, 2);
    in_destructors(cast_and_read);
    stop();
}

/* Every call that waits, from inside `bucket`. */
static void refused_inside(void) {
    kvreg_inbox *inbox;
    kvreg_event event;
    int64_t read = -1;
    IS(KVREG_CALLING_SELF, kvreg_bucket_put_int(bucket, "k", 1, 5));
    IS(KVREG_CALLING_SELF, kvreg_bucket_stop(bucket));
    IS(KVREG_CALLING_SELF, kvreg_registry_stop(registry));
    IS(KVREG_CALLING_SELF, kvreg_shutdown(0));
    OK(kvreg_inbox_open(&inbox));
    IS(KVREG_CALLING_SELF, kvreg_inbox_receive(inbox, 1, &event));
    IS(KVREG_CALLING_SELF, kvreg_inbox_receive(inbox, -1, &event));
    IS(KVREG_TIMEOUT, kvreg_inbox_receive(inbox, 0, &event));
    OK(kvreg_inbox_free(inbox));
    OK(kvreg_bucket_put_int(other, "k", 1, 5));
    OK(kvreg_bucket_get_int(other, "k", 1, &read));
    CHECK(read == 5);
}

static kvreg_verdict call_self(void *data, const kvreg_value *current, kvreg_value *next) {
    kvreg_value value = kvreg_int(8);
    int64_t read = -1;
    (void)data, (void)current;
    refused_inside();
    /* It sees the state before it, though its own cast waits here. */
    OK(kvreg_bucket_put_cast(bucket, "own", 3, &value));
    OK(kvreg_bucket_get_int(bucket, "own", 3, &read));
    CHECK(read == 7);
    OK(kvreg_value_copy_text(next, "text", 4));
    return KVREG_STORE;
}

static void update_self(void) {
    int64_t read = -1;
    OK(kvreg_bucket_put_int(bucket, "own", 3, 7));
    OK(kvreg_bucket_update(bucket, "text", 4, call_self, NULL));
    OK(kvreg_bucket_get_int(bucket, "own", 3, &read));
    CHECK(read == 8);
}

static void g8_a_destructor_cannot_wait_for_itself(void) {
    start();
    update_self();
    in_destructors(update_self);
    stop();
}

static kvreg_status stopped, cleared;
static kvreg_registry *second;
static kvreg_bucket *far;

static void wait_in_far(void) {
    kvreg_update *update;
    OK(kvreg_bucket_update_begin(far, "k", 1, NULL, &update));
    pthread_barrier_wait(&held);
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_update_end(update, KVREG_KEEP, NULL));
}

/* Another thread, inside a bucket of another registry, waits for this one. */
static kvreg_verdict stop_inside(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    begin_beside(wait_in_far);
    pthread_barrier_wait(&held);
    do cleared = kvreg_bucket_clear(far);
    while (cleared == KVREG_TIMEOUT); /* until it waits */
    stopped = kvreg_registry_stop(second);
    return KVREG_KEEP;
}

static void stop_in_a_circle(void) {
    OK(kvreg_bucket_update(bucket, "k", 1, stop_inside, NULL));
    await_beside();
    CHECK(cleared == KVREG_CALLING_SELF);
    CHECK(stopped == KVREG_CALLING_SELF);
}

static void g8_a_registry_in_a_circle_does_not_stop(void) {
    start();
    OK(kvreg_registry_start(NULL, &second));
    OK(kvreg_registry_create(second, "far", 3, 0, &far));
    OK(kvreg_bucket_set_timeout(far, 0));
    stop_in_a_circle();
    in_destructor = stop_in_a_circle;
    first = ROUNDS - 1;
    OK(kvreg_bucket_set_timeout(far, 0));
    wait_for(use_and_end, &key);
    OK(kvreg_registry_stop(second));
    OK(kvreg_bucket_free(far));
    OK(kvreg_registry_free(second));
    stop();
}

/* ---- how many turns a thread holds ---- */

static kvreg_bucket *chain[TURNS + 1];
static int depth;
static kvreg_status innermost;

static void start_chain(void) {
    for (int i = 0; i <= TURNS; i++) OK(kvreg_bucket_start(&chain[i]));
    depth = 0;
    innermost = KVREG_OK;
}

static void free_chain(void) {
    for (int i = 0; i <= TURNS; i++) OK(kvreg_bucket_free(chain[i]));
}

static kvreg_verdict nest(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    if (++depth <= TURNS) {
        kvreg_status status = kvreg_bucket_update(chain[depth], "k", 1, nest, NULL);
        if (status != KVREG_OK) innermost = status;
    }
    return KVREG_KEEP;
}

static void *outermost(void *unused) {
    OK(kvreg_bucket_update(chain[0], "k", 1, nest, NULL));
    return unused;
}

static void nested_updates_fit_on_a_small_stack(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    start_chain();
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 128 * 1024) == 0);
    CHECK(pthread_create(&thread, &attributes, outermost, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    CHECK(depth == TURNS);
    CHECK(innermost == KVREG_LIMIT);
    free_chain();
}

static kvreg_verdict keep(void *data, const kvreg_value *current, kvreg_value *next) {
    (void)data, (void)current, (void)next;
    return KVREG_KEEP;
}

static void a_thread_holds_256_turns_however_it_took_them(void) {
    kvreg_update *updates[TURNS], *more;
    start_chain();
    for (int i = 0; i < TURNS; i++)
        OK(kvreg_bucket_update_begin(chain[i], "k", 1, NULL, &updates[i]));
    IS(KVREG_LIMIT, kvreg_bucket_update_begin(chain[TURNS], "k", 1, NULL, &more));
    CHECK(more == NULL);
    IS(KVREG_LIMIT, kvreg_bucket_update(chain[TURNS], "k", 1, keep, NULL));
    /* What comes before it. */
    IS(KVREG_CALLING_SELF, kvreg_bucket_update(chain[0], "k", 1, keep, NULL));
    OK(kvreg_bucket_stop(chain[TURNS]));
    IS(KVREG_NO_PROCESS, kvreg_bucket_update(chain[TURNS], "k", 1, keep, NULL));
    OK(kvreg_update_end(updates[0], KVREG_KEEP, NULL));
    OK(kvreg_bucket_update(chain[0], "k", 1, keep, NULL));
    for (int i = 1; i < TURNS; i++) OK(kvreg_update_free(updates[i]));
    free_chain();
}

/* ---- what is open when a thread ends ---- */

static kvreg_update *left_open[TURNS];

static void *leave_all_open(void *unused) {
    for (int i = 0; i < TURNS; i++)
        OK(kvreg_bucket_update_begin(chain[i], "k", 1, NULL, &left_open[i]));
    return unused;
}

static kvreg_live live(void) {
    kvreg_live counts;
    memset(&counts, 0, sizeof counts);
    counts.size = sizeof counts;
    OK(kvreg_live_counts(&counts));
    return counts;
}

static void a_thread_that_ends_aborts_what_it_left_open(void) {
    kvreg_value value = kvreg_int(1);
    start_chain();
    wait_for(leave_all_open, NULL);
    CHECK(live().update_handles == 0);
    for (int i = 0; i < TURNS; i++) {
        int64_t read;
        IS(KVREG_BAD_HANDLE, kvreg_update_end(left_open[i], KVREG_STORE, &value));
        IS(KVREG_BAD_HANDLE, kvreg_update_free(left_open[i]));
        IS(KVREG_NOT_FOUND, kvreg_bucket_get_int(chain[i], "k", 1, &read));
        OK(kvreg_bucket_put_int(chain[i], "k", 1, 1));
    }
    free_chain();
}

/* The turn is that of the thread that began, whoever ends it. */
static void *begin_and_hand_over(void *unused) {
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &left_open[0]));
    pthread_barrier_wait(&held);
    pthread_barrier_wait(&sent);
    OK(kvreg_bucket_put_int(bucket, "mine", 4, 1)); /* no longer inside */
    return unused;
}

static void another_thread_may_end_an_update(void) {
    pthread_t thread;
    kvreg_value value = kvreg_int(9);
    int64_t read = -1;
    start();
    CHECK(pthread_create(&thread, NULL, begin_and_hand_over, NULL) == 0);
    pthread_barrier_wait(&held);
    OK(kvreg_update_end(left_open[0], KVREG_STORE, &value));
    IS(KVREG_BAD_HANDLE, kvreg_update_free(left_open[0]));
    pthread_barrier_wait(&sent);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kvreg_bucket_get_int(bucket, "k", 1, &read));
    CHECK(read == 9);
    stop();
}

/* Who ends it, and the thread that ends, race: one of them does. */
static void *begin_and_end_thread(void *unused) {
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &left_open[0]));
    pthread_barrier_wait(&held);
    return unused;
}

static void an_update_is_ended_once_while_its_thread_ends(void) {
    start();
    for (unsigned long i = 0; i < check_count(5000); i++) {
        pthread_t thread;
        int64_t read = -1;
        kvreg_value value = kvreg_int((int64_t)i);
        OK(kvreg_bucket_put_int(bucket, "k", 1, -1));
        CHECK(pthread_create(&thread, NULL, begin_and_end_thread, NULL) == 0);
        pthread_barrier_wait(&held);
        kvreg_status status = kvreg_update_end(left_open[0], KVREG_STORE, &value);
        CHECK(status == KVREG_OK || status == KVREG_BAD_HANDLE);
        CHECK(pthread_join(thread, NULL) == 0);
        OK(kvreg_bucket_get_int(bucket, "k", 1, &read));
        CHECK(read == (status == KVREG_OK ? (int64_t)i : -1));
    }
    stop();
}

/* Whether its key is older than the library's, or younger. */
static pthread_key_t keys[2];

static void end_in_destructor(void) {
    kvreg_value value = kvreg_int(6);
    if (round == 1) OK(kvreg_update_end(left_open[0], KVREG_STORE, &value));
}

static void *begin_and_end_in_destructor(void *unused) {
    OK(kvreg_bucket_update_begin(bucket, "k", 1, NULL, &left_open[0]));
    pthread_setspecific(key, &key);
    return unused;
}

static void an_update_can_be_ended_by_a_destructor(void) {
    start();
    in_destructor = end_in_destructor;
    first = 1;
    for (int i = 0; i < 2; i++) {
        int64_t read = -1;
        key = keys[i];
        wait_for(begin_and_end_in_destructor, NULL);
        OK(kvreg_bucket_get_int(bucket, "k", 1, &read));
        CHECK(read == 6);
        OK(kvreg_bucket_delete(bucket, "k", 1, NULL));
    }
    key = keys[0];
    stop();
}

static void leave_open(void) {
    kvreg_update *update;
    kvreg_status status = kvreg_bucket_update_begin(bucket, "left", 4, NULL, &update);
    /* Refused where nobody would abort it; or the one of an earlier round is still open. */
    CHECK(status == KVREG_OK || status == KVREG_LIMIT || status == KVREG_CALLING_SELF);
}

static void what_a_destructor_leaves_open_is_aborted_too(void) {
    start();
    in_destructor = leave_open;
    for (int i = 0; i < 2; i++) {
        key = keys[i];
        for (first = 1; first <= ROUNDS; first++) {
            wait_for(use_and_end, &key);
            OK(kvreg_bucket_put_int(bucket, "left", 4, 1));
        }
        /* Its first call of all. */
        for (first = 1; first <= ROUNDS / 2; first++) {
            wait_for(use_and_end, NULL);
            OK(kvreg_bucket_put_int(bucket, "left", 4, 1));
        }
    }
    key = keys[0];
    CHECK(live().update_handles == 0);
    stop();
}

#ifdef __GLIBC__ /* who else has an allocator that tells how much is in use */
/* ---- nothing of a thread stays ---- */

static void all_of_it(void) {
    kvreg_bucket *found;
    kvreg_value value = kvreg_int(1), read;
    char text[256];
    OK(kvreg_bucket_put(bucket, "a", 1, &value));
    OK(kvreg_bucket_put_cast(bucket, "a", 1, &value));
    value = kvreg_string("a text", 6);
    OK(kvreg_bucket_put(bucket, "b", 1, &value));
    OK(kvreg_bucket_get(bucket, "b", 1, &read));
    kvreg_value_clear(&read);
    OK(kvreg_bucket_update(bucket, "c", 1, keep, NULL));
    OK(kvreg_registry_lookup(registry, "b", 1, &found));
    IS(KVREG_NOT_FOUND, kvreg_bucket_get(found, "none", 4, &read));
    CHECK(kvreg_last_error(text, sizeof text) > 0);
    OK(kvreg_bucket_free(found));
}

static void *do_all_of_it(void *unused) {
    all_of_it();
    pthread_setspecific(key, &key);
    return unused;
}

static void threads_that_come_and_go(unsigned long count) {
    for (unsigned long i = 0; i < count; i++) {
        wait_for(do_all_of_it, NULL);
        wait_for(use_and_end, NULL);
    }
}

static void threads_that_are_gone_leave_no_memory(void) {
    unsigned long count = check_count(20000);
    start();
    in_destructor = all_of_it;
    first = 1;
    threads_that_come_and_go(count / 10);
    struct mallinfo2 before = mallinfo2();
    threads_that_come_and_go(count);
    check_patience patience = check_patiently(); /* a thread of the library's may be at it */
    while (mallinfo2().uordblks >= before.uordblks + 256 * 1024)
        CHECK(check_go_on(&patience));
    stop();
}
#endif

static const test tests[] = {
    TEST(g3_a_read_in_a_destructor_sees_the_threads_own_casts),
    TEST(g8_a_destructor_cannot_wait_for_itself),
    TEST(g8_a_registry_in_a_circle_does_not_stop),
    TEST(nested_updates_fit_on_a_small_stack),
    TEST(a_thread_holds_256_turns_however_it_took_them),
    TEST(a_thread_that_ends_aborts_what_it_left_open),
    TEST(another_thread_may_end_an_update),
    TEST(an_update_is_ended_once_while_its_thread_ends),
    TEST(an_update_can_be_ended_by_a_destructor),
    TEST(what_a_destructor_leaves_open_is_aborted_too),
#ifdef __GLIBC__
    TEST(threads_that_are_gone_leave_no_memory),
#endif
};

int main(void) {
    CHECK(pthread_key_create(&keys[0], destroy) == 0);
    key = keys[0];
    start();
    stop();
    CHECK(pthread_key_create(&keys[1], destroy) == 0);
    return check_run(tests, sizeof tests / sizeof *tests);
}
