#!/usr/bin/env bash
# The functions of kvreg.map, sorted: all that a library shows.
set -euo pipefail
# The preprocessor takes the comments out.
${CC:-cc} -E -P -x c "$(dirname "$0")/kvreg.map" | grep -oE '\bkvreg_[a-z0-9_]+ *;' | tr -d ' ;' |
    LC_ALL=C sort -u
