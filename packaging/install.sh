#!/usr/bin/env bash
# Installs what link.sh or windows/dll.sh made, or removes what was installed:
#
#   install.sh install BUILT        BUILT: the directory with the libraries, for Linux or Windows
#   install.sh uninstall
#
# PREFIX, INCLUDEDIR, LIBDIR and DOCDIR are where it is to be, DESTDIR what is put before them. A
# manifest in DOCDIR names, relative to PREFIX, each file and each directory that was made, so that
# removing leaves what was there before and nothing else, whatever version was installed.
set -euo pipefail
command=$1
: "${PREFIX:?where to}" "${VERSION:?the version, as major.minor.patch}"
DESTDIR=${DESTDIR:-}
case $PREFIX in
/*) ;;
*) echo "install.sh: PREFIX is $PREFIX, which is not an absolute path" >&2 && exit 1 ;;
esac
INCLUDEDIR=${INCLUDEDIR:-$PREFIX/include}
LIBDIR=${LIBDIR:-$PREFIX/lib}
DOCDIR=${DOCDIR:-$PREFIX/share/doc/kvreg}
root=$(cd "$(dirname "$0")/.." && pwd)
manifest=$DESTDIR$DOCDIR/manifest.txt

# Files first, then the directories that were made, innermost first; each only if it is empty.
uninstall() {
    local entry
    while read -r entry; do
        case $entry in
        */)
            entry=$(realpath -m "$DESTDIR$PREFIX/$entry")
            [ ! -d "$entry" ] || rmdir --ignore-fail-on-non-empty "$entry"
            ;;
        *) rm -f "$DESTDIR$PREFIX/$entry" ;;
        esac
    done <<<"$(sort -r "$manifest" | awk '/\/$/ {late = late $0 "\n"; next} {print} END {printf "%s", late}')"
}

note() { realpath -m --no-symlinks --relative-to="$PREFIX" "$1" | sed "s:\$:${2:-}:" >>"$noted"; }

# Makes a directory and those above it, and notes which of them are new.
directory() {
    [ -d "$DESTDIR$1" ] && return
    [ "$1" = / ] || directory "$(dirname "$1")"
    mkdir "$DESTDIR$1"
    # Those above the prefix stay.
    case $PREFIX/ in
    "$1"/?*) ;;
    *) note "$1" / ;;
    esac
}

file() { # SOURCE DIRECTORY [MODE]
    directory "$2"
    install -m "${3:-644}" "$1" "$DESTDIR$2/$(basename "$1")"
    note "$2/$(basename "$1")"
}

link() { # TARGET DIRECTORY NAME
    ln -sf "$1" "$DESTDIR$2/$3"
    note "$2/$3"
}

# A template with its @words@ replaced. All paths in it are relative to where it is.
filled() { # TEMPLATE DIRECTORY
    local up include lib
    up=$(realpath -m --relative-to="$2" "$PREFIX")
    include=$(realpath -m --relative-to="$PREFIX" "$INCLUDEDIR")
    lib=$(realpath -m --relative-to="$PREFIX" "$LIBDIR")
    local name
    name=$(basename "$1" .in)
    sed -e "s:@prefix@:\${pcfiledir}/$up:" -e "s:@includedir@:\${prefix}/$include:" \
        -e "s:@libdir@:\${prefix}/$lib:" -e "s:@to_prefix@:$up:" -e "s:@include@:$include:" \
        -e "s:@lib@:$lib:" -e "s:@version@:$VERSION:g" -e "s:@major@:${VERSION%%.*}:g" "$1" >"$work/$name"
    file "$work/$name" "$2"
}

case $command in
uninstall)
    if [ ! -e "$manifest" ]; then
        echo "install.sh: nothing is installed there: there is no $manifest" >&2
        exit 1
    fi
    uninstall
    ;;
install)
    built=$2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    noted=$work/noted
    # An older version may have had other files.
    [ ! -e "$manifest" ] || uninstall
    for header in include/kvreg.h include/kvreg.hpp bindings/c/kvreg_macros.h; do
        file "$root/$header" "$INCLUDEDIR"
    done
    if [ -e "$built/kvreg.dll" ]; then
        file "$built/kvreg.dll" "$PREFIX/bin" 755
        file "$built/libkvreg.dll.a" "$LIBDIR"
        file "$built/kvreg.def" "$LIBDIR"
        file "$root/docs/windows.md" "$DOCDIR"
    else
        file "$built/libkvreg.a" "$LIBDIR"
        file "$built/libkvreg.so.$VERSION" "$LIBDIR" 755
        link "libkvreg.so.$VERSION" "$LIBDIR" "libkvreg.so.${VERSION%%.*}"
        link "libkvreg.so.${VERSION%%.*}" "$LIBDIR" libkvreg.so
    fi
    filled "$root/packaging/kvreg.pc.in" "$LIBDIR/pkgconfig"
    filled "$root/packaging/cmake/kvreg-config.cmake.in" "$LIBDIR/cmake/kvreg"
    filled "$root/packaging/cmake/kvreg-config-version.cmake.in" "$LIBDIR/cmake/kvreg"
    for text in CHANGELOG.md LICENSE-APACHE LICENSE-MIT docs/c-guide.md docs/cpp-guide.md; do
        file "$root/$text" "$DOCDIR"
    done
    for example in demo.c shell.c shell_windows.h event_loop.c worker_pool.c; do
        file "$root/bindings/c/$example" "$DOCDIR/examples"
    done
    for example in "$root"/bindings/c/plugins/*.[ch]; do
        file "$example" "$DOCDIR/examples/plugins"
    done
    file "$built/THIRD-PARTY-LICENSES.txt" "$DOCDIR"
    note "$DOCDIR/manifest.txt"
    sort "$noted" >"$manifest"
    ;;
*)
    echo "install.sh: install or uninstall, not $command" >&2
    exit 1
    ;;
esac
