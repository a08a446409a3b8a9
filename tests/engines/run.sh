#!/usr/bin/env bash
# What an engine must do, plainly and under valgrind: run.sh VALGRIND DIRECTORY SCHEME ENGINE
# DIRECTORY has the program; a folder of its own is where the engine keeps everything.
set -euo pipefail
read -ra valgrind <<<"$1"
program=$2/conformance scheme=$3 engine=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo "== the engine of $scheme:"
mkdir "$folder/plainly" "$folder/slowly"
"$program" "$scheme:$folder/plainly" "$engine"
echo "== the engine of $scheme: under valgrind"
KVREG_TEST_COUNT=20 "${valgrind[@]}" "$program" "$scheme:$folder/slowly" "$engine"
