"""Buckets whose store others change too, by an engine that plays a cluster (`pool.c`)."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from pathlib import Path

import kvreg
import pytest
from kvreg import BucketOptions, Reads, aio
from stores_support import POOL, compiled
from support import WAIT, posix, python

pytestmark = posix

URL = "pool:python"


@pytest.fixture(scope="session")
def pool_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = compiled(POOL, tmp_path_factory.mktemp("pool") / "libkvreg_pool.so")
    kvreg.load_engine(file)
    return file


@pytest.fixture
def pool(pool_file: Path) -> Iterator[ctypes.CDLL]:
    functions = ctypes.CDLL(str(pool_file))
    yield functions
    functions.pool_set_away(False)
    functions.pool_hold_watches(False)
    functions.pool_hold_sends(False)


@pytest.fixture
def here(pool: ctypes.CDLL) -> Iterator[kvreg.Registry]:
    with kvreg.Registry(store=URL) as registry:
        yield registry


@pytest.fixture
def there(pool: ctypes.CDLL) -> Iterator[kvreg.Registry]:
    """As if it were another process."""
    with kvreg.Registry(store=URL) as registry:
        yield registry


def test_what_one_stores_others_have(here: kvreg.Registry, there: kvreg.Registry) -> None:
    one, other = here.create("plain"), there.create("plain")
    one.put_many({"a": 1, "b": "text", "c": b"\xff", "d": None, "e": 0.5})
    assert dict(other.items()) == {"a": 1, "b": "text", "c": b"\xff", "d": None, "e": 0.5}
    assert other.update("a", lambda n: n + 1) == 2
    assert one.add("a", 3) == 5 and other["a"] == 5
    assert "b" in one and len(other) == 5 and sorted(one) == ["a", "b", "c", "d", "e"]
    one.put_cast("f", 1)
    assert one["f"] == 1
    assert other.pop("f") == 1
    with pytest.raises(KeyError):
        one["f"]
    revision = one.put("g", 1)
    with pytest.raises(kvreg.Conflict):
        other.put("g", 2, if_absent=True)
    assert other.put("g", 2, if_revision=revision) > revision
    info = one.info()
    assert (info.store, info.away) == ("pool", False)
    assert info.lacks == frozenset({"whole"})
    with pytest.raises(kvreg.Unsupported):
        one.clear()
    here.erase("plain")


def test_an_update_that_others_overtake_is_a_conflict(
    here: kvreg.Registry, there: kvreg.Registry
) -> None:
    one, other = here.create("overtaken"), there.create("overtaken")
    one["k"] = 1

    def slow(n: int) -> int:
        other["k"] = 10
        return n + 1

    with pytest.raises(kvreg.Conflict):
        one.update("k", slow)
    assert one["k"] == 10
    here.erase("overtaken")


def test_out_of_reach_is_told_and_waited_for(
    here: kvreg.Registry, there: kvreg.Registry, pool: ctypes.CDLL
) -> None:
    one, other = here.create("away"), there.create("away")
    one["k"] = 1
    with one.watch() as watch:
        assert [type(watch.receive(WAIT)) for _ in range(3)] == [
            kvreg.Reset,
            kvreg.Put,
            kvreg.Current,
        ]
        pool.pool_set_away(True)
        assert watch.receive(WAIT) == kvreg.Away()
        one.timeout = 0.05
        with pytest.raises(kvreg.CallTimeout):
            one["k"]
        with pytest.raises(kvreg.CallTimeout):
            one["k"] = 2
        one.timeout = WAIT
        thread = threading.Thread(target=one.__setitem__, args=("k", 3))
        thread.start()
        pool.pool_set_away(False)
        thread.join(WAIT)
        told = [watch.receive(WAIT), watch.receive(WAIT)]  # in whichever order
        assert kvreg.Back() in told
        assert [it.value for it in told if isinstance(it, kvreg.Put)] == [3]
        assert other["k"] == 3
    here.erase("away")


def test_an_unknown_outcome_is_an_error_of_its_own(
    here: kvreg.Registry, pool: ctypes.CDLL
) -> None:
    one = here.create("unknown")
    one.timeout = 0.05
    pool.pool_lose_answers(1)
    with pytest.raises(kvreg.OutcomeUnknown) as raised:
        one["k"] = 1
    assert isinstance(raised.value, TimeoutError)
    one.timeout = WAIT
    assert one["k"] == 1
    here.erase("unknown")


def test_the_main_thread_waits_in_one_piece(here: kvreg.Registry, pool: ctypes.CDLL) -> None:
    # For longer than a slice would be: what was handed over is not called back at its end.
    one = here.create("piece")
    one.timeout = 0.5
    pool.pool_lose_answers(1)
    with pytest.raises(kvreg.OutcomeUnknown):
        one.put("k", 1)
    pool.pool_lose_answers(1)
    with pytest.raises(kvreg.OutcomeUnknown):
        one.update("k", lambda n: n + 1)
    assert one["k"] == 2
    here.erase("piece")


def test_a_copy_is_read_without_the_cluster(
    here: kvreg.Registry, there: kvreg.Registry, pool: ctypes.CDLL
) -> None:
    other = there.create("copied")
    other["k"] = 1
    one = here.create("copied", options=BucketOptions(store=URL, reads=Reads.COPY))
    one["own"] = 2
    assert one["own"] == 2
    pool.pool_set_away(True)
    assert dict(one.items()) == {"k": 1, "own": 2} and len(one) == 2
    pool.pool_set_away(False)
    here.erase("copied")


def test_others_may_erase_it(here: kvreg.Registry, pool: ctypes.CDLL) -> None:
    one = here.create("erased")
    with kvreg.Inbox() as inbox:
        inbox.monitor(one)
        pool.pool_erase(b"erased")
        down = inbox.receive(WAIT)
    assert isinstance(down, kvreg.Down)
    assert (down.reason, down.detail) == (kvreg.Reason.SHUTDOWN, "deleted")


def test_a_loop_is_never_blocked(pool: ctypes.CDLL) -> None:
    import asyncio

    async def main() -> None:
        async with aio.Registry(store=URL) as registry:
            bucket = await registry.create("loop")
            await bucket.put("k", 1)
            pool.pool_set_away(True)
            waiting = asyncio.ensure_future(bucket.put("k", 2))
            reading = asyncio.ensure_future(bucket.get("k"))
            for _ in range(20):  # the loop goes on
                await asyncio.sleep(0)
            assert not waiting.done() and not reading.done()
            pool.pool_set_away(False)
            await asyncio.wait_for(waiting, WAIT)
            await asyncio.wait_for(reading, WAIT)
            assert await bucket.get("k") == 2
            await registry.erase("loop")

    asyncio.run(main())


INTERRUPTED = """
import ctypes, os, signal, sys, threading, kvreg
kvreg.load_engine({file!r})
pool = ctypes.CDLL({file!r})
registry = kvreg.Registry(store="pool:interrupted")
bucket = registry.create("b")
bucket.timeout = None
pool.pool_set_away(True)
def interrupt():
    pool.pool_await_waiting(1)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    bucket["k"] = 1
except KeyboardInterrupt:
    print("interrupted", flush=True)
pool.pool_set_away(False)
os._exit(0)
"""


def test_ctrl_c_interrupts_who_waits(pool_file: Path) -> None:
    assert python(INTERRUPTED.format(file=str(pool_file))) == "interrupted\n"
