#!/usr/bin/env bash
# What `make dll` made, in the directory $1: what it exports and imports, then the C tests, the
# shell and what is Windows' own, under Wine.
set -eu
cd "$(dirname "$0")/../.."
dll=$1
out=$PWD/$dll/tests
prefix=x86_64-w64-mingw32
strict="-std=c11 -Wall -Wextra -Wpedantic -Werror -O1 -g -Iinclude"

mkdir -p "$out"
fail() {
    echo "test-windows: $*" >&2
    exit 1
}

echo "== what the DLL exports and imports"
exported=$($prefix-objdump -p "$dll/kvreg.dll" |
    sed -n '/Ordinal\/Name Pointer/,/^$/s/^[[:space:]].*\][^]]*[[:space:]]\([^[:space:]]*\)$/\1/p' | LC_ALL=C sort)
declared=$(cc -E -P include/kvreg.h | tr '\n' ' ' | sed 's/[;{}]/\n/g' |
    grep -vE 'static inline|typedef|=' | grep -oE '\bkvreg_[a-z_]+ *\(' |
    grep -oE 'kvreg_[a-z_]+' | LC_ALL=C sort -u)
[ "$exported" = "$declared" ] ||
    fail "the exports are not the header's functions: $(diff <(echo "$declared") <(echo "$exported"))"
[ "$declared" = "$(sed -n 's/^    //p' "$dll/kvreg.def")" ] || fail "kvreg.def is another list"
# All of them are there in Windows 10. Above all, none of them is MinGW's.
allowed='kernel32|ntdll|ws2_32|msvcrt|bcryptprimitives|api-ms-win-core-synch-l1-2-0'
imported=$($prefix-objdump -p "$dll/kvreg.dll" | sed -n 's/.*DLL Name: //p' | tr A-Z a-z | sort -u)
echo "imports: $(echo "$imported" | tr '\n' ' ')"
others=$(echo "$imported" | grep -vE "^($allowed)\.dll$" || true)
[ -z "$others" ] || fail "the DLL needs $others"
if strings -a "$dll/kvreg.dll" | grep -F -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" -e /usr/src/ \
    -e /usr/lib/rustlib; then
    fail "the DLL tells where it was built"
fi
$prefix-objdump -p "$dll/kvreg.dll" | grep -qE '^Time/Date\s+(Thu Jan +1 00:00:00 1970|0)' ||
    fail "the DLL tells when it was built"
$prefix-objdump -p "$dll/kvreg.dll" | grep -q DYNAMIC_BASE || fail "the DLL has a fixed address"
strings -a -el "$dll/kvreg.dll" | grep -q OriginalFilename || fail "the DLL has no version"

echo "== the header and its users, compiled without a warning"
printf '#include "kvreg.h"\n#include "kvreg.h"\nint main(void) { return kvreg_nil().type != KVREG_NIL || kvreg_version_number() == 0; }\n' \
    >"$out/header.c"
for standard in c99 c11 c17; do
    $prefix-gcc -std=$standard -Wall -Wextra -Wpedantic -Werror -Iinclude "$out/header.c" \
        -o "$out/header-$standard.exe" "$dll/libkvreg.dll.a"
done
for standard in c++11 c++17 c++20; do
    $prefix-g++ -x c++ -std=$standard -Wall -Wextra -Wpedantic -Werror -Iinclude "$out/header.c" \
        -x none -o "$out/header-$standard.exe" -static "$dll/libkvreg.dll.a"
done

# Not here: stress_fork and test_macros (no process forks in Windows), instructions (counted by
# valgrind), stress_memory and stress_limits (they read /proc), test_leaks and test_log_lines (they
# read what is printed by a pipe), test_no_memory (it stands in for the system's allocator), test_ttl
# (it stands in for the system's clock).
programs="stress_names misuse"
for test in tests/c/test_*.c; do
    test=$(basename "$test" .c)
    case $test in
    test_leaks | test_log_lines | test_macros | test_no_memory | test_ttl) ;;
    *) programs="$programs $test" ;;
    esac
