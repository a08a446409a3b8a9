"""Mappings that are read as a whole are one instant, whatever others do meanwhile.

What another thread might do between two look-ups is done here by the look-ups themselves, so
that it happens each time.
"""

from __future__ import annotations

import collections
import collections.abc
import gc
import sys
import threading
import types
import weakref
from typing import Any, Callable

import kvreg
import pytest
from support import Worker, live_handles

COUNT = 20
FIRST = {f"key {n}": 0 for n in range(COUNT)}


class Busy(kvreg.Bucket):
    """Before each look-up somebody replaces all keys, and writes all values anew."""

    __slots__ = ("turns",)

    turns: int

    def __getitem__(self, key: kvreg.Key) -> Any:
        self.turns += 1
        self.clear()
        self.put_many({f"key {n + self.turns}": self.turns for n in range(COUNT)})
        return super().__getitem__(key)


@pytest.fixture
def busy() -> Busy:
    bucket = Busy()
    bucket.turns = 0
    bucket.put_many(FIRST)
    return bucket


def _named(**named: Any) -> dict[str, Any]:
    return named


def _updated(kind: Callable[[], Any]) -> Callable[[Any], Any]:
    def read(mapping: Any) -> Any:
        whole = kind()
        whole.update(mapping)
        return whole

    return read


def _joined(mapping: Any) -> Any:
    whole: dict[str, Any] = {}
    whole |= mapping
    return whole


ROADS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "dict with more": lambda mapping: dict(mapping, **{}),
    "display": lambda mapping: {**mapping},
    "arguments": lambda mapping: _named(**mapping),
    "dict.update": _updated(dict),
    "dict |=": _joined,
    "OrderedDict": collections.OrderedDict,
    "OrderedDict.update": _updated(collections.OrderedDict),
    "defaultdict": lambda mapping: collections.defaultdict(int, mapping),
    "UserDict": lambda mapping: collections.UserDict(mapping).data,
    "UserDict.update": lambda mapping: _updated(collections.UserDict)(mapping).data,
    "ChainMap.copy": lambda mapping: collections.ChainMap(mapping).copy().maps[0],
    "proxy": lambda mapping: dict(types.MappingProxyType(mapping)),
    "map": lambda mapping: next(map(dict, [mapping])),
    "items": lambda mapping: dict(mapping.items()),
    "values": lambda mapping: dict(zip(FIRST, mapping.values())),
    "|": lambda mapping: mapping | {},
    "from the right |": lambda mapping: {} | mapping,
    "copy": lambda mapping: mapping.copy(),
    "another thread": lambda mapping: Worker(lambda: dict(mapping)).result(),
}


@pytest.mark.parametrize("road", ROADS)
def test_a_bucket_is_read_at_one_instant(busy: Busy, road: str) -> None:
    whole = ROADS[road](busy)
    assert whole == FIRST
    assert all(type(key) is str for key in whole)
    assert busy._readings == []


def test_a_counter_too(busy: Busy) -> None:
    assert dict(collections.Counter(busy)) == FIRST


