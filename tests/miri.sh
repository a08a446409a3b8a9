#!/usr/bin/env bash
# The core under Miri, which comes with a nightly toolchain.
#
# What the table, the collector and the handles do is checked with strict provenance: each pointer
# is made of one that may reach there. Not so what holds values: the address of a shared text lies
# in the word that else is a number, and is exposed for that. Nor are leaks looked for there: what
# waits to be freed as the process ends is led to by such words only, which Miri does not follow.
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
    handle_table:: runtime:: server:: store:: sync:: table_tests:: value:: --skip capi:: --skip value::blob::
values="$flags -Zmiri-permissive-provenance -Zmiri-ignore-leaks"
miri "$values" --lib -- value::blob::
miri "$values" --test sound
miri "$values" --test process_model
