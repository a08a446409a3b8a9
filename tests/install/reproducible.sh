#!/usr/bin/env bash
# The same sources in another directory make the same archive: reproducible.sh ARCHIVE TARGET, with the
# make target that makes it.
set -euo pipefail
archive=$(realpath "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
other="$work/an other directory"

# What is in the repository and what will be, but nothing that was built.
mkdir "$other"
(cd "$root" && git ls-files -z --cached --others --exclude-standard |
    tar -c --null --files-from=- --ignore-failed-read) | tar -x -C "$other"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
(umask 077 && make -s -C "$other" "$2" VENV="$root/.venv")
cmp "$archive" "$other/target/archives/$(basename "$archive")"
echo "ok two directories, one archive, by $2"
