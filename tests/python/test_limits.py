"""Limits: each is reached, changes nothing, and is relieved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import kvreg
import pytest
from support import Worker, wait


def limited(registry: kvreg.Registry, options: kvreg.BucketOptions) -> kvreg.Bucket:
    return registry.create("limited", exclusive=True, options=options)


@contextmanager
def held(bucket: kvreg.Bucket) -> Iterator[None]:
    """While the block runs another thread has the bucket's turn: casts wait."""
    begun, done = threading.Event(), threading.Event()

    def hold(_: object) -> kvreg.Verdict:
        begun.set()
        wait(done)
        return kvreg.KEEP

    holder = Worker(lambda: bucket.update("held", hold, default=None))
    wait(begun)
    try:
        yield
    finally:
        done.set()
        holder.result()


def test_a_full_mailbox(registry: kvreg.Registry) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_mailbox=3))
    bucket["old"] = 1
    with held(bucket):
        for n in range(3):
            bucket.put_cast(f"key {n}", n)
        with pytest.raises(kvreg.LimitReached) as caught:
            bucket.put_cast("more", 1)
        assert caught.value.status is kvreg.Status.LIMIT
        with pytest.raises(kvreg.LimitReached):
            bucket.delete_cast("old")
        # A thread without casts of its own sees the mailbox as it is.
        assert Worker(bucket.info).result().mailbox == 3
        assert Worker(lambda: dict(bucket)).result() == {"old": 1}
    assert bucket == {"old": 1, "key 0": 0, "key 1": 1, "key 2": 2}
    assert bucket.info().mailbox == 0
    bucket.put_cast("more", 1)
    assert bucket["more"] == 1


def test_a_mailbox_that_an_update_fills(registry: kvreg.Registry) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_mailbox=2))

    def fill(_: object) -> str:
        bucket.put_cast("a", 1)
        bucket.put_cast("b", 2)
        with pytest.raises(kvreg.LimitReached):
            bucket.put_cast("c", 3)
        return "done"

    bucket.update("filled", fill, default=None)
    assert bucket == {"filled": "done", "a": 1, "b": 2}


def test_what_waits_counts_for_the_other_limits(registry: kvreg.Registry) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_keys=2, max_bytes=20))
    bucket["a"] = "12345"
    with held(bucket):
        bucket.put_cast("b", "12345")
        with pytest.raises(kvreg.LimitReached):
            bucket.put_cast("c", "")
        with pytest.raises(kvreg.LimitReached):
            bucket.put_cast("a", "x" * 20)
    assert bucket == {"a": "12345", "b": "12345"}
    bucket.put_cast("a", "x" * 13)
    assert bucket == {"a": "x" * 13, "b": "12345"}


def test_buckets_of_a_registry() -> None:
    with kvreg.Registry(max_buckets=2) as registry:
        one, two = registry.create("one"), registry.create("two")
        one["k"], two["k"] = 1, 2
        for create in (registry.create, registry.create_cast):
            with pytest.raises(kvreg.LimitReached):
                create("three")
        # Those that are there can be had.
        assert registry.create("two")["k"] == 2
        registry.create_cast("one")
        assert sorted(registry) == ["one", "two"]
        one.stop()
        registry.create("three")["k"] = 3
        assert {name: bucket["k"] for name, bucket in registry.items()} == {
            "two": 2,
            "three": 3,
        }
        with pytest.raises(kvreg.LimitReached):
            registry.create("one")
        registry.remove("two")
        assert registry.create("one") == {}


def test_keys_of_a_bucket(registry: kvreg.Registry) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_keys=2))
    bucket.update({"a": 1, "b": 2})
    writes: tuple[Callable[[], object], ...] = (
        lambda: bucket.__setitem__("c", 3),
        lambda: bucket.put_cast("c", 3),
        lambda: bucket.put_many({"a": 10, "c": 3}),
        lambda: bucket.setdefault("c", 3),
        lambda: bucket.update("c", lambda _: 3, default=None),
    )
    for write in writes:
        with pytest.raises(kvreg.LimitReached):
            write()
        assert bucket == {"a": 1, "b": 2}
    bucket["a"] = "over an older one"
    del bucket["b"]
    bucket["c"] = 3
    assert bucket == {"a": "over an older one", "c": 3}
    assert bucket.info().keys == 2


