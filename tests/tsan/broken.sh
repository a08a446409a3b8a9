#!/usr/bin/env bash
# Whether ThreadSanitizer would see it: in a copy of the sources one order is taken away, then
# another, and each time the program $1 has to be told of a race.
set -eu
program=$1
copy=target/tsan/copy
library=$PWD/target/tsan/broken
report=target/tsan/report
. tests/tsan/options.sh

# broken WHAT FILE CHANGE: CHANGE, of sed, breaks FILE.
broken() {
    local what=$1 file=$2 change=$3
    rm -rf "$copy"
    mkdir -p "$copy"
    cp -r Cargo.lock build.rs cbindgen.toml src include README.md "$copy"
    sed 's/^members = .*/members = ["."]/' Cargo.toml >"$copy/Cargo.toml"
    sed -i "$change" "$copy/$file"
    if cmp -s "$file" "$copy/$file"; then
        echo "nothing in $file to break by $change" >&2
        exit 1
    fi
    echo "== broken: $what"
    tests/tsan/build.sh "$copy" "$library"
    if LD_LIBRARY_PATH=$library "$program" >"$report" 2>&1; then
        echo "no race was seen" >&2
        exit 1
    fi
    if ! grep -m 1 '^SUMMARY: ThreadSanitizer: data race' "$report"; then
        cat "$report" >&2
        exit 1
    fi
}

broken "freed while readers are not known to be done" src/reclaim/collector.rs \
    's/pinned\.store(pinned & !PINNED, Ordering::Release)/pinned.store(pinned \& !PINNED, Ordering::Relaxed)/'
broken "an entry is found before it is written" src/table/array.rs \
    '/fn change_tags/,/^    }/s/Ordering::Release/Ordering::Relaxed/
        /fn place(/,/^    }/s/Ordering::Release/Ordering::Relaxed/'
broken "a value that does not tell what was done before it was put" src/store/stored.rs \
    '/fn overwrite_alike/,/^    }/s/^\(.*\.store(.*\)Ordering::Release/\1Ordering::Relaxed/
        /fn let_readers_see/,/^    }/s/Ordering::Release/Ordering::Relaxed/'
broken "a handle is found before its object" src/handle_table/mod.rs \
    's/slot\.token\.store(token, Ordering::Release)/slot.token.store(token, Ordering::Relaxed)/'
