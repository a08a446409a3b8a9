#!/usr/bin/env bash
# A shell, that in C or that in Python: in a pipe, from a file, at a terminal, and when something
# goes wrong.
set -eu
shell=$1
library=${2:-} # none where the compiler that is here makes no engines for it
root=$(dirname "$0")/../..
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
passed=0

# $1 a name, $2 what is expected, $3 what was seen
is() {
    if [ "$2" != "$3" ]; then
        printf '%s:\nexpected: %q\nseen:     %q\n' "$1" "$2" "$3" >&2
        echo "$passed passed, 1 failed"
        exit 1
    fi
    passed=$((passed + 1))
}

session=$'CREATE shopping\nPUT shopping milk 1\r\nGET shopping milk\n\nGET shopping'
replies=$'OK\r\nOK\r\n1\r\nOK\r\nUNKNOWN COMMAND\r\nUNKNOWN COMMAND\r\n'
is "a pipe" "$replies" "$(printf '%s' "$session" | "$shell"; printf x | tr -d x)"$'\n'
printf '%s' "$session" >"$directory/session"
is "a file" "$replies" "$("$shell" "$directory/session")"$'\n'
is "no line at all" "" "$("$shell" </dev/null)"

# A failure is an ERROR, and the shell goes on.
seen=$(printf 'CREATE \xff\nCREATE a\n' | "$shell" 2>"$directory/stderr")
is "a failure" $'ERROR\r\nOK\r' "$seen"
grep -q 'invalid argument' "$directory/stderr"

# Any bytes, and a line of any length.
long=$(printf '%1000000s' '' | tr ' ' x)
seen=$(printf 'CREATE a\nPUT a k %s\nGET a k\n' "$long" | "$shell")
is "a long line" $'OK\r\nOK\r\n'"$long"$'\r\nOK\r' "$seen"
seen=$(printf 'CREATE a\nPUT a \xff \0\xfe\nGET a \xff\n\0\n' | "$shell" | od -An -c | tr -d ' \n')
is "any bytes" 'OK\r\nOK\r\n\0376\r\nOK\r\nUNKNOWNCOMMAND\r\n' "$seen"

# Each reply comes before the next line is read.
mkfifo "$directory/lines" "$directory/answers"
"$shell" <"$directory/lines" >"$directory/answers" &
exec 3>"$directory/lines" 4<"$directory/answers"
for command in 'CREATE a' 'PUT a b c'; do
    echo "$command" >&3
    read -r answer <&4
    is "a conversation" $'OK\r' "$answer"
done
exec 3>&- 4<&-
wait

# At a terminal it prompts. What it keeps of that is not the user's.
seen=$(printf 'CREATE a\n' |
    XDG_STATE_HOME=$directory timeout 60 script -qec "$shell" /dev/null | tr -d '\r')
case "$seen" in
*'> '*OK*) passed=$((passed + 1)) ;;
*) is "a terminal" "> ... OK" "$seen" ;;
esac

# A store that cannot be opened is a failure of each CREATE; without a URL there is none.
seen=$(printf 'CREATE a\nGET a k\n' | "$shell" --store none: 2>"$directory/stderr")
is "a store of no engine" $'ERROR\r\nNOT FOUND\r' "$seen"
grep -q 'no engine has this scheme' "$directory/stderr"
seen=$(printf 'CREATE a\n' >"$directory/create"; "$shell" --store none: "$directory/create" 2>&1 >/dev/null)
grep -q 'no engine has this scheme' <<<"$seen"
status=0
"$shell" --store 2>/dev/null || status=$?
is "a store without a URL" 2 "$status"

# What an engine beside the library keeps is there in the next session.
keeping() {
    KVREG_LIBRARY=$directory/lib/libkvreg.so LD_LIBRARY_PATH=$directory/lib \
        "$shell" --store "file:$directory/buckets"
}
if [ -n "$library" ]; then
    mkdir "$directory/lib" "$directory/buckets"
    cp "$library" "$directory/lib"
    sed 's/"dir:"/"file:"/; s/add("dir"/add("file"/' "$root/engines/dir/dir.c" >"$directory/file.c"
    cc -std=c11 -shared -fPIC "-I$root/include" "$directory/file.c" \
        -o "$directory/lib/libkvreg_file.so"
    is "a session with a store" $'OK\r\nOK\r' "$(printf 'CREATE a\nPUT a k v\n' | keeping)"
    is "the next session" $'OK\r\nv\r\nOK\r' "$(printf 'CREATE a\nGET a k\n' | keeping)"
fi

status=0
"$shell" "$directory/none" 2>/dev/null || status=$?
is "a missing file" 1 "$status"
status=0
"$shell" --unknown 2>/dev/null || status=$?
is "an unknown option" 2 "$status"
"$shell" --help | grep -q usage
"$shell" --version | grep -q '^kvreg [0-9]'
status=0
printf 'CREATE a\n' | "$shell" >/dev/full 2>/dev/null || status=$?
is "a full disk" 1 "$status"
for option in --help --version; do
    status=0
    "$shell" $option >/dev/full 2>/dev/null || status=$?
    is "a full disk, $option" 1 "$status"
done

status=0
"$shell" <&- 2>/dev/null || status=$?
is "closed input" 1 "$status"
status=0
printf 'CREATE a\n' | "$shell" >&- 2>/dev/null || status=$?
is "closed output" 1 "$status"
status=0
"$shell" "$directory" 2>/dev/null || status=$?
is "a directory" 1 "$status"

# A line too long for memory is told: half of it is not carried out.
status=0
head -c 400000000 /dev/zero | (ulimit -v 300000 && exec "$shell") >"$directory/stdout" \
    2>"$directory/stderr" || status=$?
is "a line too long for memory" "1 " "$status $(cat "$directory/stdout")"
grep -q reading "$directory/stderr"

# Who reads no more, or interrupts, is no failure to tell.
mkfifo "$directory/replies"
(
    exec 5<"$directory/replies"
    read -r <&5
) &
status=0
yes 'CREATE a' | "$shell" >"$directory/replies" 2>"$directory/stderr" || status=$?
is "a reader that leaves" "141 " "$status $(cat "$directory/stderr")"
wait

echo "shell: $passed passed, 0 failed"
