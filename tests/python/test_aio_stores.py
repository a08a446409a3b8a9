"""kvreg.aio, with buckets that a store keeps: tasks wait for the disk, the loop does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Callable

import kvreg
import pytest
from aio_support import Factory, factories, run_in, ticks
from kvreg import BucketOptions, aio
from stores_support import Disk
from support import posix

pytestmark = posix

Write = Callable[[aio.Bucket], Coroutine[Any, Any, Any]]

WRITES: dict[str, Write] = {
    "put": lambda bucket: bucket.put("k", 1),
    "put_if": lambda bucket: bucket.put("new", 1, if_absent=True),
    "expire": lambda bucket: bucket.expire("k", 60),
    "remove": lambda bucket: bucket.remove("k"),
    "add": lambda bucket: bucket.add("n"),
    "compare_and_swap": lambda bucket: bucket.compare_and_swap("k", "old", 1),
    "delete": lambda bucket: bucket.delete("k"),
    "pop": lambda bucket: bucket.pop("k"),
    "setdefault": lambda bucket: bucket.setdefault("new", 1),
    "put_many": lambda bucket: bucket.put_many({"k": 1}),
    "clear": lambda bucket: bucket.clear(),
    "update": lambda bucket: bucket.update("k", lambda _: 1),
    "update of many": lambda bucket: bucket.update(k=1),
}


async def batch(bucket: aio.Bucket) -> None:
    async with bucket.batch() as changes:
        changes["k"] = 1


WRITES["batch"] = batch


async def after(disk: Disk, *letters: str, task: asyncio.Task[Any]) -> Any:
    """What a task gives when the disk has done these, while the loop goes on."""
    for letter in letters:
        # Not in this thread: one that the loop does not need.
        assert await asyncio.to_thread(disk.begun) == letter
        await ticks()
        assert not task.done()
        disk.allow()
    return await task


@asynccontextmanager
async def opened(disk: Disk) -> AsyncIterator[aio.Bucket]:
    """A bucket with two keys that waits for the disk."""
    async with aio.Registry(store=disk.url) as registry:
        task = asyncio.ensure_future(registry.create("shopping"))
        bucket: aio.Bucket = await after(disk, "o", task=task)
        disk.allow()
        await bucket.put_many({"k": "old", "n": 1})
        disk.forget()
        yield bucket
        disk.allow(100)


@factories
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("timeout", [None, 0])
def test_the_loop_runs_while_a_write_waits(
    factory: Factory, disk: Disk, write: Write, timeout: float | None
) -> None:
    async def main() -> None:
        async with opened(disk) as bucket:
            bucket.timeout = timeout
            task = asyncio.ensure_future(write(bucket))
            assert await asyncio.to_thread(disk.begun) == "w"
            await ticks()
            assert await bucket.get("k") == "old" and not task.done()
            assert await bucket.setdefault("k", 1) == "old"
            disk.allow()
            await task
            assert dict(await bucket.items()) != {"k": "old", "n": 1} or write is expire

    expire = WRITES["expire"]
    run_in(factory, main())


@factories
def test_the_loop_runs_while_a_store_opens_closes_and_goes(
    factory: Factory, disk: Disk
) -> None:
    async def main() -> None:
        def asked(call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            return asyncio.ensure_future(call)

        options = BucketOptions(store=disk.url)
        async with aio.Registry() as registry:
            await registry.create("in memory")
            for timeout in (None, 0):
                registry.timeout = timeout
                create = asked(registry.create("a", options=options))
                bucket = await after(disk, "o", task=create)
                assert await bucket.count() == 0
                await after(disk, "c", task=asked(registry.remove("a")))
                await after(disk, "o", task=asked(registry.create("a", options=options)))
                await after(disk, "c", "d", task=asked(registry.erase("a")))
            with pytest.raises(kvreg.BucketNotFound):
                await registry.erase("a")
        async with aio.Registry(store=disk.url) as registry:
            assert await after(disk, "o", task=asked(registry.execute("CREATE a"))) == b"OK\r\n"
            bucket = await registry.lookup("a")
            assert await after(disk, "w", task=asked(bucket.add("n"))) == 1
            await after(disk, "c", task=asked(registry.stop()))

    run_in(factory, main())


@factories
def test_who_is_cancelled_leaves_a_store_to_open(factory: Factory, disk: Disk) -> None:
    async def main() -> None:
        async with aio.Registry(store=disk.url) as registry:
            task = asyncio.ensure_future(registry.create("a"))
            assert await asyncio.to_thread(disk.begun) == "o"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            disk.allow()
            assert await (await registry.lookup("a")).count() == 0
            disk.allow(100)

    run_in(factory, main())


@factories
def test_a_cast_comes_before_a_call(factory: Factory, disk: Disk) -> None:
    async def main() -> None:
        async with opened(disk) as bucket:
            bucket.put_cast("k", 1)
            assert await asyncio.to_thread(disk.begun) == "w"
            task = asyncio.ensure_future(bucket.add("k"))
            read = asyncio.ensure_future(bucket.get("k"))
            await ticks()
            assert not task.done() and not read.done()
            disk.allow(2)
            assert await task == 2 and await read in (1, 2)

    run_in(factory, main())


@factories
def test_contents_come_back(factory: Factory, engines: Path, tmp_path: Path) -> None:
    assert engines.exists()

    async def main() -> None:
        for expected in (None, {"a": 1}):
            async with aio.Registry(store=f"dir:{tmp_path}", codec=kvreg.JSON) as registry:
                bucket = await registry.create("shopping")
                assert await bucket.get("k") == expected
                await bucket.put("k", {"a": 1})

    run_in(factory, main())
