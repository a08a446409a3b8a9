#!/usr/bin/env bash
# Compiles the programs with ThreadSanitizer into the directory $1, against libkvreg.so in $2, and
# runs them: they pass, and nothing is reported.
#
# stress_fork is not among them: ThreadSanitizer does not support threads that are started in the
# child of a process that had several ("starting new threads after multi-threaded fork is not
# supported"), and that is what it is about. Nor is test_no_memory, which stands in for the
# allocator: ThreadSanitizer would not be told that memory was freed before another thread has it.
# Single tests that are left out say so: LEFT_OUT_BY_TSAN.
set -eu
programs=$1 library=$2
. tests/tsan/options.sh

run() {
    local source=$1 program
    program=$programs/$(basename "$source" .c)
    shift
    tests/tsan/compile.sh "$source" "$program" "$library"
    echo "== $program $*"
    "$program" "$@"
}

run tests/tsan/handover.c
run tests/c/stress_names.c 1000000
run tests/c/stress_memory.c 200000
run tests/c/stress_limits.c
run tests/c/misuse.c 1000000 1
KVREG_TEST_COUNT=10000 run tests/c/stress_servers.c
# It takes some ten times as long, and needs no more repetitions to see a race.
export KVREG_TEST_COUNT=200000
for source in tests/c/test_*.c; do
    [ "$source" = tests/c/test_no_memory.c ] || run "$source"
done
