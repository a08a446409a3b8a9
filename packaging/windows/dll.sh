#!/usr/bin/env bash
# Builds kvreg.dll, its import libraries, libkvreg.dll.a for MinGW and kvreg.lib for Microsoft's
# linker, and kvreg.def into the directory $1, with Debian's packages alone. Nothing in them tells
# when or where they were built. With an engine's name, $2, it is the engine: kvreg_NAME.dll and so on.
set -eu
cd "$(dirname "$0")/../.."
engine=${2:-}
name=kvreg${engine:+_$engine}
mkdir -p "$1"
out=$(cd "$1" && pwd)
root=$PWD
target=x86_64-pc-windows-gnu
prefix=x86_64-w64-mingw32

# Not those of rustup, which may come first in PATH: they have no standard library to build.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
unset RUSTUP_TOOLCHAIN CARGO RUSTC_WRAPPER RUSTDOC
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$($RUSTC --print sysroot)
sources=$(readlink -f "$sysroot/lib/rustlib/src/rust")

# The last prefix that fits is taken. The separator is one that no path has.
export CARGO_ENCODED_RUSTFLAGS
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' \
    "--remap-path-prefix=$cargo_home=/cargo" \
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust" \
    "--remap-path-prefix=$sources=/rust" \
    "--remap-path-prefix=$out/build=/build")--remap-path-prefix=$root=/kvreg

package=(--package kvreg)
[ -z "$engine" ] || package=(--package "kvreg-$engine" --config "engines/$engine/profile.toml")
/usr/bin/cargo rustc --release "${package[@]}" --lib --crate-type staticlib --locked \
    -Zbuild-std=std,panic_unwind --target $target --target-dir "$out/build"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
IFS=. read -r major minor patch <<<"$version"
$prefix-windres -DVERSION_MAJOR="$major" -DVERSION_MINOR="$minor" -DVERSION_PATCH="$patch" \
    -DNAME="$name" -O coff packaging/windows/version.rc "$out/build/version.o"
cp "$out/build/$target/release/lib$name.a" "$out/build/lib$name.a"

{
    echo "LIBRARY \"$name.dll\""
    echo EXPORTS
    if [ -n "$engine" ]; then
        printf '%s\n' kvreg_engine_init "kvreg_${engine}_engine"
    else
        packaging/abi/names.sh
    fi | sed 's/^/    /'
} >"$out/$name.def"
sed -n 's/^    /-Wl,-u,/p' "$out/$name.def" >"$out/build/roots"

# By relative names: the linker sorts what is imported by the names of the libraries that say so.
cd "$out"
$prefix-gcc -shared $name.def @build/roots build/lib$name.a build/version.o -o $name.dll \
    -static-libgcc -Wl,--gc-sections,--no-insert-timestamp,-s \
    -Wl,--dynamicbase,--nxcompat,--high-entropy-va \
    -lkernel32 -lntdll -lws2_32 -luserenv
rm -f lib$name.dll.a
$prefix-dlltool --deterministic-libraries --temp-prefix $name \
    --input-def $name.def --output-lib lib$name.dll.a
llvm-dlltool -m i386:x86-64 -d $name.def -l $name.lib
ls -l $name.dll lib$name.dll.a $name.lib $name.def