@pytest.mark.parametrize("road", ["dict", "display", "arguments", "OrderedDict", "UserDict"])
def test_what_wraps_a_bucket_is_read_at_one_instant(busy: Busy, road: str) -> None:
    class Wrapper(collections.abc.Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return busy[key]

        def __len__(self) -> int:
            return len(busy)

        def __iter__(self) -> Any:
            return iter(busy)

        def keys(self) -> Any:
            return busy.keys()

    assert ROADS[road](Wrapper()) == FIRST


def test_a_comparison_is_of_one_instant(busy: Busy) -> None:
    assert busy == FIRST
    assert busy.items() == FIRST.items()


def test_a_loop_sees_what_there_is_now(bucket: kvreg.Bucket) -> None:
    bucket.put_many(FIRST)
    names = list(bucket.keys())
    for value, name in enumerate(bucket.keys()):
        bucket.clone()[name] = value
        assert bucket[name] == value
    for value, name in enumerate(names):
        bucket.put_cast(name, -value)
        assert bucket[name] == -value
        assert [*map(bucket.__getitem__, [name])] == [-value]
    del bucket["key 0"]
    with pytest.raises(kvreg.KeyNotFound):
        bucket["key 0"]


def test_one_helper_for_all_calls_is_no_reading(bucket: kvreg.Bucket) -> None:
    """Its frames may be at one address, and its calls are one instruction."""

    def call(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    bucket.put_many(FIRST)
    for value in range(1, 100):
        view = call(bucket.keys)
        names = call(list, view)
        call(bucket.put_many, dict.fromkeys(FIRST, value))
        for name in names:
            assert call(bucket.__getitem__, name) == value


def test_a_reading_that_fails_leaves_nothing(bucket: kvreg.Bucket) -> None:
    class Refusing(collections.UserDict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            raise ZeroDivisionError

    class Held:
        pass

    def fail() -> weakref.ref[Held]:
        held = Held()
        with pytest.raises(ZeroDivisionError):
            Refusing(bucket)
        return weakref.ref(held)

    bucket.put_many(FIRST)
    held = fail()
    bucket.update(dict.fromkeys(FIRST, 1))
    assert bucket["key 1"] == 1
    assert bucket._readings == []
    gc.collect()
    assert held() is None


def test_an_inner_reading_does_not_disturb_the_outer_one(bucket: kvreg.Bucket) -> None:
    class Nesting(kvreg.Bucket):
        __slots__ = ()

        def __getitem__(self, key: kvreg.Key) -> Any:
            if sys._getframe(1).f_code is not self.inner.__code__:
                assert self.inner() == FIRST
                assert self["key 3"] == 0
            return super().__getitem__(key)

        def inner(self) -> dict[str, Any]:
            return dict(self)

    nesting = Nesting()
    nesting.put_many(FIRST)
    assert nesting.inner() == FIRST
    assert nesting._readings == []


def test_threads_read_one_object_while_others_write(bucket: kvreg.Bucket) -> None:
    bucket.put_many({"a": 0, "z": 0})
    over = threading.Event()

    def write() -> None:
        count = 0
        while not over.is_set():
            count += 1
            bucket.put_many({"a": count, f"key {count}": count, "z": count})
            bucket.delete_cast(f"key {count}")

    def read() -> None:
        for _ in range(300):
            for whole in (dict(bucket), {**bucket}):
                assert whole["a"] == whole["z"]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        writer, readers = Worker(write), [Worker(read) for _ in range(3)]
        for reader in readers:
            reader.result()
    finally:
        over.set()
        sys.setswitchinterval(interval)
    writer.result()
    assert bucket._readings == []


def test_a_copy_is_a_dict_of_ones_own(bucket: kvreg.Bucket) -> None:
    bucket.put_many(FIRST)
    copied = bucket.copy()
    assert type(copied) is dict
    copied["other"] = 1
    assert "other" not in bucket


class BusyRegistry(kvreg.Registry):
    """Before each look-up somebody removes what there is and creates others."""

    __slots__ = ("turns",)

    turns: int

    def __getitem__(self, name: str) -> kvreg.Bucket:
        self.turns += 1
        for old in self.names():
            self.remove(old)
        self.create(f"{self.turns}")
        return super().__getitem__(name)

    def names(self) -> list[str]:
        return self._names()


@pytest.mark.parametrize("road", ["dict", "display", "arguments", "UserDict", "map"])
def test_a_registry_leaves_out_what_is_gone(road: str) -> None:
    with BusyRegistry() as registry:
        registry.turns = 0
        for n in range(COUNT):
            registry.create(f"bucket {n}")
        assert ROADS[road](registry) == {}
        assert registry.turns == COUNT


def test_a_registry_is_a_dict_of_its_buckets(registry: kvreg.Registry) -> None:
    for n in range(COUNT):
        registry.create(f"bucket {n}")["n"] = n
    for road in ("dict", "display", "arguments", "UserDict", "proxy", "map"):
        found = ROADS[road](registry)
        assert {name: bucket["n"] for name, bucket in found.items()} == {
            f"bucket {n}": n for n in range(COUNT)
        }
        assert registry._readings == []


# What a bucket came from


def _settings() -> kvreg.Bucket:
    return kvreg.Registry().create("settings")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_bucket_keeps_the_registry_that_it_came_from() -> None:
    gc.collect()
    before = live_handles()
    bucket = _settings()
    gc.collect()
    bucket["colour"] = "red"
    other = bucket.clone()
    bucket.close()
    gc.collect()
    assert other["colour"] == "red"
    other.close()
    with pytest.raises(kvreg.Closed):
        other["colour"]
    del bucket, other
    gc.collect()
    assert live_handles() == before


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", ["lookup", "get", "values", "dict", "clone"])
def test_so_does_one_that_was_found(way: str) -> None:
    gc.collect()
    before = live_handles()

    def found() -> Any:
        registry = kvreg.Registry()
        registry.create("settings")["colour"] = "red"
        if way == "clone":
            with registry.clone() as other:
                return other["settings"]
        ways: dict[str, Callable[[], Any]] = {
            "lookup": lambda: registry["settings"],
            "get": lambda: registry.get("settings"),
            "values": lambda: next(iter(registry.values())),
            "dict": lambda: dict(registry)["settings"],
        }
        return ways[way]()

    bucket = found()
    gc.collect()
    assert bucket["colour"] == "red"
    del bucket
    gc.collect()
    assert live_handles() == before


def test_the_end_of_a_block_ends_the_buckets_all_the_same() -> None:
    with kvreg.Registry() as registry:
        bucket = registry.create("settings")
    with pytest.raises(kvreg.NoProcess):
        bucket["colour"] = "red"