def test_bytes_of_a_bucket(registry: kvreg.Registry) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_bytes=20))
    bucket["key"] = "seven!!"
    bucket["ab"] = 1  # 8 for a number
    assert bucket.info().bytes == 20
    for key, value in (("", "x"), ("key", "eight!!!"), ("key", b"eight!!!")):
        with pytest.raises(kvreg.LimitReached):
            bucket[key] = value
    with pytest.raises(kvreg.LimitReached):
        bucket.update("key", lambda text: text + "!")
    with pytest.raises(kvreg.LimitReached):
        bucket.update(ab=2, key="eight!!!")
    assert bucket == {"key": "seven!!", "ab": 1}
    bucket["key"] = ""
    bucket[""] = "seven!!"
    assert bucket.info().bytes == 20
    bucket.clear()
    bucket[""] = "exactly twenty bytes"
    assert bucket == {"": "exactly twenty bytes"}


def test_bytes_of_a_registry() -> None:
    with kvreg.Registry(max_bytes=10) as registry:
        one, two = registry.create("one"), registry.create("two")
        one["k"] = "12345"
        with pytest.raises(kvreg.LimitReached):
            two["k"] = "1234"
        two["k"] = "123"
        with pytest.raises(kvreg.LimitReached):
            one["k"] = "123456"
        assert one == {"k": "12345"}
        assert two == {"k": "123"}
        assert registry.info().bytes == 10
        one.stop()  # gives its bytes back
        two["k"] = "123456789"
        assert registry.info().bytes == 10


TOO_LARGE: list[kvreg.Value] = ["five!", b"12345", "üüü"]


@pytest.mark.parametrize("value", TOO_LARGE)
def test_the_size_of_a_value(registry: kvreg.Registry, value: kvreg.Value) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_value=4))
    bucket["k"] = "four"
    with pytest.raises(kvreg.LimitReached):
        bucket["k"] = value
    with pytest.raises(kvreg.LimitReached):
        bucket.put_cast("k", value)
    with pytest.raises(kvreg.LimitReached):
        bucket.update("k", lambda _: value)
    with pytest.raises(kvreg.LimitReached):
        bucket.setdefault("other", value)
    assert bucket == {"k": "four"}
    bucket["k"] = "4!!!"
    bucket["a longer key"] = 2**40
    assert bucket == {"k": "4!!!", "a longer key": 2**40}


@pytest.mark.parametrize("value", TOO_LARGE)
def test_the_size_of_a_value_in_a_batch(registry: kvreg.Registry, value: kvreg.Value) -> None:
    bucket = limited(registry, kvreg.BucketOptions(max_value=4))
    bucket["k"] = "four"
    with pytest.raises(kvreg.LimitReached):
        bucket.put_many({"other": 1, "k": value})
    assert bucket == {"k": "four"}


def test_limits_hold_for_what_comes_after_a_restart(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(restart=kvreg.Restart.PERMANENT, max_keys=1)
    limited(registry, options)["a"] = 1
    registry["limited"].exit(kvreg.Reason.KILLED)
    again = registry["limited"]
    again["b"] = 2
    with pytest.raises(kvreg.LimitReached):
        again["a"] = 1
    assert again == {"b": 2}


def test_threads_share_the_bytes_of_a_registry() -> None:
    with kvreg.Registry(max_bytes=1000) as registry:

        def work(name: str) -> int:
            bucket, stored = registry.create(name), 0
            for n in range(100):
                try:
                    bucket[f"{n:02}"] = n  # 10 bytes
                except kvreg.LimitReached:
                    continue
                stored += 1
            return stored

        def start(name: str) -> Worker:
            return Worker(lambda: work(name))

        stored = sum(worker.result() for worker in [start(f"bucket {n}") for n in range(4)])
        assert stored == 100
        assert registry.info().bytes == 1000
        assert registry.info().keys == 100


# Buckets that take keys out


def test_keys_make_room(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(max_keys=100, evict=True)
    cache = registry.create("cache", options=options)
    cache["often"] = 1
    for number in range(1000):
        cache[str(number)] = number
        assert cache["often"] == 1
        assert len(cache) <= 100
    info = cache.info()
    assert (info.keys, info.evicted) == (100, 901)
    assert (info.hits, info.misses) == (1000, 0)
    assert cache.get("absent") is None
    assert cache.info().misses == 1
    # The last batch is there, whole.
    batch = {f"of a batch {number}": number for number in range(100)}
    cache.put_many(batch)
    assert dict(cache) == batch


def test_what_alone_is_too_large_is_refused(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(max_bytes=100, evict=True)
    cache = registry.create("cache", options=options)
    cache["a"] = "x" * 49
    cache["b"] = "x" * 49
    with pytest.raises(kvreg.LimitReached):
        cache["c"] = "x" * 100
    with pytest.raises(kvreg.LimitReached):
        cache.put_many({"a": "x" * 50, "b": "x" * 50})
    assert cache.info().evicted == 0
    cache["a"] = "x" * 99
    assert list(cache) == ["a"]
    assert cache.info().evicted == 1
