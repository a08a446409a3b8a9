#!/usr/bin/env bash
# The engines in a release archive for this machine, from the archive alone; the rest of it run.sh tests.
#
#   shipped.sh ARCHIVE GLIBC
#
# COMPONENTS are the engines that it is to have.
set -euo pipefail
archive=$(realpath "$1")
glibc=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

tar -xzf "$archive" -C "$work"
tar -xzf "${archive%.tar.gz}-debug.tar.gz" -C "$work" --one-top-level=debug --strip-components=1
prefix=$work/$(basename "$archive" .tar.gz)
(cd "$prefix" && find . ! -type d | LC_ALL=C sort) | diff <("$here/contents.sh" "$VERSION") - ||
    fail "the archive has other files than contents.txt and contents-engine.txt"
for component in $COMPONENTS; do
    library=$prefix/lib/libkvreg_$component.so
    dynamic=$(readelf -dW "$library")
    grep -q "Library soname: \[libkvreg_$component.so\]" <<<"$dynamic" || fail "SONAME"
    grep -q 'FLAGS_1.*NOW.*NODELETE' <<<"$dynamic" || fail "NOW and NODELETE"
    ! grep -qE 'TEXTREL|RPATH|RUNPATH' <<<"$dynamic" || fail "text relocations, or a path of its own"
    needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic")
    ! grep -vE '^(ld-linux-.*|lib(c|dl|m|pthread))\.so\.[0-9]$' <<<"$needed" || fail "it needs others than glibc"
    newest=$({ objdump -T "$library" | grep -oP 'GLIBC_\K[0-9.]+' && echo "$glibc"; } | sort -V | tail -n 1)
    [ "$newest" = "$glibc" ] || fail "it needs glibc $newest"
    id=$(readelf -n "$library" | sed -n 's/^ *Build ID: //p')
    symbols=$work/debug/lib/debug/.build-id/${id:0:2}/${id:2}.debug
    # With names, which the library has not.
    nm "$symbols" | grep " kvreg_${component}_engine$" >/dev/null || fail "no debug information by $id"
    for file in "$library" "${library%.so}.a" "$symbols"; do
        ! strings -a "$file" | grep -F -e "$root" -e "$HOME/" -e "${CARGO_HOME:-$HOME/.cargo}" ||
            fail "$file tells where it was built"
    done
done
echo "ok the engines in the archive: $COMPONENTS"
case $COMPONENTS in
'') ;;
'file nats') "$here/engine.sh" "$prefix" nats://127.0.0.1:1 KVREG_IO ;;
*) fail "nothing tests the engines $COMPONENTS" ;;
esac
