"""Keys and values on their way across: Python's on this side, `kvreg_value` on the other."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar, Union

from . import _abi
from ._abi import BOOL, BYTES, FLOAT, INT, STRING
from ._codecs import Codec
from ._errors import WrongType
from ._library import Library
from ._plain import as_buffer, bytes_of, plain, type_name

Key = Union[str, bytes]
"""A key: text, or bytes; bytes are the same key as the text they are the UTF-8 of."""

Value = Union[None, bool, int, float, str, bytes]
"""What a bucket can hold; an int has 64 bits. With a codec it can hold what that encodes, which
types do not tell: so methods take Any."""

_AnyKey = TypeVar("_AnyKey")


class Pairs(Protocol[_AnyKey]):
    """What `dict.update` takes for a mapping."""

    def keys(self) -> Iterable[_AnyKey]:
        """All its keys."""
        ...

    def __getitem__(self, key: _AnyKey, /) -> Any:
        """The value of a key."""
        ...


def as_pairs(other: Any) -> list[tuple[Any, Any]]:
    """What `dict.update` takes, as pairs in their order.

    Not by way of a dict, to which `"a"` and `b"a"` are two keys, in the order in which they
    came first.
    """
    if isinstance(other, Mapping):
        mapping: Mapping[Any, Any] = other  # pyright: ignore[reportUnknownVariableType]
        return list(mapping.items())
    if hasattr(other, "keys"):
        return [(key, other[key]) for key in other.keys()]  # noqa: SIM118  # no mapping
    return [(key, value) for key, value in other]


_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1


def encode_key(key: Key) -> bytes:
    """A key as the library has it. Any bytes can be a key: those of file names too."""
    if isinstance(key, str):
        return key.encode("utf-8", "surrogateescape")
    if isinstance(key, bytes):
        return key
    raise TypeError(f"a key is a str or bytes, not {type_name(key)}")


def decode_key(key: bytes) -> str:
    """A key as Python has it."""
    return key.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes:
    """The name of a bucket: UTF-8, strictly."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type_name(name)}")
    return name.encode("utf-8")


def encode_text(text: str | bytes) -> bytes:
    """A line or a message: a str as UTF-8, bytes as they are."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, bytes):
        return text
    raise TypeError(f"expected a str or bytes, not {type_name(text)}")


def fill(target: _abi.Value, value: Value) -> None:
    """Puts a Python value into a fresh struct, which borrows its text and keeps it alive."""
    if value is None:
        target.type = _abi.NIL
    elif isinstance(value, bool):
        target.type = _abi.BOOL
        target.boolean = value
    elif isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise OverflowError("an int value has 64 bits; store a longer one as str or bytes")
        target.type = _abi.INT
        target.integer = value
    elif isinstance(value, float):
        target.type = _abi.FLOAT
        target.real = value
    elif isinstance(value, str):
        _fill_text(target, _abi.STRING, value.encode("utf-8"))
    elif isinstance(value, bytes):
        _fill_text(target, _abi.BYTES, value)
    else:
        fill(target, plain(value))


def _fill_text(target: _abi.Value, kind: int, data: bytes) -> None:
    target.type = kind
    target.data = data
    target.len = len(data)


def borrowed(value: Value) -> _abi.Value:
    """A new struct with a Python value."""
    target = _abi.Value()
    fill(target, value)
    return target


def encoded(codec: Codec | None, value: Any) -> Any:
    """What is stored for a value."""
    if codec is None:
        return value
    data: object = codec.encode(value)
    if isinstance(data, bytes):
        return data
    held = as_buffer(data)
    if held is None:
        raise TypeError(f"{codec!r} encoded to {type_name(data)}, not to bytes")
    return bytes_of(held, data)


def decoded(codec: Codec | None, stored: Any) -> Any:
    """The value that something stored is for."""
    if codec is None:
        return stored
    if not isinstance(stored, bytes):
        raise WrongType(
            f"a value of type {type_name(stored)} was not stored with {codec!r}: read it"
            " through a bucket without codec"
        )
    return codec.decode(stored)


def take(library: Library, value: _abi.Value) -> Any:
    """The Python value of a struct that the library filled, which is released."""
    kind = value.type
    if kind == INT:
        return value.integer
    if kind == STRING:
        return take_bytes(library, value).decode("utf-8")
    if kind == BYTES:
        return take_bytes(library, value)
    if kind == FLOAT:
        return value.real
    if kind == BOOL:
        return value.boolean
    return None


def take_bytes(library: Library, value: _abi.Value) -> bytes:
    """The same of a struct with text, as bytes."""
    try:
        return ctypes.string_at(value.address or 0, value.len)
    finally:
        library.hot.value_clear(ctypes.byref(value))
