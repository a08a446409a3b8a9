#!/usr/bin/env bash
# From the release archive alone, outside the checkout: programs in C and C++ find, link and run kvreg,
# by pkg-config and by CMake, shared and static; again after the tree was moved; and nothing is left
# when it is removed. Then what `make install` puts into a prefix, and what it leaves behind.
# run.sh ARCHIVE
set -euo pipefail
archive=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"

fail() {
    echo "$*" >&2
    exit 1
}
# says TEXT COMMAND...
says() {
    local expected=$1 said
    shift
    said=$("$@" | tr -d "\r") || fail "$*: exit status $?"
    [ "$said" = "$expected" ] || fail "$*: says '$said'"
}

flags=(-Wall -Wextra -Wpedantic -Werror)
# Without what the checkout or the user's home could add.
clean() { env -u LD_LIBRARY_PATH HOME="$work/home" PKG_CONFIG_PATH="$prefix/lib/pkgconfig" "$@"; }
config() { clean pkg-config "$@" kvreg; }

# All programs of users, in a directory of their own.
consumers() {
    local build=$work/build
    rm -rf "$build" && mkdir "$build"
    cp -r "$here"/{consumer.c,consumer.cpp,project} "$build"
    cd "$build"
    says "$VERSION" config --modversion

    # shellcheck disable=SC2046 # flags are words
    cc "${flags[@]}" consumer.c $(config --cflags --libs) -o shared
    says OK env LD_LIBRARY_PATH="$prefix/lib" ./shared
    ldd shared | grep 'libkvreg.so.0 ' >/dev/null || fail "it does not ask for the library by its SONAME"

    # shellcheck disable=SC2046
    cc "${flags[@]}" consumer.c $(config --cflags) "$prefix/lib/libkvreg.a" \
        $(config --static --libs-only-l | sed 's/-lkvreg//') -o static
    says OK ./static
    ! ldd static | grep kvreg || fail "it is not static"
    # shellcheck disable=SC2046
    cc "${flags[@]}" -static consumer.c $(config --static --cflags --libs) -o whole 2>whole.log ||
        { cat whole.log && fail "cc -static"; }
    says OK ./whole
    says 'not a dynamic executable' sh -c 'ldd ./whole 2>&1 | tr -d "\t"; true'

    for compiler in g++ clang++; do
        # shellcheck disable=SC2046
        $compiler -std=c++17 "${flags[@]}" consumer.cpp $(config --cflags --libs) -o plus
        says OK env LD_LIBRARY_PATH="$prefix/lib" ./plus
    done

    for asked in '' "$VERSION" 0; do
        clean cmake -S project -B cmake -DCMAKE_PREFIX_PATH="$prefix" -DASKED="$asked" >cmake.log ||
            { cat cmake.log && fail "cmake does not find version '$asked'"; }
    done
    for asked in 0.999 1 '0.0.1...<0.0.9' "$VERSION.1;EXACT" 'COMPONENTS;none'; do
        ! clean cmake -S project -B cmake-other -DCMAKE_PREFIX_PATH="$prefix" -DASKED="$asked" \
            >cmake.log 2>&1 || fail "cmake takes it for version $asked"
    done
    clean cmake --build cmake >cmake.log || { cat cmake.log && fail "cmake --build"; }
    for program in shared static plus; do
        says OK "cmake/$program"
    done
    ! ldd cmake/static | grep kvreg || fail "kvreg::kvreg-static is not static"
    cd "$work"
    rm -rf "$build"
}

# What the dynamic linker and a packager look at.
library() { # FILE GLIBC NEEDED...
    local file=$1 glibc=$2 dynamic needed newest
    shift 2
    dynamic=$(readelf -dW "$file")
    grep -q 'Library soname: \[libkvreg.so.0\]' <<<"$dynamic" || fail "SONAME"
    grep -q 'FLAGS_1.*NOW.*NODELETE' <<<"$dynamic" || fail "NOW and NODELETE"
    ! grep -q TEXTREL <<<"$dynamic" || fail "text relocations"
    ! grep -qE 'RPATH|RUNPATH' <<<"$dynamic" || fail "it searches in a path of its own"
    readelf -lW "$file" | grep GNU_RELRO >/dev/null || fail "RELRO"
    readelf -lW "$file" | grep -E 'GNU_STACK.* RW ' >/dev/null || fail "an executable stack"
    needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic" | sort | tr '\n' ' ')
    [ "$needed" = "$* " ] || fail "it needs $needed"
    newest=$(objdump -T "$file" | grep -oP 'GLIBC_\K[0-9.]+' | cat - <(echo "$glibc") | sort -V | tail -n 1)
    [ "$newest" = "$glibc" ] || fail "it needs glibc $newest"
    # Every function has the version it came with; there is nothing else.
    ! nm -D --defined-only "$file" | awk '{print $3}' |
        grep -vE '^kvreg_[a-z_]+@@KVREG_[0-9.]+$|^KVREG_[0-9.]+$' || fail "foreign symbols"
    paths "$file"
}

