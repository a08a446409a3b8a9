"""Servers in Python at work, on several threads, while the interpreter ends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any, Callable

import kvreg
from kvreg import aio
from load import ENOUGH, WAIT, main

# Later Pythons warn of other threads, which are what is tested.
warnings.filterwarnings("ignore", category=DeprecationWarning)


class Worker(kvreg.Server):
    """Calls, sends and sets timers, as long as it lives."""

    def __init__(self) -> None:
        self.n = 0
        self.send_after(0.0005, "tick")

    @kvreg.call
    def add(self, by: int) -> int:
        self.n += by
        return self.n

    @kvreg.call
    def does(self, work: Any) -> Any:
        return work(self)

    @kvreg.cast
    def sum(self, *numbers: int) -> None:
        self.n += sum(numbers)

    def on_info(self, tag: str, *values: Any) -> None:
        self.n += 1
        self.send_after(0.0005, "tick")

    def on_terminate(self, reason: kvreg.Reason) -> None:
        self.n = -1


class Handing(Worker, hand_over=True):
    """The same, on the serving thread."""


class Load:
    """Servers, and daemon threads that call them."""

    def __init__(self) -> None:
        # A call waits as long as the scenario does: a busy machine is no failure.
        with contextlib.suppress(kvreg.AlreadyStarted):
            kvreg.configure(default_timeout=WAIT)
        self.registry = kvreg.Registry("servers at work")
        self.servers = [
            kind.start(self.registry, f"{kind.__name__} {number}")
            for kind in (Worker, Handing)
            for number in range(2)
        ]
        began = threading.Semaphore(0)

        def work(server: Worker) -> None:
            rounds = 0
            try:
                while True:
                    server.add(1)
                    server.sum(1, 2, 3)
                    rounds += 1
                    if rounds == ENOUGH:
                        began.release()
            except (kvreg.NoProcess, kvreg.ServerDown, kvreg.ShutDown):
                pass

        for server in self.servers:
            for _ in range(2):
                threading.Thread(target=work, args=(server,), daemon=True).start()
        for _ in range(2 * len(self.servers)):
            assert began.acquire(timeout=WAIT)


def finite() -> None:
    """The main thread ends; all others are in the middle of something."""
    Load()


def stopped() -> None:
    """All is stopped before."""
    Load().registry.stop()


def shutdown() -> None:
    """The library is shut down before."""
    Load()
    kvreg.shutdown(WAIT)


def exits() -> None:
    """In the middle of a handler."""
    load = Load()
    print("done", flush=True)
    load.servers[0].does(lambda _: sys.exit(3))


def fails() -> None:
    """By an exception, in the middle of a handler."""
    load = Load()
    print("done", flush=True)
    load.servers[0].does(lambda _: 1 // 0)


def ends_at_once() -> None:
    """Without any end of the interpreter's."""
    load = Load()
    print("done", flush=True)
    load.servers[0].does(lambda _: os._exit(0))


def interrupted() -> None:
    """Ctrl-C in a handler: it ends the server and comes out, and the rest goes on."""
    load = Load()

    def interrupt(_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("nothing came")

    server = load.servers[0]
    try:
        server.does(interrupt)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("it did not come out")
    try:
        server.add(1)
    except kvreg.NoProcess:
        pass
    else:
        raise AssertionError("it lives")
    assert Worker.find(load.registry, "Worker 0").add(1) > 0


def wait_for_signal() -> None:
    """Waits in parts: Python notices a signal that came before a wait had begun at its end."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        time.sleep(0.02)


def told_to_end() -> None:
    """Ctrl-C of somebody else's in a handler, which nobody catches."""
    load = Load()

    def waits(_: Any) -> None:
        print("waits", flush=True)
        wait_for_signal()

    load.servers[0].does(waits)


def told_to_end_handed_over() -> None:
    """The same while the main thread waits for a handler that another thread runs."""
    load = Load()

    def waits(_: Any) -> None:
        print("waits", flush=True)
        wait_for_signal()

    load.servers[2].does(waits)


def forks() -> None:
    """Children, one after the other, in which only their own servers are."""
    load = Load()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                try:
                    load.servers[0].add(1)
                except kvreg.ForkedError:
                    own = kvreg.Registry("servers at work")
                    server = Worker.start(own, "own")
                    server.sum(1)
                    assert server.add(1) > 1
                    assert Handing.start(own, "handing").add(1) > 0
                    own.stop()
                    status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    assert load.servers[0].add(1) > 0


def job(number: int) -> int:
    """What a process of a pool does."""
    try:
        registry = kvreg.Registry.whereis("of the pool")
    except kvreg.RegistryNotFound:
        registry = kvreg.Registry("of the pool")
    server = Worker.start(registry, "worker")
    server.does(lambda it: setattr(it, "n", number))
    server.sum(1)
    given: int = server.does(lambda _: number)
    return given


def pools(how: str) -> None:
    """Processes of pools, while servers of the parent are at work."""
    load = Load()
    context = multiprocessing.get_context(how)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(job, range(4))) == list(range(4))
    with context.Pool(2) as workers:
        assert workers.map(job, range(4), chunksize=1) == list(range(4))
        workers.close()
        workers.join()
    assert load.servers[0].add(1) > 0


class Waiting(aio.Server):
    """Whose handlers wait."""

    @aio.call
    async def slowly(self) -> int:
        await asyncio.sleep(0.0005)
        return 1

    @aio.call
    async def never(self) -> None:
        await asyncio.Event().wait()


def loop() -> None:
    """A loop ends while handlers wait, and calls."""
    Load()

    async def work() -> None:
        asyncio.get_running_loop().slow_callback_duration = WAIT  # it is beside busy threads
        registry = aio.Registry()
        waiting = [await Waiting.start(registry, f"{number}") for number in range(5)]

        async def calls(server: Waiting) -> None:
            with contextlib.suppress(kvreg.NoProcess, kvreg.ServerDown):
                while True:
                    await server.slowly()

        tasks = [asyncio.ensure_future(calls(server)) for server in waiting]
        tasks.append(asyncio.ensure_future(waiting[0].never()))
        for _ in range(5):
            await waiting[1].slowly()
        registry.close()

    asyncio.run(work())


SCENARIOS: dict[str, Callable[[], None]] = {
    "finite": finite,
    "stopped": stopped,
    "shutdown": shutdown,
    "exits": exits,
    "fails": fails,
    "ends_at_once": ends_at_once,
    "interrupted": interrupted,
    "told_to_end": told_to_end,
    "told_to_end_handed_over": told_to_end_handed_over,
    "forks": forks,
    "loop": loop,
    **{
        f"pools-{how}": functools.partial(pools, how)
        for how in multiprocessing.get_all_start_methods()
    },
}

if __name__ == "__main__":
    main(SCENARIOS)
    print("done")  # those that end in the middle have said so
