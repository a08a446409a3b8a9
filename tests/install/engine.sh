#!/usr/bin/env bash
# The engine of file: URLs as it is installed: programs have it by its URL alone, and link it, shared and
# static, by pkg-config and by CMake; a static program has two Rust engines beside kvreg.
#
#   engine.sh PREFIX
set -euo pipefail
prefix=$(realpath "$1")
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

# A second engine: the same, under another name for its one function.
objcopy --redefine-sym kvreg_file_engine=kvreg_other_engine "$prefix/lib/libkvreg_file.a" libother.a
cat >two.c <<'EOF'
#include <kvreg_file.h>
#include <stdio.h>
const kvreg_engine *kvreg_other_engine(void);
int main(void) {
    int file = kvreg_engine_register("file", KVREG_NUL, kvreg_file_engine());
    int other = kvreg_engine_register("other", KVREG_NUL, kvreg_other_engine());
    printf("%d %d %d\n", file, other, kvreg_file_engine() != kvreg_other_engine());
    return kvreg_shutdown(1000);
}
EOF
for order in "libkvreg.a libkvreg_file.a" "libkvreg_file.a libkvreg.a"; do
    # shellcheck disable=SC2086,SC2046
    cc two.c $(pkg-config --cflags kvreg-file) ${order//lib/$prefix/lib/lib} libother.a \
        -lm -lpthread -ldl -o two
    [ "$(./two)" = "0 0 1" ] || fail "two engines in one program: $(./two)"
done
shown=$(nm -g --defined-only "$prefix/lib/libkvreg_file.a" | awk 'NF == 3 {print $3}')
[ "$shown" = kvreg_file_engine ] || fail "the static library shows $shown"
shown=$(nm -D --defined-only "$prefix/lib/libkvreg_file.so" | awk '{print $3}' | xargs)
[ "$shown" = "kvreg_engine_init kvreg_file_engine" ] || fail "the shared library shows $shown"
echo "ok two engines and kvreg in one static program"
