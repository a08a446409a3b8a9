#!/usr/bin/env bash
# Builds kvreg.dll, libkvreg.dll.a and kvreg.def into the directory $1, with Debian's packages
# alone. Nothing in them tells when or where they were built.
set -eu
cd "$(dirname "$0")/../.."
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

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
IFS=. read -r major minor patch <<<"$version"
resource=$out/build/version.o
mkdir -p "$out/build"
$prefix-windres -DVERSION_MAJOR="$major" -DVERSION_MINOR="$minor" -DVERSION_PATCH="$patch" \
    -O coff packaging/windows/version.rc "$resource"

# The last prefix that fits is taken. The separator is one that no path has.
export CARGO_ENCODED_RUSTFLAGS
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' \
    "--remap-path-prefix=$cargo_home=/cargo" \
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust" \
    "--remap-path-prefix=$sources=/rust" \
    "--remap-path-prefix=$out/build=/build")--remap-path-prefix=$root=/kvreg

/usr/bin/cargo rustc --release --lib --crate-type cdylib --locked \
    -Zbuild-std=std,panic_unwind --target $target --target-dir "$out/build" -- \
    -C strip=symbols \
    -C link-arg="$resource" \
    -C link-arg=-static-libgcc \
    -C link-arg=-Wl,--no-insert-timestamp \
    -C link-arg=-Wl,--dynamicbase,--nxcompat,--high-entropy-va

cp "$out/build/$target/release/kvreg.dll" "$out/kvreg.dll"

# From what the DLL exports come the list of it and, of that, the import library.
{
    echo 'LIBRARY "kvreg.dll"'
    echo EXPORTS
    $prefix-objdump -p "$out/kvreg.dll" |
        sed -n '/Ordinal\/Name Pointer/,/^$/s/.* \(kvreg_[a-z_]*\)$/    \1/p' | LC_ALL=C sort
} >"$out/kvreg.def"
rm -f "$out/libkvreg.dll.a"
(cd "$out" && $prefix-dlltool --deterministic-libraries --temp-prefix kvreg \
    --input-def kvreg.def --output-lib libkvreg.dll.a)
ls -l "$out/kvreg.dll" "$out/libkvreg.dll.a" "$out/kvreg.def"
