"""Measures kvreg from Python beside what else there is, in one run.

The yardstick is a `dict` with a `threading.Lock` that does the same. Prints tables, and the
aims with what was measured, and writes target/bench-python.json.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import time
from pathlib import Path
from typing import Any, Callable

import kvreg
from counters import Counter, LockedCounter
from kvreg import _accelerated, aio
from measure import Busy, Loop, medians, percentile
from peers import Locked, actor, peers

VALUE = b"v" * 64
BATCH = 1000
MANY = {f"key {number}": VALUE for number in range(BATCH)}
NAMES = list(MANY)


def repeat(operation: Callable[[], object]) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            operation()

    return loop


def gets(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            mapping["k"]

    return loop


def puts(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            mapping["k"] = VALUE

    return loop


def has(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            "k" in mapping  # noqa: B015  # what is measured

    return loop


def lens(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            len(mapping)

    return loop


def updates(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        update = mapping.update
        for _ in range(count):
            update("n", abs)

    return loop


def adds(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        add = mapping.add
        for _ in range(count):
            add("n")

    return loop


def calls(server: Any) -> Loop:
    def loop(count: int) -> None:
        add = server.add
        for _ in range(count):
            add(1)

    return loop


def awaited(work: Callable[[aio.Bucket], Any], bucket: kvreg.Bucket) -> Loop:
    mine = aio.Bucket.of(bucket)

    def loop(count: int) -> None:
        async def run() -> None:
            for _ in range(count):
                await work(mine)

        asyncio.run(run())

    return loop


ONE: dict[str, Callable[[Any], Loop]] = {
    "get": gets,
    "put": puts,
    "in": has,
    "len": lens,
    "update": updates,
    "add": adds,
}
"""Operations on one key."""

EACH: dict[str, Callable[[Any], Callable[[], object]]] = {
    "get_many": lambda mapping: lambda: mapping.get_many(NAMES),
    "put_many": lambda mapping: lambda: mapping.put_many(MANY),
    "items": lambda mapping: lambda: list(mapping.items()),
    "keys": lambda mapping: lambda: list(mapping),
}
"""Operations on many; what is measured is one batch."""


def of_one(registry: kvreg.Registry) -> dict[str, float]:
    bucket, locked = registry.create("bucket"), Locked()
    for mapping in (bucket, locked):
        mapping["k"], mapping["n"] = VALUE, 1
    loops: dict[str, Loop] = {}
    for name, operation in ONE.items():
        loops[name], loops[f"{name}, dict"] = operation(bucket), operation(locked)
    loops["lookup"] = repeat(lambda: registry["bucket"])
    loops["aio get"] = awaited(lambda mine: mine.get("k"), bucket)
    loops["aio put"] = awaited(lambda mine: mine.put("k", VALUE), bucket)
    loops["call"] = calls(Counter.start(registry, "counter"))
    loops["call, dict"] = calls(LockedCounter())
    return medians(loops)


def of_many(registry: kvreg.Registry) -> dict[str, float]:
    bucket, locked = registry.create("batches"), Locked()
    loops: dict[str, Loop] = {}
    for mapping in (bucket, locked):
        mapping.put_many(MANY)
    for name, operation in EACH.items():
        loops[name] = repeat(operation(bucket))
        loops[f"{name}, dict"] = repeat(operation(locked))
    return {name: taken / BATCH for name, taken in medians(loops).items()}


def of_events(registry: kvreg.Registry) -> dict[str, float]:
    """Of changes of keys, and of ends, that wait: to bring them is not counted."""
    bucket, channel = registry.create("watched"), queue.SimpleQueue[object]()
    watch, inbox = bucket.watch(), kvreg.Inbox()
    while not isinstance(watch.receive(), kvreg.Current):
        pass

    def changes() -> Callable[[], object]:
        bucket.put_many(MANY)
        return watch.receive

    def ends() -> Callable[[], object]:
        ending = kvreg.Bucket()
        for _ in range(BATCH):
            inbox.monitor(ending)
        ending.stop()
        return inbox.receive

    def items() -> Callable[[], object]:
        for number in range(BATCH):
            channel.put(number)
        return channel.get

    def received(bring: Callable[[], Callable[[], object]]) -> Loop:
        def loop(count: int) -> float | None:
            spent = 0.0
            for _ in range(max(1, count // BATCH)):
                receive = bring()
                spent += timed(receive)
            return spent / max(1, count // BATCH) / BATCH

        return loop

    return medians(
        {
            "a change": received(changes),
            "an end": received(ends),
            "event, dict": received(items),
        }
    )


def timed(operation: Callable[[], object]) -> float:
    """Nanoseconds of a batch."""
    begin = time.perf_counter_ns()
    for _ in range(BATCH):
        operation()
    return time.perf_counter_ns() - begin


def of_peers(path: Path, registry: kvreg.Registry) -> dict[str, float]:
    bucket = registry.create("beside peers")
    bucket["k"] = VALUE
    with peers() as others:
        loops: dict[str, Loop] = {"kvreg, get": gets(bucket), "kvreg, put": puts(bucket)}
        for name, mapping in others.items():
            mapping["k"] = VALUE
            loops[f"{name}, get"], loops[f"{name}, put"] = gets(mapping), puts(mapping)
        loops["plain tokio actor, get"] = repeat(actor(path, VALUE))
        return medians(loops)


def of_tails(registry: kvreg.Registry) -> dict[str, tuple[float, float]]:
    """What 999 of 1,000 do not exceed: alone, and beside a busy thread."""
    bucket, server = registry.create("tails"), Counter.start(registry, "tails of calls")
    bucket["k"], bucket["n"] = VALUE, 1
    operations: dict[str, Callable[[], object]] = {
        "get": lambda: bucket["k"],
        "put": lambda: bucket.__setitem__("k", VALUE),
        "update": lambda: bucket.update("n", abs),
        "call": lambda: server.add(1),
    }
    found = {}
    for name, operation in operations.items():
        alone = percentile(operation, 100_000, 999)
        with Busy():
            found[name] = alone, percentile(operation, 100_000, 999)
    return found


def aims(
    one: dict[str, float],
    many: dict[str, float],
    events: dict[str, float],
    beside: dict[str, float],
    tails: dict[str, tuple[float, float]],
) -> list[tuple[str, str, float, float]]:
    """What, how it is to be compared, with what, and what was measured."""

    def ratio(found: dict[str, float], name: str) -> float:
        return found[name] / found[f"{name}, dict"]

    most = {"update": 1.5}
    rows = [
        (f"{name} / dict and lock", "<=", most.get(name, 0.6), ratio(one, name)) for name in ONE
    ]
    rows += [(f"{name}, each / dict and lock", "<=", 3.0, ratio(many, name)) for name in EACH]
    rows.append(("a call / lock and method", "<=", 2.0, ratio(one, "call")))
    for name in ("a change", "an end"):
        rows.append((f"{name} / SimpleQueue", "<=", 3.0, events[name] / events["event, dict"]))
    faster = {"lmdb": 5.0, "diskcache": 80.0, "redis-py": 400.0, "Manager().dict()": 500.0}
    for name, aim in faster.items():
        rows.append(
            (
                f"get, faster than {name}",
                ">=",
                aim,
                beside[f"{name}, get"] / beside["kvreg, get"],
            )
        )
    for name, (alone, busy) in tails.items():
        rows.append((f"p99.9 of {name}, busy / alone", "<=", 3.0, busy / alone))
    return rows


def main(path: Path) -> None:
    how = "by ctypes" if _accelerated.native is None else "with the extension"
    with kvreg.Registry() as registry:
        one, many, events = of_one(registry), of_many(registry), of_events(registry)
        beside, tails = of_peers(path, registry), of_tails(registry)
    print(f"{sys.version.split()[0]}, {how}: ns of one operation; of a dict and a lock")
    for name, taken in {**one, **many, **events}.items():
        if not name.endswith(", dict"):
            other = {**one, **many, **events}.get(f"{name}, dict")
            against = "" if other is None else f" {other:10.0f} {taken / other:8.2f}x"
            print(f"  {name:28} {taken:10.0f}{against}")
    print("others, ns, and as a multiple of kvreg's get")
    for name, taken in beside.items():
        print(f"  {name:28} {taken:10.0f} {taken / beside['kvreg, get']:8.1f}x")
    print("999 of 1,000 take ns at most: alone, and beside a busy thread")
    for name, (alone, busy) in tails.items():
        print(f"  {name:28} {alone:10.0f} {busy:10.0f}")
    if _accelerated.native is not None:  # which they are for
        print("aims")
        for what, sign, aim, measured in aims(one, many, events, beside, tails):
            reached = measured <= aim if sign == "<=" else measured >= aim
            print(f"  {what:40} {sign} {aim:5}x {measured:8.2f}x {'' if reached else 'missed'}")
    report = {"one": one, "many": many, "events": events, "peers": beside, "p99.9": tails}
    report_to = path.parent / (
        "bench-python-ctypes.json" if _accelerated.native is None else "bench-python.json"
    )
    report_to.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
