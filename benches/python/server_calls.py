"""What a call of a server that is written in Python costs, beside its peers, in one run.

    server_calls.py RELEASE

RELEASE is the directory of the library, with libadds.so beside it. pykka, thespian and elixir
are measured where they are installed. Prints a table, and the aims with what was measured, and
writes target/bench-servers-python.json. Each figure is the least of many short rounds.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import kvreg
from counters import Counter, LockedCounter
from kvreg import _abi, aio
from kvreg._library import library
from measure import Loop, leasts

GENSERVER = Path(__file__).resolve().parents[1] / "src" / "servers" / "genserver.exs"


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


def repeat(call: Callable[[int], object]) -> Loop:
    def loop(count: int) -> None:
        for _ in range(count):
            call(1)

    return loop


def awaited(registry: kvreg.Registry) -> Loop:
    """Calls of a task; the server outlives its loop, and its callers handle all there is."""

    async def start() -> None:
        await Tasks.start(registry, "tasks")

    asyncio.run(start())

    def loop(count: int) -> float:
        async def run() -> float:
            server = await Tasks.find(registry, "tasks")
            begin = time.perf_counter_ns()
            for _ in range(count):
                await server.add(1)
            return (time.perf_counter_ns() - begin) / count

        return asyncio.run(run())

    return loop


def cast_then_call(server: Counter) -> Loop:
    def loop(count: int) -> None:
        for n in range(count):
            server.put(n)
            assert server.add(1) == n + 1

    return loop


def in_c(registry: kvreg.Registry, release: Path) -> Any:
    """A server by callbacks, as C programs have them."""
    adds = ctypes.cast(ctypes.CDLL(str(release / "libadds.so")).adds, ctypes.c_void_p)
    options = _abi.ServerOptions(handle=adds.value)
    server = ctypes.c_void_p()
    status = library().kvreg_registry_start_server(
        registry._handle, b"in C", 4, 0, options, ctypes.byref(server), None
    )
    assert status == 0
    library().kvreg_server_free(server)
    return registry.servers["in C"]


def call_in_c(server: Any) -> Loop:
    def loop(count: int) -> None:
        call = server.call
        for _ in range(count):
            call("add", 1, 2)

    assert server.call("add", 1, 2) == 3
    return loop


def pykka_asks() -> Loop | None:
    try:
        pykka: Any = importlib.import_module("pykka")
    except ImportError:
        return None

    class Actor(pykka.ThreadingActor):  # type: ignore[misc]
        use_daemon_thread = True
        n = 0

        def on_receive(self, message: int) -> int:
            self.n += message
            return self.n

    return repeat(Actor.start().ask)


def thespian_asks() -> Loop | None:
    try:
        actors: Any = importlib.import_module("thespian.actors")
    except ImportError:
        return None

    class Actor(actors.Actor):  # type: ignore[misc]
        n = 0

        def receiveMessage(self, message: int, sender: Any) -> None:
            self.n += message
            self.send(sender, self.n)

    system = actors.ActorSystem("simpleSystemBase")
    actor = system.createActor(Actor)
    return repeat(lambda by: system.ask(actor, by, 10))


def genservers() -> dict[str, Loop]:
    """Of Elixir's own machine, in a process that does a round when it is told to."""
    try:
        elixir = subprocess.Popen(
            ["elixir", str(GENSERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    except OSError:
        return {}

    def of(what: str) -> Loop:
        def loop(count: int) -> float:
            assert elixir.stdin is not None and elixir.stdout is not None
            print(what, count, file=elixir.stdin, flush=True)
            return float(elixir.stdout.readline())

        return loop

    found = {"GenServer.call": of("call"), "GenServer.cast, then call": of("cast-then-call")}
    for loop in found.values():
        loop(10000)  # once it has begun
    return found


def loops(registry: kvreg.Registry, release: Path) -> dict[str, Loop]:
    """All there is, by name, and a word of what there is not."""
    server, handing = Counter.start(registry, "counter"), Handing.start(registry, "handing")
    bucket = registry.create("bucket")
    bucket["n"] = 1
    found: dict[str, Loop | None] = {
        "a lock and a method": repeat(LockedCounter().add),
        "Bucket.__getitem__": repeat(lambda _: bucket["n"]),
        "Server call": repeat(server.add),
        "Server call, awaited": awaited(registry),
        "Server call, handed over": repeat(handing.add),
        "Server cast, then call": cast_then_call(server),
        "a call of a server in C": call_in_c(in_c(registry, release)),
        "pykka ask": pykka_asks(),
        "thespian ask, in this process": thespian_asks(),
        "GenServer.call": None,
        **genservers(),
    }
    missing = [name for name, loop in found.items() if loop is None]
    if missing:
        print("not installed, and left out:", ", ".join(missing))
    return {name: loop for name, loop in found.items() if loop is not None}


AIMS = (
    ("a call of Python's against a lock and a method", "<=", 4.5, "a lock and a method"),
    ("a call of Python's, faster than pykka's ask", ">=", 15.0, "pykka ask"),
    ("a call of Python's, faster than GenServer.call", ">=", 1.5, "GenServer.call"),
)


def main(release: Path) -> None:
    """Measures and prints."""
    with kvreg.Registry() as registry:
        times = leasts(loops(registry, release))
    own = times["Server call"]
    print("one operation, ns, and as a multiple of a call of Python's")
    for name, took in times.items():
        print(f"  {name:34} {took:10.0f} {took / own:9.2f}x")
    measured = [
        (what, sign, aim, own / times[peer] if sign == "<=" else times[peer] / own)
        for what, sign, aim, peer in AIMS
        if peer in times
    ]
    of_c = times["a call of a server in C"] / times["Bucket.__getitem__"]
    measured.append(("a call of a server in C against a bucket's get", "<=", 1.2, of_c))
    print("aims")
    for what, sign, aim, ratio in measured:
        reached = ratio <= aim if sign == "<=" else ratio >= aim
        print(f"  {what:50} {sign} {aim:4}x {ratio:8.2f}x {'' if reached else 'missed'}")
    report = {
        "ns": times,
        "aims": [
            {"what": what, "sign": sign, "aim": aim, "measured": ratio}
            for what, sign, aim, ratio in measured
        ],
    }
    report_to = release.parent / "bench-servers-python.json"
    report_to.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
