#!/usr/bin/env bash
# The header, and those beside it, compile without a warning in every language they promise,
# with two compilers, included twice.
set -eu
cd "$(dirname "$0")/../.."
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

printf '#include "kvreg.h"\n#include "kvreg.h"\nint main(void) { return (int)kvreg_nil().type; }\n' \
    >"$directory/header.c"
cat >"$directory/macros.c" <<'END'
#include "kvreg_macros.h"
#include "kvreg_macros.h"
static kvreg_status use(void) {
    kvreg_status status;
    KVREG_OWNED(bucket) *bucket = NULL;
    KVREG_OWNED(value) value = kvreg_nil();
    KVREG_TRY(kvreg_bucket_start(&bucket));
    KVREG_GOTO(out, status, kvreg_bucket_get(bucket, "k", KVREG_NUL, &value));
out:
    return status;
}
int main(void) {
    KVREG_MUST(use());
    return 0;
}
END
cat >"$directory/test.c" <<'END'
#include "kvreg_test.h"
#include "kvreg_test.h"
int main(void) {
    kvreg_live before = kvreg_test_begin();
    return kvreg_test_end(&before) ? 0 : 1;
}
END
cat >"$directory/engine.c" <<'END'
#include "kvreg_engine.h"
#include "kvreg_engine.h"
static kvreg_status no_store(const kvreg_engine_open *open, int64_t deadline) {
    (void)deadline;
    open->host->explain("there is none", 13, 0);
    return KVREG_NOT_FOUND;
}
static kvreg_engine engine;
int main(void) {
    engine.size = sizeof engine;
    engine.abi = KVREG_ENGINE_ABI;
    engine.destroy = no_store;
    return kvreg_engine_register("x", KVREG_NUL, &engine) == KVREG_OK ? 1 : 0;
}
END
for file in header macros test engine; do
    cp "$directory/$file.c" "$directory/$file.cpp"
done
# check COMPILER STANDARD LANGUAGE
check() {
    for file in header macros test engine; do
        $1 -std=$2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude -Ibindings/c \
            -fsyntax-only "$directory/$file.$3"
        passed=$((passed + 1))
    done
}

passed=0
for compiler in gcc clang; do
    for standard in c99 c11 c17; do
        check $compiler $standard c
    done
done
for compiler in g++ clang++; do
    for standard in c++11 c++17 c++20; do
        check $compiler $standard cpp
    done
done

# Who defines KVREG_NO_OLD_NAMES has none of them.
printf '#include "kvreg.h"\nint old = KVREG_SHUTDOWN;\n' >"$directory/old.c"
gcc -Iinclude -fsyntax-only "$directory/old.c"
if gcc -Iinclude -DKVREG_NO_OLD_NAMES -fsyntax-only "$directory/old.c" 2>"$directory/said"; then
    echo "header: KVREG_SHUTDOWN is there all the same" >&2
    exit 1
fi
grep -q "KVREG_SHUTDOWN" "$directory/said"
echo "header: compiled in $passed ways without a warning"
