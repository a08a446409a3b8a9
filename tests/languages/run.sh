#!/usr/bin/env bash
# The examples in other languages: each prints the same session, by the library that KVREG_LIBRARY
# names and by that of the system, and fails when a call does. Then the facts of each language, and
# the programs of docs/other-languages.md.
# Arguments: the shared library, and a directory for what is made here.
set -eu

library=$1
mkdir -p "$2"
made=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
passed=0

fail() {
    echo "$*" >&2
    exit 1
}

# What the system has when kvreg is installed, in directories that are searched by environment.
rm -rf "$made/lib" "$made/fails"
mkdir -p "$made/lib" "$made/fails" "$made/go" "$made/java" "$made/node" "$made/csharp" "$made/page"
ln -s "$library" "$made/lib/libkvreg.so"
ln -s "$library" "$made/lib/libkvreg.so.0"
cat >"$made/lib/kvreg.pc" <<PC
Name: kvreg
Description: Registry of named key-value buckets
Version: 0.1.0
Cflags: -I$root/include
Libs: -L$made/lib -lkvreg
PC

# The library that fails needs the one that works by another name, for in its place in the system
# it has the name of that.
ln -s "$library" "$made/fails/libworks.so"
$CC -shared -Wl,-soname,libworks.so -o "$made/libworks.so" -x c /dev/null
$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -fPIC -shared -I"$root/include" "$here/fails.c" \
    -o "$made/fails/libkvreg.so.0" -Wl,--no-as-needed -L"$made" -lworks -Wl,-rpath,"$made/fails"
ln -s libkvreg.so.0 "$made/fails/libkvreg.so"

cp "$root"/bindings/node/{demo.js,package.json,package-lock.json} "$here/facts.js" "$made/node"
if ! cmp -s "$made/node/package-lock.json" "$made/node/installed"; then
    (cd "$made/node" && npm ci --silent --no-audit --no-fund)
    cp "$made/node/package-lock.json" "$made/node/installed"
fi

export PKG_CONFIG_PATH=$made/lib GOCACHE=$made/go/cache GOFLAGS=-mod=readonly GOTOOLCHAIN=local
test -z "$(gofmt -l "$root/bindings/go" "$here/go")" || fail "gofmt would change the Go programs"
for program in "$root/bindings/go:demo" "$here/go:facts"; do
    (cd "${program%:*}" && go vet . && go build -o "$made/go/${program##*:}" .)
done
javac -Xlint:all -Werror -encoding UTF-8 -cp "$JNA" -d "$made/java" \
    "$root/bindings/java/Demo.java" "$here/Facts.java"
mcs -warnaserror -out:"$made/csharp/Demo.exe" "$root/bindings/csharp/Demo.cs"
mcs -warnaserror -out:"$made/csharp/Facts.exe" -main:Facts "$root/bindings/csharp/Demo.cs" "$here/Facts.cs"

# A program in each language: the example, or the facts.
run() {
    case $1 in
        luajit) timeout -s KILL 300 luajit "$2.lua" ;;
        ruby) timeout -s KILL 300 ruby -w "$2.rb" ;;
        node) timeout -s KILL 300 node "$made/node/$(basename "$2").js" ;;
        go) GODEBUG=cgocheck=2 timeout -s KILL 300 "$made/go/$(basename "$2")" ;;
        java) timeout -s KILL 300 java -cp "$made/java:$JNA" "$3" ;;
        csharp) timeout -s KILL 300 mono "$made/csharp/$3.exe" ;;
    esac
}

for language in luajit node ruby go java csharp; do
    demo=$root/bindings/$language/demo

    # The system's loader knows no KVREG_LIBRARY.
    if [ $language != go ] && [ $language != csharp ]; then
        KVREG_LIBRARY=$library run $language "$demo" Demo | diff "$here/session.txt" -
    fi
    (unset KVREG_LIBRARY; LD_LIBRARY_PATH=$made/lib run $language "$demo" Demo) \
        | diff "$here/session.txt" -

    if (unset KVREG_LIBRARY; LD_LIBRARY_PATH=$made/fails run $language "$demo" Demo) \
        >"$made/output" 2>"$made/errors"; then
        fail "$language: the example says nothing of a call that fails"
    fi
    test ! -s "$made/output" || fail "$language: the example goes on after a call that fails"
    grep -q KVREG_LIMIT "$made/errors" || fail "$language: $(cat "$made/errors")"

    KVREG_LIBRARY=$library LD_LIBRARY_PATH=$made/lib run $language "$here/facts" Facts >"$made/output"
    test "$(tail -n 1 "$made/output")" = "facts: ok" || fail "$language: $(cat "$made/output")"
    echo "$language: passed"
    passed=$((passed + 1))
done

# Three of them in one process, which is Node's.
for python in "${PYTHON:-python3}" /usr/bin/python3; do
    if LIBPYTHON=$("$python" -B "$root/bindings/c/plugins/libpython.py"); then break; fi
done
export LIBPYTHON
test -n "$LIBPYTHON" || fail "no Python here has a shared library: see tests/requirements.sh"
$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -fPIC -shared -I"$root/include" \
    "$here/together/native.c" -o "$made/libnative.so" -L"$made/lib" -lkvreg -Wl,-rpath,"$made/lib"
cp "$here/together/together.js" "$made/node"
KVREG_LIBRARY=$library NATIVE=$made/libnative.so PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=$root/bindings/python:$here/together run node together >"$made/output"
diff "$here/together/session.txt" "$made/output"
echo "C, Python and Node together: passed"

ln -sfn ../node/node_modules "$made/page/node_modules"
ln -sf "$(realpath "$JNA")" "$made/page/jna.jar"
LD_LIBRARY_PATH=$made/lib PYTHONPATH=$root/tests "${PYTHON:-python3}" -B "$here/page.py" \
    "$made/page" "$made/fails"
echo "languages: $passed passed, 0 failed"