done
for program in $programs; do
    $prefix-gcc-posix $strict "tests/c/$program.c" -o "$out/$program.exe" -static \
        "$dll/libkvreg.dll.a"
done
for program in kvreg own_servers; do
    $prefix-g++-posix ${strict/c11/c++17} -Itests/c "tests/cpp/test_$program.cpp" \
        -o "$out/test_$program.exe" -static "$dll/libkvreg.dll.a"
    programs="$programs test_$program"
done
$prefix-gcc $strict -Ibindings/c bindings/c/worker_pool.c -o "$out/worker_pool.exe" -static \
    "$dll/libkvreg.dll.a" -pthread
$prefix-gcc $strict -municode bindings/c/shell.c -o "$out/shell.exe" "$dll/libkvreg.dll.a"
$prefix-gcc $strict bindings/c/demo.c -o "$out/demo.exe" "$dll/libkvreg.dll.a"
$prefix-gcc $strict tests/windows/ends.c -o "$out/ends.exe" "$dll/libkvreg.dll.a"
$prefix-gcc $strict tests/windows/handle.c -o "$out/handle.exe" -static "$dll/libkvreg.dll.a" \
    -pthread
$prefix-gcc $strict tests/windows/detach.c -o "$out/detach.exe" -static "$dll/libkvreg.dll.a" \
    -pthread
$prefix-gcc $strict -mwindows tests/windows/silent.c -o "$out/silent.exe" "$dll/libkvreg.dll.a"
$prefix-gcc $strict -municode tests/windows/loads.c -o "$out/loads.exe"
$prefix-gcc -O1 -shared tests/windows/bcryptprimitives.c -o "$out/bcryptprimitives.dll" -ladvapi32
cp "$dll/kvreg.dll" "$out/kvreg.dll"

# $1 a program, then its arguments; what hangs fails.
run() {
    local program=$1
    shift
    timeout 300 "$wine" "$out/$program.exe" "$@"
}

. tests/windows/wine.sh "$out/wine"
for standard in c99 c11 c17 c++11 c++17 c++20; do
    run "header-$standard" || fail "a program in $standard"
done

echo "== the C tests"
for program in $programs; do
    echo "== $program"
    case $program in
    misuse) run misuse 1000000 1 ;;
    stress_names) run stress_names 200000 ;;
    *) KVREG_TEST_COUNT=10000 run "$program" ;;
    esac >"$out/$program.log" 2>&1 || {
        cat "$out/$program.log" >&2
        fail "$program"
    }
    tail -n 1 "$out/$program.log"
    grep -q ' passed, 0 failed' "$out/$program.log" || fail "$program has not ended"
done

echo "== DOWN through the HANDLE"
run handle

echo "== in a thread that ends"
run detach

echo "== the shell"
session=$'CREATE shopping\nPUT shopping milk 1\r\nGET shopping milk\nGET shopping eggs\nDELETE shopping milk\nGET shopping milk\nGET garage car\nhello\n'
replies=$'OK\r\nOK\r\n1\r\nOK\r\n\r\nOK\r\nOK\r\n\r\nOK\r\nNOT FOUND\r\nUNKNOWN COMMAND\r\n'
same() {
    printf '%s' "$replies" | cmp - "$out/replies" || fail "the shell: $1"
}
printf '%s' "$session" | run shell >"$out/replies"
same "standard input"
directory=$out/$'Einkäufe и покупки 買物'
rm -rf "$directory"
mkdir -p "$directory"
printf '%s' "$session" >"$directory/スクリプト.txt"
(cd "$directory" && LC_ALL=C.UTF-8 run shell スクリプト.txt) >"$out/replies"
same "a file whose name is not ASCII"
LC_ALL=C.UTF-8 run shell "Z:$directory/スクリプト.txt" >"$out/replies"
same "a file in a directory whose name is not ASCII"
# Any bytes, a control-Z that is no end of file, and a line of any length.
long=$(printf '%1000000s' '' | tr ' ' x)
printf 'CREATE a\nPUT a k \x1a\xff\nGET a k\nPUT a l %s\nGET a l\n' "$long" | run shell >"$out/replies"
replies=$(printf 'OK\r\nOK\r\n\x1a\xff\r\nOK\r\nOK\r\n%s\r\nOK\r\nx' "$long")
replies=${replies%x}
same "any bytes"
status=0
run shell "$out/none" 2>/dev/null || status=$?
[ $status -eq 1 ] || fail "the shell: a missing file"
run shell --version | grep -q '^kvreg [0-9]' || fail "the shell: --version"
run demo >"$out/demo.log" || fail "the demo"
run worker_pool | grep '^100 jobs, 0 not done once; 10 workers crashed' || fail "the pool of workers"

