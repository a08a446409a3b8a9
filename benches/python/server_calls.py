"""What a call of a server that is written in Python costs, beside its peers, in one run.

    KVREG_LIBRARY=target/release/libkvreg.so PYTHONPATH=bindings/python python server_calls.py

pykka is measured where it is installed. Each number is the least of many short rounds, in
nanoseconds: what a busy machine adds comes and goes.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from typing import Any, Callable

import kvreg
from kvreg import aio

ROUNDS = 1500
CALLS = 300


class Counter(kvreg.Server):
    """A number."""

    def __init__(self) -> None:
        self.n = 0

    @kvreg.call
    def add(self, by: int) -> int:
        """Adds."""
        self.n += by
        return self.n

    @kvreg.cast
    def put(self, n: int) -> None:
        """Sets."""
        self.n = n


class Handing(Counter, hand_over=True):
    """The same on another thread."""


class Tasks(aio.Server):
    """The same for tasks."""

    def __init__(self) -> None:
        self.n = 0

    @aio.call
    def add(self, by: int) -> int:
        """Adds."""
        self.n += by
        return self.n


class Locked:
    """A number with a lock."""

    def __init__(self) -> None:
        self.n = 0
        self.lock = threading.Lock()

    def add(self, by: int) -> int:
        """Adds."""
        with self.lock:
            self.n += by
            return self.n


def least(call: Callable[[int], object], rounds: int = ROUNDS, calls: int = CALLS) -> float:
    """Nanoseconds of one call, in the fastest round."""
    found = float("inf")
    for _ in range(rounds):
        began = time.perf_counter_ns()
        for _ in range(calls):
            call(1)
        found = min(found, (time.perf_counter_ns() - began) / calls)
    return found


def tasks() -> float:
    """Of a call that is awaited."""

    async def main() -> float:
        async with aio.Registry() as registry:
            server = await Tasks.start(registry, "tasks")
            found = float("inf")
            for _ in range(ROUNDS):
                began = time.perf_counter_ns()
                for _ in range(CALLS):
                    await server.add(1)
                found = min(found, (time.perf_counter_ns() - began) / CALLS)
            return found

    return asyncio.run(main())


def pykka_ask() -> float | None:
    """The same of pykka, or None where it is not installed."""
    try:
        pykka: Any = importlib.import_module("pykka")
    except ImportError:
        return None

    class Actor(pykka.ThreadingActor):  # type: ignore[misc]
        n = 0

        def on_receive(self, message: int) -> int:
            self.n += message
            return self.n

    actor = Actor.start()
    try:
        return least(actor.ask, 60, 100)
    finally:
        actor.stop()


def main() -> None:
    """Measures and prints."""
    with kvreg.Registry() as registry:
        server = Counter.start(registry, "counter")
        handing = Handing.start(registry, "handing")
        bucket = registry.create("bucket")
        bucket["n"] = 1
        found = {
            "a lock and a method": least(Locked().add),
            "Bucket.__getitem__": least(lambda _: bucket["n"]),
            "Server call": least(server.add),
            "Server call, awaited": tasks(),
            "Server call, handed over": least(handing.add, 60, 100),
            "Server cast, then call": least(lambda n: (server.put(n), server.add(1)), 60, 100),
            "pykka ask": pykka_ask(),
        }
    for name, nanoseconds in found.items():
        print(f"{name:28}", "-" if nanoseconds is None else f"{nanoseconds:9.0f} ns")


if __name__ == "__main__":
    main()
