#!/usr/bin/env bash
# Makes a release archive: dist.sh linux|windows BUILT puts kvreg-VERSION-PLATFORM.tar.gz or .zip, made
# of the libraries in BUILT, into target/archives, and its checksum beside it.
#
# The same sources make the same archive, wherever they are built.
set -euo pipefail
platform=$1
built=$2
: "${VERSION:?the version, as major.minor.patch}"
cd "$(dirname "$0")/.."
archives=target/archives
case $platform in
linux) name=kvreg-$VERSION-x86_64-linux-gnu && archive=$name.tar.gz ;;
windows) name=kvreg-$VERSION-x86_64-windows && archive=$name.zip ;;
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
DESTDIR=$stage PREFIX=/$name packaging/install.sh install "$built"
python3 packaging/archive.py "$stage/$name" "$archives/$archive"
(cd "$archives" && sha256sum "$archive" >"$archive.sha256" && cat "$archive.sha256")
