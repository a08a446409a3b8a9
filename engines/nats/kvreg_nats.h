/**
 * @file kvreg_nats.h
 * kvreg's engine of `nats:` URLs, for a program that links it. Where its shared library lies beside
 * kvreg's nobody needs this: kvreg loads it at the first such URL.
 *
 *     kvreg_engine_register("nats", KVREG_NUL, kvreg_nats_engine());
 */
#ifndef KVREG_NATS_H
#define KVREG_NATS_H

#include "kvreg_engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The engine, which stays for ever. */
const kvreg_engine *kvreg_nats_engine(void);

#ifdef __cplusplus
}
#endif

#endif
