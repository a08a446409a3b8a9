#!/usr/bin/env bash
# Makes a release archive: dist.sh linux|windows BUILT puts kvreg-VERSION-PLATFORM.tar.gz or .zip, made
# of the libraries in BUILT, and in BUILT-ENGINE for each of COMPONENTS, into ARCHIVES, target/archives
# unless set, and its checksum beside it. What BUILT-debug and BUILT-ENGINE-debug have goes into an
# archive of its own, which is unpacked over the other.
#
# The same sources make the same archive, wherever they are built.
set -euo pipefail
platform=$1
built=$2
read -ra engines <<<"${COMPONENTS:-}"
: "${VERSION:?the version, as major.minor.patch}"
cd "$(dirname "$0")/.."
archives=${ARCHIVES:-target/archives}
case $platform in
linux)
    # What the library is for, whatever was asked for: ELF's number of the machine.
    machine=$(od -An -tu2 -j18 -N2 "$built/libkvreg.so.$VERSION" | tr -d ' ')
    case $machine in
    62) name=kvreg-$VERSION-x86_64-linux-gnu ;;
    183) name=kvreg-$VERSION-aarch64-linux-gnu ;;
    *)
        echo "dist.sh: there are no archives for machines of ELF's number $machine" >&2
        exit 1
        ;;
    esac
    kind=tar.gz
    ;;
windows) name=kvreg-$VERSION-x86_64-windows && kind=zip ;;
esac
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) || {
        echo "dist.sh: where there is no git, SOURCE_DATE_EPOCH is to tell the time of the sources" >&2
        exit 1
    }
fi
export SOURCE_DATE_EPOCH

mkdir -p "$archives"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
pack() { # TREE ARCHIVE
    python3 packaging/archive.py "$1" "$archives/$2"
    (cd "$archives" && sha256sum "$2" >"$2.sha256" && cat "$2.sha256")
}
DESTDIR=$stage PREFIX=/$name packaging/install.sh install "$built"
for engine in ${engines[@]+"${engines[@]}"}; do
    DESTDIR=$stage PREFIX=/$name packaging/install.sh install "$built-$engine" "$engine"
done
pack "$stage/$name" "$name.$kind"

[ -d "$built-debug" ] || exit 0
tree=$stage/debug/$name
documents=share/doc/kvreg
mkdir -p "$tree/$documents"
cp -a "$built-debug" "$tree/lib"
for engine in ${engines[@]+"${engines[@]}"}; do
    cp -a "$built-$engine-debug/." "$tree/lib"
done
cp "$stage/$name/$documents"/{LICENSE-*,THIRD-PARTY-LICENSES*.txt} "$tree/$documents"
pack "$tree" "$name-debug.$kind"
