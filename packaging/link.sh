#!/usr/bin/env bash
# Links what is shipped from cargo's static library:
#
#   link.sh ARCHIVE DIRECTORY
#
# puts libkvreg.a and libkvreg.so.VERSION with its two links into DIRECTORY. CC is the compiler that
# links (cc unless set), with LDFLAGS; VERSION is asked of the caller. Debug information is kept if
# cargo was asked for it, by CARGO_PROFILE_RELEASE_DEBUG.
#
# The functions of abi/kvreg.map are all that either shows. Rust's static library would show some
# forty symbols of its own run-time, over which two such libraries in one program collide; and
# rustc's shared library cannot have versioned symbols, for rustc passes a version script of its
# own.
set -euo pipefail
archive=$1
directory=$2
: "${VERSION:?the version, as major.minor.patch}"
here=$(cd "$(dirname "$0")" && pwd)
map=$here/abi/kvreg.map
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case ${CARGO_PROFILE_RELEASE_DEBUG:-0} in
0 | false | none) strip=(--strip-unneeded) && strip_linked=-Wl,-s ;;
*) strip=() && strip_linked= ;;
esac

"$here/abi/names.sh" >"$work/names"
sed 's/^/-u/' "$work/names" >"$work/roots"

# One object of what the functions reach. Without groups: in another Rust library they have the
# same names, and a linker would keep one of the two.
ld -r --whole-archive "$archive" --no-whole-archive --gc-sections --force-group-allocation \
    @"$work/roots" -o "$work/all.o"
objcopy --remove-section=.comment --remove-section=.llvmbc --remove-section=.llvmcmd "$work/all.o"
objcopy --keep-global-symbols="$work/names" "${strip[@]}" "$work/all.o" "$work/kvreg.o"

mkdir -p "$directory"
rm -f "$directory"/libkvreg.*
ar rcsD "$directory/libkvreg.a" "$work/kvreg.o"

# It stays loaded once it is (nodelete): threads of its own, and destructors of thread-local
# storage in others', may outlive a dlclose.
soname=libkvreg.so.${VERSION%%.*}
${CC:-cc} -shared -o "$directory/libkvreg.so.$VERSION" "$work/kvreg.o" \
    -Wl,-soname,"$soname" -Wl,--version-script="$map" \
    -Wl,-Bsymbolic -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now -Wl,-z,defs -Wl,-z,noexecstack -Wl,--gc-sections \
    -Wl,--as-needed -Wl,--hash-style=gnu -Wl,--build-id=none $strip_linked \
    ${LDLIBS:-} -lm -lpthread -ldl ${LDFLAGS:-}
ln -s "libkvreg.so.$VERSION" "$directory/$soname"
ln -s "$soname" "$directory/libkvreg.so"
