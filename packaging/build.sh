#!/usr/bin/env bash
# Builds what is shipped:
#
#   build.sh DIRECTORY [ENGINE]
#
# puts libkvreg.a, libkvreg.so and the licences of what is in them there, for the system that cargo
# builds for: CARGO_BUILD_TARGET's, that of its configuration, else this one. CC, CROSS_COMPILE, LDFLAGS
# and VERSION are link.sh's, RUSTFLAGS and CARGO_TARGET_DIR cargo's. With an ENGINE, the name of a
# directory in engines, it is that alone: libkvreg_ENGINE.a and libkvreg_ENGINE.so.
#
# What debuggers need goes into DIRECTORY-debug, unless CARGO_PROFILE_RELEASE_DEBUG is set: then it
# stays where cargo puts it.
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$1
engine=${2:-}
if [ -n "$engine" ]; then
    package=(--package "kvreg-$engine" --config "engines/$engine/profile.toml")
else
    package=(--package kvreg)
fi
debug=
if [ -z "${CARGO_PROFILE_RELEASE_DEBUG+set}" ]; then
    # Functions and lines.
    export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
    debug=$directory-debug
fi
host=$(rustc -vV | sed -n 's/^host: //p')

# Paths of this machine would stand in the messages of panics, and where a registry's crates are
# differs from one to the next.
${CARGO:-cargo} fetch --locked --target "$host" \
    ${CARGO_BUILD_TARGET:+--target "$CARGO_BUILD_TARGET"}
read -ra flags <<<"${RUSTFLAGS:-}" # which cargo does not read where there are encoded ones
flags+=(--remap-path-prefix="$PWD"=/kvreg)
printf -v maps '%s %q' "${CFLAGS:-}${debug:+ -g1}" "-ffile-prefix-map=$PWD=/kvreg"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=(--remap-path-prefix="$crates"=/crates)
    printf -v maps '%s %q' "$maps" "-ffile-prefix-map=$crates=/crates"
done
# The separator allows for any path.
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
# What crates have of C is compiled by the same compiler, from their directories. What of it is in
# debug information is functions and lines, too.
of_c=(CFLAGS="$maps" CC_SHELL_ESCAPED_FLAGS=1)
[ ! -x "${CC:-}" ] || of_c+=(CC="$(realpath -s "$CC")")
# Where it is depends on what cargo builds for, which only cargo knows.
built=$(env "${of_c[@]}" ${CARGO:-cargo} rustc --release --locked "${package[@]}" --lib \
    --crate-type staticlib --target-dir "${CARGO_TARGET_DIR:-target}/ship" --message-format json-render-diagnostics |
    python3 packaging/built.py "libkvreg${engine:+_$engine}.a")
unset CARGO_ENCODED_RUSTFLAGS

# SHIP/TRIPLE/release/LIBRARY, or without the triple.
target=$(basename "$(dirname "$(dirname "$built")")")
[ "$target" != ship ] || target=$host
case $target in
*-linux-gnu*) ;;
*)
    echo "build.sh: this is for Linux with glibc, and cargo builds for $target" >&2
    exit 1
    ;;
esac
# Debian's names of a cross compiler and its linker: those of the target without the vendor.
if [ "${target%%-*}" != "${host%%-*}" ]; then
    export CROSS_COMPILE=${CROSS_COMPILE-${target%%-*}-${target#*-*-}-}
fi
packaging/link.sh "$built" "$directory" ${debug:+"$debug"}
python3 packaging/licenses.py "$target" \
    "$directory/THIRD-PARTY-LICENSES${engine:+-$engine}.txt" ${engine:+"$engine"}
