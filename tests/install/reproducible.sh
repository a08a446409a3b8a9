#!/usr/bin/env bash
# The same sources in another directory make the same archives: reproducible.sh TARGET ARCHIVE..., with
# the make target that makes them and their names.
set -euo pipefail
target=$1
shift
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
(umask 077 && make -s -C "$other" "$target" TOOLS="$root/target/tools")
for archive; do
    cmp "$root/target/archives/$archive" "$other/target/archives/$archive"
done
echo "ok two directories, the same archives, by $target"
