#!/usr/bin/env bash
# Compiles the program $1 with ThreadSanitizer into $2, against libkvreg.so in $3. The runtime is
# that of rustc's LLVM: gcc's does not know all that its code asks for.
set -eu
source=$1 program=$2 library=$3
llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
runtime=/usr/lib/llvm-$llvm/lib/clang/$llvm/lib/linux/libclang_rt.tsan-$(uname -m).a
mkdir -p "$(dirname "$program")"
${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror -O1 -g -pthread -Iinclude -Ibindings/c \
    -Itests/c -fsanitize=thread -c "$source" -o "$program.o"
# Without -fsanitize, which would bring gcc's runtime.
${CC:-cc} -pthread "$program.o" -o "$program" \
    -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive "-Wl,--dynamic-list=$runtime.syms" \
    -L"$library" -lkvreg "-Wl,-rpath,$(cd "$library" && pwd)" -ldl -lrt -lm -lresolv
