"""What users of dicts do with a mapping, and what a stateful test cannot show."""

from __future__ import annotations

import copy
import json
import math
import pickle
import threading
from collections import ChainMap, Counter
from collections.abc import (
    Collection,
    Hashable,
    ItemsView,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import Any, Callable

import kvreg
import pytest
from support import Worker

SHOPPING: dict[str, kvreg.Value] = {"milk": 1, "eggs": 12, "bread": "rye"}


@pytest.fixture
def shopping(bucket: kvreg.Bucket) -> kvreg.Bucket:
    bucket.update(SHOPPING)
    return bucket


def _anything(*arguments: Any, **named: Any) -> tuple[Any, ...]:
    return (*arguments, named)


def test_what_they_are(registry: kvreg.Registry, shopping: kvreg.Bucket) -> None:
    for kind in (Collection, Mapping, MutableMapping):
        assert isinstance(shopping, kind)
    assert isinstance(registry, Mapping)
    assert not isinstance(registry, MutableMapping)
    assert not isinstance(shopping, dict)
    for mapping in (shopping, registry):
        assert isinstance(mapping.keys(), KeysView)
        assert isinstance(mapping.values(), ValuesView)
        assert isinstance(mapping.items(), ItemsView)
    assert not isinstance(shopping, Hashable)
    with pytest.raises(TypeError, match="unhashable"):
        hash(shopping)
    assert {registry: 1}[registry] == 1
    assert registry == registry
    assert registry != registry.clone()
    nothing: object = {}
    assert registry != nothing


def test_what_takes_any_mapping_takes_a_bucket(shopping: kvreg.Bucket) -> None:
    assert dict(shopping) == {**shopping} == SHOPPING
    assert dict(shopping, milk=2) == {**SHOPPING, "milk": 2}
    assert _anything(**shopping) == (SHOPPING,)
    assert sorted(shopping) == sorted(SHOPPING)
    assert set(shopping) == set(SHOPPING)
    assert max(shopping) == "milk"
    assert json.loads(json.dumps(dict(shopping))) == SHOPPING
    assert "{milk} and {eggs}".format_map(shopping) == "1 and 12"
    assert "{milk} and {bread}".format(**shopping) == "1 and rye"
    assert dict(ChainMap({"tea": 1}, shopping)) == {**SHOPPING, "tea": 1}
    del shopping["bread"]
    assert Counter(shopping) == Counter(milk=1, eggs=12)
    assert [*shopping.items()] == list(zip(shopping.keys(), shopping.values()))
    first, second = shopping
    assert {first, second} == {"milk", "eggs"}


def test_order_is_no_matter(registry: kvreg.Registry) -> None:
    one, other = registry.create("one"), registry.create("other")
    for n in range(100):
        one[f"key {n}"] = n
        other[f"key {99 - n}"] = 99 - n
    assert one == other == {f"key {n}": n for n in range(100)}
    assert one.keys() == other.keys()
    assert one.items() == other.items()
    del other["key 7"]
    assert one != other
    assert other.keys() < one.keys()
    assert other.items() <= one.items()
    with pytest.raises(TypeError):
        reversed(one)  # type: ignore[call-overload]


def test_equality_with_what_is_no_mapping(shopping: kvreg.Bucket) -> None:
    for other in (None, 1, list(SHOPPING.items()), "milk"):
        different: object = other
        assert shopping != different
        assert (shopping == different) is False


def test_nan_is_equal_to_nothing_as_it_is_no_object_that_stays(bucket: kvreg.Bucket) -> None:
    bucket["key"] = math.nan
    assert bucket != bucket
    assert math.nan not in bucket.values()


def test_absent_keys_are_key_errors_that_say_which(
    registry: kvreg.Registry, shopping: kvreg.Bucket
) -> None:
    calls: list[tuple[Callable[[], object], type[kvreg.Error], object]] = [
        (lambda: shopping["tea"], kvreg.KeyNotFound, "tea"),
        (lambda: shopping[b"tea"], kvreg.KeyNotFound, b"tea"),
        (lambda: shopping.pop("tea"), kvreg.KeyNotFound, "tea"),
        (lambda: shopping.__delitem__("tea"), kvreg.KeyNotFound, "tea"),
        (lambda: shopping.update("tea", lambda n: n), kvreg.KeyNotFound, "tea"),
        (lambda: registry["tea"], kvreg.BucketNotFound, "tea"),
        (lambda: registry.remove("tea"), kvreg.BucketNotFound, "tea"),
        (lambda: kvreg.Registry.whereis("tea"), kvreg.RegistryNotFound, "tea"),
    ]
    for call, kind, key in calls:
        with pytest.raises(KeyError) as caught:
            call()
        error: Any = caught.value
        assert type(error) is kind
        assert error.args == (key,)
        assert str(error) == repr(key)  # as that of a dict
        assert error.status is kvreg.Status.NOT_FOUND


def test_wrong_arguments_are_type_errors(shopping: kvreg.Bucket) -> None:
    wrong: Any = shopping
    calls: list[Callable[[], object]] = [
        lambda: wrong.get(),
        lambda: wrong.get("milk", 1, 2),
        lambda: wrong.get(key="milk"),
        lambda: wrong.pop(),
        lambda: wrong.pop("milk", 1, 2),
        lambda: wrong.setdefault(),
        lambda: wrong.popitem(1),
        lambda: wrong.clear(1),
        lambda: wrong.update(None),
        lambda: wrong.update(1),
        lambda: wrong.update([1]),
        lambda: wrong.update([("milk", 2), None]),
        lambda: wrong.__ior__(1),
        lambda: wrong | [("milk", 2)],
        lambda: [("milk", 2)] | wrong,
        lambda: wrong.setdefault("tea", kvreg.KEEP),
        lambda: wrong.setdefault("tea", kvreg.REMOVE),
        lambda: wrong.put_many(None),
        lambda: wrong.get_many([1]),
        lambda: wrong.link(1),
        lambda: wrong.unlink(wrong.keys()),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    for pairs in (["abc"], [("milk", 2), ("a",)]):
        with pytest.raises(ValueError, match="unpack"):
            wrong.update(pairs)
    assert shopping == SHOPPING


def test_of_keys_that_are_equal_the_last_counts(bucket: kvreg.Bucket) -> None:
    mixed: list[tuple[kvreg.Key, kvreg.Value]] = [("a", 1), (b"a", 2), ("a", 3)]
    stores: list[Callable[[Any], object]] = [bucket.update, bucket.put_many, bucket.__ior__]
    for store in stores:
        for given in (mixed, iter(mixed)):
            bucket.clear()
            store(given)
            assert bucket == {"a": 3}
    bucket.update(mixed, a=4)
    assert bucket == {"a": 4}


def test_into_itself(shopping: kvreg.Bucket) -> None:
    shopping.update(shopping)
    same = shopping
    same |= shopping
    assert same is shopping
    assert shopping == SHOPPING
    assert shopping | shopping == SHOPPING


def test_what_cannot_be_a_key_is_in_no_view(
    registry: kvreg.Registry, shopping: kvreg.Bucket
) -> None:
    pairs: list[Any] = [("k" * 65537, 1), ("\ud800", 1), (1, 1), ([], 1), ("milk",), None]
    for pair in [*pairs, ["milk", 1]]:
        assert pair not in shopping.items()
        assert pair not in registry.items()
    assert (b"milk", 1) in shopping.items()  # type: ignore[comparison-overlap]
    value: Any = "milk"
    assert value not in shopping.values()
    assert value not in registry.values()


def test_each_iteration_is_a_snapshot_while_another_thread_writes(bucket: kvreg.Bucket) -> None:
    bucket.update(a=0, b=0)
    over = threading.Event()

    def write() -> int:
        count = 0
        while not over.is_set():
            count += 1
            bucket.put_many({"a": count, "b": count, f"key {count % 50}": count})
            bucket.delete_cast(f"key {(count + 25) % 50}")
        return count

    writer = Worker(write)
    try:
        for _ in range(100):
            seen = dict(bucket.items())
            assert seen["a"] == seen["b"]
            one, other = bucket.get_many(["a", "b"])
            assert one == other
            values = list(bucket.values())
            assert len(values) >= 2
            assert {"a", "b"} <= set(bucket)
            for key in bucket:  # some of which may be gone
                bucket.get(key)
    finally:
        over.set()
    count = writer.result()
    assert bucket["a"] == bucket["b"] == count


def test_a_registry_is_iterated_while_another_thread_starts_and_stops(
    registry: kvreg.Registry,
) -> None:
    stays = registry.create("stays")
    stays["number"] = 1
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            for n in range(5):
                registry.create(f"{n}").put_cast("number", 2)
            for n in range(5):
                registry.remove(f"{n}")

    worker = Worker(work)
    try:
        for _ in range(200):
            assert "stays" in registry
            assert "stays" in dict(registry.items())
            assert 1 <= len(list(registry.values())) <= 6
            assert set(registry) <= {"stays", *"01234"}
    finally:
        over.set()
    worker.result()
    assert list(registry) == ["stays"]


@pytest.mark.parametrize("kind", ["bucket", "registry", "inbox", "listener"])
def test_copies(kind: str, registry: kvreg.Registry, inbox: kvreg.Inbox) -> None:
    with kvreg.Listener(registry, "127.0.0.1:0") as listener:
        thing: Any = {
            "bucket": registry.create("shopping"),
            "registry": registry,
            "inbox": inbox,
            "listener": listener,
        }[kind]
        for refused in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="live handle"):
                refused(thing)
        if kind in ("inbox", "listener"):
            with pytest.raises(TypeError, match="copied"):
                copy.copy(thing)
        else:
            with copy.copy(thing) as other:
                assert other is not thing
                assert other.timeout == thing.timeout
            assert not thing.closed
            assert len(registry) == 1


# Codecs


class _Wrong:
    def encode(self, value: Any, /) -> Any:
        return "no bytes"

    def decode(self, data: bytes, /) -> Any:
        raise ZeroDivisionError


def test_a_codec_that_fails_changes_nothing(bucket: kvreg.Bucket) -> None:
    with kvreg.Bucket(codec=_Wrong()) as wrong:
        for store in (wrong.__setitem__, wrong.put_cast, wrong.setdefault):
            with pytest.raises(TypeError, match="to str, not to bytes"):
                store("milk", 1)
        with pytest.raises(TypeError, match="to str"):
            wrong.update(milk=1)
        with pytest.raises(TypeError, match="to str"):
            wrong.update("milk", lambda _: 1, default=0)
        assert wrong == {}
        wrong.codec  # noqa: B018  # it can be asked for
    with kvreg.Bucket(codec=kvreg.JSON) as refusing:
        unfit: Any = {1, 2}
        with pytest.raises(TypeError, match="JSON"):
            refusing["milk"] = unfit
        with pytest.raises(TypeError, match="JSON"):
            refusing.update("milk", lambda _: unfit, default=0)
        assert refusing == {}
        assert refusing.get_many(["milk"]) == [None]


def test_values_without_the_codec_are_told_apart() -> None:
    with kvreg.Registry("codecs") as plain:
        stored = plain.create("shopping")
        stored.update(text="milk", bad=b"{")
        with kvreg.Registry.whereis("codecs", codec=kvreg.JSON) as found:
            assert found.codec is kvreg.JSON
            decoding = found["shopping"]
            with pytest.raises(kvreg.WrongType, match="kvreg.JSON.*without codec"):
                decoding["text"]
            with pytest.raises(TypeError):
                list(decoding.values())
            with pytest.raises(ValueError, match="property name"):
                decoding["bad"]
            with pytest.raises(kvreg.WrongType):
                decoding.update("text", lambda n: n)
            assert "text" in decoding
            assert decoding.codec is kvreg.JSON
        pickling = kvreg.Registry.whereis("codecs", codec=kvreg.PICKLE)["shopping"]
        with pytest.raises(kvreg.WrongType, match="kvreg.PICKLE"):
            pickling["text"]
        assert stored == {"text": "milk", "bad": b"{"}
