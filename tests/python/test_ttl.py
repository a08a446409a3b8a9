"""Times to live: what is given, kept, told and refused.

That keys go to the millisecond is shown in C and Rust, under a set clock. Here the times are so
long that none is over, or so short that all that is asked is whether the key went.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from typing import Any

import kvreg
import pytest
from kvreg import aio

LONG = 1000.0


@pytest.fixture
def bucket() -> Iterator[kvreg.Bucket]:
    with kvreg.Bucket() as bucket:
        yield bucket


def lives(bucket: kvreg.Bucket, key: str) -> bool:
    """Whether what is left is not much less than was given."""
    ttl = bucket.entry(key).ttl
    return ttl is not None and 0 < ttl <= LONG


def wait_gone(bucket: kvreg.Bucket, key: str) -> None:
    while key in bucket:
        time.sleep(0)


def test_g17_a_key_goes(bucket: kvreg.Bucket) -> None:
    revision = bucket.put("k", "text", ttl=0.001)
    wait_gone(bucket, "k")
    with pytest.raises(KeyError):
        bucket["k"]
    with pytest.raises(KeyError):
        bucket.entry("k")
    with pytest.raises(KeyError):
        bucket.remove("k")
    with pytest.raises(KeyError):
        bucket.expire("k", LONG)
    assert bucket.get("k") is None
    assert dict(bucket.items()) == {}
    with pytest.raises(kvreg.Conflict):
        bucket.put("k", 1, if_revision=revision)
    assert bucket.put("k", 1, if_absent=True) > revision
    assert bucket.entry("k").ttl is None


def test_g17_it_is_swept(bucket: kvreg.Bucket) -> None:
    bucket.put("k", 1, ttl=0.001)
    while bucket.info().expired == 0:
        time.sleep(0)
    assert len(bucket) == 0


def test_what_gives_and_keeps_a_time(bucket: kvreg.Bucket) -> None:
    bucket.put("k", 1, ttl=LONG)
    assert lives(bucket, "k")
    bucket.put("k", 2, ttl=kvreg.KEEP)
    bucket.add("k", 1)
    assert bucket.compare_and_swap("k", 3, 4)
    bucket.update("k", lambda n: n + 1)
    assert lives(bucket, "k")
    assert bucket["k"] == 5
    first = bucket.expire("k", None)
    assert bucket.entry("k") == (5, first, None)
    assert bucket.expire("k", LONG) > first
    assert lives(bucket, "k")
    bucket["k"] = 6
    assert bucket.entry("k").ttl is None
    bucket.put("k", 7, ttl=LONG, if_revision=bucket.entry("k").revision)
    assert lives(bucket, "k")
    bucket.put("k", 8, ttl=None)
    assert bucket.entry("k").ttl is None


def test_the_time_of_a_bucket() -> None:
    options = kvreg.BucketOptions(default_ttl=LONG)
    with kvreg.Registry() as registry:
        bucket = registry.create("b", options=options)
        bucket["k"] = 1
        bucket.put("put", 1)
        bucket.put_many({"many": 1})
        bucket.update("updated", lambda _: 1, default=0)
        bucket.add("sum", 1)
        bucket.put("kept", 1, ttl=kvreg.KEEP)
        for key in bucket:
            assert lives(bucket, key), key
        bucket.put("k", 1, ttl=None)
        assert bucket.entry("k").ttl is None


@pytest.mark.parametrize("ttl", [0, -1, -0.5, math.nan, math.inf, 2**39, 2**60])
def test_no_time(bucket: kvreg.Bucket, ttl: float) -> None:
    with pytest.raises(ValueError):
        bucket.put("k", 1, ttl=ttl)
    bucket["k"] = 1
    with pytest.raises(ValueError):
        bucket.expire("k", ttl)
    assert bucket.entry("k").ttl is None


@pytest.mark.parametrize("ttl", [kvreg.REMOVE, "1"])
def test_what_is_no_number(bucket: kvreg.Bucket, ttl: Any) -> None:
    with pytest.raises(TypeError):
        bucket.put("k", 1, ttl=ttl)
    with pytest.raises(TypeError):
        bucket.expire("k", ttl)


def test_expire_keeps_nothing(bucket: kvreg.Bucket) -> None:
    bucket["k"] = 1
    with pytest.raises(TypeError):
        bucket.expire("k", kvreg.KEEP)  # type: ignore[arg-type]


def test_with_asyncio() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("k", 1, ttl=LONG)
            assert (await bucket.entry("k")).ttl is not None
            await bucket.put("k", 2, ttl=kvreg.KEEP)
            assert (await bucket.entry("k")).ttl is not None
            revision = await bucket.expire("k", None)
            assert await bucket.entry("k") == (2, revision, None)

    asyncio.run(main())
