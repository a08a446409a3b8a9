"""Many keys in one call.

What is done for each key in Python costs more than what the library does with it. So where all
keys are str and all values of one type, which is the rule, they are handed over as columns: all
keys one after the other, their lengths as an array, and so on, each made by one call of C. For
what is mixed there is an array of structs, filled one by one.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Mapping
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Optional

from . import _abi
from ._update import ABSENT
from ._values import Key, as_pairs, decoded, encode_key, encoded, fill, take

if TYPE_CHECKING:
    from ._dict_methods import DictMethods

_Column = Optional["tuple[int, Any, array[int] | None]"]
"""The type, the values, and their lengths if they are texts."""


def put_many(bucket: DictMethods, other: Mapping[Any, Any] | Iterable[tuple[Key, Any]]) -> None:
    """Does what `Bucket.put_many` says."""
    codec = bucket._codec
    keys: list[Any]
    values: list[Any]
    if type(other) is dict:
        keys = list(other)  # pyright: ignore
        values = list(other.values())  # pyright: ignore
    else:
        pairs = as_pairs(other)
        keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    if codec is not None:
        values = [encoded(codec, value) for value in values]
    if set(map(type, keys)) == {str}:
        column = _column(values)
        if column is not None:
            return _put_columns(bucket, keys, *column)
    batch = (_abi.Pair * len(keys))()
    for pair, key, value in zip(batch, keys, values):
        data = encode_key(key)
        pair.key, pair.key_len = data, len(data)
        fill(pair.value, value)
    bucket._call_blocking("kvreg_bucket_put_many", batch, len(batch))


def _put_columns(
    bucket: DictMethods, keys: list[str], kind: int, values: Any, value_lens: array[int] | None
) -> None:
    joined, key_lens = _joined(keys, "surrogateescape")
    columns = _abi.Columns(
        type=kind,
        count=len(keys),
        keys=joined,
        key_lens=key_lens.buffer_info()[0],
        values=_address(values),
        value_lens=None if value_lens is None else value_lens.buffer_info()[0],
    )
    bucket._call_blocking("kvreg_bucket_put_columns", columns)


def _column(values: list[Any]) -> _Column:
    """Values that are of one type; None if they are not."""
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is int:
        try:
            return _abi.INT, array("q", values), None
        except OverflowError:
            return None  # which is told apart where one is filled in
    if kind is float:
        return _abi.FLOAT, array("d", values), None
    if kind is bytes:
        return _abi.BYTES, b"".join(values), array("Q", map(len, values))
    if kind is str:
        return _abi.STRING, *_joined(values, "strict")
    return None


def _joined(texts: list[str], errors: str) -> tuple[bytes, array[int]]:
    """All texts one after the other, and how many bytes each has."""
    joined = "".join(texts)
    if joined.isascii():
        return joined.encode(), array("Q", map(len, texts))
    encoded = [text.encode("utf-8", errors) for text in texts]
    return b"".join(encoded), array("Q", map(len, encoded))


def _address(values: Any) -> int | None:
    """Of an array's items, or of bytes: the caller keeps them."""
    if isinstance(values, bytes):
        return ctypes.cast(ctypes.c_char_p(values), ctypes.c_void_p).value
    address: int = values.buffer_info()[0]
    return address


def get_many(bucket: DictMethods, keys: Iterable[Key], default: Any) -> list[Any]:
    """Does what `Bucket.get_many` says."""
    codec, keys = bucket._codec, tuple(keys)
    if not keys:
        return []
    chosen = [encode_key(key) for key in keys]
    batch = (_abi.Pair * len(chosen))()
    joined, lengths = b"".join(chosen), array("Q", map(len, chosen))
    begins = accumulate(lengths, initial=_address(joined) or 0)
    words = memoryview(batch).cast("B").cast("Q")
    words[0::_WORDS] = array("Q", islice(begins, len(chosen)))
    words[1::_WORDS] = lengths
    bucket._call_blocking("kvreg_bucket_get_many", batch, len(chosen))
    values = _values(bucket, batch, ABSENT)
    if codec is None:
        return [default if value is ABSENT else value for value in values]
    return [default if value is ABSENT else decoded(codec, value) for value in values]


_WORDS = ctypes.sizeof(_abi.Pair) // 8
_VALUE = _abi.Pair.value.offset


def _values(bucket: DictMethods, batch: Any, absent: object) -> list[Any]:
    """The values of an array of pairs, which are released."""
    view = memoryview(batch).cast("B")
    kinds = view.cast("I")[_VALUE // 4 :: 2 * _WORDS].tolist()
    words = view.cast("q")
    payloads, lengths, owners = (
        words[_VALUE // 8 + word :: _WORDS].tolist() for word in (1, 2, 3)
    )
    library, string_at = bucket._library, ctypes.string_at
    values: list[Any] = []
    try:
        for at, kind in enumerate(kinds):
            if kind == _abi.INT:
                values.append(payloads[at])
            elif kind == _abi.BYTES:
                values.append(string_at(payloads[at], lengths[at]))
            elif kind == _abi.STRING:
                values.append(string_at(payloads[at], lengths[at]).decode())
            elif kind == _abi.ABSENT:
                values.append(absent)
            else:
                values.append(take(library, batch[at].value))
    finally:
        clear, size = library.hot.value_clear, ctypes.sizeof(_abi.Pair)
        for at, owner in enumerate(owners):
            if owner:
                clear(ctypes.byref(batch, at * size + _VALUE))
    return values
