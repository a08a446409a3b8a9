# To be sourced: $wine runs a program, in the prefix $1, which is made at first.
#
# Nothing of Wine's is shown or asked for, and nothing outside the prefix is written. It is brought up
# once, and stays up to the end of the script: where each program does that anew, it takes long, and
# one now and then waits for ever for what was just going down.
export WINEPREFIX=$1 WINEDEBUG=-all
export WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe,winedbg.exe="
unset DISPLAY WAYLAND_DISPLAY || true
wine=/usr/lib/wine/wine64

for attempt in 1 2 3 none; do
    # What another run has left in this prefix.
    /usr/lib/wine/wineserver64 -k >/dev/null 2>&1 || true
    if [ $attempt = none ]; then
        echo "Wine does not start" >&2
        exit 1
    fi
    timeout 100 "$wine" wineboot --init >/dev/null 2>&1 && break
done
exec 3> >(exec "$wine" cmd.exe >/dev/null 2>&1)
