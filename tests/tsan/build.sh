#!/usr/bin/env bash
# Builds libkvreg.so with ThreadSanitizer in kvreg, its dependencies and std, of the sources in
# the directory $1 into the directory $2, with Debian's packages alone: std has to be built too,
# and rustup's stable toolchain cannot do that.
set -eu
mkdir -p "$2"
out=$(cd "$2" && pwd)
work=$(cd "$(dirname "$0")/../.." && pwd)/target/tsan
target=$(uname -m)-unknown-linux-gnu

# Not those of rustup, which may come first in PATH.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
unset RUSTUP_TOOLCHAIN CARGO RUSTC_WRAPPER RUSTDOC CARGO_ENCODED_RUSTFLAGS || true
export RUSTFLAGS="-Zsanitizer=thread --cfg kvreg_tsan"
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=1

(cd "$1" && /usr/bin/cargo rustc --quiet --release --lib --crate-type cdylib \
    -Zbuild-std=std,panic_unwind --target "$target" --target-dir "$work/build")
cp "$work/build/$target/release/libkvreg.so" "$out/libkvreg.so"
