#!/usr/bin/env bash
# Links what is shipped from cargo's static library:
#
#   link.sh ARCHIVE DIRECTORY [DEBUG]
#
# puts libkvreg.a and libkvreg.so.VERSION with its two links into DIRECTORY. CC is the compiler that
# links (cc unless set), with LDFLAGS; CROSS_COMPILE is what the names of another machine's tools begin
# with (aarch64-linux-gnu-); VERSION is asked of the caller.
#
# Of an engine's ARCHIVE, libkvreg_NAME.a, it makes libkvreg_NAME.a and libkvreg_NAME.so, which has no
# version: kvreg looks for it by that name, and each asks the other for the ABI of engines.
#
# Debug information is there if cargo was asked for it, by CARGO_PROFILE_RELEASE_DEBUG. It stays in
# both libraries, unless there is a DEBUG. Then that directory gets what belongs beside the libraries: a
# file that debuggers find by its place, in .debug, and by the build ID, in debug/.build-id; and the
# static library with debug information, debug/libkvreg.a.
#
# The functions of abi/kvreg.map are all that either shows; of an engine, kvreg_NAME_engine and, in the
# shared library alone, kvreg_engine_init, which every engine has. Rust's static library would show
# some forty symbols of its own run-time, over which two such libraries in one program collide; and
# rustc's shared library cannot have versioned symbols, for rustc passes a version script of its own.
set -euo pipefail
archive=$1
directory=$2
debug=${3:-}
: "${VERSION:?the version, as major.minor.patch}"
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$archive" .a)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $name in
libkvreg)
    map=$here/abi/kvreg.map
    "$here/abi/names.sh" >"$work/names"
    hidden=()
    soname=$name.so.${VERSION%%.*}
    file=$name.so.$VERSION
    ;;
*)
    map=$work/map
    printf '%s\n' kvreg_engine_init "kvreg_${name#libkvreg_}_engine" >"$work/names"
    { echo '{ global:' && sed 's/$/;/' "$work/names" && echo 'local: *; };'; } >"$map"
    hidden=(--localize-symbol=kvreg_engine_init)
    soname=$name.so
    file=$soname
    ;;
esac
tools=${CROSS_COMPILE:-}
if [ -z "${CC:-}" ] && [ -n "$tools" ]; then
    CC=${tools}gcc
fi

case ${CARGO_PROFILE_RELEASE_DEBUG:-0} in
0 | false | none) asked= ;;
*) asked=yes ;;
esac

sed 's/^/-u/' "$work/names" >"$work/roots"

# One object of what the functions reach. Without groups: in another Rust library they have the
# same names, and a linker would keep one of the two.
"${tools}ld" -r --whole-archive "$archive" --no-whole-archive --gc-sections \
    --force-group-allocation @"$work/roots" -o "$work/all.o"
"${tools}objcopy" --remove-section=.comment --remove-section=.llvmbc --remove-section=.llvmcmd \
    --keep-global-symbols="$work/names" "$work/all.o" "$work/whole.o"
"${tools}objcopy" --strip-unneeded "$work/whole.o" "$work/stripped.o"

mkdir -p "$directory"
rm -f "$directory/$name".*
pack() { # OBJECT LIBRARY
    local object=$work/${name#lib}.o
    "${tools}objcopy" ${hidden[@]+"${hidden[@]}"} "$1" "$object"
    "${tools}ar" rcsD "$2" "$object"
}
if [ -n "$asked" ] && [ -z "$debug" ]; then
    pack "$work/whole.o" "$directory/$name.a"
else
    pack "$work/stripped.o" "$directory/$name.a"
fi
# What becomes of local symbols is told below; without debug information they are left out at once.
[ -n "$asked" ] && linked=whole strip_linked= || { linked=stripped && strip_linked=-Wl,-s; }

# It stays loaded once it is (nodelete): threads of its own, and destructors of thread-local
# storage in others', may outlive a dlclose.
library=$directory/$file
${CC:-cc} -shared -o "$library" "$work/$linked.o" \
    -Wl,-soname,"$soname" -Wl,--version-script="$map" \
    -Wl,-Bsymbolic -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now -Wl,-z,defs -Wl,-z,noexecstack -Wl,--gc-sections \
    -Wl,--as-needed -Wl,--hash-style=gnu -Wl,--build-id=sha1 $strip_linked \
    ${LDLIBS:-} -lm -lpthread -ldl ${LDFLAGS:-}
if [ "$file" != "$soname" ]; then
    ln -s "$file" "$directory/$soname"
    ln -s "$soname" "$directory/$name.so"
fi

[ -n "$debug" ] || exit 0
rm -rf "$debug"
mkdir -p "$debug/.debug" "$debug/debug"
pack "$work/whole.o" "$debug/debug/$name.a"
symbols=$debug/.debug/$file.debug
"${tools}objcopy" --only-keep-debug "$library" "$symbols"
chmod -x "$symbols"
"${tools}objcopy" --strip-all --add-gnu-debuglink="$symbols" "$library"
id=$("${tools}readelf" -n "$library" | sed -n 's/^ *Build ID: //p')
mkdir -p "$debug/debug/.build-id/${id:0:2}"
ln -s "../../../.debug/$(basename "$symbols")" "$debug/debug/.build-id/${id:0:2}/${id:2}.debug"
