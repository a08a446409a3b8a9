#!/usr/bin/env bash
# The files that a release archive for Linux has, or that for Windows, in order: contents.sh VERSION
# [windows], with what COMPONENTS add. Documents are those of the repository; the rest is listed.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${2:-}" = windows ]; then lists=windows/contents; else lists=install/contents; fi
{
    sed "s/VERSION/$1/" "$lists.txt"
    for component in ${COMPONENTS:-}; do
        sed "s/ENGINE/$component/" "$lists-engine.txt"
    done
    (cd .. && printf './share/doc/kvreg/%s\n' *.md docs/*.md docs/images/*.svg)
} | LC_ALL=C sort
