/*
 * The clock by which keys live, set by the test: the library finds this program's clock_gettime
 * instead of the system's. All other clocks are the system's.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds; 0: as the system has it. And how often it was read. */
static _Atomic int64_t clock_now;
static _Atomic uint64_t clock_reads;

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock == CLOCK_BOOTTIME) {
        atomic_fetch_add(&clock_reads, 1);
        int64_t now = atomic_load(&clock_now);
        if (now != 0) {
            time->tv_sec = now / 1000;
            time->tv_nsec = now % 1000 * 1000000;
            return 0;
        }
    }
    return (int)syscall(SYS_clock_gettime, clock, time);
}

#endif
