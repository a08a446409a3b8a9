#!/usr/bin/env bash
# A C library and a Python for aarch64, of Debian's packages, unpacked into a directory of their own:
# debian.sh DIRECTORY. Nothing of this system is changed, and what is there already stays.
set -euo pipefail
directory=$1
packages=(python3-minimal libpython3-stdlib)
if [ -e "$directory/complete" ]; then
    exit 0
fi
rm -rf "$directory"
mkdir -p "$directory"/{lists,cache/archives}/partial
directory=$(cd "$directory" && pwd)
touch "$directory/status" # nothing is installed there
options=(
    APT::Architecture=arm64 APT::Architectures=arm64 APT::Install-Recommends=false
    APT::Sandbox::User=root Dir::State::status="$directory/status"
    Dir::State::Lists="$directory/lists" Dir::Cache="$directory/cache"
)
apt() { apt-get -qq "${options[@]/#/-o}" "$@"; }
apt update
apt install --yes --download-only "${packages[@]}" >"$directory/apt.log" ||
    { cat "$directory/apt.log" >&2 && exit 1; }
mkdir "$directory/root"
for package in "$directory"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$directory/root"
done
rm -r "$directory"/{cache,lists}
touch "$directory/complete"
