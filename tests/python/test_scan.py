"""Scans: keys in the order of their bytes (G19)."""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import kvreg
import pytest
from aio_support import Factory, factories, run_in
from kvreg import aio
from support import Worker, live_handles

KEYS = [
    "",
    "\0",
    "\0\0",
    "a",
    "a\0",
    "ab",
    "user",
    "user:",
    "user:1",
    "user:10",
    "user:2",
    "user;",
    "\x7f",
    "\u0080",
    "\uffff",
    "\udcff",
    "\udcff\udcff",
    "z" * 65536,
]


def raw(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


SORTED = sorted(KEYS, key=raw)


@pytest.fixture(params=[False, True], ids=["unordered", "ordered"])
def either(request: pytest.FixtureRequest) -> Iterator[kvreg.Bucket]:
    with kvreg.Bucket(kvreg.BucketOptions(ordered=request.param)) as bucket:
        yield bucket


def test_g19_keys_come_in_the_order_of_their_bytes(either: kvreg.Bucket) -> None:
    either.put_many({key: number for number, key in enumerate(KEYS)})
    expected = [(key, KEYS.index(key)) for key in SORTED]
    assert list(either.scan()) == expected
    for prefix, after in itertools.product(KEYS, [None, *KEYS]):
        found = [
            (key, value)
            for key, value in expected
            if raw(key).startswith(raw(prefix)) and (after is None or raw(key) > raw(after))
        ]
        for page in (1, 3, 1000):
            assert list(either.scan(prefix, after=after, page=page)) == found
        keys = either.scan(raw(prefix), None if after is None else raw(after), keys_only=True)
        assert list(keys) == [key for key, _ in found]


def test_values_of_every_type_are_given(either: kvreg.Bucket) -> None:
    values: list[Any] = [None, True, 1, 1.5, "milk", b"milk", "m" * 10_000, b"", ""]
    either.put_many({f"{number}": value for number, value in enumerate(values)})
    found = [value for _, value in either.scan()]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_codec_applies_to_values(ordered: bool) -> None:
    options = kvreg.BucketOptions(ordered=ordered)
    with kvreg.Bucket(options, codec=kvreg.JSON) as bucket:
        bucket["a"] = {"b": [1, None]}
        assert list(bucket.scan()) == [("a", {"b": [1, None]})]
        assert list(bucket.scan(keys_only=True)) == ["a"]


def test_a_scan_is_lazy(either: kvreg.Bucket) -> None:
    scan = either.scan()
    either.put_many({f"{number}": number for number in range(10)})
    assert next(scan) == ("0", 0)
    either.clear()
    assert len(list(scan)) == 9


def test_an_ordered_bucket_is_read_in_pages() -> None:
    with kvreg.Bucket(kvreg.BucketOptions(ordered=True)) as bucket:
        bucket.put_many({f"{number}": number for number in range(10)})
        scan = bucket.scan(page=4)
        assert next(scan) == ("0", 0)
        del bucket["2"], bucket["5"]
        bucket["4a"] = "new"
        assert [key for key, _ in scan] == [
            "1",
            "2",
            "3",
            "4",
            "4a",
            "6",
            "7",
            "8",
            "9",
        ]


def test_an_unordered_bucket_is_one_snapshot(bucket: kvreg.Bucket) -> None:
    bucket.put_many({f"{number}": number for number in range(10)})
    scan = bucket.scan(page=4)
    assert next(scan) == ("0", 0)
    bucket.clear()
    bucket["5a"] = "new"
    assert list(scan) == [(f"{number}", number) for number in range(1, 10)]


def test_what_cannot_be_scanned_is_refused_at_once(either: kvreg.Bucket) -> None:
    with pytest.raises(ValueError, match="a page has at least one key"):
        either.scan(page=0)
    with pytest.raises(kvreg.InvalidArgument):
        either.scan("x" * 65537)
    with pytest.raises(kvreg.InvalidArgument):
        either.scan(after="x" * 65537)
    with pytest.raises(TypeError):
        either.scan(1)  # type: ignore[call-overload]
    assert list(either.scan(page=2**70)) == []


def test_a_scan_ends_with_its_bucket(either: kvreg.Bucket) -> None:
    either["a"] = 1
    scan, begun = either.scan(), either.scan()
    next(begun)
    either.stop()
    with pytest.raises(kvreg.NoProcess):
        next(scan)
    either.close()
    with pytest.raises(kvreg.Closed):
        next(either.scan())


def test_an_update_may_scan_its_bucket(either: kvreg.Bucket) -> None:
    either.put_cast("a", 1)
    assert either.update("a", lambda n: n + len(list(either.scan()))) == 2


def test_nothing_is_left_of_a_scan_that_is_given_up(either: kvreg.Bucket) -> None:
    either.put_many({f"{number}": number for number in range(10)})
    scan = either.scan(page=2)
    next(scan)
    del scan
    assert live_handles()["items"] == 0


def test_g19_pages_beside_writers(either: kvreg.Bucket) -> None:
    stay = {f"n{number:04}": number for number in range(0, 1000, 2)}
    either.put_many(stay)
    is_over = threading.Event()
    rounds = threading.Semaphore(0)

    def come_and_go() -> None:
        for number in itertools.cycle(range(1, 1000, 2)):
            if is_over.is_set():
                return
            key = f"n{number:04}"
            either[key] = number
            either[f"n{number - 1:04}"] = number - 1
            if number % 3:
                del either[key]
            rounds.release()

    worker = Worker(come_and_go)
    try:
        for page in (1, 7, 100, 499, 500, 2000):
            rounds.acquire()
            found = list(either.scan("n", page=page, keys_only=True))
            assert found == sorted(set(found))
            assert stay.keys() <= set(found)
    finally:
        is_over.set()
        worker.result()


def test_facts_tell_whether_it_is_ordered(either: kvreg.Bucket) -> None:
    with kvreg.Bucket(kvreg.BucketOptions(ordered=True)) as bucket:
        assert bucket.info().ordered
    assert isinstance(either.info().ordered, bool)


def test_a_registry_makes_ordered_buckets(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(ordered=True, restart=kvreg.Restart.PERMANENT)
    shopping = registry.create("shopping", options=options)
    shopping.put_many({"b": 2, "a": 1})
    assert list(registry["shopping"].scan(page=1)) == [("a", 1), ("b", 2)]
    shopping.exit(kvreg.Reason.KILLED)
    again = registry["shopping"]
    assert again.info().ordered
    assert list(again.scan()) == []


@pytest.mark.parametrize("ordered", [False, True])
@factories
def test_tasks_scan(factory: Factory, ordered: bool) -> None:
    async def main() -> None:
        options = kvreg.BucketOptions(ordered=ordered)
        async with aio.Bucket(options, codec=kvreg.JSON) as bucket:
            await bucket.put_many({f"user:{number}": [number] for number in range(9)})
            await bucket.put("use", 0)
            expected = [(f"user:{number}", [number]) for number in range(9)]
            for page in (1, 4, 9, 1000):
                assert [pair async for pair in bucket.scan("user:", page=page)] == expected
            keys = bucket.scan("user:", after="user:3", keys_only=True)
            assert [key async for key in keys] == [key for key, _ in expected[4:]]
            with pytest.raises(ValueError, match="a page has at least one key"):
                bucket.scan(page=0)

    run_in(factory, main())


# Reading many keys


def test_absent_is_told_from_none(either: kvreg.Bucket) -> None:
    either["nothing"] = None
    absent = object()
    assert either.get_many(["nothing", "absent"], default=absent) == [None, absent]
    assert either.get_many(["nothing", "absent"]) == [None, None]


def test_a_copy_is_one_instant(either: kvreg.Bucket) -> None:
    either.put_many({"a": 0, "z": 0})
    is_over = threading.Event()
    rounds = threading.Semaphore(0)

    def replace() -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            either.put_many({"a": number, "z": number, f"k{number % 9}": number})
            either.pop(f"k{(number + 4) % 9}", None)
            rounds.release()

    worker = Worker(replace)
    try:
        for _ in range(200):
            rounds.acquire()
            for seen in (
                either.copy(),
                dict(either),
                {**either},
                collections.OrderedDict(either),
                dict(either.items()),
                dict(either.scan()),
            ):
                assert seen["a"] == seen["z"]
    finally:
        is_over.set()
        worker.result()
