"""kvreg.aio, when very many wait: those at one bucket hold up nobody at another."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Callable

import kvreg
import pytest
from aio_support import held, pending, ticks, until
from kvreg import _timeout, aio
from kvreg.aio import _lines, _request, _workers
from support import WAIT, Worker, wait

MANY = 200


@pytest.fixture(autouse=True)
def no_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not about timeouts has none, however slow the machine is."""
    monkeypatch.setattr(_timeout, "default", None)


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[_workers.Workers]:
    """Threads of this test's own, which has no lines of others and leaves none."""
    own = _workers.Workers()
    monkeypatch.setattr(_workers, "workers", own)
    monkeypatch.setattr(_lines, "_lines", {})
    yield own
    asyncio.run(until(lambda: own._unfinished == 0 and not _lines._lines))
    assert not own.long_jobs


Found = Callable[[aio.Registry, aio.Bucket], Any]
WAYS: dict[str, Found] = {
    "one object": lambda registry, bucket: bucket.put("n", 1),
    "clones": lambda registry, bucket: bucket.clone().put("n", 1),
    "lookups": lambda registry, bucket: _look_up_and_put(registry),
    "lines of text": lambda registry, bucket: registry.execute("PUT shopping n 1"),
}


async def _look_up_and_put(registry: aio.Registry) -> None:
    async with await registry.lookup("shopping") as found:
        await found.put("n", 1)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_all_that_wait_at_one_bucket_take_one_thread(
    way: Found, workers: _workers.Workers
) -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            bucket = await registry.create("shopping")
            other = await registry.create("garage")
            with held(bucket) as go_on:
                waiting = await pending(*(way(registry, bucket) for _ in range(MANY)))
                assert workers._unfinished == workers._threads == 1
                with held(other) as other_goes_on:
                    tasks = await pending(other.put("tool", 1))
                    assert workers._threads <= 2
                    other_goes_on.set()
                    await asyncio.gather(*tasks)
                assert not any(task.done() for task in waiting)
                go_on.set()
                await asyncio.gather(*waiting)

    asyncio.run(main())


def test_objects_made_of_one_object_wait_in_one_line(workers: _workers.Workers) -> None:
    async def main() -> None:
        with kvreg.Registry("pantry") as blocking:
            mine = blocking.create("shopping")
            with held(mine) as go_on:
                first, second = aio.Bucket.of(mine), aio.Bucket.of(mine)
                named = await aio.Registry.whereis("pantry").lookup("shopping")
                again = await aio.Registry.whereis("pantry").lookup("shopping")
                tasks = await pending(first.put("a", 1), second.put("b", 2))
                tasks += await pending(named.put("c", 3), again.put("d", 4))
                assert len(_lines._lines) == 2
                go_on.set()
                await asyncio.gather(*tasks)
            assert mine == {"a": 1, "b": 2, "c": 3, "d": 4}

    asyncio.run(main())


def test_buckets_of_one_name_in_two_registries_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        async with aio.Registry() as one, aio.Registry() as two:
            held_one, free_one = await one.create("shopping"), await two.create("shopping")
            with held(held_one) as go_on:
                [task] = await pending(held_one.put("milk", 1))
                with held(free_one) as other_goes_on:
                    [other] = await pending(free_one.put("milk", 2))
                    other_goes_on.set()
                    await other
                assert not task.done()
                go_on.set()
                await task

    asyncio.run(main())


def test_the_registry_works_while_one_waits_for_a_bucket_to_be_removed_or_for_its_end() -> None:
    async def main() -> None:
        registry = aio.Registry()
        bucket = await registry.create("shopping")
        with held(bucket) as go_on:
            [waiting] = await pending(registry.execute("PUT shopping milk 1"))
            # Those that need the registry's own turn are not behind it.
            assert await registry.execute("CREATE garage") == b"OK\r\n"
            (await registry.create("attic")).close()
            assert await registry.count() == 3
            assert not waiting.done()
            go_on.set()
            assert await waiting == b"OK\r\n"
        await registry.stop()
        registry.close()

    asyncio.run(main())


def test_those_of_a_line_are_first_come_first_served() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            with held(bucket) as go_on:
                came: list[int] = []
                tasks = [bucket.update("n", _noting(came, n), default=0) for n in range(100)]
                waiting = await pending(*tasks)
                go_on.set()
                await asyncio.gather(*waiting)
            assert came == list(range(100))

    asyncio.run(main())


def _noting(came: list[int], n: int) -> Callable[[Any], int]:
    def note(_: Any) -> int:
        came.append(n)
        return n

    return note


def test_one_behind_another_that_waits_for_ever_has_its_own_timeout() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            patient = bucket.clone()
            patient.timeout = None
            bucket.timeout = 0.01
            with held(bucket) as go_on:
                [waiting] = await pending(patient.put("milk", 1))
                with pytest.raises(kvreg.CallTimeout):
                    await bucket.put("milk", 2)
                go_on.set()
                await waiting
            assert await bucket.get("milk") == 1

    asyncio.run(main())


