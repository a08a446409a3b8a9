#!/usr/bin/env bash
# Explores each scenario of the model in a process of its own, JOBS at a time: so what one breaks is
# its own. Without what takes long to build, and makes none of them faster: LTO, and fast code for
# what loom writes logs with.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
slow=()
for crate in matchers nu-ansi-term regex-automata regex-syntax sharded-slab thread_local tracing-log \
    tracing-subscriber; do
    slow+=(--config "profile.release.package.$crate.opt-level=0")
done
${CARGO:-cargo} test "${slow[@]}" --release -p kvreg-model --lib --no-run 2>&1 | tee "$work/cargo"
binary=$(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$work/cargo")

explore() {
    local log
    log=$work/${1//:/_}
    if "$binary" --exact "$1" >"$log" 2>&1 && grep -q '^test result: ok. 1 passed' "$log"; then
        echo "test $1 ... ok" | tee -a "$work/passed"
    else
        cat "$log"
        echo "$1" >>"$work/failed"
    fi
}
export -f explore
export binary work
touch "$work/passed" "$work/failed"
"$binary" --list --format terse | sed -n 's/: test$//p' >"$work/scenarios"
xargs -P "${JOBS:-2}" -I{} bash -c 'explore {}' <"$work/scenarios"

passed=$(wc -l <"$work/passed")
failed=$(wc -l <"$work/failed")
echo "model: $passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$passed" -eq "$(wc -l <"$work/scenarios")" ]
