"""Measures kvreg from Python beside what else there is, in one run.

Prints a table, and the aims with what was measured, and writes target/bench-python.json.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import multiprocessing
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable

import diskcache
import kvreg
from kvreg import aio
from measure import Busy, Loop, medians, percentile_99

VALUE = b"v" * 64
BATCH = 1000


def repeat(operation: Callable[[], object]) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            operation()

    return loop


def floor(path: Path) -> Loop:
    """A foreign call of three arguments, and a copy of 64 bytes."""
    call = ctypes.CDLL(str(path / "libfloor.so")).floor_call
    call.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    buffer = ctypes.create_string_buffer(VALUE)
    address, copy, key = ctypes.addressof(buffer), ctypes.string_at, b"k"

    def loop(count: int) -> None:
        for _ in range(count):
            call(1, key, 1)
            copy(address, 64)

    return loop


def actor(path: Path) -> Callable[[], bytes]:
    """A get from the plain tokio actor."""
    library = ctypes.CDLL(str(path / "libkvreg_bench_actor.so"))
    texts: list[Any] = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.actor_put.argtypes = texts
    library.actor_get.argtypes = texts
    library.actor_get.restype = ctypes.c_int64
    library.actor_put(b"k", 1, VALUE, len(VALUE))
    buffer = ctypes.create_string_buffer(64)

    def get() -> bytes:
        length: int = library.actor_get(b"k", 1, buffer, 64)
        return buffer.raw[:length]

    assert get() == VALUE
    return get


def gets(mapping: Any) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            mapping["k"]

    return loop


def puts(mapping: Any, value: object) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            mapping["k"] = value

    return loop


class Locked(dict[str, Any]):
    """A dict with a lock, as one shares it between threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> Any:
        with self._lock:
            return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        with self._lock:
            super().__setitem__(key, value)


def awaited(work: Callable[[aio.Bucket], Any], bucket: kvreg.Bucket) -> Loop:
    mine = aio.Bucket.of(bucket)

    def loop(count: int) -> None:
        async def run() -> None:
            for _ in range(count):
                await work(mine)

        asyncio.run(run())

    return loop


def operations(
    path: Path, registry: kvreg.Registry, cache: Any, shared: Any
) -> dict[str, Loop]:
    bucket = registry.create("bucket")
    locked = Locked()
    for mapping in (bucket, cache, shared, locked):
        mapping["k"] = VALUE
    bucket["s"], bucket["n"] = "v" * 64, 1
    return {
        "ctypes floor": floor(path),
        "get": gets(bucket),
        "get, str": repeat(lambda: bucket["s"]),
        "get, int": repeat(lambda: bucket["n"]),
        "put": puts(bucket, VALUE),
        "put_cast": repeat(lambda: bucket.put_cast("k", VALUE)),
        "update": repeat(lambda: bucket.update("n", abs)),
        "lookup": repeat(lambda: registry["bucket"]),
        "aio get": awaited(lambda mine: mine.get("k"), bucket),
        "aio put": awaited(lambda mine: mine.put("k", VALUE), bucket),
        "dict with a lock, get": gets(locked),
        "dict with a lock, put": puts(locked, VALUE),
        "diskcache, get": gets(cache),
        "diskcache, put": puts(cache, VALUE),
        "Manager().dict(), get": gets(shared),
        "Manager().dict(), put": puts(shared, VALUE),
        "plain tokio actor, get": repeat(actor(path)),
    }


def batches(registry: kvreg.Registry) -> dict[str, Loop]:
    """Of 1,000 keys each; what is measured is one batch."""
    bucket = registry.create("batches")
    found: dict[str, Loop] = {}
    for kind, value in (("bytes", VALUE), ("int", 1)):
        found.update(_batches(bucket, kind, {f"key {kind} {n}": value for n in range(BATCH)}))
    found["items"] = repeat(lambda: list(bucket.items()))
    return found


def _batches(bucket: kvreg.Bucket, kind: str, pairs: dict[str, Any]) -> dict[str, Loop]:
    def put_each() -> None:
        for key, value in pairs.items():
            bucket[key] = value

    def get_each() -> None:
        for key in pairs:
            bucket[key]

    return {
        f"put {kind} in a loop": repeat(put_each),
        f"put_many {kind}": repeat(lambda: bucket.put_many(pairs)),
        f"get {kind} in a loop": repeat(get_each),
        f"get_many {kind}": repeat(lambda: bucket.get_many(pairs)),
    }


def tails(path: Path, registry: kvreg.Registry) -> dict[str, float]:
    bucket = registry.create("tails")
    bucket["k"] = VALUE
    get, ask = (lambda: bucket["k"]), actor(path)
    found = {"get": percentile_99(get, 100_000), "actor": percentile_99(ask, 2_000)}
    with Busy():
        found["get, busy"] = percentile_99(get, 100_000)
        found["actor, busy"] = percentile_99(ask, 300)
    return found


def main(path: Path) -> None:
    with (
        kvreg.Registry() as registry,
        tempfile.TemporaryDirectory() as directory,
        diskcache.Cache(directory) as cache,
        multiprocessing.Manager() as manager,
    ):
        single = medians(operations(path, registry, cache, manager.dict()))
        many = {name: time / BATCH for name, time in medians(batches(registry)).items()}
        tail = tails(path, registry)
    print("one operation, ns, and as a multiple of the ctypes floor")
    for name, time in single.items():
        print(f"  {name:28} {time:10.0f} {time / single['ctypes floor']:9.2f}x")
    print("one key of 1,000, ns")
    for name, time in many.items():
        print(f"  {name:28} {time:10.0f}")
    print("99 of 100 gets, ns at most")
    for name, time in tail.items():
        print(f"  {name:28} {time:10.0f}")
    get = single["get"]
    by_bytes = many["put bytes in a loop"] / many["put_many bytes"]
    by_ints = many["put int in a loop"] / many["put_many int"]
    by_manager = single["Manager().dict(), get"] / get
    busy = tail["get, busy"] / tail["get"]
    aims: list[tuple[str, str, float, float]] = [
        ("get of 64 B against the ctypes floor", "<=", 1.5, get / single["ctypes floor"]),
        ("get, faster than diskcache's", ">=", 5, single["diskcache, get"] / get),
        ("get, faster than Manager().dict()'s", ">=", 50, by_manager),
        ("put_many of 1,000 bytes, faster than a loop", ">=", 3, by_bytes),
        ("put_many of 1,000 ints, faster than a loop", ">=", 3, by_ints),
        ("p99 of get beside a busy thread, against alone", "<=", 5, busy),
    ]
    print("aims")
    for what, sign, aim, measured in aims:
        reached = measured <= aim if sign == "<=" else measured >= aim
        print(f"  {what:48} {sign} {aim:4}x {measured:8.2f}x {'' if reached else 'missed'}")
    report = {"one": single, "of_1000": many, "p99": tail}
    report_to = path.parent / "bench-python.json"
    report_to.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
