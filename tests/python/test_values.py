"""Keys and values: what goes in comes out, and what cannot go in says why."""

from __future__ import annotations

import array
import ctypes
import gc
import json
import math
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import kvreg
import pytest

INT_MAX = 2**63 - 1
INT_MIN = -(2**63)

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    INT_MAX,
    INT_MIN,
    0.0,
    -0.5,
    1e300,
    math.inf,
    "",
    "milk",
    "Grüße, 世界 🥛",
    "a\0b",
    "x" * 100_000,
    b"",
    b"milk",
    b"\0\xff\0",
    b"\xff" * 1_000_000,
]


def short(value: object) -> str:
    return repr(value)[:24]


@pytest.mark.parametrize("value", VALUES, ids=short)
def test_a_value_comes_back_as_it_was(bucket: kvreg.Bucket, value: kvreg.Value) -> None:
    bucket["key"] = value
    got = bucket["key"]
    assert got == value
    assert type(got) is type(value)


def test_all_values_come_back_from_batches_and_snapshots(bucket: kvreg.Bucket) -> None:
    stored = {str(place): value for place, value in enumerate(VALUES)}
    bucket.put_many(stored)
    assert bucket.get_many(stored) == VALUES
    assert dict(bucket.items()) == stored
    assert list(map(type, bucket.get_many(stored))) == list(map(type, VALUES))


def test_nan_comes_back(bucket: kvreg.Bucket) -> None:
    bucket["key"] = math.nan
    assert math.isnan(bucket["key"])


def test_none_is_a_value(bucket: kvreg.Bucket) -> None:
    bucket["key"] = None
    assert "key" in bucket
    assert bucket["key"] is None
    assert bucket.get("key", 1) is None
    assert len(bucket) == 1
    assert bucket.pop("key", 1) is None
    assert "key" not in bucket


def test_subclasses_are_stored_as_what_they_are_made_of(bucket: kvreg.Bucket) -> None:
    class Number(IntEnum):
        ONE = 1

    class Name(str):
        pass

    bucket.update(a=Number.ONE, b=Name("milk"))
    assert [type(value) for value in bucket.get_many(["a", "b"])] == [int, str]


@pytest.mark.parametrize("value", [INT_MAX + 1, INT_MIN - 1, 10**30])
def test_an_int_beyond_64_bits_overflows(bucket: kvreg.Bucket, value: int) -> None:
    with pytest.raises(OverflowError):
        bucket["key"] = value
    assert "key" not in bucket


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, Ellipsis, 1j, Decimal("0.1"), Fraction(1, 3), ctypes.c_int(1)],
    ids=short,
)
def test_another_type_is_refused_and_told_what_to_do(bucket: kvreg.Bucket, value: Any) -> None:
    for store in (bucket.__setitem__, bucket.put_cast, bucket.setdefault):
        with pytest.raises(TypeError, match=rf"not (\w+\.)?{type(value).__name__}:.*codec"):
            store("key", value)
    with pytest.raises(TypeError, match="codec"):
        bucket.update("key", lambda _: value, default=0)
    with pytest.raises(TypeError, match="codec"):
        bucket.put_many({"other": 1, "key": value})
    assert len(bucket) == 0


