/*
 * An engine of shared stores for tests, in this process's memory: pool:NAME is shared by all buckets
 * of a name, in whatever registry, as if each were a process of its own. What goes wrong is asked for.
 */
#ifndef KVREG_TEST_POOL_H
#define KVREG_TEST_POOL_H

#include <stdbool.h>

#include "kvreg_engine.h"

#if defined(__GNUC__)
#define POOL_API __attribute__((visibility("default")))
#else
#define POOL_API
#endif

/* It is registered by kvreg_engine_init, of whoever links it too. */

/* Out of reach: calls wait for it. */
POOL_API void pool_set_away(bool is_away);

/* So many changes, from the next on, are made and not answered; or refused as if others were faster. */
POOL_API void pool_lose_answers(int changes);
POOL_API void pool_refuse(int changes, kvreg_status status);

/* Watches are told nothing, and what was sent is not done, until it is let go. */
POOL_API void pool_hold_watches(bool is_held);
POOL_API void pool_hold_sends(bool is_held);

/* KVREG_ENGINE_BATCHES, KVREG_ENGINE_TTL, or less. */
POOL_API void pool_set_abilities(uint64_t abilities);

/* Takes out what is over, and tells. */
POOL_API void pool_sweep(void);

/* All stores of a bucket: erased by others; made anew, empty; and their watches told all anew. */
POOL_API void pool_erase(const char *bucket);
POOL_API void pool_make_anew(const char *bucket);
POOL_API void pool_reset_watches(const char *bucket);

/* How many stores are open, and how many calls wait in one. */
POOL_API int pool_open_stores(void);
POOL_API int pool_waiting(void);

/* Returns when so many calls wait, or have waited since the last time it was asked. */
POOL_API void pool_await_waiting(int calls);

#endif
