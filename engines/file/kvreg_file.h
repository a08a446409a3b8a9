/**
 * @file kvreg_file.h
 * kvreg's engine of `file:` URLs, for a program that links it. Where its shared library lies beside
 * kvreg's nobody needs this: kvreg loads it at the first such URL.
 *
 *     kvreg_engine_register("file", KVREG_NUL, kvreg_file_engine());
 */
#ifndef KVREG_FILE_H
#define KVREG_FILE_H

#include "kvreg_engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The engine, which stays for ever. */
const kvreg_engine *kvreg_file_engine(void);

#ifdef __cplusplus
}
#endif

#endif
