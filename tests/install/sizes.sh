#!/usr/bin/env bash
# How large the libraries in release archives may be: sizes.sh ARCHIVE... Who embeds kvreg pays for each
# byte, so that it grows is to be decided, not to happen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0
at_most() { # BYTES FILE
    local size
    size=$(stat -c %s "$2")
    echo "${2#"$work"/*/}: $size of $1"
    [ "$size" -le "$1" ] || { echo "${2##*/} is larger" >&2 && wrong=1; }
}
for archive; do
    case $archive in *-debug.*) continue ;; esac
    python3 -c 'import shutil, sys; shutil.unpack_archive(*sys.argv[1:])' "$archive" "$work/${archive##*/}"
    for library in "$work/${archive##*/}"/*/{lib/lib*.so,bin/*.dll}; do
        [ -e "$library" ] || continue # there are the one or the others
        library=$(realpath "$library")
        case $library in
        */*kvreg_file.*) at_most 1400000 "$library" ;;
        */*kvreg_nats.*) at_most 5200000 "$library" ;;
        */libkvreg.so.* | */kvreg.dll) at_most 2450000 "$library" ;;
        *) echo "nobody has said how large ${library##*/} may be" >&2 && wrong=1 ;;
        esac
    done
done
exit $wrong
