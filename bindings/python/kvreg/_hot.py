"""The most frequent calls: through PyDLL, and without argument types.

What ctypes does with an argument type costs as much for each argument as the call itself. So
these take only what needs none, which their callers see to: bytes as they are, handles as
`c_void_p`, outputs as `byref` gave them, `c_int64` and `c_double`, and an int where a length
is small, since one is passed as a C int of 32 bits.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable

from . import _abi

LONGEST = 65536
"""What a text may have in bytes to go this way; no key may have more."""

ROOM = 1024
"""A value of so many bytes is read without memory of the library's."""

_Function = Callable[..., int]


class Hot:
    """Functions on a handle with timeout 0, which therefore never block."""

    __slots__ = (
        "delete",
        "get_into",
        "lookup",
        "put_bytes",
        "put_float",
        "put_int",
        "put_string",
    )

    get_into: _Function
    put_int: _Function
    put_float: _Function
    put_string: _Function
    put_bytes: _Function
    delete: _Function
    lookup: _Function

    def __init__(self, quick: ctypes.PyDLL) -> None:
        """Makes function objects of its own, beside those that have argument types."""
        for name in self.__slots__:
            kind = "registry" if name == "lookup" else "bucket"
            function = quick[f"kvreg_{kind}_{name}"]
            function.restype = ctypes.c_int32
            setattr(self, name, function)


Slot = tuple[_abi.Value, Any, Any]
"""A struct, a reference to it, and a buffer of `ROOM` bytes: where one call answers."""

_free: list[Slot] = []


def take_slot() -> Slot:
    """A slot that is nobody else's.

    Another thread, a signal handler, or a destructor may read a bucket at any point.
    """
    try:
        return _free.pop()
    except IndexError:
        value = _abi.Value()
        return value, ctypes.byref(value), ctypes.create_string_buffer(ROOM)


def give_back(slot: Slot) -> None:
    """The slot may be used again. One that is not given back is lost, and nothing else."""
    _free.append(slot)
