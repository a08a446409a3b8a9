"""Buckets: they behave as dicts do, and do each thing as a whole."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import traceback
from collections.abc import MutableMapping
from typing import Any

import kvreg
import pytest
from support import WAIT, Worker, live_handles, wait

SHOPPING: dict[str, kvreg.Value] = {"milk": 1, "eggs": 12, "bread": "rye"}


@pytest.fixture
def shopping(bucket: kvreg.Bucket) -> kvreg.Bucket:
    bucket.update(SHOPPING)
    return bucket


# As a dict


def test_it_is_a_mutable_mapping(shopping: kvreg.Bucket) -> None:
    assert isinstance(shopping, MutableMapping)
    assert len(shopping) == 3
    assert "milk" in shopping
    assert "cheese" not in shopping
    assert sorted(shopping) == sorted(SHOPPING)
    assert sorted(shopping.keys()) == sorted(SHOPPING)
    assert dict(shopping) == SHOPPING
    assert dict(shopping.items()) == SHOPPING
    assert sorted(map(str, shopping.values())) == sorted(map(str, SHOPPING.values()))
    del shopping["milk"]
    assert "milk" not in shopping
    assert bool(shopping)
    shopping.clear()
    assert not shopping
    assert list(shopping) == []


def test_absent_keys_are_key_errors(shopping: kvreg.Bucket) -> None:
    for fail in (
        lambda: shopping["cheese"],
        lambda: shopping.pop("cheese"),
        lambda: shopping.__delitem__("cheese"),
        lambda: shopping.update("cheese", lambda n: n),
    ):
        with pytest.raises(kvreg.KeyNotFound) as caught:
            fail()
        assert caught.value.args == ("cheese",)
    assert dict(shopping) == SHOPPING


def test_get_has_a_default(shopping: kvreg.Bucket) -> None:
    assert shopping.get("milk", 7) == 1
    assert shopping.get("cheese") is None
    assert shopping.get("cheese", default=7) == 7


def test_pop(shopping: kvreg.Bucket) -> None:
    assert shopping.pop("milk", 7) == 1
    assert shopping.pop("milk", 7) == 7
    assert shopping.pop("milk", default=None) is None
    assert len(shopping) == 2


def test_popitem(shopping: kvreg.Bucket) -> None:
    popped = dict(shopping.popitem() for _ in range(3))
    assert popped == SHOPPING
    with pytest.raises(KeyError, match="empty"):
        shopping.popitem()


def test_setdefault(shopping: kvreg.Bucket) -> None:
    assert shopping.setdefault("milk", 7) == 1
    assert shopping.setdefault("cheese", 7) == 7
    assert shopping["cheese"] == 7
    assert shopping.setdefault("nothing") is None
    assert "nothing" in shopping
    assert shopping.setdefault("nothing", 7) is None


def test_setdefault_is_one_step(bucket: kvreg.Bucket) -> None:
    barrier = threading.Barrier(4)

    def race(mine: int) -> list[Any]:
        barrier.wait(WAIT)
        return [bucket.setdefault(f"key {n}", mine) for n in range(200)]

    def work(mine: int) -> Worker:
        return Worker(lambda: race(mine))

    answers = [worker.result() for worker in [work(mine) for mine in range(4)]]
    assert answers[0] == answers[1] == answers[2] == answers[3]


def test_views_compare_and_combine_as_those_of_a_dict(shopping: kvreg.Bucket) -> None:
    assert shopping.keys() == SHOPPING.keys()
    assert shopping.items() == SHOPPING.items()
    assert shopping.keys() & {"milk", "cheese"} == {"milk"}
    assert shopping.items() - {("milk", 1)} == {("eggs", 12), ("bread", "rye")}
    assert ("milk", 1) in shopping.items()
    assert ("milk", 2) not in shopping.items()
    assert (1, 1) not in shopping.items()  # type: ignore[comparison-overlap]
    assert 12 in shopping.values()
    assert 13 not in shopping.values()
    assert len(shopping.items()) == len(shopping.values()) == 3
    keys = shopping.keys()
    shopping["cheese"] = 1
    assert "cheese" in keys


def test_iterating_sees_a_snapshot(shopping: kvreg.Bucket) -> None:
    for key in shopping:
        del shopping[key]
        shopping[f"{key} again"] = 1
    assert len(shopping) == 3
    values = iter(shopping.values())
    items = iter(shopping.items())
    shopping.clear()
    assert list(values) == [1, 1, 1]
    assert len(list(items)) == 3


def test_equality_is_that_of_the_contents(
    registry: kvreg.Registry, shopping: kvreg.Bucket
) -> None:
    other = registry.create("other")
    assert shopping == SHOPPING
    assert shopping != other
    other.update(shopping)
    assert shopping == other
    with pytest.raises(TypeError):
        hash(shopping)


def test_merging(shopping: kvreg.Bucket) -> None:
    same = shopping
    same |= {"milk": 2, "tea": 1}
    assert same is shopping
    same |= [("tea", 2)]
    assert shopping == {**SHOPPING, "milk": 2, "tea": 2}
    assert shopping | {"milk": 3} == {**SHOPPING, "milk": 3, "tea": 2}
    assert {"milk": 3, "rum": 1} | shopping == {**SHOPPING, "milk": 2, "tea": 2, "rum": 1}
    assert shopping["milk"] == 2
    with pytest.raises(TypeError):
        shopping | 1  # type: ignore[operator]


# Updates


def test_update_as_in_a_dict(bucket: kvreg.Bucket) -> None:
    bucket.update({"a": 1}, b=2)
    bucket.update([("c", 3), (b"d", 4)])
    bucket.update(default=5)
    bucket.update()
    assert bucket == {"a": 1, "b": 2, "c": 3, "d": 4, "default": 5}

    class Pairs:
        def keys(self) -> list[str]:
            return ["a", "e"]

        def __getitem__(self, key: str) -> int:
            return 9

    bucket.update(Pairs())
    assert bucket.get_many("ae") == [9, 9]
    for wrong in (1, [1], ["abc"]):
        with pytest.raises((TypeError, ValueError)):
            bucket.update(wrong)  # type: ignore[arg-type]


def test_update_by_a_function(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 1
    seen: list[tuple[Any, int]] = []

    def more(n: int) -> int:
        seen.append((n, threading.get_ident()))
        return n + 1

    assert bucket.update("milk", more) == 2
    assert bucket["milk"] == 2
    assert seen == [(1, threading.get_ident())]


def test_update_with_a_default(bucket: kvreg.Bucket) -> None:
    assert bucket.update("milk", lambda n: n + 1, default=0) == 1
    assert bucket.update("milk", lambda n: n + 1, default=0) == 2
    assert bucket.update(b"milk", lambda n: n + 1) == 3
    assert bucket == {"milk": 3}


def test_update_knows_none_from_nothing(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = None
    assert bucket.update("milk", lambda found: found is None) is True
    bucket["milk"] = None
    assert bucket.update("milk", lambda found: [found] == [None], default=7) is True
    assert bucket.update("eggs", lambda found: found, default=None) is None
    assert "eggs" in bucket


def test_update_can_keep_and_remove(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = "semi-skimmed"
    assert bucket.update("milk", lambda _: kvreg.KEEP) == "semi-skimmed"
    assert bucket == {"milk": "semi-skimmed"}
    assert bucket.update("milk", lambda _: kvreg.REMOVE) is None
    assert bucket == {}
    assert bucket.update("milk", lambda _: kvreg.REMOVE, default=0) is None
    assert bucket.update("milk", lambda _: kvreg.KEEP, default=7) == 7
    assert bucket == {}
    assert repr([kvreg.KEEP, kvreg.REMOVE]) == "[kvreg.KEEP, kvreg.REMOVE]"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_comes_out_of_an_update(
    bucket: kvreg.Bucket, error: type[BaseException]
) -> None:
    bucket["milk"] = 1
    raised = error("spilt")

    def spill(n: int) -> int:
        raise raised

    with pytest.raises(error) as caught:
        bucket.update("milk", spill)
    assert caught.value is raised
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "spill"
    # Nothing is changed, and the turn was given back.
    assert bucket["milk"] == 1
    assert Worker(lambda: bucket.update("milk", lambda n: n + 1)).result() == 2
    assert live_handles()["update"] == 0


def test_a_wrong_answer_changes_nothing(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 1
    with pytest.raises(OverflowError):
        bucket.update("milk", lambda n: 2**63)
    with pytest.raises(UnicodeEncodeError):
        bucket.update("milk", lambda n: "\ud800")
    assert bucket.update("milk", lambda n: n + 1) == 2


def test_wrong_arguments_of_an_update(bucket: kvreg.Bucket) -> None:
    with pytest.raises(TypeError, match="a key, a function"):
        bucket.update("milk", 1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a key, a function"):
        bucket.update("milk", len, 1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a key, a function"):
        bucket.update("milk", len, other=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a key is"):
        bucket.update(1, len)  # type: ignore[call-overload]


def test_updates_of_several_threads_are_all_counted(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 0

    def work() -> None:
        for _ in range(500):
            bucket.update("milk", lambda n: n + 1)

    for worker in [Worker(work) for _ in range(4)]:
        worker.result()
    assert bucket["milk"] == 2000


def test_others_read_during_an_update_and_write_after_it(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 1
    begun, go_on = threading.Event(), threading.Event()

    def slow(n: int) -> int:
        begun.set()
        wait(go_on)
        return n + 10

    update = Worker(lambda: bucket.update("milk", slow))
    wait(begun)
    assert bucket["milk"] == 1
    assert bucket.get_many(["milk"]) == [1]
    assert dict(bucket.items()) == {"milk": 1}
    impatient = bucket.clone()
    impatient.timeout = 0
    with pytest.raises(kvreg.CallTimeout):
        impatient["milk"] = 7
    write = Worker(lambda: bucket.__setitem__("eggs", 1))
    go_on.set()
    assert update.result() == 11
    write.result()
    assert bucket == {"milk": 11, "eggs": 1}


def test_inside_its_own_update_a_bucket_is_read_only(
    registry: kvreg.Registry, bucket: kvreg.Bucket
) -> None:
    bucket["milk"] = 1
    other = registry.create("other")

    def look_around(n: int) -> int:
        assert bucket["milk"] == 1
        assert len(bucket) == 1
        for write in (
            lambda: bucket.__setitem__("milk", 7),
            lambda: bucket.update("milk", lambda n: n),
            lambda: bucket.clear(),
            lambda: bucket.stop(),
            lambda: registry.stop(),
        ):
            with pytest.raises(kvreg.CallingSelf):
                write()
        other["eggs"] = 12
        return n + 1

    assert bucket.update("milk", look_around) == 2
    assert other["eggs"] == 12


def test_a_bucket_that_ends_during_its_update_drops_it(
    registry: kvreg.Registry, bucket: kvreg.Bucket
) -> None:
    bucket["milk"] = 1

    def end(n: int) -> int:
        Worker(lambda: bucket.exit(kvreg.Reason.KILLED)).result()
        assert "shopping" not in registry
        return n + 1

    with pytest.raises(kvreg.ServerDown):
        bucket.update("milk", end)
    with pytest.raises(kvreg.NoProcess):
        bucket["milk"]


# Many at once


def test_put_many(bucket: kvreg.Bucket) -> None:
    mixed: dict[kvreg.Key, kvreg.Value] = {"a": 1, b"b": "two"}
    bucket.put_many(mixed)
    bucket.put_many([("c", b"3"), ("c", None)])
    bucket.put_many({})
    assert bucket == {"a": 1, "b": "two", "c": None}


def test_put_many_is_all_or_none(bucket: kvreg.Bucket) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        bucket.put_many({"a": 1, "b" * 70_000: 2})
    with pytest.raises(OverflowError):
        bucket.put_many({"a": 1, "b": 2**63})
    assert bucket == {}


def test_get_many(shopping: kvreg.Bucket) -> None:
    assert shopping.get_many(["eggs", "cheese", b"milk", "eggs"]) == [12, None, 1, 12]
    assert shopping.get_many(iter([])) == []


def test_casts_are_seen_by_their_thread(bucket: kvreg.Bucket) -> None:
    for n in range(1000):
        bucket.put_cast("milk", n)
        assert bucket["milk"] == n
    bucket.delete_cast("milk")
    assert "milk" not in bucket
    bucket.delete_cast("milk")


# Handles


def test_a_bucket_without_a_registry() -> None:
    with kvreg.Bucket() as bucket:
        bucket["milk"] = 1
        assert bucket.name is None
        assert repr(bucket) == "<kvreg.Bucket None>"


def test_its_name_survives_it(bucket: kvreg.Bucket) -> None:
    bucket.stop()
    assert bucket.name == "shopping"
    assert repr(bucket) == "<kvreg.Bucket 'shopping'>"


def test_closing_frees_the_handle_and_nothing_else(
    registry: kvreg.Registry, bucket: kvreg.Bucket
) -> None:
    bucket["milk"] = 1
    assert not bucket.closed
    bucket.close()
    bucket.close()
    assert bucket.closed
    assert repr(bucket) == "<kvreg.Bucket (closed)>"
    for use in (
        lambda: bucket["milk"],
        lambda: bucket.__setitem__("milk", 1),
        lambda: "milk" in bucket,
        lambda: len(bucket),
        lambda: list(bucket),
        lambda: dict(bucket.items()),
        lambda: bucket.update("milk", lambda n: n),
        lambda: bucket.name,
        lambda: bucket.clone(),
        lambda: setattr(bucket, "timeout", 1.0),
        lambda: bucket.stop(),
    ):
        with pytest.raises(kvreg.Closed):
            use()
    assert registry["shopping"]["milk"] == 1
    with registry["shopping"] as again:
        assert again["milk"] == 1
    assert again.closed
    assert registry["shopping"]["milk"] == 1


def test_handles_are_freed_by_the_garbage_collector(registry: kvreg.Registry) -> None:
    registry.create("one")
    gc.collect()
    before = live_handles()
    buckets = [registry.create(f"bucket {n}") for n in range(100)]
    buckets += [bucket.clone() for bucket in buckets]
    assert live_handles()["bucket"] == before["bucket"] + 200
    del buckets
    gc.collect()
    assert live_handles() == before
    assert len(registry) == 101


def test_nothing_is_left_behind_by_use(shopping: kvreg.Bucket) -> None:
    assert len(shopping)
    gc.collect()
    before = live_handles()
    dict(shopping.items())
    list(shopping)
    shopping.update("milk", lambda n: n + 1)
    shopping.setdefault("cheese", 1)
    with pytest.raises(KeyError):
        shopping.update("nothing", lambda n: n)
    assert live_handles() == before


def test_clones_are_the_same_bucket(bucket: kvreg.Bucket) -> None:
    bucket.timeout = 0.25
    for other in (bucket.clone(), copy.copy(bucket)):
        assert other is not bucket
        assert other.timeout == 0.25
        other["milk"] = other.get("milk", 0) + 1
        other.timeout = None
        other.close()
    assert bucket["milk"] == 2
    assert bucket.timeout == 0.25


def test_it_cannot_be_pickled_or_copied_deeply(bucket: kvreg.Bucket) -> None:
    with pytest.raises(TypeError, match="live handle"):
        pickle.dumps(bucket)
    with pytest.raises(TypeError, match="live handle"):
        copy.deepcopy(bucket)


@pytest.mark.parametrize("seconds", [None, 0, 0.0001, 1, 2.5, float("inf"), 1e300])
def test_timeouts_are_seconds(bucket: kvreg.Bucket, seconds: float | None) -> None:
    assert bucket.timeout == WAIT
    bucket.timeout = seconds
    assert bucket.timeout == seconds
    bucket["milk"] = 1


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan")])
def test_a_timeout_is_not_negative(bucket: kvreg.Bucket, seconds: float) -> None:
    with pytest.raises(ValueError, match="at least 0 seconds"):
        bucket.timeout = seconds
    assert bucket.timeout == WAIT


def test_exit_takes_only_reasons_that_end(bucket: kvreg.Bucket) -> None:
    bucket.exit(kvreg.Reason.NORMAL)
    bucket["milk"] = 1
    with pytest.raises(kvreg.InvalidArgument):
        bucket.exit(kvreg.Reason.NOPROC)
    assert bucket["milk"] == 1
