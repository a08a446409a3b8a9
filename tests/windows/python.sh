#!/usr/bin/env bash
# The Python package in a CPython for Windows, under Wine: its wheel is installed by pip there, then
# the package's tests and the shell are run, outside the checkout's own package: python.sh WHEEL TESTS,
# where run.sh has left Wine's prefix and what Wine lacks.
#
# Not here: forks, signals and terminals as POSIX has them, and what needs a C compiler. Where the
# tests would be of asyncio's debug mode (-X dev), which looks at each source file for each task, Wine is
# too slow.
set -euo pipefail
wheel=$(realpath "$1")
tests=$(realpath "$2")
cd "$(dirname "$0")/../.."
python=$tests/python
. tests/windows/wine.sh "$tests/wine"
export PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
unset KVREG_LIBRARY PYTHONPATH

fail() {
    echo "test-windows: $*" >&2
    exit 1
}
# Through a pipe: under Wine it cannot look at a file that it may only write.
py() { timeout -s KILL 300 "$wine" "$python/python.exe" "$@" 2>&1 | cat; }

"${PYTHON:-python3}" tests/windows/interpreter.py "$python"
cp "$tests/bcryptprimitives.dll" "$python"

echo "== the wheel, by pip"
py -m pip install --quiet --no-index --disable-pip-version-check --force-reinstall "Z:$wheel" </dev/null
py -c 'import kvreg; print("ok kvreg", kvreg.library_version(), "in", kvreg.__file__)' </dev/null |
    tee "$tests/python.log"
grep -q 'site-packages' "$tests/python.log" || fail "the package is not the one that was installed"

echo "== a bucket in a file"
for visits in 1 2; do
    py -c 'import kvreg; print(kvreg.Registry(store="file:visits").create("shop").add("visits", 1))' \
        </dev/null | tr -d '\r' | grep -qx $visits || fail "the engine of file: URLs"
done
rm visits

echo "== the tests of the package"
# Away from the checkout's own package.
checkout=$(mktemp -d)
trap 'rm -rf "$checkout"' EXIT
mkdir -p "$checkout/bindings/python" "$checkout/tests"
cp -r include ./*.md "$checkout"
cp bindings/python/demo.py bindings/python/README.md "$checkout/bindings/python"
cp -r tests/python "$checkout/tests"
others=(lifecycle typing test_fork.py test_plugin.py test_shell.py test_shell_parts.py
    test_shell_terminal.py)
(cd "$checkout" && py -X faulthandler -W error -m pytest -p no:cacheprovider \
    "${others[@]/#/--ignore=tests/python/}" tests/python </dev/null)

echo "== the shell in Python"
printf 'CREATE a\nPUT a k \x1a\xff\r\nGET a k\nGET a none\nGET b k\n\nCREATE \xff\n' |
    py -m kvreg >"$tests/replies"
grep -aq '^kvreg: .*invalid argument' "$tests/replies" || fail "the shell in Python: what it says of a failure"
printf 'OK\r\nOK\r\n\x1a\xff\r\nOK\r\n\r\nOK\r\nNOT FOUND\r\nUNKNOWN COMMAND\r\nERROR\r\n' |
    cmp - <(grep -av '^kvreg: ' "$tests/replies") || fail "the shell in Python"
echo "ok any bytes, by a pipe"

py -m pip uninstall --quiet --yes kvreg </dev/null
left=$(find "$python/Lib/site-packages" -iname '*kvreg*')
[ -z "$left" ] || fail "pip uninstall leaves $left"
echo "ok uninstalled"
