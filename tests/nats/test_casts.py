"""G3: a call finds what its thread has cast before, on a server that answers."""

from __future__ import annotations

import kvreg
from support import Worker

CASTS = 300


def unseen(bucket: kvreg.Bucket) -> int:
    """How many calls do not find what this thread has cast just before."""
    count = 0
    for i in range(CASTS):
        bucket.put_cast("k", i)
        count += bucket.get("k") != i
        bucket.put_cast("n", i)
        count += bucket.add("n", 1) != i + 1
        bucket.delete_cast("k")
        count += "k" in bucket
    return count


def test_a_call_finds_what_its_thread_has_cast(registry: kvreg.Registry) -> None:
    bucket = registry.create("casts")
    assert Worker(lambda: unseen(bucket)).result() == 0


def test_a_call_of_the_main_thread_finds_what_it_has_cast(registry: kvreg.Registry) -> None:
    assert unseen(registry.create("main-casts")) == 0
