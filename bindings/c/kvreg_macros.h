/*
 * kvreg_macros.h: what makes kvreg.h more pleasant in C, and hides nothing of it.
 *
 * KVREG_OWNED(object)    a variable that is released at the end of its scope
 * KVREG_TRY(call)        returns the status of a call that failed
 * KVREG_GOTO(label, status, call)    keeps the status, and goes to where things are cleaned up
 * KVREG_MUST(call)       says what failed on stderr, and exits: for programs that cannot go on
 *
 * The arguments are evaluated once.
 */
#ifndef KVREG_MACROS_H
#define KVREG_MACROS_H

#include <stdio.h>
#include <stdlib.h>

#include "kvreg.h"

/*
 * Declares a variable that is released when its scope is left, however that happens but by
 * longjmp; by the end of its thread (pthread_exit, cancellation) only with -fexceptions. Initialise
 * it, for an early return releases it too, and before any goto to where its scope ends.
 *
 *     KVREG_OWNED(bucket) *shopping = NULL;
 *     KVREG_OWNED(value) milk = kvreg_nil();
 *     KVREG_OWNED(event) down = {0};
 *
 * With what is registry, bucket, update, items, inbox, listener, server, turn, reply, message, value
 * or event. Only where the compiler has the attribute (gcc, clang, MinGW); elsewhere there is no such
 * macro.
 */
#if defined(__GNUC__)
#define KVREG_OWNED(object) __attribute__((cleanup(kvreg_##object##_leave))) kvreg_##object

static inline void kvreg_registry_leave(kvreg_registry **handle) { kvreg_registry_free(*handle); }
static inline void kvreg_bucket_leave(kvreg_bucket **handle) { kvreg_bucket_free(*handle); }
static inline void kvreg_update_leave(kvreg_update **handle) { kvreg_update_free(*handle); }
static inline void kvreg_items_leave(kvreg_items **handle) { kvreg_items_free(*handle); }
static inline void kvreg_inbox_leave(kvreg_inbox **handle) { kvreg_inbox_free(*handle); }
static inline void kvreg_listener_leave(kvreg_listener **handle) { kvreg_listener_free(*handle); }
static inline void kvreg_server_leave(kvreg_server **handle) { kvreg_server_free(*handle); }
static inline void kvreg_turn_leave(kvreg_turn **handle) { kvreg_turn_free(*handle); }
static inline void kvreg_reply_leave(kvreg_reply **handle) { kvreg_reply_free(*handle); }
static inline void kvreg_message_leave(kvreg_message *message) { kvreg_message_clear(message); }
static inline void kvreg_value_leave(kvreg_value *value) { kvreg_value_clear(value); }
static inline void kvreg_event_leave(kvreg_event *event) { kvreg_event_clear(event); }
#endif

/* In a function that returns a kvreg_status: leaves it with the status of a call that failed. */
#define KVREG_TRY(call)                        \
    do {                                       \
        kvreg_status kvreg_tried = (call);     \
        if (kvreg_tried != KVREG_OK) {         \
            return kvreg_tried;                \
        }                                      \
    } while (0)

/* Assigns the status of the call to `status`, and goes to `label` if it failed. */
#define KVREG_GOTO(label, status, call)        \
    do {                                       \
        if (((status) = (call)) != KVREG_OK) { \
            goto label;                        \
        }                                      \
    } while (0)

/* Ends the program if the call fails, with a line like
 * "shop.c:12: kvreg_bucket_stop(shopping): KVREG_NO_PROCESS: the bucket had ended". */
#define KVREG_MUST(call) kvreg_must(__FILE__, __LINE__, #call, (call))

static inline void kvreg_must(const char *file, int line, const char *call, kvreg_status status) {
    if (status != KVREG_OK) {
        char text[256];
        /* There is no text if the status is not from a call of kvreg's on this thread. */
        const char *said =
            kvreg_last_error(text, sizeof text) > 0 ? text : kvreg_status_message(status);
        fprintf(stderr, "%s:%d: %s: %s: %s\n", file, line, call, kvreg_status_name(status), said);
        exit(EXIT_FAILURE);
    }
}

#endif /* KVREG_MACROS_H */
