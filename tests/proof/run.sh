#!/usr/bin/env bash
# Repeats what is a matter of luck for as long as it is told, in rounds, each with a seed of its
# own: histories of whole buckets, misuse under AddressSanitizer, programs that are refused threads
# and memory, and a soak whose memory is flat. With five minutes or more a million servers are
# started and ended once, watches of millions of keys are followed once, and the model is searched
# one preemption deeper; with half an hour or more the C tests run under ThreadSanitizer.
#
# run.sh TIME [SEED]     TIME: 30s, 10m, 8h
set -euo pipefail
cd "$(dirname "$0")/../.."

case $1 in
*h) all=$((${1%h} * 3600)) ;;
*m) all=$((${1%m} * 60)) ;;
*) all=${1%s} ;;
esac
seed=${2:-$(($(date +%s) % 1000000))}
read -ra stress <<<"${PROOF_STRESS:-}"
failed=()

# part SEED WORDS... COMMAND: its output is shown when it fails, and so is how to repeat it.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
part() {
    local name=$1 begin=$SECONDS
    shift
    if "$@" >"$logs/part" 2>&1; then
        echo "    $name: passed, $((SECONDS - begin)) s$(grep -o '^histories: Tally.* in .*' "$logs/part" | sed 's/^histories: Tally/,/')"
    else
        cat "$logs/part"
        echo "    $name: FAILED, seed $seed"
        failed+=("$name, seed $seed")
    fi
}

# The newest, for cargo keeps older ones.
${CARGO:-cargo} test --features aio --test linearizable --test watch_scale --no-run \
    >"$logs/cargo" 2>&1 || { cat "$logs/cargo"; exit 1; }
program() { sed -n "s/^ *Executable tests.$1.rs (\(.*\))$/\1/p" "$logs/cargo"; }
histories=$(program linearizable)
watches=$(program watch_scale)

# Of the time: the model gets a fifth, and ThreadSanitizer what it needs.
rounds=$all
[ "$all" -lt 300 ] || rounds=$((all * 4 / 5))
[ "$all" -lt 1800 ] || rounds=$((rounds - 400))
slice=$((rounds / 8))
[ "$slice" -ge 3 ] || slice=3
[ "$slice" -le 60 ] || slice=60

echo "proof: $all s, the first seed is $seed"
begin=$SECONDS number=0
left() { [ $((SECONDS - begin)) -lt "$rounds" ]; }
while left; do
    echo "round $((number + 1)), seed $seed, after $((SECONDS - begin)) s"
    part histories env KVREG_PROOF_SECONDS=$((slice * 2)) KVREG_PROOF_SEED=$((seed * 1000)) \
        "$histories" --ignored --nocapture proof_by_histories
    ! left || part soak target/c/soak "$slice" "$seed"
    ! left || part "misuse under AddressSanitizer" target/c/misuse-asan $((slice * 60000)) "$seed"
    # One after another, a round each, so that a short proof has some of all in the end.
    if left && [ ${#stress[@]} -gt 0 ]; then
        program=${stress[$((number % ${#stress[@]}))]}
        part "$program" "target/c/$program"
    fi
    number=$((number + 1)) seed=$((seed + 1))
    [ ${#failed[@]} -lt 10 ] || break
done

if [ "$all" -ge 300 ]; then
    part "a million servers" target/c/stress_many_servers 1000000
    part "watches of millions of keys" "$watches" --ignored --nocapture
    # As long for each scenario as leaves all of them their time.
    scenarios=$(grep -c '^#\[test\]' tests/model/src/*.rs | awk -F: '{ all += $2 } END { print all }')
    each=$((all / 5 * ${JOBS:-1} / scenarios + 1))
    part "the model, one preemption deeper, at most $each s for each of $scenarios" \
        env KVREG_MODEL_DEEPER=1 LOOM_MAX_DURATION="$each" LOOM_CHECKPOINT_INTERVAL=500 \
        tests/model/run.sh
else
    echo "    a million servers, watches of many keys, and the model: left out, they need PROOF=5m or more"
fi
if [ "$all" -ge 1800 ]; then
    part "the C tests under ThreadSanitizer" make --no-print-directory test-tsan
else
    echo "    ThreadSanitizer: left out, it needs PROOF=30m or more"
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}"
    echo "proof: ${#failed[@]} failed in $number rounds; PROOF_SEED=... begins with a seed"
    exit 1
fi
echo "proof: nothing was found in $number rounds, $((SECONDS - begin)) s"
