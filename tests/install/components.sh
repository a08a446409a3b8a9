#!/usr/bin/env bash
# The engine of file: URLs is a component of what is installed: it can be absent, and comes and goes by
# itself.
#
#   components.sh BUILT ENGINE
#
# BUILT has what make install copies, ENGINE is cargo's static library of the engine. It may be one that
# is not optimised: what is shipped is tested by make test-dist.
set -euo pipefail
built=$(realpath "$1")
engine=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PREFIX=$work/prefix
unset LD_LIBRARY_PATH
install=$root/packaging/install.sh
host=$(rustc -vV | sed -n 's/^host: //p')

fail() {
    echo "$*" >&2
    exit 1
}

"$root/packaging/link.sh" "$engine" "$work/file"
python3 "$root/packaging/licenses.py" "$host" "$work/file/THIRD-PARTY-LICENSES-file.txt" file
grep -q '^redb ' "$work/file/THIRD-PARTY-LICENSES-file.txt" || fail "redb's licence"

# Without it programs are told what to install, when they are built and when they run.
"$install" install "$built"
asks() { # COMPONENTS...
    cmake -S "$here/stores" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$PREFIX" -DASKED="$1" >"$work/said" 2>&1
}
! asks 'COMPONENTS;file' || fail "cmake finds what is not there"
tr -s ' \n' ' ' <"$work/said" | grep -q 'its component file is not installed' || fail "$(cat "$work/said")"
asks 'OPTIONAL_COMPONENTS;file' || fail "cmake asks for what is optional"
cmake --build "$work/cmake" >"$work/said" 2>&1 || fail "$(cat "$work/said")"
! "$work/cmake/found" "file:$work/kept" >"$work/said" || fail "there is no engine"
grep -q 'install libkvreg_file beside kvreg' "$work/said" || fail "it says $(cat "$work/said")"
! asks 'COMPONENTS;config' || fail "kvreg-config.cmake is no component"
echo "ok without the engine"

"$install" install "$work/file" file
"$here/engine.sh" "$PREFIX"

# Whoever of the two comes and goes first, nothing stays.
"$install" uninstall file
(cd "$PREFIX" && find . -name '*file*') | grep . && fail "this stays of the engine"
"$install" install "$work/file" file
"$install" uninstall
"$install" uninstall file
[ ! -e "$PREFIX" ] || fail "this stays: $(find "$PREFIX")"
"$install" install "$work/file" file
"$install" install "$built"
"$install" uninstall file
"$install" uninstall
[ ! -e "$PREFIX" ] || fail "this stays: $(find "$PREFIX")"
echo "ok it is installed by itself, and removed"
