#!/usr/bin/env bash
# Builds what is shipped: build.sh DIRECTORY puts libkvreg.a, libkvreg.so and the licences of what is
# in them there. RUSTFLAGS are cargo's; CC, LDFLAGS and VERSION are link.sh's.
set -euo pipefail
directory=$1
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')

# Paths of this machine would stand in the messages of panics, and where a registry's crates are
# differs from one to the next.
${CARGO:-cargo} fetch --locked --target "$host"
read -ra flags <<<"${RUSTFLAGS:-}" # which cargo does not read where there are encoded ones
flags+=(--remap-path-prefix="$PWD"=/kvreg)
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=(--remap-path-prefix="$crates"=/crates)
done
# The separator allows for any path.
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
${CARGO:-cargo} rustc --release --locked --lib --crate-type staticlib --target-dir target/ship
unset CARGO_ENCODED_RUSTFLAGS

packaging/link.sh target/ship/release/libkvreg.a "$directory"
python3 packaging/licenses.py "$host" "$directory/THIRD-PARTY-LICENSES.txt"
