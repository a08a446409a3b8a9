#!/usr/bin/env bash
# The library exports exactly the functions that the header declares and does not define.
set -eu
library=$1
header=$(dirname "$0")/../../include/kvreg.h

# What is exported, without the versions and their marks.
exported=$(nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | grep -v '^KVREG_' | sort)
# The preprocessor leaves declarations; those with "static inline" are the header's own.
declared=$(cc -E -P "$header" | tr '\n' ' ' | sed 's/[;{}]/\n/g' |
    grep -vE 'static inline|typedef|=' | grep -oE '\bkvreg_[a-z_]+ *\(' |
    grep -oE 'kvreg_[a-z_]+' | sort -u)

if [ "$exported" != "$declared" ]; then
    echo "the exported symbols are not the functions of the header:" >&2
    diff <(echo "$declared") <(echo "$exported") >&2
    exit 1
fi
echo "symbols: $(echo "$exported" | wc -l) functions, all declared, and nothing else"
