#!/usr/bin/env bash
# Whether ThreadSanitizer is told of what the functions in the library $1 do: those of kvreg, of
# its runtime and of std alike. Only a few have nothing to tell.
set -eu
objdump --disassemble --demangle --no-show-raw-insn "$1" | awk '
    /^[0-9a-f]+ <.*>:$/ {
        crate = $0
        sub(/^[0-9a-f]+ <[<&*]*/, "", crate)
        sub(/::.*/, "", crate)
        functions[crate]++
        is_told = 0
    }
    /call.*__tsan_/ && !is_told { is_told = 1; told[crate]++ }
    END {
        failed = 0
        split("kvreg tokio std core alloc", crates, " ")
        for (i in crates) {
            crate = crates[i]
            printf "%s: %d of %d functions\n", crate, told[crate], functions[crate]
            if (functions[crate] < 50 || told[crate] < functions[crate] * 0.95) failed = 1
        }
        exit failed
    }'
