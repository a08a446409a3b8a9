"""Where no thread can be started any more: what needs one says so, and all else works."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable, NoReturn

import kvreg
import pytest
from kvreg import aio
from kvreg.aio._workers import Workers
from support import Worker, python, wait

ROUNDS = 50


def refuse(thread: threading.Thread) -> NoReturn:
    raise RuntimeError("can't start new thread")


@pytest.fixture
def held(bucket: kvreg.Bucket) -> Any:
    """Releases the bucket, whose turn another thread has."""
    began, released = threading.Event(), threading.Event()

    def fn(_: Any) -> None:
        began.set()
        wait(released)

    holding = Worker(lambda: bucket.update("held", fn, default=None))
    wait(began)
    yield released.set
    released.set()
    holding.result()


def test_a_request_that_cannot_wait_never_runs(
    bucket: kvreg.Bucket, held: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvreg.aio._workers.workers", Workers())

    async def main() -> None:
        dairy = aio.Bucket.of(bucket)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(3):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await dairy.put("refused", 1)
        # Later there are threads again: one for each request that waits.
        waiting = [asyncio.create_task(dairy.put(f"key {n}", n)) for n in range(3)]
        await asyncio.sleep(0)
        held()
        await asyncio.gather(*waiting)
        assert not await dairy.contains("refused")
        assert await dairy.count() == 4
        dairy.close()

    asyncio.run(main())


def test_each_job_has_a_thread_however_soon_it_comes() -> None:
    for _ in range(ROUNDS):
        workers = Workers()
        blocked, done = threading.Event(), threading.Event()
        workers.submit(blocked.wait)  # type: ignore[arg-type]
        workers.submit(done.set)
        wait(done)
        blocked.set()


def test_a_registry_starts_without_the_thread_for_its_logs() -> None:
    code = """
import logging, threading
import kvreg

class Handler(logging.Handler):
    def emit(self, record):
        print(record.getMessage())
        heard.set()

def refuse(thread):
    raise RuntimeError("can't start new thread")

heard = threading.Event()
logging.getLogger("kvreg").addHandler(Handler())
start, threading.Thread.start = threading.Thread.start, refuse
with kvreg.Registry() as registry:
    registry.create("dairy")["milk"] = 1
    registry["dairy"].exit(kvreg.Reason.CRASHED, "unheard")
threading.Thread.start = start
with kvreg.Registry() as registry:
    registry.create("dairy").exit(kvreg.Reason.CRASHED, "heard")
    assert heard.wait(120)
"""
    assert python(code) == "'dairy': bucket crashed: heard\n"
