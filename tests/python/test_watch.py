"""Watches and mirrors."""

from __future__ import annotations

import asyncio
import select
import threading
from typing import Any, Callable

import kvreg
import pytest
from kvreg import aio
from support import WAIT


def taken(watch: kvreg.Watch) -> list[Any]:
    """All that is there."""
    changes: list[Any] = []
    while True:
        try:
            changes.append(watch.receive(timeout=0))
        except kvreg.CallTimeout:
            return changes


def test_a_round_and_what_comes_after() -> None:
    with kvreg.Bucket() as bucket:
        first = bucket.put("user:1", "Ada")
        bucket["other"] = 1
        with bucket.watch("user:") as watch:
            assert taken(watch) == [
                kvreg.Reset(),
                kvreg.Put("user:1", "Ada", first),
                kvreg.Current(bucket.revision()),
            ]
            second = bucket.put("user:2", 2.5)
            bucket["other"] = 2
            assert taken(watch) == [kvreg.Put("user:2", 2.5, second)]
            del bucket["user:1"]
            assert taken(watch) == [kvreg.Delete("user:1", bucket.revision())]
            bucket.clear()
            assert [type(change).__name__ for change in taken(watch)] == [
                "Reset",
                "Current",
            ]
            assert kvreg.Reset()
        with pytest.raises(kvreg.Closed):
            watch.receive()
        assert watch.closed and watch.down is None
        assert list(watch) == []


def test_what_is_wanted_is_told() -> None:
    with kvreg.Bucket(codec=kvreg.JSON) as bucket:
        bucket["a\0\udcff"] = {"x": [1]}
        bucket["b"] = None
        with bucket.watch(key="a\0\udcff") as watch:
            (_, put, _) = taken(watch)
            assert isinstance(put, kvreg.Put)
            assert (put.key, put.value) == ("a\0\udcff", {"x": [1]})
        with bucket.watch(keys_only=True) as watch:
            _, *puts, _ = taken(watch)
            assert {(put.key, put.value) for put in puts} == {
                ("a\0\udcff", None),
                ("b", None),
            }
        with bucket.watch(only_new=True) as watch:
            assert len(taken(watch)) == 2
        with bucket.watch(max_pending=2) as watch:
            assert len(taken(watch)) == 4
            for n in range(3):
                bucket[str(n)] = n
            assert taken(watch)[0] == kvreg.Reset()
        with pytest.raises(TypeError):
            bucket.watch("a", key="b")
        with pytest.raises(ValueError):
            bucket.watch(max_pending=0)


def test_it_ends_with_the_bucket() -> None:
    with kvreg.Registry() as registry:
        bucket = registry.create("shopping")
        with bucket.watch() as watch:
            taken(watch)
            bucket["a"] = 1
            bucket.exit(kvreg.Reason.KILLED, "why")
            assert list(watch) == []
            assert watch.down is not None
            assert (watch.down.reason, watch.down.name) == (
                kvreg.Reason.KILLED,
                "shopping",
            )
        with bucket.watch() as watch:  # of one that has ended
            with pytest.raises(kvreg.NoProcess):
                watch.receive()
            assert watch.down is not None and watch.down.reason == kvreg.Reason.NOPROC


def test_names() -> None:
    with kvreg.Registry() as registry:
        registry.create("old")
        with registry.watch_names() as watch, registry.watch_names(name="new") as other:
            assert [type(it).__name__ for it in taken(watch)] == [
                "Reset",
                "Put",
                "Current",
            ]
            taken(other)
            registry.create("new")
            registry.remove("old")
            put, gone = taken(watch)
            assert (put.key, put.value, gone.key) == ("new", None, "old")
            assert taken(other) == [put]


def test_who_waits_is_woken() -> None:
    with kvreg.Bucket() as bucket, bucket.watch("k") as watch:
        taken(watch)

        writer = threading.Thread(target=lambda: bucket.put("k", 1))
        writer.start()
        told: Any = watch.receive(timeout=WAIT)
        assert told.value == 1
        writer.join()
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(watch.fileno(), select.POLLIN)
            assert poll.poll(0) == []
            bucket["k"] = 2
            assert poll.poll(0) != []


def test_a_mirror() -> None:
    with kvreg.Bucket() as bucket:
        bucket.put_many({f"user:{n}": n for n in range(1000)})
        bucket["other"] = 1
        with bucket.mirror("user:") as mirror:
            mirror.wait_current(WAIT)
            assert len(mirror) == 1000 and mirror["user:7"] == 7
            assert "other" not in mirror and mirror.get("other") is None
            assert mirror.revision <= bucket.revision()
            last = bucket.put("user:7", "seven")
            del bucket["user:8"]
            wait_until(lambda: mirror.revision > last)
            assert mirror["user:7"] == "seven" and "user:8" not in mirror
            bucket.clear()
            bucket["user:1"] = 1
            wait_until(lambda: len(mirror) == 1)
            assert dict(mirror) == {"user:1": 1}
            bucket.stop()
            wait_until(lambda: mirror.down is not None)
            with pytest.raises(kvreg.NoProcess):
                mirror.wait_current()
        assert dict(mirror) == {"user:1": 1}


def test_a_mirror_that_cannot_decode() -> None:
    with kvreg.Bucket(codec=kvreg.JSON) as bucket:
        with bucket.clone() as plain:
            plain._codec = None
            plain["a"] = 1
        with bucket.mirror() as mirror, pytest.raises(kvreg.WrongType):
            mirror.wait_current(WAIT)
        del bucket["a"]
        with bucket.mirror() as mirror:
            mirror.wait_current(WAIT)
            mirror.close()
            with pytest.raises(kvreg.Closed):
                mirror.wait_current()


def wait_until(holds: Callable[[], bool]) -> None:
    """For what another thread does."""
    pause = threading.Event()
    while not holds():
        pause.wait(0.001)


def test_tasks() -> None:
    async def follow() -> None:
        async with aio.Registry() as registry:
            async with registry.watch_names("shop") as names:
                assert [await names.receive(), type(await names.receive())] == [
                    kvreg.Reset(),
                    kvreg.Current,
                ]
                bucket = await registry.create("shopping")
                put: Any = await names.receive()
                assert put.key == "shopping"
            await bucket.put("user:1", 1)
            async with bucket.watch("user:") as watch:
                told: list[Any] = [await watch.receive() for _ in range(3)]
                assert told[0] == kvreg.Reset() and told[1].value == 1

                async def later() -> None:
                    await asyncio.sleep(0)
                    await bucket.put("user:2", 2)

                task = asyncio.ensure_future(later())
                put = await watch.receive(timeout=WAIT)
                assert put.key == "user:2"
                await task
                with pytest.raises(kvreg.CallTimeout):
                    await watch.receive(timeout=0)
                async with bucket.mirror("user:") as mirror:
                    await mirror.wait_current(WAIT)
                    assert dict(mirror) == {"user:1": 1, "user:2": 2}
                    await bucket.put("user:3", 3)
                    while "user:3" not in mirror:
                        await asyncio.sleep(0)
                with pytest.raises(kvreg.Closed):
                    await mirror.wait_current()
                put = await watch.receive()
                assert put.key == "user:3"
                await bucket.stop()
                assert [change async for change in watch] == []
                assert watch.down is not None and watch.down.name == "shopping"
            with pytest.raises(kvreg.Closed):
                await watch.receive()

    asyncio.run(follow())
