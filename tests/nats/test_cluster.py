"""A cluster that fails: what processes do with its buckets meanwhile is linearizable.

KVREG_TEST_SEED repeats the choices of a run, as far as its luck goes; KVREG_TEST_SCALE is how
many minutes it takes.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import history
import kvreg
import pytest
from history import OK, Message, Op
from nats.js import JetStreamContext
from nats_servers import WAIT, Cluster, asked, cluster, until

SCALE = int(os.environ.get("KVREG_TEST_SCALE", "1"))
SECONDS = 60 * SCALE or 20
SEED = int(os.environ.get("KVREG_TEST_SEED") or time.time())

PROCESSES = 4

SETTLED = 10.0
"""Seconds in which a leader that was deposed meanwhile learns it."""


class Fault(NamedTuple):
    """What was done to a cluster, and when."""

    kind: str
    server: int
    begin: int
    end: int


def one_fault(servers: Cluster, kind: str, chance: random.Random) -> Fault:
    """Does it to the leader of a bucket, for some seconds."""
    leader = servers.await_leader(chance.choice(("KV_plain", "KV_whole")))
    server, road = servers.servers[leader], servers.roads[leader]
    begin = time.monotonic_ns()
    if kind == "killed":
        server.kill()
    elif kind == "frozen":
        server.freeze()
    elif kind == "blocked":
        road.block()
    elif kind == "held":
        road.hold()
    else:
        for each in servers.roads:
            chance.choice((each.block, each.hold))()
    time.sleep(chance.choice((0.5, 3.0, 7.0)))
    servers.mend()
    end = time.monotonic_ns()
    time.sleep(chance.uniform(0.2, 2.0))
    return Fault(kind, leader, begin, end)


def prepare(servers: Cluster) -> None:
    """Makes the bucket whose stream forgets nothing."""

    async def make(js: JetStreamContext) -> None:
        await js.create_key_value(bucket="whole", replicas=3, history=64)
        info = await js.stream_info("KV_whole")
        info.config.max_msgs_per_subject = -1
        await js.update_stream(info.config)

    asked(servers.direct, make)


def messages(servers: Cluster) -> list[Message]:
    """All changes of it."""

    async def read(js: JetStreamContext) -> list[Message]:
        found: list[Message] = []
        last = (await js.stream_info("KV_whole")).state.last_seq
        subscription = await js.subscribe("$KV.whole.>", ordered_consumer=True)
        while not found or found[-1].revision < last:
            message = await subscription.next_msg(WAIT)
            value: Any = message.data.decode()
            if (message.headers or {}).get("Kvreg-Type") == "int":
                value = int(value)
            key = message.subject.removeprefix("$KV.whole.")
            found.append(Message(message.metadata.sequence.stream, key, value))
        return found

    return asked(servers.direct, read, 2 * WAIT)


def is_of_deposed(problem: history.Broken, faults: list[Fault]) -> bool:
    """Whether a leader that was just deposed and did not know it may have answered a read."""
    return problem.is_read and any(
        fault.kind == "frozen" and fault.begin < problem.op.end
        and problem.op.begin < fault.end + SETTLED * 1e9
        for fault in faults
    )  # fmt: skip


def test_a_history_with_faults_is_linearizable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    context = multiprocessing.get_context("spawn")
    with cluster() as servers:
        prepare(servers)
        begin, stop = context.Barrier(PROCESSES + 1), context.Event()
        urls = (f"{servers.url}?replicas=3", f"{servers.url}?replicas=3")
        files = [tmp_path / str(number) for number in range(PROCESSES)]
        processes = [
            context.Process(
                target=history.work,
                args=(number, urls, chance.getrandbits(32), begin, stop, str(files[number])),
                daemon=True,
            )
            for number in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        begin.wait(WAIT)
        faults: list[Fault] = []
        kinds: list[str] = []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            kinds = kinds or chance.sample(
                ("killed", "frozen", "blocked", "held", "all roads"), 5
            )
            faults.append(one_fault(servers, kinds.pop(), chance))
        stop.set()
        begin.wait(WAIT)
        for process in processes:
            process.join(3 * WAIT)
            assert process.exitcode == 0, "a process failed"
        told = [pickle.loads(file.read_bytes()) for file in files]
        ops: list[Op] = [op for one in told for op in one["ops"]]
        ops += last_reads(servers)
        stream = messages(servers)
    problems = history.broken([op for op in ops if op.bucket == "plain"], None)
    problems += history.broken([op for op in ops if op.bucket == "whole"], stream)
    stale = [it for it in problems if is_of_deposed(it, faults)]
    problems = [it for it in problems if it not in stale]
    outcomes = Counter(op.outcome for op in ops if op.kind != "cast")
    stored = {it.value for it in stream}
    unknown = [op for op in ops if op.outcome == "UNKNOWN" and op.bucket == "whole"]
    unknown = [op for op in unknown if op.kind in ("put", "put_if")]
    latest = max((op for op in ops if op.timeout), key=history.late)
    failed = sum(one["failures"] for one in told)
    mismatched = sum(one["mismatches"] for one in told)
    with capsys.disabled():
        print(f"\nseed {SEED}: {len(ops)} calls, {dict(outcomes)}")
        print(f"  faults: {dict(Counter(fault.kind for fault in faults))}")
        are_stored = sum(it.value in stored for it in unknown)
        print(f"  unknown and stored: {are_stored} of {len(unknown)}")
        print(f"  casts that failed: {failed}; calls that did not find them: {mismatched}")
        print(f"  reads of deposed leaders: {len(stale)}")
        print(
            f"  latest: {latest.kind} of {latest.timeout} s, {latest.outcome}"
            f" {history.late(latest) * 1000:.0f} ms after its time,"
            f" of which the machine may have lost {latest.lost * 1000:.0f}"
        )
        print(f"  a watch was told {dict(sum((one['told'] for one in told), Counter()))}")
        print(f"  reads of copies: {sum(one['copied'] for one in told)}")
    if problems or any(one["problems"] for one in told):
        kept = Path(__file__).resolve().parents[2] / "target" / "nats" / f"history-{SEED}"
        kept.write_bytes(pickle.dumps((ops, stream, faults, told)))
    assert not [it for one in told for it in one["problems"]]
    assert not problems, f"{len(problems)} do not hold: {problems[:10]}; all is in {kept}"
    assert mismatched <= failed
    assert sum(one["told"]["Away"] for one in told) > 0, "no watch was told of the faults"


def last_reads(servers: Cluster) -> list[Op]:
    """What all keys are at the end, when nothing is on its way any more."""
    found = []
    with kvreg.Registry(store=servers.direct) as registry:
        for name in ("plain", "whole"):
            bucket = registry.create(name)
            known = until(functools.partial(settled, bucket), "it goes on")
            for key, (value, revision) in known.items():
                now = time.monotonic_ns()
                found.append(
                    Op(PROCESSES, name, "get", key, value, 0, WAIT, now, now, OK, revision)
                )
    return found


def settled(bucket: kvreg.Bucket) -> dict[str, tuple[Any, int]]:
    """What is there, if nothing changes any more."""
    before = history.contents(bucket)
    time.sleep(3)
    after = history.contents(bucket)
    return after if before == after else {}
