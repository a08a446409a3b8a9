#!/usr/bin/env bash
# The engines are components of what is installed: each can be absent, and comes and goes by itself.
#
#   components.sh BUILT ENGINE
#
# BUILT has what make install copies, ENGINE is cargo's static library of the engine of file: URLs. It may
# be one that is not optimised: what is shipped is tested by make test-dist. So is the engine of nats:
# URLs, which takes minutes to build: here it is that of file: URLs, under the other name.
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
objcopy --redefine-sym kvreg_file_engine=kvreg_nats_engine "$engine" "$work/libkvreg_nats.a"
"$root/packaging/link.sh" "$work/libkvreg_nats.a" "$work/nats"
python3 "$root/packaging/licenses.py" "$host" "$work/nats/THIRD-PARTY-LICENSES-nats.txt" nats
for crate in async-nats ring; do
    grep -q "^$crate " "$work/nats/THIRD-PARTY-LICENSES-nats.txt" || fail "the licence of $crate"
done

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

engines() { # install, uninstall
    local engine
    for engine in file nats; do
        if [ "$1" = install ]; then
            "$install" install "$work/$engine" $engine
        else
            "$install" uninstall $engine
        fi
    done
}
engines install
"$here/engine.sh" "$PREFIX"

# Whoever comes and goes first, nothing stays.
"$install" uninstall file
(cd "$PREFIX" && find . -name '*file*') | grep . && fail "this stays of the engine"
asks 'COMPONENTS;nats' || fail "the engine that stays: $(cat "$work/said")"
"$install" install "$work/file" file
"$install" uninstall
engines uninstall
[ ! -e "$PREFIX" ] || fail "this stays: $(find "$PREFIX")"
engines install
"$install" install "$built"
engines uninstall
"$install" uninstall
[ ! -e "$PREFIX" ] || fail "this stays: $(find "$PREFIX")"
echo "ok each is installed by itself, and removed"
