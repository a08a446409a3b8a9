#!/usr/bin/env bash
# From the release archive alone: programs in C and C++ are built by MinGW, with pkg-config and with
# CMake, and run under Wine: archive.sh ARCHIVE TESTS, where run.sh has left Wine's prefix and what Wine
# lacks.
set -euo pipefail
archive=$(realpath "$1")
tests=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/wine.sh" "$tests/wine"
mingw=x86_64-w64-mingw32

python3 -m zipfile -e "$archive" "$work"
prefix=$work/$(basename "$archive" .zip)
(cd "$prefix" && find . -type f | LC_ALL=C sort) |
    diff <("$here/../install/contents.sh" "$VERSION" windows) - ||
    { echo "the archive has other files than contents.txt" >&2 && exit 1; }
python3 "$here/../docs/links.py" "$prefix/share/doc/kvreg"
(cd "$(dirname "$archive")" && sha256sum --quiet -c "$(basename "$archive").sha256")
mv "$prefix" "$work/moved"
prefix=$work/moved
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig

cp -r "$here"/../install/{consumer.c,consumer.cpp,project} "$work"
cd "$work"
mkdir run
cp "$prefix/bin/kvreg.dll" "$tests/bcryptprimitives.dll" run
# shellcheck disable=SC2046 # flags are words
$mingw-gcc -Wall -Wextra -Werror consumer.c $(pkg-config --cflags --libs kvreg) -o run/c.exe
# shellcheck disable=SC2046
$mingw-g++ -std=c++17 -static-libgcc -static-libstdc++ consumer.cpp $(pkg-config --cflags --libs kvreg) -o run/plus.exe
cmake -S project -B cmake -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_C_COMPILER=$mingw-gcc \
    -DCMAKE_CXX_COMPILER=$mingw-g++ -DCMAKE_EXE_LINKER_FLAGS="-static-libgcc -static-libstdc++" -DASKED="$VERSION" \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_FIND_ROOT_PATH="$prefix" >cmake.log || { cat cmake.log && exit 1; }
cmake --build cmake --target shared plus >cmake.log || { cat cmake.log && exit 1; }
cp cmake/shared.exe cmake/plus.exe run/
for program in c plus shared; do
    [ "$(timeout 300 "$wine" "run/$program.exe" | tr -d '\r')" = OK ] ||
        { echo "$program does not run" >&2 && exit 1; }
done
echo "ok the release archive, by pkg-config and CMake"

# The engine of file: URLs, which lies beside the DLL: found by the URL, and linked.
[[ " ${COMPONENTS:-} " == *" file "* ]] || exit 0
cp -r "$here/../install/stores" "$work"
cp "$prefix/bin/kvreg_file.dll" run
told=$($mingw-objdump -p run/kvreg_file.dll)
exported=$(sed -n 's/^\s*\[ *[0-9]*\].* \(kvreg_[a-z_]*\)$/\1/p' <<<"$told" | xargs)
[ "$exported" = "kvreg_engine_init kvreg_file_engine" ] || { echo "the engine shows $exported" >&2 && exit 1; }
! sed -n 's/.*DLL Name: //p' <<<"$told" | tr A-Z a-z |
    grep -vxE '(kernel32|ntdll|msvcrt|bcryptprimitives|api-ms-win-core-synch-l1-2-0)\.dll' ||
    { echo "the engine needs other DLLs" >&2 && exit 1; }
# shellcheck disable=SC2046
$mingw-gcc -Wall -Wextra -Werror stores/stores.c $(pkg-config --cflags --libs kvreg) -o run/found.exe
cmake -S stores -B cmake-stores -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_C_COMPILER=$mingw-gcc -DASKED='COMPONENTS;file' \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_FIND_ROOT_PATH="$prefix" >cmake.log || { cat cmake.log && exit 1; }
cmake --build cmake-stores --target linked >cmake.log || { cat cmake.log && exit 1; }
cp cmake-stores/linked.exe run/
visits=0
for program in found linked; do
    visits=$((visits + 1))
    said=$(timeout 300 "$wine" "run/$program.exe" file:kept | tr -d '\r')
    [ "$said" = $visits ] || { echo "$program: $said" >&2 && exit 1; }
done
echo "ok the engine of file: URLs"