# No path of the machine it was built on.
paths() {
    ! strings -a "$1" | grep -F -e "$root" -e "$HOME/" -e "${CARGO_HOME:-$HOME/.cargo}" ||
        fail "$1 tells where it was built"
}

tar -xzf "$archive" -C "$work"
name=$(basename "$archive" .tar.gz)
prefix=$work/$name
(cd "$prefix" && find . ! -type d | LC_ALL=C sort) | diff <("$here/contents.sh" "$VERSION") - ||
    fail "the archive has other files than contents.txt"
(cd "$(dirname "$archive")" && sha256sum --quiet -c "$name"{,-debug}.tar.gz.sha256) ||
    fail "the checksum"
documents() { # DIRECTORY: they are whole, and tell what the shell and listeners understand
    python3 "$root/tests/docs/links.py" "$1"
    grep -qx '## The text protocol' "$1/docs/spec.md" || fail "the protocol is not told"
}
documents "$prefix/share/doc/kvreg"
echo "ok contents and checksum"

library "$prefix/lib/libkvreg.so" "$GLIBC" ld-linux-x86-64.so.2 libc.so.6 libdl.so.2 libm.so.6 \
    libpthread.so.0
paths "$prefix/lib/libkvreg.a"
! nm -g --defined-only "$prefix/lib/libkvreg.a" | awk 'NF == 3 {print $3}' | grep -v '^kvreg_' ||
    fail "the static library has foreign symbols"
echo "ok the shared library, for glibc $GLIBC, and the static one"

# What debuggers need is in an archive of its own, and is found where that was unpacked over the other.
# names PREFIX GDB...: kvreg's own functions and lines, in a program that stops inside.
names() {
    local said
    said=$(LD_LIBRARY_PATH=$1/lib HOME=$work/home timeout 120 gdb -nx -batch \
        -iex 'set debuginfod enabled off' -iex 'set auto-load off' -ex 'set breakpoint pending on' \
        "${@:2}" -ex 'break kvreg_registry_execute' -ex run -ex 'info symbol $pc' -ex 'info line *$pc' \
        "$work/stops" </dev/null 2>&1) || true
    grep -q '^kvreg_registry_execute.* in section .text' <<<"$said" || fail "gdb says $said"
    grep -q '^Line [0-9]* of "[^"]*src/[a-z_/]*\.rs"' <<<"$said"
}
cc "${flags[@]}" "$here/consumer.c" -I"$prefix/include" -L"$prefix/lib" -lkvreg -o "$work/stops"
! names "$prefix" || fail "there is debug information in the library"
tar -xzf "$(dirname "$archive")/$name-debug.tar.gz" -C "$work"
mv "$prefix" "$work/with-symbols"
names "$work/with-symbols" || fail "gdb does not find the lines"
for file in "$work/with-symbols/lib"/{.debug/libkvreg.so."$VERSION".debug,debug/libkvreg.a}; do
    paths "$file"
done
# By the build ID, wherever the library is.
cp "$work/with-symbols/lib/libkvreg.so.$VERSION" "$work/libkvreg.so.0"
mkdir -p "$work/alone/lib" && mv "$work/libkvreg.so.0" "$work/alone/lib"
names "$work/alone" -iex "set debug-file-directory $work/with-symbols/lib/debug" ||
    fail "gdb does not find the lines by the build ID"
rm -rf "$work/with-symbols" "$work/alone"
tar -xzf "$archive" -C "$work"
echo "ok debug information"

consumers
echo "ok programs in C and C++, by pkg-config and CMake, shared and static"

