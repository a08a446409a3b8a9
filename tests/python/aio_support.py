"""What the tests of `kvreg.aio` need: loops by hand, and a thread that holds a turn."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Callable, TypeVar

import kvreg
import pytest
from kvreg import aio
from support import WAIT, Worker, wait

_Result = TypeVar("_Result")

Run = Callable[[Coroutine[Any, Any, _Result]], _Result]
Factory = Callable[[], asyncio.AbstractEventLoop]

LOOPS: dict[str, Factory] = {"asyncio": asyncio.new_event_loop}
if sys.platform == "win32":  # where there is no uvloop, and asyncio has two
    LOOPS["selector"] = asyncio.SelectorEventLoop
else:
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


class Unwatching(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors, as the default one on Windows; but its own."""

    def add_reader(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def run_in(factory: Factory, main: Coroutine[Any, Any, _Result]) -> _Result:
    """What `asyncio.run` does, in a loop of any kind; fails if it does not end."""
    loop = factory()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, WAIT))
    finally:
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def held(bucket: kvreg.Bucket | aio.Bucket) -> Iterator[threading.Event]:
    """Another thread has the bucket's turn, until the event is set or the block ends."""
    begun, go_on = threading.Event(), threading.Event()
    own = (bucket._server if isinstance(bucket, aio.Bucket) else bucket).clone()
    own.timeout = None

    def hold(_: Any) -> kvreg.Verdict:
        begun.set()
        wait(go_on)
        return kvreg.KEEP

    worker = Worker(lambda: own.update("held", hold, default=None))
    wait(begun)
    try:
        yield go_on
    finally:
        go_on.set()
        with contextlib.suppress(kvreg.ServerDown):  # it may have been killed
            worker.result()
        own.close()


async def until(condition: Callable[[], object]) -> None:
    """Lets other tasks and threads run until something is so."""
    end = asyncio.get_running_loop().time() + WAIT
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it never came"
        await asyncio.sleep(0.001)


async def ticks(count: int = 50) -> None:
    """The loop is not blocked: it comes round so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def pending(*coroutines: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Tasks that have asked and wait, while the loop runs on."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await ticks()
    for task in tasks:
        assert not task.done(), task
    return tasks


factories = pytest.mark.parametrize("factory", LOOPS.values(), ids=LOOPS)