BUFFERS: dict[str, Any] = {
    "bytearray": bytearray(b"\0milk"),
    "memoryview": memoryview(b"\0milk"),
    "slice": memoryview(b"..\0milk..")[2:-2],
    "empty": bytearray(),
    "array": array.array("i", [1, 2, 3]),
    "matrix": memoryview(bytes(12)).cast("B", (3, 4)),
    "ctypes": (ctypes.c_uint16 * 3)(1, 2, 3),
    "long": bytearray(b"x" * 2_000_000),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_any_buffer_is_a_value_where_bytes_are(bucket: kvreg.Bucket, kind: str) -> None:
    value, stored = BUFFERS[kind], bytes(memoryview(BUFFERS[kind]))
    bucket["put"] = value
    bucket.put_cast("cast", value)
    assert bucket.setdefault("default", value) is value
    assert bucket.update("update", lambda _: value, default=None) is value
    bucket.put_many({"many": value, "number": 1})
    bucket.put_many({"alone": value})
    del bucket["number"]
    assert bucket.copy() == dict.fromkeys(
        ["put", "cast", "default", "update", "many", "alone"], stored
    )
    assert set(map(type, bucket.values())) == {bytes}


def test_what_was_stored_does_not_follow_its_buffer(bucket: kvreg.Bucket) -> None:
    value = bytearray(b"milk")
    bucket["key"] = value
    value[:] = b"eggs"
    value.extend(b"more")  # nobody holds it
    assert bucket["key"] == b"milk"


def test_a_buffer_that_cannot_be_a_value_says_why(bucket: kvreg.Bucket) -> None:
    released = memoryview(b"milk")
    released.release()
    with pytest.raises(ValueError, match="released"):
        bucket["key"] = released
    with pytest.raises(TypeError, match="not contiguous.*memoryview"):
        bucket["key"] = memoryview(b"milk")[::2]
    with pytest.raises(TypeError, match="addresses"):
        bucket["key"] = (ctypes.c_void_p * 2)()
    assert "key" not in bucket


def test_a_codec_may_give_any_buffer() -> None:
    class Codec:
        def encode(self, value: Any, /) -> Any:
            return bytearray(value.encode())

        def decode(self, data: bytes, /) -> Any:
            return data.decode()

    with kvreg.Bucket(codec=Codec()) as bucket:
        bucket["key"] = "milk"
        bucket.put_many({"other": "eggs"})
        assert bucket == {"key": "milk", "other": "eggs"}


def test_numbers_of_other_types_are_stored_as_pythons(bucket: kvreg.Bucket) -> None:
    class Index:
        def __index__(self) -> int:
            return 7

    values: dict[str, Any] = {"index": Index()}
    bucket.put_many(values)
    assert bucket["index"] == 7
    assert type(bucket["index"]) is int
    bucket["index"] = Index()
    with pytest.raises(OverflowError):
        bucket["index"] = type("Long", (), {"__index__": lambda _: 2**64})()


def number_of(base: Any, name: str) -> Any:
    """A number as numpy has them: of another type, and a buffer of one item."""
    methods = {
        "__float__": lambda self: float(self.value),
        "__eq__": lambda self, other: self.value == other,
    }
    return type(name, (base,), methods)


def test_numpys_numbers_are_stored_as_pythons(bucket: kvreg.Bucket) -> None:
    numbers = {
        True: number_of(ctypes.c_bool, "bool"),
        0.5: number_of(ctypes.c_float, "float32"),
        0.25: number_of(ctypes.c_double, "float64"),
    }
    for same, kind in numbers.items():
        bucket["key"] = kind(same)
        assert (bucket["key"], type(bucket["key"])) == (same, type(same))
    # Of another kind it has no bytes of its own either.
    with pytest.raises(TypeError, match="not .*duration"):
        bucket["key"] = number_of(ctypes.c_uint64, "duration")(1)


def test_an_absent_key_is_told_from_one_that_has_none(bucket: kvreg.Bucket) -> None:
    bucket.put_many({"none": None, "number": 1})
    names = ["none", "absent", "number"]
    assert bucket.get_many(names) == [None, None, 1]
    assert bucket.get_many(names, default="nothing") == [None, "nothing", 1]
    assert bucket.update("none", lambda found: str(found)) == "None"
    with pytest.raises(kvreg.KeyNotFound):
        bucket.update("absent", lambda found: found)
    with kvreg.Bucket(codec=kvreg.JSON) as coded:
        coded["none"] = None
        assert coded.get_many(["none", "absent"], "nothing") == [None, "nothing"]


def test_the_advice_works(bucket: kvreg.Bucket) -> None:
    bucket["key"] = json.dumps([1, 2])
    assert json.loads(bucket["key"]) == [1, 2]


def test_a_text_that_is_not_unicode_is_refused(bucket: kvreg.Bucket) -> None:
    with pytest.raises(UnicodeEncodeError):
        bucket["key"] = "\udcff"
    assert "key" not in bucket


def test_bytes_are_the_same_key_as_their_text(bucket: kvreg.Bucket) -> None:
    bucket["Grüße"] = 1
    assert bucket["Grüße".encode()] == 1
    bucket["Grüße".encode()] = 2
    assert bucket["Grüße"] == 2
    assert b"Gr\xc3\xbc\xc3\x9fe" in bucket  # type: ignore[comparison-overlap]
    assert list(bucket) == ["Grüße"]


def test_any_bytes_are_a_key_and_read_back_as_str(bucket: kvreg.Bucket) -> None:
    keys = [b"", b"\xff\xfe", b"a\0b", bytes(range(256)), b"k" * 65536]
    for place, key in enumerate(keys):
        bucket[key] = place
    assert sorted(bucket.values()) == list(range(len(keys)))
    for name, place in bucket.items():
        assert isinstance(name, str)
        assert name.encode("utf-8", "surrogateescape") == keys[place]
        assert bucket[name] == place


def test_a_key_that_is_too_long_is_refused(bucket: kvreg.Bucket) -> None:
    with pytest.raises(kvreg.InvalidArgument, match="65536"):
        bucket["k" * 65537] = 1


@pytest.mark.parametrize("key", [1, None, 1.5, ("a",)])
def test_a_key_of_another_type_is_none(bucket: kvreg.Bucket, key: object) -> None:
    assert key not in bucket
    with pytest.raises(TypeError, match="a key is a str or bytes"):
        bucket[key]  # type: ignore[index]
    with pytest.raises(TypeError, match="a key is a str or bytes"):
        bucket[key] = 1  # type: ignore[index]


def test_what_is_borrowed_lives_until_the_call_is_over(bucket: kvreg.Bucket) -> None:
    # Texts that nothing else refers to, and a collector that is eager to take them.
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        bucket.put_many((f"key {n}" * 50, f"value {n}" * 500) for n in range(500))
    finally:
        gc.set_threshold(*thresholds)
    for n in range(500):
        assert bucket[f"key {n}" * 50] == f"value {n}" * 500
