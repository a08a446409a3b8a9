#!/usr/bin/env bash
# From the release archive and the wheel for aarch64 alone: the C tests, the shells in C and Python, and
# the package's session, run by QEMU with a C library and a Python of Debian's.
#
#   run.sh ARCHIVE WHEEL DIRECTORY
#
# CC compiles for aarch64; in DIRECTORY stays what took time to get.
set -euo pipefail
archive=$(realpath "$1")
wheel=$(realpath "$2")
directory=$3
cd "$(dirname "$0")/../.."
tests/aarch64/debian.sh "$directory/debian"
debian=$(realpath "$directory/debian/root")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

tar -xzf "$archive" -C "$work"
prefix=$work/$(basename "$archive" .tar.gz)
library=$prefix/lib/libkvreg.so
readelf -hW "$library" | grep 'Machine: *AArch64' >/dev/null || fail "the library is not for aarch64"
readelf -n "$library" | grep 'Build ID' >/dev/null || fail "it has no build ID"
newest=$(readelf -VW "$library" | grep -oP 'GLIBC_\K[0-9.]+' | sort -V | tail -n 1)
[ "$newest" = 2.17 ] || fail "it needs glibc $newest"
(cd "$prefix" && find . ! -type d | LC_ALL=C sort) >"$work/files"
tests/install/contents.sh "$VERSION" | diff - "$work/files" || fail "the archive has other files"
echo "ok the archive"

# A program as one command. The emulator's own options hide this machine's library path.
run() { qemu-aarch64 -L "$debian" -E LD_LIBRARY_PATH="$prefix/lib" "$@"; }
compile() { # SOURCE PROGRAM FLAGS...
    $CC -std=c11 -Wall -Wextra -Wpedantic -Werror -O1 -g -pthread "$1" -I"$prefix/include" \
        -o "$2" "${@:3}"
}
for source in tests/c/test_*.c; do
    test=$(basename "$source" .c)
    compile "$source" "$work/$test" -L"$prefix/lib" -lkvreg
    echo "== $test"
    KVREG_TEST_EMULATED=1 KVREG_TEST_COUNT=1000 run "$work/$test"
done
compile tests/c/test_guide.c "$work/static" "$prefix/lib/libkvreg.a" -lunwind -lm -ldl
echo "== test_guide, with the static library"
run "$work/static"

# The engine of file: URLs beside the library, and linked.
if [[ " ${COMPONENTS:-} " == *" file "* ]]; then
    compile tests/install/stores/stores.c "$work/found" -L"$prefix/lib" -lkvreg
    compile tests/install/stores/stores.c "$work/linked" -DENGINE "$prefix"/lib/libkvreg{,_file}.a \
        -lunwind -lm -ldl
    [ "$(run "$work/found" "file:$work/kept")" = 1 ] || fail "the engine of file: URLs"
    [ "$(run "$work/linked" "file:$work/kept")" = 2 ] || fail "the engine of file: URLs, linked"
    echo "ok the engine of file: URLs"
fi
if [[ " ${COMPONENTS:-} " == *" nats "* ]]; then
    compile tests/install/stores/two.c "$work/two" "$prefix"/lib/libkvreg{,_nats,_file}.a \
        -lunwind -lm -ldl
    said=$(run "$work/two" nats://127.0.0.1:1)
    [ "$said" = "0 0 1 KVREG_IO" ] || fail "the engine of nats: URLs, linked: $said"
    echo "ok the engine of nats: URLs"
fi

command_of() { # NAME PROGRAM...: an executable that runs the program
    {
        echo '#!/bin/sh'
        printf 'exec qemu-aarch64 -L "%s" -E LD_LIBRARY_PATH="%s" ' "$debian" "$prefix/lib"
        printf '"%s" ' "${@:2}"
        echo '"$@"'
    } >"$work/$1"
    chmod +x "$work/$1"
}
compile bindings/c/shell.c "$work/shell.bin" -L"$prefix/lib" -lkvreg
command_of shell "$work/shell.bin"
tests/c/shell.sh "$work/shell"
echo "ok the shell in C"

python3 -m zipfile -e "$wheel" "$work/package"
[[ $wheel == *-cp311-abi3-*manylinux_2_17_aarch64.whl ]] || fail "the wheel is ${wheel##*/}"
cmp "$library" "$work/package/kvreg/libkvreg.so" || fail "the wheel has another library"
command_of python "$debian/usr/bin/python3"
export PYTHONPATH=$work/package PYTHON=$work/python
[ "$("$PYTHON" -c 'import platform; print(platform.machine())')" = aarch64 ] || fail "Python's machine"
cp bindings/python/demo.py "$work" # away from the checkout's package
"$PYTHON" -W error "$work/demo.py"
# By a pipe: QEMU's terminal is not one that Python's line editing can do with.
said=$(printf 'CREATE a\nPUT a b c\nGET a b\nnone\n' | "$PYTHON" -W error -m kvreg | tr '\r\n' '  ')
[ "$said" = 'OK  OK  c  OK  UNKNOWN COMMAND  ' ] || fail "the shell in Python says $said"
echo "ok the wheel, in $("$PYTHON" --version)"
echo "test-aarch64: all passed under QEMU"