def test_what_is_withdrawn_leaves_nothing_in_the_line() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            bucket.timeout = None
            impatient = bucket.clone()
            impatient.timeout = 0.001
            with held(bucket) as go_on:
                [first] = await pending(bucket.put("milk", 1))
                [line] = _lines._lines.values()
                await until(lambda: not line._requests)
                cancelled = await pending(*(bucket.put("milk", n) for n in range(100)))
                given_up = [bucket.put("milk", n) for n in range(100)]
                for coroutine in given_up:
                    coroutine.send(None)
                assert len(line._requests) == 200
                for task in cancelled:
                    task.cancel()
                for coroutine in given_up:
                    coroutine.close()
                late = [impatient.put("milk", n) for n in range(100)]
                done = await asyncio.gather(*cancelled, *late, return_exceptions=True)
                assert {type(one) for one in done} == {
                    asyncio.CancelledError,
                    kvreg.CallTimeout,
                }
                assert not line._requests
                go_on.set()
                await first
            assert dict(await bucket.items()) == {"milk": 1}

    asyncio.run(main())


def test_more_buckets_than_threads_keep_no_other_from_its_turn(
    workers: _workers.Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_workers, "MOST", 2)

    async def main() -> None:
        async with aio.Registry() as registry:
            buckets = [await registry.create(f"{n}") for n in range(10)]
            with contextlib.ExitStack() as stack:
                go_on = [stack.enter_context(held(bucket)) for bucket in buckets]
                waiting = await pending(*(bucket.put("milk", 1) for bucket in buckets))
                last = await registry.create("last")
                with held(last) as last_goes_on:
                    [task] = await pending(last.put("milk", 1))
                    last_goes_on.set()
                    await task
                assert not any(task.done() for task in waiting)
                assert workers._threads == 2
                for event in go_on:
                    event.set()
                await asyncio.gather(*waiting)

    asyncio.run(main())


def test_two_loops_wait_in_one_line_and_one_that_is_closed_holds_up_none() -> None:
    bucket = kvreg.Bucket()
    bucket.timeout = None
    with held(bucket) as go_on:
        loop = asyncio.new_event_loop()
        left = loop.create_task(aio.Bucket.of(bucket).put("left", 1))
        loop.run_until_complete(ticks())
        [line] = _lines._lines.values()
        asyncio.run(until(lambda: not line._requests))
        stays = Worker(lambda: asyncio.run(aio.Bucket.of(bucket).put("stays", 1)))
        asyncio.run(until(lambda: line._requests))
        loop.close()
        asyncio.run(until(lambda: not line._requests))
        go_on.set()
        stays.result()
    left._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine: Any = left.get_coro()
    coroutine.close()
    assert dict(bucket) == {"stays": 1}
    bucket.close()


# What the threads do first


def _blocked(workers: _workers.Workers, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Lets the only thread do something until the event is set."""
    monkeypatch.setattr(_workers, "MOST", 1)
    begun, go_on = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        wait(go_on)

    workers.submit(block)
    wait(begun)
    return go_on


def test_what_is_new_comes_before_what_had_a_thread_but_not_for_ever(
    workers: _workers.Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = _blocked(workers, monkeypatch)
    did: list[str] = []
    last = threading.Event()
    workers.submit_again(lambda: did.append("again"))
    for _ in range(2 * _workers._NEW_IN_A_ROW):
        workers.submit(lambda: did.append("new"))
    workers.submit_again(last.set)
    assert workers.others_wait()
    go_on.set()
    wait(last)
    assert did.index("again") <= _workers._NEW_IN_A_ROW
    assert did[: did.index("again")] == ["new"] * did.index("again")
    assert len(did) >= 1 + _workers._NEW_IN_A_ROW


def test_slices_are_short_while_others_wait_and_only_some_are_long(
    workers: _workers.Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slices(count: int) -> list[float]:
        request: Any = _request.Request(kvreg.Bucket(), len, None, "key")
        found = []
        for _ in range(count):
            found.append(request._next_slice())
            workers.long_jobs.discard(request)
        return found

    usual = [_request._SLICE] * (_request._LONG_EVERY - 1)
    assert asyncio.run(slices(20)) == 2 * [*usual, _request._LONG_SLICE]
    others = {object() for _ in range(_request._MOST_LONG)}
    workers.long_jobs |= others
    assert asyncio.run(slices(20)) == [_request._SLICE] * 20
    workers.long_jobs -= others

    go_on = _blocked(workers, monkeypatch)
    workers.submit(lambda: None)
    assert set(asyncio.run(slices(9))) == {_request._SHORT_SLICE}
    go_on.set()


def test_a_line_that_gets_no_thread_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with aio.Bucket() as bucket:
            with held(bucket) as go_on:
                with monkeypatch.context() as without:
                    without.setattr(threading.Thread, "start", refuse)
                    with pytest.raises(RuntimeError, match="new thread"):
                        await bucket.put("milk", 1)
                assert not _lines._lines
                [task] = await pending(bucket.put("milk", 2))
                go_on.set()
                await asyncio.wait_for(task, WAIT)
            assert await bucket.get("milk") == 2

    asyncio.run(main())
