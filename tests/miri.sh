#!/usr/bin/env bash
# The core under Miri, which comes with a nightly toolchain.
#
# What the table, the collector and the handles do is checked with strict provenance: each pointer
# is made of one that may reach there. Not so what holds values, nor batches: the address of a
# shared text lies in the word that else is a number, and that of the entry which one of a batch
# stands for lies where else its hash is; they are exposed for that. Nor are leaks looked for there:
# what waits to be freed as the process ends is led to by such words only, which Miri does not
# follow. What evicting buckets remember is left out: it has no `unsafe`, and its tests are long.
set -eu
cd "$(dirname "$0")/.."
if ! rustup component add miri rust-src --toolchain nightly >/dev/null 2>&1 ||
    ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "test-miri: there is no Miri here: rustup toolchain install nightly --component miri,rust-src" >&2
    exit 1
fi

# What asks the system for time and numbers is not kept from it.
flags="-Zmiri-disable-isolation"
miri() {
    MIRIFLAGS=$1 cargo +nightly miri test --target-dir target/miri --quiet "${@:2}"
}
miri "$flags -Zmiri-strict-provenance" --lib -- \
    handle_table:: runtime:: server:: store:: sync:: table_tests:: value:: --skip capi:: --skip value::blob:: \
    --skip eviction::ghost:: --skip eviction::queue:: --skip eviction::tests::who_observes
values="$flags -Zmiri-permissive-provenance -Zmiri-ignore-leaks"
miri "$values" --lib -- value::blob:: eviction::tests::who_observes
miri "$values" --test sound
miri "$values" --test process_model
miri "$values" --test rust_servers
echo "test-miri: nothing that was done is undefined"