# The examples, built as their first lines say.
cp -r "$prefix/share/doc/kvreg/bindings/c" "$work/examples"
for example in demo shell event_loop "worker_pool -pthread" "rate_limiter -pthread"; do
    # shellcheck disable=SC2046,SC2086 # flags are words
    (cd "$work/examples" && cc "${flags[@]}" ${example%% *}.c $(config --cflags --libs) \
        ${example#"${example%% *}"} -o "${example%% *}")
done
export LD_LIBRARY_PATH=$prefix/lib
says OK "$work/examples/shell" <(echo CREATE b)
says $'Ann: 10 of 200 at once, 20 of 20 in line\nBob: 10 of 200 at once, 20 of 20 in line' \
    "$work/examples/rate_limiter"
says '100 jobs, 0 not done once; 10 workers crashed, 14 were started' "$work/examples/worker_pool"
(
    cd "$work/examples/plugins"
    # shellcheck disable=SC2046
    for plugin in counter faulty; do
        cc -shared -fPIC $plugin.c $(config --cflags --libs) -o $plugin.so
    done
    # shellcheck disable=SC2046
    cc host.c $(config --cflags --libs) -ldl -o host
    ./host ./counter.so ./faulty.so ./counter.so | grep '^counted: 2$' >/dev/null
    # shellcheck disable=SC2046
    cc python_host.c $(config --cflags --libs) -ldl -pthread -o python_host
    libpython=$(python3 libpython.py || /usr/bin/python3 libpython.py)
    PYTHONPATH=.:$root/bindings/python ./python_host "$libpython" shop | grep 'restarts: 1$' >/dev/null
)
unset LD_LIBRARY_PATH
echo "ok the examples"

# A Python in the same process as a host finds the host's copy, by the name it is linked by.
says 1 env -u KVREG_LIBRARY PYTHONPATH="$root/bindings/python" python3 -B - <<EOF
import ctypes
host = ctypes.CDLL("$prefix/lib/libkvreg.so.0")
import kvreg
from kvreg import _abi
mine = kvreg.Bucket()
live = _abi.Live(size=ctypes.sizeof(_abi.Live))
assert host.kvreg_live_counts(ctypes.byref(live)) == 0
print(live.bucket_handles)
EOF
echo "ok a copy that the process has loaded is shared with Python"

mkdir "$work/else where"
mv "$prefix" "$work/else where/kvreg"
prefix="$work/else where/kvreg"
ln -s "$prefix" "$work/moved" # pkg-config's flags cannot have blanks in shell's words
prefix=$work/moved
consumers
echo "ok the same after the tree was moved"

# What the library promises holds for the one that is shipped, with its own way of unwinding.
for test in test_guarantees test_update test_guest test_shutdown; do
    cc -std=c11 -O1 -pthread "$root/tests/c/$test.c" -I"$prefix/include" -L"$prefix/lib" -lkvreg \
        -o "$work/$test"
    (cd "$work" && LD_LIBRARY_PATH=$prefix/lib "./$test" | tail -n 1)
done

cd "$work"
# A program that a newer library was linked to, and that calls what is new there, is not loaded with
# this one; one that calls nothing new is.
cat "$root/packaging/abi/kvreg.map" - >newer.map <<<'KVREG_99.0 { global: kvreg_newer; } KVREG_0.1;'
mkdir newer
echo 'int kvreg_newer(void); int kvreg_newer(void) { return 0; }
    unsigned kvreg_version_number(void); unsigned kvreg_version_number(void) { return 99 << 8; }' |
    cc -shared -fPIC -x c - -Wl,-soname,libkvreg.so.0 -Wl,--version-script=newer.map \
        -o newer/libkvreg.so
ln -s libkvreg.so newer/libkvreg.so.0
for called in newer version_number; do
    echo "int kvreg_$called(void); int main(void) { return kvreg_$called() == 99 << 8; }" |
        cc -x c - -Lnewer -lkvreg -o "calls_$called"
    LD_LIBRARY_PATH=newer "./calls_$called" && status=0 || status=$?
    [ "$called-$status" = newer-0 ] || [ "$called-$status" = version_number-1 ] || fail "$called newer"
done
! LD_LIBRARY_PATH=$prefix/lib ./calls_newer 2>refused || fail "it is loaded with an older library"
grep -q "version .KVREG_99.0. not found (required by ./calls_newer)" refused ||
    fail "it says $(cat refused)"
LD_LIBRARY_PATH=$prefix/lib ./calls_version_number
echo "ok a program that needs a newer library is told so"

cc -std=gnu11 "${flags[@]}" -pthread "$here/two_copies.c" -I"$root/tests/c" -I"$prefix/include" \
    -L"$prefix/lib" -lkvreg -ldl -o two_copies
cp "$prefix/lib/libkvreg.so" the_other.so
LD_LIBRARY_PATH=$prefix/lib ./two_copies ./the_other.so
echo "ok two copies in one process"

cc "${flags[@]}" -c -fPIC "$here/product.c" -I"$prefix/include" -o product.o
ar rcs libproduct_c.a product.o
rustc --edition 2021 --crate-type staticlib -O "$here/product.rs" -o libproduct_rust.a
for order in "libproduct_c.a libproduct_rust.a" "libproduct_rust.a libproduct_c.a"; do
    # shellcheck disable=SC2086 # two words
    cc "${flags[@]}" "$here/products.c" $order "$prefix/lib/libkvreg.a" -lm -lpthread -ldl -o products
    says '0 1' ./products
done
cc -shared product.o "$prefix/lib/libkvreg.a" -Wl,--exclude-libs,ALL -lm -lpthread -ldl -o libone.so
says 'product_in_c' sh -c "nm -D --defined-only libone.so | awk '{print \$3}' | grep -v '^_'"
echo "ok products that link the static library, one of them in Rust"

rm -rf "$work/else where" "$work/moved"
[ -z "$(ls -A "$work/home")" ] || fail "left in the home directory: $(ls -A "$work/home")"
echo "ok nothing is left outside the tree"

# A prefix that others use too, by way of a staging directory.
tree() { (cd "$work/stage" && find . -exec stat -c '%n %F %A' {} + | sort); }
prefix=$work/prefix
mkdir -p "$work/stage$prefix/lib/pkgconfig" "$work/stage$prefix/include"
echo other >"$work/stage$prefix/include/other.h"
before=$(tree)
make -s -C "$root" install PREFIX="$prefix" DESTDIR="$work/stage" >/dev/null
# Over the first; by root, who has no cargo that could build.
make -s -C "$root" install CARGO=false PREFIX="$prefix" DESTDIR="$work/stage" >/dev/null
mv "$work/stage$prefix" "$prefix"
consumers
documents "$prefix/share/doc/kvreg"
library "$prefix/lib/libkvreg.so" "$(ldd --version | sed -n '1s/.* //p')" ld-linux-x86-64.so.2 \
    libc.so.6 libgcc_s.so.1 libm.so.6
mv "$prefix" "$work/stage$prefix"
make -s -C "$root" uninstall PREFIX="$prefix" DESTDIR="$work/stage" >/dev/null
diff <(echo "$before") <(tree) || fail "uninstall leaves or takes something"
! make -s -C "$root" uninstall PREFIX="$prefix" DESTDIR="$work/stage" >/dev/null 2>&1 ||
    fail "uninstall where nothing is"
for relative in PREFIX=relative LIBDIR=lib64; do
    ! make -s -C "$root" install PREFIX="$prefix" "$relative" DESTDIR="$work/stage" >/dev/null 2>&1 ||
        fail "install into a relative path"
done

# Who has fetched the crates of this system builds without a network.
cargo=$work/cargo
mkdir -p "$cargo/registry"
ln -s "${CARGO_HOME:-$HOME/.cargo}"/registry/{cache,index} "$cargo/registry"
offline() { (cd "$root" && CARGO_HOME=$cargo CARGO_NET_OFFLINE=true "$@"); }
host=$(rustc -vV | sed -n 's/^host: //p')
offline cargo fetch --quiet --locked --target "$host"
fetched=$(ls "$cargo/registry/src"/*)
offline python3 packaging/licenses.py "$host" "$work/licenses.txt"
[ "$fetched" = "$(ls "$cargo/registry/src"/*)" ] || fail "licenses.py asks for crates of other systems"
echo "ok without a network"

# The flags of who builds a package are used: at linking theirs come last, and win. Debug information
# is there if they ask: that of Rust's standard library always is.
LDFLAGS=-Wl,--build-id=0x6b767265676b7672 CARGO_PROFILE_RELEASE_DEBUG=1 \
    "$root/packaging/link.sh" "${CARGO_TARGET_DIR:-$root/target}/ship/release/libkvreg.a" "$work/flags"
readelf -n "$work/flags/libkvreg.so" | grep 'Build ID: 6b767265676b7672' >/dev/null ||
    fail "LDFLAGS are not used"
readelf -SW "$work/flags/libkvreg.so" | grep '\.debug_info' >/dev/null || fail "no debug information"
printf '#!/bin/sh\n[ "$1" = fetch ] || { echo "$CARGO_ENCODED_RUSTFLAGS" >&2; exit 1; }\n' \
    >"$work/echoes"
chmod +x "$work/echoes"
RUSTFLAGS='-C opt-level=2' CARGO=$work/echoes "$root/packaging/build.sh" "$work/flags" 2>echoed ||
    true
grep -q $'^-C\x1fopt-level=2\x1f--remap' echoed || fail "RUSTFLAGS are not used"
# Cargo's target is built for, whoever told cargo; the linker is that target's, or there is no library.
mkdir "$work/tools"
printf '#!/bin/sh\necho "${0##*/}" >&2\nexit 3\n' >"$work/tools/aarch64-linux-gnu-ld"
cat >"$work/tools/cargo" <<'EOF'
#!/bin/sh
[ "$1" = fetch ] && exit
while [ "$1" != --target-dir ]; do shift; done
echo '{"filenames": ["'"$2/$TRIPLE"'/release/libkvreg.a"]}'
EOF
chmod +x "$work/tools"/*
crossing() { # TRIPLE
    (export TRIPLE=$1 PATH=$work/tools:$PATH CARGO=$work/tools/cargo CARGO_TARGET_DIR=$work/cargo-target
        "$root/packaging/build.sh" "$work/crossed" 2>&1) && fail "$1 is built by this machine's tools"
    return 0
}
[ "$(crossing aarch64-unknown-linux-gnu)" = aarch64-linux-gnu-ld ] || fail "another linker is taken"
crossing x86_64-pc-windows-gnu | grep 'this is for Linux with glibc' >/dev/null || fail "it says nothing"
echo "ok the flags of who builds, and cargo's target"

# Directories that are not beneath the prefix's usual ones.
make -s -C "$root" install PREFIX="$prefix" LIBDIR="$prefix/lib/x86_64-linux-gnu" \
    INCLUDEDIR="$prefix/include/kvreg-0" DOCDIR="$work/docs" >/dev/null
for variable in includedir=include/kvreg-0 libdir=lib/x86_64-linux-gnu; do
    found=$(PKG_CONFIG_PATH=$prefix/lib/x86_64-linux-gnu/pkgconfig pkg-config \
        --variable="${variable%%=*}" kvreg)
    [ "$(realpath -m "$found")" = "$prefix/${variable#*=}" ] || fail "${variable%%=*} is $found"
done
make -s -C "$root" uninstall PREFIX="$prefix" DOCDIR="$work/docs" >/dev/null
[ ! -e "$prefix" ] && [ ! -e "$work/docs" ] || fail "uninstall leaves a directory"
echo "ok make install and uninstall"

# Of the system's prefix pkg-config gives no flags: they would go before those of others.
prefix=$work/system/usr
DESTDIR=$work/system PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu \
    "$root/packaging/install.sh" install "$root/target/ship/built"
said=$(PKG_CONFIG_PATH=$prefix/lib/x86_64-linux-gnu/pkgconfig pkg-config --cflags --libs kvreg)
[ "${said// /}" = -lkvreg ] || fail "pkg-config says $said"
said=$(PKG_CONFIG_PATH=$prefix/lib/x86_64-linux-gnu/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work/system \
    pkg-config --cflags kvreg)
[ "${said// /}" = "-I$prefix/include" ] || fail "pkg-config says $said for another system"

# CMake may find that through /lib, a link to /usr/lib.
ln -s usr/lib "$work/system/lib"
clean cmake -S "$here/project" -B system-cmake \
    -Dkvreg_DIR="$work/system/lib/x86_64-linux-gnu/cmake/kvreg" >cmake.log 2>&1 ||
    { cat cmake.log && fail "cmake through a link"; }

# Version 1 is not version 0, however that is written.
mkdir later
for file in "$root"/target/ship/built/*; do
    name=$(basename "$file")
    cp -P "$file" "later/${name/.so.$VERSION/.so.1.0.0}"
done
VERSION=1.0.0 PREFIX=$work/one "$root/packaging/install.sh" install later
takes() {
    clean cmake -S "$here/project" -B cmake-later -DCMAKE_PREFIX_PATH="$work/one" -DASKED="$1" \
        >/dev/null 2>&1
}
takes 1 || fail "cmake does not find 1.0.0"
for asked in 0 0.0 "$VERSION"; do
    ! takes "$asked" || fail "cmake takes 1.0.0 for version $asked"
done
! VERSION=1.0.0 GIT_DIR=$work/none SOURCE_DATE_EPOCH='' \
    "$root/packaging/dist.sh" linux "$PWD/later" 2>dist.log ||
    fail "an archive without a time"
grep SOURCE_DATE_EPOCH dist.log >/dev/null || fail "it says $(cat dist.log)"
echo "ok the system's prefix, and another version"

# What is in the way of that: install.sh alone, with what make install built.
installs() {
    local built=()
    [ "$1" = uninstall ] || built=("$root/target/ship/built")
    PREFIX="$prefix" "${@:2}" "$root/packaging/install.sh" "$1" ${built[@]+"${built[@]}"}
}
remains() { # FILE...: all that is in the prefix
    diff <(printf '%s\n' "$@") <(cd "$prefix" && find . ! -type d | sort) || fail "what remains"
}

# A prefix that is a link, directories beside it with characters of sed's, and a strict umask.
mkdir -p "$work/beside/real/one" && ln -s real/one "$work/beside/link"
prefix=$work/beside/link
others=(env LIBDIR="$work/beside/l:i&b" DOCDIR="$work/beside/docs")
(umask 077 && PREFIX=$prefix/ "${others[@]}" "$root/packaging/install.sh" install "$root/target/ship/built")
closed=$(find "$work/beside" ! -perm -444 -o -type d ! -perm -555)
[ -z "$closed" ] || fail "not for everybody: $closed"
for variable in includedir/kvreg.h libdir/libkvreg.so; do
    found=$(pkg-config --variable="${variable%/*}" "$work/beside/l:i&b/pkgconfig/kvreg.pc")
    [ -e "$found/${variable#*/}" ] || fail "pkg-config's ${variable%/*} is $found"
done
clean cmake -S "$here/project" -B beside-cmake -Dkvreg_DIR="$work/beside/l:i&b/cmake/kvreg" \
    >cmake.log 2>&1 || { cat cmake.log && fail "cmake beside the prefix"; }
installs uninstall "${others[@]}"
[ "$(cd "$work/beside" && echo * real/one/*)" = "link real real/one/*" ] || fail "uninstall beside the prefix"

# Over an older version, which had other files and directories, of which the user has one too.
prefix=$work/over
installs install env
mkdir "$prefix/lib/old" "$prefix/lib/shared"
touch "$prefix/include/old.h" "$prefix/lib/old/file" "$prefix/lib/shared/mine"
printf '%s\n' include/old.h lib/old/ lib/old/file lib/shared/ >>"$prefix/share/doc/kvreg/manifest.txt"
installs install env
[ ! -e "$prefix/include/old.h" ] && [ ! -e "$prefix/lib/old" ] || fail "an older version's files remain"
rm "$prefix/lib/shared/mine" "$prefix/lib/libkvreg.so"
# What cannot be removed now can be later.
mkdir stub
printf '#!/bin/sh\ncase $* in *libkvreg.a) exit 1 ;; esac\nexec /bin/rm "$@"\n' >stub/rm
chmod +x stub/rm
! installs uninstall env PATH="$work/stub:$PATH" || fail "uninstall where a file cannot be removed"
installs uninstall env
[ ! -e "$prefix" ] || fail "an older version's directories remain"

# In the middle something fails: what was installed until then can be removed.
mkdir -p "$prefix/lib/libkvreg.a" && touch "$prefix/lib/libkvreg.a/mine"
! installs install env 2>/dev/null || fail "install over a directory"
installs uninstall env
remains ./lib/libkvreg.a/mine
echo "ok a prefix in a bad state"
