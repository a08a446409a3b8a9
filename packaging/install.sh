#!/usr/bin/env bash
# Installs what link.sh or windows/dll.sh made, or removes what was installed:
#
#   install.sh install BUILT [ENGINE]     BUILT: the directory with the libraries, for Linux or Windows
#   install.sh uninstall [ENGINE]
#
# An ENGINE is a component of its own. It goes where kvreg went, for its library has to lie beside
# kvreg's, and CMake's package has a file of it.
#
# PREFIX, INCLUDEDIR, LIBDIR and DOCDIR are where it is to be, DESTDIR what is put before them. A
# manifest in DOCDIR, one of each component, names, relative to PREFIX, each file and each directory
# that was made, so that removing leaves what was there before and nothing else, whatever version was
# installed. Each is in it before it is made: what ended in the middle can be removed, or installed
# over.
set -euo pipefail
# It is for everybody, and listed in one order, whoever installs it.
umask 022
export LC_ALL=C
command=$1
: "${PREFIX:?where to}" "${VERSION:?the version, as major.minor.patch}"
DESTDIR=${DESTDIR:-}
INCLUDEDIR=${INCLUDEDIR:-$PREFIX/include}
LIBDIR=${LIBDIR:-$PREFIX/lib}
DOCDIR=${DOCDIR:-$PREFIX/share/doc/kvreg}
for variable in PREFIX INCLUDEDIR LIBDIR DOCDIR; do
    case ${!variable} in
    /*) ;;
    *)
        echo "install.sh: $variable is ${!variable}, which is not an absolute path" >&2
        exit 1
        ;;
    esac
    # One way to write each, without slashes at its end.
    printf -v "$variable" %s "$(realpath -ms "${!variable}")"
done
case $command in
install) engine=${3:-} ;;
*) engine=${2:-} ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
manifest=$DESTDIR$DOCDIR/manifest${engine:+-$engine}.txt

# As a name in the manifest, and back. Nothing follows links here: where the prefix is one, its
# parent is another directory than that of what it points to.
entry() { realpath -ms --relative-to="$PREFIX" "$1"; }
place() { echo "$DESTDIR$(realpath -ms "$PREFIX/$1")"; }

# Removes what is named: files first, the manifest last of them; then directories, innermost first,
# each only if it is empty.
remove() {
    local own named path
    own=$(entry "${manifest#"$DESTDIR"}")
    while IFS= read -r named; do
        path=$(place "$named")
        case $named in
        */) [ ! -d "$path" ] || [ -L "$path" ] || rmdir --ignore-fail-on-non-empty "$path" ;;
        *) [ -d "$path" ] && [ ! -L "$path" ] || rm -f "$path" ;; # a directory is somebody else's
        esac
    done < <(sort -r | awk -v own="${own//\\/\\\\}" '
        /\/$/ {late = late $0 "\n"; next} $0 == own {last = own "\n"; next} {print}
        END {printf "%s%s", last, late}')
}

note() { echo "$(entry "$1")${2:-}" >>"$noted"; }

# Makes a directory and those above it, and notes which of them are new.
directory() {
    [ -d "$DESTDIR$1" ] && return
    directory "$(dirname "$1")"
    # Those above the prefix stay.
    case $PREFIX/ in
    "$1"/?*) ;;
    *) note "$1" / ;;
    esac
    mkdir "$DESTDIR$1"
}

file() { # SOURCE DIRECTORY [MODE]
    directory "$2"
    note "$2/$(basename "$1")"
    install -T -m "${3:-644}" "$1" "$DESTDIR$2/$(basename "$1")"
}

link() { # TARGET DIRECTORY NAME
    note "$2/$3"
    ln -sfT "$1" "$DESTDIR$2/$3"
}

