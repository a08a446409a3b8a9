#!/usr/bin/env bash
# The files that a release archive for Linux has, or that for Windows, in order: contents.sh VERSION
# [windows]. Documents are those of the repository; the rest is listed.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${2:-}" = windows ]; then list=windows/contents.txt; else list=install/contents.txt; fi
{
    sed "s/VERSION/$1/" "$list"
    (cd .. && printf './share/doc/kvreg/%s\n' *.md docs/*.md docs/images/*.svg)
} | LC_ALL=C sort
