#!/usr/bin/env bash
# The header compiles without a warning in every language it promises, with two compilers,
# included twice.
set -eu
cd "$(dirname "$0")/../.."
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

printf '#include "kvreg.h"\n#include "kvreg.h"\nint main(void) { return (int)kvreg_nil().type; }\n' \
    >"$directory/header.c"
cp "$directory/header.c" "$directory/header.cpp"

passed=0
for compiler in gcc clang; do
    for standard in c99 c11 c17; do
        $compiler -std=$standard -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only \
            "$directory/header.c"
        passed=$((passed + 1))
    done
done
for compiler in g++ clang++; do
    for standard in c++11 c++17 c++20; do
        $compiler -std=$standard -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only \
            "$directory/header.cpp"
        passed=$((passed + 1))
    done
done
echo "header: compiled in $passed ways without a warning"