echo "== in a program without a console"
status=0
run silent >"$out/silent.log" 2>&1 || status=$?
{ [ $status -eq 0 ] && [ ! -s "$out/silent.log" ]; } ||
    fail "a program without a console: $status, $(cat "$out/silent.log")"
echo "ok neither a console nor a window"

echo "== loaded and unloaded"
cp "$dll/kvreg.dll" "$out/bcryptprimitives.dll" "$directory/"
mkdir -p "$out/alone"
cp "$out/loads.exe" "$out/bcryptprimitives.dll" "$out/alone/"
LC_ALL=C.UTF-8 timeout 300 "$wine" "$out/alone/loads.exe" "Z:$directory/kvreg.dll"

# Wine kills a thread wherever it is, even where it holds a spin lock of Wine's own ntdll, on which the
# last one then spins for ever while it leaves Wine's libraries. Whether the process $1 does that: its
# last thread does not leave a few instructions there.
is_stuck_in_wine() {
    local thread pc first='' from to
    thread=$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n 1)
    IFS='- ' read -r from to _ < <(grep 'r-xp .*/x86_64-windows/ntdll\.dll$' \
        "/proc/$1/task/$thread/maps") || return 1
    for _ in 1 2 3 4 5; do
        pc=$(gdb -p "$thread" -batch -ex 'printf "pc %lu\n", $pc' 2>/dev/null | sed -n 's/^pc //p')
        pc=${pc:-0}
        first=${first:-$pc}
        if [ $pc -lt $((16#$from)) ] || [ $pc -ge $((16#$to)) ] || [ $((pc - first)) -gt 32 ] ||
            [ $((first - pc)) -gt 32 ]; then
            return 1
        fi
    done
}

# What the client of Wine's server says when its thread is killed in the middle of a request, after
# which the whole process may end by 1. Nothing of kvreg's ends one without a word.
is_wines_error() {
    { [ "$1" -eq $expected ] || [ "$1" -eq 1 ]; } && ! grep -v '^wine client error:' "$out/ends.log" >&2
}

echo "== ended with work in flight"
wines=0
for how in return exit ExitProcess thread stuck; do
    expected=7
    [ "$how" = return ] && expected=0
    for _ in $(seq 20); do
        status=0
        "$wine" "$out/ends.exe" $how >"$out/ends.log" 2>&1 &
        pid=$!
        if ! timeout 10 tail -s 0.1 --pid=$pid -f /dev/null && is_stuck_in_wine $pid; then
            kill -KILL $pid
            wait $pid 2>/dev/null || true
            wines=$((wines + 1))
            continue
        fi
        timeout 60 tail -s 0.1 --pid=$pid -f /dev/null || fail "ends $how: hangs"
        wait $pid || status=$?
        if [ $status -ne $expected ] || [ -s "$out/ends.log" ]; then
            is_wines_error $status || fail "ends $how: status $status"
            wines=$((wines + 1))
        fi
    done
    echo "ok $how, 20 times"
done
echo "Wine itself failed in $wines of them"
[ $wines -le 20 ] || fail "ends: too few that Wine let end"
