#!/usr/bin/env bash
# What the tests need beside a Rust toolchain; with `bench` the benchmarks' peers too; with
# `languages` the runtimes of the examples in other languages, with `windows` what `make dll` and
# `make test-windows` need, with `aarch64` what `make dist-aarch64` and with `aarch64-tests` what
# `make test-aarch64` need, with `references` what `make test-references` needs, with `docs` what
# `make docs` needs, with `tsan` and then `tsan-runtime` what `make test-tsan` needs, and nothing
# else. Installed if that is allowed, else named.
set -eu

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

# The shared library of a Python, which programs load that are none: of the one that is used, or of
# the system's, for one that was built by hand may be without.
need_libpython() {
    local system=/usr/bin/python3 python package=libpython3-dev
    for python in "${PYTHON:-python3}" $system; do
        "$python" "$(dirname "$0")/../bindings/c/plugins/libpython.py" >/dev/null 2>&1 && return
    done
    [ ! -x $system ] || package=libpython$($system -c 'import sys; print("3.%d" % sys.version_info[1])')
    missing+=("$package")
}

# The headers of a Python for which there is an extension.
need_python_headers() {
    "${PYTHON:-python3}" - <<'PYTHON' || missing+=(libpython3-dev)
import os, sys, sysconfig
here = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
sys.exit(not here and sys.implementation.name == "cpython" and sys.version_info >= (3, 11))
PYTHON
}

case ${1:-} in
windows)
    # Their own places: those of rustup and of another Wine may come first in PATH.
    need /usr/bin/rustc rustc-web
    need /usr/bin/cargo cargo-web
    need /usr/lib/wine/wine64 wine64
    need gdb gdb
    need x86_64-w64-mingw32-gcc-posix gcc-mingw-w64-x86-64
    need x86_64-w64-mingw32-g++ g++-mingw-w64-x86-64
    need llvm-dlltool llvm
    need clang clang
    need lld-link lld
    need cc gcc
    [ -e /usr/lib/rustlib/src/rust/library/Cargo.toml ] || missing+=(rust-web-src)
    ;;
aarch64)
    need aarch64-linux-gnu-ld binutils-aarch64-linux-gnu
    # A toolchain that is not rustup's has to bring it.
    target=aarch64-unknown-linux-gnu
    [ -d "$(rustc --print target-libdir --target $target)" ] || rustup target add $target
    ;;
aarch64-tests)
    need qemu-aarch64 qemu-user
    need readelf binutils
    ;;
docs)
    need doxygen doxygen
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
    ;;
tsan)
    need /usr/bin/rustc rustc-web
    need /usr/bin/cargo cargo-web
    need cc gcc
    need objdump binutils
    [ -e /usr/lib/rustlib/src/rust/library/Cargo.toml ] || missing+=(rust-web-src)
    ;;
tsan-runtime)
    # Of rustc's own LLVM, whichever that is.
    llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    [ -e "/usr/lib/llvm-$llvm/lib/clang/$llvm/lib/linux/libclang_rt.tsan-$(uname -m).a" ] ||
        missing+=("libclang-rt-$llvm-dev")
    ;;
references)
    command -v python3-dbg >/dev/null || missing+=(python3-dbg libpython3-dbg libpython3-dev)
    ;;
languages)
    need luajit luajit
    need node nodejs
    need npm npm
    need ruby ruby
    need go golang-go
    need pkg-config pkg-config
    need javac default-jdk-headless
    [ -e "${JNA:-/usr/share/java/jna.jar}" ] || missing+=(libjna-java)
    need mcs mono-mcs
    need mono mono-runtime
    need_libpython
    ;;
*)
    # A minimal toolchain comes without them.
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

    need cc gcc
    need g++ g++
    need clang clang
    need valgrind valgrind
    need strace strace
    need elixir elixir
    need abidiff abigail-tools
    need cmake cmake
    need pkg-config pkg-config
    need pypy3 pypy3
    need gdb gdb
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
    need_libpython
    need_python_headers
    # The runtime of AddressSanitizer comes with gcc.
    if [ "${1:-}" = bench ]; then
        need redis-server redis-server
        [ -e /usr/include/caf/all.hpp ] || missing+=(libcaf-dev)
        pkg-config --exists glib-2.0 2>/dev/null || missing+=(libglib2.0-dev)
    fi
    ;;
esac

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" libc6-dev >/dev/null
else
    echo "needed: ${missing[*]} (apt-get install ${missing[*]})" >&2
    exit 1
fi
