#!/usr/bin/env bash
# The engines as they are installed: programs have that of file: URLs by its URL alone, and link it,
# shared and static, by pkg-config and by CMake; and a program has two Rust engines beside kvreg.
#
#   engine.sh PREFIX [URL STATUS]
#
# The second, of nats: URLs, may be another one by that name. With a URL, where nobody is, it is itself,
# and a bucket there answers with the STATUS.
set -euo pipefail
prefix=$(realpath "$1")
url=(${2:+"$2"})
status=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/stores/* "$work"
cd "$work"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
unset LD_LIBRARY_PATH

fail() {
    echo "$*" >&2
    exit 1
}
visits=0
# One visit more than before, all in one file: counts COMMAND...
counts() {
    visits=$((visits + 1))
    said=$("$@" "file:$work/kept") || fail "$*: $said"
    [ "$said" = $visits ] || fail "$*: says '$said', not $visits"
}
strict=(-std=c11 -Wall -Wextra -Wpedantic -Werror stores.c)

# shellcheck disable=SC2046 # flags are words, here and below
{
    cc "${strict[@]}" $(pkg-config --cflags --libs kvreg) -o found
    cc "${strict[@]}" -DENGINE $(pkg-config --cflags --libs kvreg-file) -o linked
    cc "${strict[@]}" -DENGINE -static $(pkg-config --static --cflags --libs kvreg-file) \
        -o whole 2>whole.log || { cat whole.log && fail "cc -static"; }
}
counts env LD_LIBRARY_PATH="$prefix/lib" ./found
counts env LD_LIBRARY_PATH="$prefix/lib" ./linked
counts ./whole
[ "$(ldd whole 2>&1 | tr -d '\t')" = 'not a dynamic executable' ] || fail "it is not static"
echo "ok programs by pkg-config, one of them static"

cmake -S . -B built -DCMAKE_PREFIX_PATH="$prefix" -DASKED='COMPONENTS;file' >cmake.log 2>&1 &&
    cmake --build built >cmake.log 2>&1 || { cat cmake.log && fail "cmake"; }
for program in found linked static; do
    counts "built/$program"
done
! ldd built/static | grep kvreg || fail "kvreg::file-static is not static"
echo "ok programs by CMake's component"

both() { # COMMAND...
    local said
    said=$("$@" ${url[@]+"${url[@]}"}) || fail "$*: $said"
    [ "$said" = "0 0 1${status:+ $status}" ] || fail "$*: says '$said'"
}
strict=(-std=c11 -Wall -Wextra -Wpedantic -Werror two.c)
# shellcheck disable=SC2046
{
    cc "${strict[@]}" $(pkg-config --cflags --libs kvreg-file kvreg-nats) -o two
    cc "${strict[@]}" -static $(pkg-config --static --cflags --libs kvreg-nats kvreg-file) \
        -o whole 2>whole.log || { cat whole.log && fail "cc -static"; }
}
both env LD_LIBRARY_PATH="$prefix/lib" ./two
both ./whole
for order in "libkvreg.a libkvreg_file.a libkvreg_nats.a" "libkvreg_nats.a libkvreg_file.a libkvreg.a"; do
    # shellcheck disable=SC2086,SC2046
    cc two.c $(pkg-config --cflags kvreg-file) ${order//lib/$prefix/lib/lib} -lm -lpthread -ldl -o two
    both ./two
done
cmake -S . -B built -DCMAKE_PREFIX_PATH="$prefix" -DASKED='COMPONENTS;file;nats' >cmake.log 2>&1 &&
    cmake --build built >cmake.log 2>&1 || { cat cmake.log && fail "cmake"; }
both built/two
both built/two-static
! ldd built/two-static | grep kvreg || fail "kvreg::nats-static is not static"
for engine in file nats; do
    shown=$(nm -g --defined-only "$prefix/lib/libkvreg_$engine.a" | awk 'NF == 3 {print $3}')
    [ "$shown" = "kvreg_${engine}_engine" ] || fail "the static library shows $shown"
    shown=$(nm -D --defined-only "$prefix/lib/libkvreg_$engine.so" | awk '{print $3}' | xargs)
    [ "$shown" = "kvreg_engine_init kvreg_${engine}_engine" ] || fail "the shared library shows $shown"
done
echo "ok two engines and kvreg in one program, shared and static"
