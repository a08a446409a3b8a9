#!/usr/bin/env bash
# What an engine must do, plainly, and under valgrind if that is given:
# run.sh PROGRAM SCHEME ENGINE [VALGRIND]
# What the engine keeps is in a folder of its own.
set -euo pipefail
program=$1 scheme=$2 engine=$3
read -ra valgrind <<<"${4:-}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo "== the engine of $scheme:"
mkdir "$folder/plainly" "$folder/slowly"
case $scheme in
file) place=$folder/plainly/stored ;;
*) place=$folder/plainly ;;
esac
"$program" "$scheme:$place" "$engine"
if [ ${#valgrind[@]} -gt 0 ]; then
    echo "== the engine of $scheme: under valgrind"
    # Children are killed, and what they leave is their parent's.
    KVREG_TEST_COUNT=20 "${valgrind[@]}" --child-silent-after-fork=yes "$program" "$scheme:$folder/slowly" "$engine"
fi
