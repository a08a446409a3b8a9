#!/usr/bin/env bash
# Builds the DLL from a copy of the sources in another directory, and compares it with that in $1.
set -eu
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/elsewhere"
tar -c --exclude=./target --exclude=./.git --exclude=./.venv . | tar -x -C "$copy/elsewhere"
"$copy/elsewhere/packaging/windows/dll.sh" "$copy/made"
for file in kvreg.dll libkvreg.dll.a kvreg.def; do
    cmp "$1/$file" "$copy/made/$file"
done
echo "test-windows-reproducible: two builds in different directories are the same"
