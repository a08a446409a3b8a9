#!/usr/bin/env bash
# What stands for Microsoft's tools, which are no package of Debian's: clang compiles for their ABI, and
# LLVM's linker takes kvreg.lib. The header is compiled, structs are laid out as on Linux, and a program
# runs: msvc.sh DLL TESTS, the directories of the DLL and of Wine's prefix.
set -euo pipefail
dll=$(realpath "$1")
tests=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/wine.sh" "$tests/wine"
cd "$work"

# Of a C library the header asks for no more.
mkdir include
cat >include/string.h <<'C'
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
size_t strlen(const char *text);
void *memset(void *to, int byte, size_t size);
#ifdef __cplusplus
}
#endif
C
compile() { # STANDARD ARGUMENTS...
    clang --target=x86_64-pc-windows-msvc -ffreestanding -fms-extensions -fms-compatibility -O1 \
        -Wall -Wextra -Wpedantic -Werror -std="$1" -Iinclude -I"$root/include" "${@:2}"
}

{
    echo '#include "kvreg.h"'
    python3 "$root/packaging/abi/interface.py" "$root/include/kvreg.h" | awk '
        $1 == "struct" {
            printf "_Static_assert(sizeof(%s) == %s && _Alignof(%s) == %s, \"%s\");\n", $2, $4, $2, $6, $2
        }
        $1 == "field" {
            struct = field = $2
            sub(/\..*/, "", struct)
            sub(/^[^.]*\./, "", field)
            printf "_Static_assert(offsetof(%s, %s) == %s, \"%s\");\n", struct, field, $4, $2
            printf "_Static_assert(sizeof(((%s *)0)->%s) == %s, \"%s\");\n", struct, field, $6, $2
        }'
} >layout.c
asserted=$(grep -c _Static_assert layout.c)
[ "$asserted" -gt 100 ]
compile c11 -fsyntax-only layout.c
x86_64-w64-mingw32-gcc -std=c11 -I"$root/include" -fsyntax-only layout.c
echo "ok structs have one layout: $asserted assertions"

for standard in c11 c17; do
    compile $standard -c "$here/msvc.c" -o msvc.obj
done
for standard in c++11 c++17 c++20; do
    compile $standard -x c++ -fsyntax-only "$here/msvc.c"
done
imports() { # DLL FUNCTIONS...
    printf '%s\n' "LIBRARY $1" EXPORTS "${@:2}" >"$1.def"
    llvm-dlltool -m i386:x86-64 -d "$1.def" -l "$1.lib"
}
imports kernel32.dll ExitProcess
imports msvcrt.dll memset strlen
lld-link /nodefaultlib /entry:start /subsystem:console msvc.obj "$dll/kvreg.lib" kernel32.dll.lib \
    msvcrt.dll.lib /out:msvc.exe
cp "$dll/kvreg.dll" "$tests/bcryptprimitives.dll" .
status=0
timeout 300 "$wine" msvc.exe || status=$?
[ $status -eq 0 ] || { echo "a program for Microsoft's ABI: step $status failed" >&2 && exit 1; }
echo "ok a program for Microsoft's ABI"
