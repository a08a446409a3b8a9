#!/usr/bin/env bash
# How many instructions a call takes, against tests/instructions.txt. They do not depend on the
# machine's mood, but a little on compiler and libc: so a quarter more is too many. The program's
# own thread is counted, and it draws the same seeds each time: so a count can be had again.
# instructions.sh PROGRAM [--record]
set -eu
program=$1
record=$(dirname "$0")/instructions.txt
calls=10000

total() {
    valgrind --tool=callgrind --toggle-collect=main --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        awk '/Collected/ { print $4 }'
}

# Per call, and what the loop itself takes.
per_call() {
    echo $((($(total "$1" $((2 * calls))) - $(total "$1" "$calls")) / calls))
}

loop=$(per_call nothing)
failed=0
recorded=
declare -A of
for what in get put put_cast lookup update update_begin put_many put_many_anew get_entry put_entry put_if add_int put_watched put_unwatched call turn; do
    measured=$(($(per_call "$what") - loop))
    of[$what]=$measured
    recorded="$recorded$what $measured"$'\n'
    if [ "$measured" -le 0 ]; then
        echo "$what was not called" >&2
        exit 1
    fi
    [ "${2:-}" != --record ] || continue
    expected=$(awk -v what="$what" '$1 == what { print $2 }' "$record")
    echo "$what: $measured instructions, $expected recorded"
    if [ "$measured" -gt $((expected * 5 / 4)) ]; then
        echo "$what takes a quarter more than recorded: find out why, or run $0 $program --record" >&2
        failed=1
    fi
done
# What is promised whatever the compiler: one call takes at most so many hundredths of another.
at_most() {
    if [ "${of[$1]}" -gt $((of[$3] * $2 / 100)) ]; then
        echo "$1 takes more than $2 % of $3" >&2
        failed=1
    fi
}
at_most get_entry 125 get
at_most put_entry 125 put
at_most put_if 125 put
at_most add_int 100 put
at_most put_watched 200 put
at_most put_unwatched 105 put
at_most call 150 put

if [ "${2:-}" = --record ]; then
    printf '%s' "$recorded" >"$record"
    cat "$record"
fi
exit "$failed"
