"""What a function returns, kept in a bucket and computed once per key."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import kvreg
import pytest
from kvreg import aio
from support import WAIT


def test_it_is_computed_once_per_key(bucket: kvreg.Bucket) -> None:
    calls: list[Any] = []

    @kvreg.cached(bucket)
    def area(a: int, b: int = 2) -> int:
        """Says what it does."""
        calls.append((a, b))
        return a * b

    assert [area(3), area(3, 2), area(b=2, a=3), area(3, 4)] == [6, 6, 6, 12]
    assert calls == [(3, 2), (3, 4)]
    assert area.__doc__ == "Says what it does."
    assert area.__wrapped__(5) == 10  # type: ignore[attr-defined]
    prefix = f"{__name__}.test_it_is_computed_once_per_key.<locals>.area"
    assert set(bucket) == {f"{prefix}(a=3, b=2)", f"{prefix}(a=3, b=4)"}
    assert area.cache_key(3) == f"{prefix}(a=3, b=2)"  # type: ignore[attr-defined]
    bucket["other"] = 1
    area.cache_clear()  # type: ignore[attr-defined]
    assert dict(bucket) == {"other": 1}
    assert area(3) == 6 and len(calls) == 4


def test_arguments_of_every_kind_are_told_apart(bucket: kvreg.Bucket) -> None:
    @kvreg.cached(bucket)
    def shown(*args: Any, **named: Any) -> str:
        return repr((args, named))

    arguments: list[Any] = [
        None,
        True,
        1,
        1.0,
        "1",
        b"1",
        [1],
        (1,),
        {1},
        {1: 1},
        [],
        (),
        "x" * 2000,
        "y" * 2000,
    ]
    for argument in arguments:
        assert shown(argument) == repr(((argument,), {}))
    assert len(bucket) == len(arguments)
    for argument in arguments:
        assert shown(argument) == repr(((argument,), {}))
    assert shown({"a": 1, "b": 2}) == shown({"b": 2, "a": 1})
    assert shown(1, x=2) != shown(1, y=2)
    with pytest.raises(TypeError, match="object"):
        shown(object())


def test_a_key_may_be_given(bucket: kvreg.Bucket) -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @kvreg.cached(bucket, key=lambda self, what: f"{self.name}/{what}")
        def price(self, what: str) -> int:
            return len(self.name) + len(what)

    assert Shop("corner").price("milk") == 10
    assert [key.partition("(")[2] for key in bucket] == ["corner/milk)"]


def test_none_is_a_value_too(bucket: kvreg.Bucket) -> None:
    calls: list[int] = []

    @kvreg.cached(bucket)
    def nothing() -> None:
        calls.append(1)

    assert nothing() is None and nothing() is None
    assert len(calls) == 1


def test_a_ttl_is_passed_through(bucket: kvreg.Bucket) -> None:
    class Told:
        puts: list[Any] = []

        def get(self, key: str, default: Any) -> Any:
            return default

        def put(self, key: str, value: Any, **options: Any) -> None:
            self.puts.append((value, options))

    told: Any = Told()
    kvreg.cached(told)(lambda: 1)()
    kvreg.cached(told, ttl=2.5)(lambda: 2)()
    kvreg.cached(told, ttl=None)(lambda: 3)()
    assert told.puts == [(1, {}), (2, {"ttl": 2.5}), (3, {"ttl": None})]


@pytest.mark.parametrize(
    ("ttl", "least", "most"), [({}, 1000, 2000), ({"ttl": 500}, 0, 500), ({"ttl": None}, 0, 0)]
)
def test_an_answer_has_its_time_to_live(ttl: Any, least: float, most: float) -> None:
    with kvreg.Bucket(kvreg.BucketOptions(default_ttl=2000.0)) as bucket:

        @kvreg.cached(bucket, **ttl)
        def square(n: int) -> int:
            return n * n

        assert square(4) == 16
        left = bucket.entry(square.cache_key(4)).ttl  # type: ignore[attr-defined]
        assert left is None if most == 0 else left is not None and least < left <= most


def test_an_answer_whose_time_is_over_is_computed_anew(bucket: kvreg.Bucket) -> None:
    calls: list[int] = []

    @kvreg.cached(bucket, ttl=0.001)
    def counted(step: int) -> int:
        calls.append(step)
        return len(calls)

    key = counted.cache_key(1)  # type: ignore[attr-defined]
    assert counted(1) == 1
    while key in bucket:
        time.sleep(0)
    assert counted(1) == 2 and calls == [1, 1]


@pytest.mark.parametrize("kind", [kvreg.Bucket, aio.Bucket])
def test_an_answer_for_tasks_has_its_time_to_live(kind: Any) -> None:
    async def main() -> None:
        bucket = kind()

        @kvreg.cached(bucket, ttl=1000.0)
        async def square(n: int) -> int:
            return n * n

        assert await square(4) == 16
        key = square.cache_key(4)  # type: ignore[attr-defined]
        entry = bucket.entry(key)
        left = (await entry if asyncio.iscoroutine(entry) else entry).ttl
        assert 0 < left <= 1000
        bucket.close()

    asyncio.run(main())


def test_threads_wait_for_one_key_alone(bucket: kvreg.Bucket) -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[str] = []

    @kvreg.cached(bucket)
    def slow(key: str) -> int:
        calls.append(key)
        if key == "slow":
            begun.set()
            assert go_on.wait(WAIT)
        return len(key)

    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(slow("slow"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(WAIT)
    assert slow("another") == 7  # while the first is computed
    go_on.set()
    for thread in threads:
        thread.join(WAIT)
    assert answers == [4] * 5 and calls == ["slow", "another"]


def test_after_an_exception_another_tries(bucket: kvreg.Bucket) -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    @kvreg.cached(bucket)
    def fails_once() -> int:
        calls.append(1)
        if len(calls) == 1:
            begun.set()
            assert go_on.wait(WAIT)
            raise ZeroDivisionError
        return 5

    def first() -> None:
        with pytest.raises(ZeroDivisionError):
            fails_once()
        failed.set()

    failed = threading.Event()
    answers: list[int] = []
    one = threading.Thread(target=first)
    one.start()
    assert begun.wait(WAIT)
    other = threading.Thread(target=lambda: answers.append(fails_once()))
    other.start()
    go_on.set()
    one.join(WAIT)
    other.join(WAIT)
    assert failed.is_set() and answers == [5] and len(calls) == 2


def test_who_would_wait_for_itself_is_told(bucket: kvreg.Bucket) -> None:
    @kvreg.cached(bucket)
    def circle(n: int) -> int:
        return circle(n)

    with pytest.raises(kvreg.CallingSelf):
        circle(1)

    @kvreg.cached(bucket)
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(50) == 12586269025


@pytest.mark.parametrize("kind", [kvreg.Bucket, aio.Bucket])
def test_tasks_compute_once(kind: Any) -> None:
    async def main() -> None:
        bucket = kind()
        calls: list[int] = []
        go_on = asyncio.Event()

        @kvreg.cached(bucket)
        async def slow(n: int) -> int:
            calls.append(n)
            if n == 1 and len(calls) == 1:
                await go_on.wait()
                raise ZeroDivisionError
            if n == 2:
                await go_on.wait()
            return n

        first = asyncio.create_task(slow(1))
        await asyncio.sleep(0)
        others = [asyncio.create_task(slow(1)) for _ in range(3)]
        cancelled = asyncio.create_task(slow(1))
        assert await slow(3) == 3
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert cancelled.cancelled() and not first.done()
        go_on.set()
        with pytest.raises(ZeroDivisionError):
            await first
        assert await asyncio.gather(*others) == [1, 1, 1]
        assert sorted(calls) == [1, 1, 3]
        go_on.clear()
        gives_up = asyncio.create_task(slow(2))
        while 2 not in calls:
            await asyncio.sleep(0)
        gives_up.cancel()
        await asyncio.gather(gives_up, return_exceptions=True)
        go_on.set()
        assert await slow(2) == 2
        await slow.cache_clear()  # type: ignore[attr-defined]
        left = bucket.copy()
        assert (await left if asyncio.iscoroutine(left) else left) == {}
        bucket.close()

    asyncio.run(main())


def test_a_bucket_for_tasks_is_for_their_functions() -> None:
    bucket = aio.Bucket()
    with pytest.raises(TypeError):
        kvreg.cached(bucket)(len)
    bucket.close()
