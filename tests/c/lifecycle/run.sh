#!/usr/bin/env bash
# However a host ends, with calls, casts, waits, callbacks and a listener in flight: its exit
# status is as expected, it does not hang, and nothing is on stderr. Each way 5 times, and 50 by make test-often.
# run.sh DIRECTORY_OF_PROGRAMS LIBRARY
set -eu
programs=$1 library=$2
rounds=$((5 * ${KVREG_TEST_SCALE:-1}))
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "$1" >&2
    cat "$scratch/stderr" >&2
    exit 1
}

# ends EXPECTED_STATUS COMMAND...
ends() {
    local expected=$1 status=0
    shift
    timeout 300 "$@" >"$scratch/stdout" 2>"$scratch/stderr" || status=$?
    [ "$status" -eq "$expected" ] || fail "$*: exit status $status instead of $expected"
    [ ! -s "$scratch/stderr" ] || fail "$*: something on stderr"
}

for how in return exit shutdown stuck sigterm; do
    for _ in $(seq "$rounds"); do
        ends 0 "$programs/host" "$how"
    done
    echo "ok g12 $how"
done

# SIGTERM kills a host that does not handle it: the status is that of the signal.
exec 3< <(exec "$programs/host" killed 2>"$scratch/stderr")
host=$!
read -r -u 3 _ # it is at work
kill -TERM "$host"
status=0
wait "$host" || status=$?
[ "$status" -eq 143 ] || fail "killed: exit status $status"
echo "ok g12 killed"

ends 0 "$programs/loads" "$library" # as often, in itself
echo "ok g12 dlopen and dlclose"

# With a level in the environment, and only then, lines go to stderr.
for level in '' none; do
    KVREG_LOG=$level ends 0 "$programs/logs"
done
KVREG_LOG=error timeout 60 "$programs/logs" 2>"$scratch/stderr"
[ "$(cat "$scratch/stderr")" = 'kvreg error: shopping: bucket killed: on purpose' ] ||
    fail "KVREG_LOG=error"
KVREG_LOG=debug timeout 60 "$programs/logs" 2>"$scratch/stderr"
grep -q '^kvreg debug: .*unexpected message in registry: "hello"$' "$scratch/stderr" ||
    fail "KVREG_LOG=debug"
echo "ok g10 KVREG_LOG"

# What the library asks the system for. Loading: only files of the loader.
calls=clone,clone3,fork,vfork,socket,pipe,pipe2,eventfd2,epoll_create1,open,openat,timerfd_create
ends 0 strace -f -qq -e trace=$calls,rt_sigaction,write -o "$scratch/trace" "$programs/needs"
# until MARK: what was asked for until then, without the loader's files.
until_mark() {
    sed "/write(1, \"== $1/,\$d" "$scratch/trace" |
        grep -vE 'write\(|open(at)?\(.*(\.so|/ld\.so\.cache|glibc-hwcaps|ENOENT|/proc/|/sys/)' || true
}
[ -z "$(until_mark loaded)" ] || { until_mark loaded; fail "loading asks for more than files"; }
[ -z "$(until_mark worked)" ] || { until_mark worked; fail "servers ask for more than memory"; }
first_cast=$(until_mark cast)
threads=$(grep -cE 'clone3?\(' <<<"$first_cast")
[ "$threads" -le 4 ] || fail "$threads threads for the first cast"
if grep -E 'socket\(|pipe2?\(|timerfd|fork\(' <<<"$first_cast"; then
    fail "the first cast asks for more than threads and their poll"
fi
echo "ok g10 loading starts nothing, the first cast that waits $threads threads"
