#!/usr/bin/env bash
# Fuzzes the table for so many seconds: with libFuzzer and AddressSanitizer, as `cargo fuzz run`
# builds it, but by the toolchain that is there. What it found first stays in target/fuzz/corpus;
# what fails, in target/fuzz/artifacts.
# run.sh SECONDS
set -eu
cd "$(dirname "$0")/../.."
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p target/fuzz/corpus target/fuzz/artifacts

RUSTC_BOOTSTRAP=1 \
    RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address \
-Cunsafe-allow-abi-mismatch=sanitizer" \
    ${CARGO:-cargo} build --release --locked --manifest-path tests/fuzz/Cargo.toml \
    --target "$host" --target-dir target/fuzz
"target/fuzz/$host/release/table" target/fuzz/corpus -artifact_prefix=target/fuzz/artifacts/ \
    -max_total_time="$1" -max_len=4096 -print_final_stats=1
