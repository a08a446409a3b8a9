#!/usr/bin/env bash
# The golden session from Elixir, with the sockets of the guide, against the host program.
# run.sh HOST_PROGRAM
set -eu
host_program=$1
directory=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
host=
trap 'if [ -n "$host" ]; then kill "$host" 2>/dev/null || true; fi; rm -rf "$scratch"' EXIT

fail() {
    echo "listener: $1" >&2
    [ ! -e "$scratch/host" ] || cat "$scratch/host" >&2
    [ ! -e "$scratch/elixir" ] || cat "$scratch/elixir" >&2
    exit 1
}

command -v elixir >/dev/null || fail "elixir is not installed"

# The host serves until the end of its input, which is the end of descriptor 3.
mkfifo "$scratch/commands" "$scratch/answers"
"$host_program" <"$scratch/commands" >"$scratch/answers" 2>"$scratch/host" &
host=$!
exec 3>"$scratch/commands" 4<"$scratch/answers"
read -r -t 60 address <&4 || fail "the host prints no address"
case $address in
127.0.0.1:[1-9]*) ;;
*) fail "not an address: $address" ;;
esac

# A locale it knows, or it warns.
status=0
LC_ALL=C.UTF-8 timeout 120 elixir "$directory/session.exs" "${address%:*}" "${address##*:}" \
    >"$scratch/session" 2>"$scratch/elixir" 3>&- 4<&- || status=$?
[ "$status" -eq 0 ] || fail "the session's exit status is $status"
[ "$(cat "$scratch/session")" = "session ok" ] || fail "the session was not carried out"

exec 3>&-
status=0
wait "$host" || status=$?
host=
[ "$status" -eq 0 ] || fail "the host's exit status is $status"
[ ! -s "$scratch/host" ] || fail "the host complains"
cat "$scratch/session"
