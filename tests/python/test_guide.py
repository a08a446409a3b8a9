"""The tests of the guide's KV.Bucket and KV.Registry."""

from __future__ import annotations

import ctypes

import kvreg
import pytest
from support import SCALE


def test_an_unknown_name_is_not_found(registry: kvreg.Registry) -> None:
    with pytest.raises(kvreg.BucketNotFound):
        registry["shopping"]


def test_creates_and_finds_buckets(registry: kvreg.Registry) -> None:
    registry.create("shopping")
    shopping = registry["shopping"]
    shopping["milk"] = 1
    assert shopping["milk"] == 1


def test_a_missing_key_has_no_value(bucket: kvreg.Bucket) -> None:
    assert bucket.get("milk") is None
    with pytest.raises(KeyError):
        bucket["milk"]


def test_delete_answers_the_value(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 3
    assert bucket.pop("milk") == 3
    assert bucket.get("milk") is None


def test_stop_removes_the_name(registry: kvreg.Registry) -> None:
    shopping = registry.create("shopping")
    shopping.stop()
    assert "shopping" not in registry


def test_an_exit_removes_the_name(registry: kvreg.Registry) -> None:
    shopping = registry.create("shopping")
    shopping.exit(kvreg.Reason.SHUTDOWN)
    assert "shopping" not in registry


def test_a_bucket_can_crash_at_any_moment(registry: kvreg.Registry) -> None:
    shopping = registry.create("shopping")
    shopping.exit(kvreg.Reason.CRASHED)
    with pytest.raises(kvreg.NoProcess):
        shopping["milk"] = 3
    with pytest.raises(kvreg.NoProcess):
        shopping["milk"]
    with pytest.raises(kvreg.NoProcess):
        shopping.stop()
    # The registry goes on, and the name is free.
    assert registry.create("shopping").get("milk") is None


def test_creating_twice_gives_the_same_bucket(registry: kvreg.Registry) -> None:
    registry.create("shopping")["milk"] = 1
    assert registry.create("shopping")["milk"] == 1
    assert len(registry) == 1


def test_an_exclusive_bucket_is_new(registry: kvreg.Registry) -> None:
    registry.create("shopping", exclusive=True)
    with pytest.raises(kvreg.AlreadyStarted) as caught:
        registry.create("shopping", exclusive=True)
    assert caught.value.status == kvreg.Status.ALREADY_STARTED
    registry["shopping"].stop()
    registry.create("shopping", exclusive=True)


def test_a_thread_finds_what_it_has_cast(registry: kvreg.Registry) -> None:
    registry.create_cast("shopping")
    assert registry["shopping"].name == "shopping"


def test_a_thread_finds_what_it_has_cast_very_often(registry: kvreg.Registry) -> None:
    library, token, name = registry._library, registry._handle, b"shopping"
    length = len(name)
    create_cast, look_up = library.kvreg_registry_create_cast, library.kvreg_registry_lookup
    stop, free = library.kvreg_bucket_stop, library.kvreg_bucket_free
    bucket = ctypes.c_void_p()
    output = ctypes.byref(bucket)
    # A million where there is time for it, and in Rust each time.
    for turn in range(max(1, SCALE) * 100_000):
        # A new bucket each time: the last one is stopped, and its name is gone.
        if create_cast(token, name, length) or look_up(token, name, length, output):
            pytest.fail(f"not found in turn {turn}")
        if stop(bucket) or free(bucket):
            pytest.fail(f"not stopped in turn {turn}")
    assert len(registry) == 0