# A template with its @words@ replaced. All paths in it are relative to where it is.
filled() { # TEMPLATE DIRECTORY [NAME]
    local text name word
    local -A words=([version]=$VERSION [major]=${VERSION%%.*} [engine]=$engine)
    # pkg-config's are for compilers, which follow links before they go up; CMake does not.
    words[prefix]="\${pcfiledir}/$(realpath -m --relative-to="$DESTDIR$2" "$DESTDIR$PREFIX")"
    # The system's own directories it leaves out, but only by their names.
    [ "$PREFIX" != /usr ] || words[prefix]=/usr
    words[includedir]="\${prefix}/$(realpath -m --relative-to="$DESTDIR$PREFIX" "$DESTDIR$INCLUDEDIR")"
    words[libdir]="\${prefix}/$(realpath -m --relative-to="$DESTDIR$PREFIX" "$DESTDIR$LIBDIR")"
    words[to_prefix]=$(realpath -ms --relative-to="$2" "$PREFIX")
    words[include]=$(entry "$INCLUDEDIR")
    words[lib]=$(entry "$LIBDIR")
    text=$(cat "$1")
    for word in "${!words[@]}"; do
        text=${text//"@$word@"/"${words[$word]}"}
    done
    name=${3:-$(basename "$1" .in)}
    echo "$text" >"$work/$name"
    file "$work/$name" "$2"
}

core() {
    for header in include/kvreg.h include/kvreg.hpp include/kvreg_engine.h \
        bindings/c/kvreg_macros.h bindings/c/kvreg_test.h; do
        file "$root/$header" "$INCLUDEDIR"
    done
    if [ -e "$built/kvreg.dll" ]; then
        file "$built/kvreg.dll" "$PREFIX/bin" 755
        file "$built/libkvreg.dll.a" "$LIBDIR"
        file "$built/kvreg.lib" "$LIBDIR"
        file "$built/kvreg.def" "$LIBDIR"
    else
        file "$built/libkvreg.a" "$LIBDIR"
        for rules in tsan.supp valgrind.supp; do
            file "$root/packaging/suppressions/$rules" "$PREFIX/share/kvreg"
        done
        file "$built/libkvreg.so.$VERSION" "$LIBDIR" 755
        link "libkvreg.so.$VERSION" "$LIBDIR" "libkvreg.so.${VERSION%%.*}"
        link "libkvreg.so.${VERSION%%.*}" "$LIBDIR" libkvreg.so
    fi
    filled "$root/packaging/kvreg.pc.in" "$LIBDIR/pkgconfig"
    filled "$root/packaging/cmake/kvreg-config.cmake.in" "$LIBDIR/cmake/kvreg"
    filled "$root/packaging/cmake/kvreg-config-version.cmake.in" "$LIBDIR/cmake/kvreg"
    # As they lie in the repository, for they lead to one another.
    for text in "$root"/*.md "$root"/LICENSE-*; do
        file "$text" "$DOCDIR"
    done
    for text in "$root"/docs/*.md; do
        file "$text" "$DOCDIR/docs"
    done
    for picture in "$root"/docs/images/*.svg; do
        file "$picture" "$DOCDIR/docs/images"
    done
    for example in "$root"/bindings/{c/*.[ch],c/plugins/*.[ch],c/plugins/*.py,cpp/*.cpp,csharp/*.cs} \
        "$root"/bindings/{go/*.go,go/go.mod,java/*.java,luajit/*.lua,node/*.js,node/*.json} \
        "$root"/bindings/{python/examples/*.py,ruby/*.rb} "$root"/engines/dir/dir.c; do
        case ${example##*/} in
        kvreg_macros.h | kvreg_test.h) continue ;; # among the headers
        esac
        file "$example" "$DOCDIR$(dirname "/${example#"$root"/}")"
    done
    file "$built/THIRD-PARTY-LICENSES.txt" "$DOCDIR"
}

component() {
    local library=libkvreg_$engine
    file "$root/engines/$engine/kvreg_$engine.h" "$INCLUDEDIR"
    if [ -e "$built/kvreg_$engine.dll" ]; then
        file "$built/kvreg_$engine.dll" "$PREFIX/bin" 755
        file "$built/$library.dll.a" "$LIBDIR"
        file "$built/kvreg_$engine.lib" "$LIBDIR"
    else
        file "$built/$library.a" "$LIBDIR"
        file "$built/$library.so" "$LIBDIR" 755
    fi
    filled "$root/packaging/kvreg-engine.pc.in" "$LIBDIR/pkgconfig" "kvreg-$engine.pc"
    filled "$root/packaging/cmake/kvreg-engine.cmake.in" "$LIBDIR/cmake/kvreg" "kvreg-$engine.cmake"
    file "$built/THIRD-PARTY-LICENSES-$engine.txt" "$DOCDIR"
}

# The directories that other components made, and this one has files in: who is removed last removes
# them.
shared_directories() { # LIST
    local other
    for other in "$DESTDIR$DOCDIR"/manifest*.txt; do
        [ "$other" = "$manifest" ] || grep '/$' "$other" || true
    done | while IFS= read -r named; do
        # The prefix itself is before no name.
        at=${named#./} awk 'index($0, ENVIRON["at"]) == 1 {found = 1} END {exit !found}' "$1" || continue
        echo "$named"
    done
}

case $command in
uninstall)
    if [ ! -e "$manifest" ]; then
        echo "install.sh: nothing is installed there: there is no $manifest" >&2
        exit 1
    fi
    remove <"$manifest"
    ;;
install)
    built=$2
    work=$(mktemp -d)
    trap 'rm -rf "$work" "$manifest.new"' EXIT
    [ -z "$DESTDIR" ] || mkdir -p "$DESTDIR"
    noted=$work/noted
    touch "$noted" "$work/before"
    [ ! -e "$manifest" ] || cp "$manifest" "$work/before"
    directory "$DOCDIR"
    note "${manifest#"$DESTDIR"}"
    cat "$noted" >>"$manifest"
    noted=$manifest
    if [ -n "$engine" ]; then component; else core; fi
    # An older version may have had other files; directories that it made are still to be removed.
    tail -n "+$(($(wc -l <"$work/before") + 1))" "$manifest" | sort >"$work/now"
    sort "$work/before" | comm -23 - "$work/now" >"$work/older"
    remove <"$work/older"
    while IFS= read -r named; do
        [ ! -d "$(place "$named")" ] || echo "$named" >>"$work/now"
    done < <(grep '/$' "$work/older")
    shared_directories "$work/now" >"$work/shared"
    sort -u "$work/now" "$work/shared" >"$manifest.new"
    mv "$manifest.new" "$manifest"
    ;;
*)
    echo "install.sh: install or uninstall, not $command" >&2
    exit 1
    ;;
esac
