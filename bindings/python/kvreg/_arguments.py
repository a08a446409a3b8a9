"""Arguments and results of servers' messages, as values that other languages know."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from . import _abi
from ._tracebacks import text_of
from ._values import borrowed, decoded, encoded, fill

if TYPE_CHECKING:
    from ._codecs import Codec


def peek(value: _abi.Value) -> Any:
    """The Python value of a struct that stays as it is."""
    kind = value.type
    if kind == _abi.INT:
        return value.integer
    if kind in (_abi.STRING, _abi.BYTES):
        data = ctypes.string_at(value.address or 0, value.len)
        return data.decode("utf-8") if kind == _abi.STRING else data
    if kind == _abi.FLOAT:
        return value.real
    if kind == _abi.BOOL:
        return value.boolean
    return None


def arguments(message: _abi.Message, codec: Codec | None) -> tuple[Any, ...]:
    """What another language sent, by the codec if there is one."""
    values = (peek(message.values[number]) for number in range(message.count))
    if codec is None:
        return tuple(values)
    return tuple(decoded(codec, it) if isinstance(it, bytes) else it for it in values)


_MOST = 255
"""Values that a message has at most."""

_arrays: dict[int, Any] = {}
"""Types of so many values: ctypes forgets one with its last array, and is slow to make it."""


def values_of(args: tuple[Any, ...], codec: Codec | None) -> Any:
    """Arguments for another language, or None if there are none."""
    if not args:
        return None
    count = len(args)
    array = _arrays.get(count)
    if array is None:
        array = _abi.Value * count
        if count <= _MOST:
            _arrays[count] = array
    values = array()
    for value, arg in zip(values, args):
        fill(value, encoded(codec, arg))
    return values


def reply_value(result: Any, codec: Codec | None) -> tuple[int, _abi.Value | None]:
    """A result for another language. One that is no value is refused, and the server lives."""
    if result is None and codec is None:
        return _abi.KEEP, None
    try:
        return _abi.KEEP, borrowed(encoded(codec, result))
    except Exception as misfit:
        return _abi.ABORT, text_value(f"the result is no value: {text_of(misfit)}")


def text_value(text: str | bytes) -> _abi.Value:
    """A text for a verdict."""
    value = _abi.Value(type=_abi.STRING)
    data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
    value.data, value.len = data, len(data)
    return value
