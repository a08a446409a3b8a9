"""Keys and values of all kinds, for tests that compare with a `dict`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import kvreg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples in each run, and nothing kept from one run to the next.
PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
        HealthCheck.too_slow,
    ],
)

SIZES = [0, 7, 8, 64, 1023, 1024, 1025, 65535, 65536, 65537, 1 << 20]
"""Bytes of a value on both sides of where it is stored, copied or handed over otherwise."""

_COMMON_KEYS: list[kvreg.Key] = [
    "",
    "milk",
    b"milk",
    "Grüße",
    "Grüße".encode(),
    "a\0b",
    "🥛",
    b"\xff\xfe",
    "\udcff\udcfe",
    "\udcc3\udca9",  # the same bytes as the next one
    "é",
]

keys = st.one_of(
    st.sampled_from(_COMMON_KEYS),
    st.sampled_from("abcdef"),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.binary(max_size=8),
    st.sampled_from([65535, 65536]).map(lambda size: "k" * size),
)

names = st.one_of(
    st.sampled_from(["milk", "🥛", "a b", "default", "self", "other", "key"]),
    st.sampled_from("abcdef"),
)
"""Keys that can be names of arguments."""


def text(key: kvreg.Key) -> str:
    """A key as it reads back."""
    data = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    return data.decode("utf-8", "surrogateescape")


_FILLERS: dict[str, Callable[[int], Any]] = {
    "bytes": lambda size: b"b" * size,
    "zeros": lambda size: b"\0" * size,
    "ascii": lambda size: "s" * size,
    "astral": lambda size: "🥛" * (size // 4) + "x" * (size % 4),
    "two": lambda size: "é" * (size // 2) + "x" * (size % 2),
}

_sized = st.builds(
    lambda kind, size: _FILLERS[kind](size),
    st.sampled_from(list(_FILLERS)),
    st.sampled_from(SIZES),
)

_numbers: list[Any] = [
    *(0, 1, -1, 2**31, 2**32, -(2**31) - 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 5e-324, 1.7976931348623157e308),
    *(float("nan"), float("inf"), float("-inf")),
    *(None, True, False),
]

values: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(_numbers),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    _sized,
)
"""What a bucket holds without a codec."""

_any_text = st.text(max_size=8) | st.sampled_from(["\ud800", "\udcff", "\ud83e\udd5b"])


def _equals_itself(value: Any) -> bool:
    # A copy of a list with a NaN is not equal to it, and what is compared here is copies.
    return bool(value == value)


json_values: st.SearchStrategy[Any] = st.recursive(
    (st.sampled_from([*_numbers, 10**30]) | st.integers() | st.floats() | _any_text).filter(
        _equals_itself
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
"""What comes back from JSON as it was."""

pickle_values: st.SearchStrategy[Any] = st.recursive(
    (
        values | json_values | st.complex_numbers() | st.datetimes() | st.just(kvreg.Bucket)
    ).filter(_equals_itself),
    lambda inner: st.tuples(inner, inner) | st.lists(inner, max_size=3),
    max_leaves=4,
)
"""What comes back from a pickle as it was."""


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, of one type and to the bit: `True` is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (one != one != other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, complex):
        return same((one.real, one.imag), (other.real, other.imag))
    return bool(one == other)
