"""The most frequent calls: through PyDLL where there is one, and without argument types.

What ctypes does with an argument type costs as much for each argument as the call itself. So
these take only what needs none, which their callers see to: bytes as they are, handles as
`c_void_p`, outputs as `byref` gave them, `c_int64` and its like, and an int where a length
is small, since one is passed as a C int of 32 bits. In Windows nobody says what is in the upper
half of its register then: there those that take a length have their argument types.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Callable

from . import _abi

LONGEST = 65536
"""What a text may have in bytes to go this way; no key may have more."""

TOO_LONG = "a key has at most 65536 bytes"

ROOM = 1024
"""A value of so many bytes is read without memory of the library's."""

_Function = Callable[..., int]


CHANGES = frozenset(
    (
        "bucket_add_int",
        "bucket_expire",
        "bucket_put_bytes",
        "bucket_put_entry",
        "bucket_put_float",
        "bucket_put_if",
        "bucket_put_if_equal",
        "bucket_put_int",
        "bucket_put_string",
        "update_end",
    )
)
"""Those that block for the store of a bucket that has one, at timeout 0 too."""


class Hot:
    """Functions that never block: those of buckets and registries at timeout 0, and turns.

    But for `CHANGES`, of a bucket that a store keeps.
    """

    __slots__ = (
        "bucket_add_int",
        "bucket_expire",
        "bucket_get_entry",
        "bucket_get_into",
        "bucket_put_bytes",
        "bucket_put_entry",
        "bucket_put_float",
        "bucket_put_if",
        "bucket_put_if_equal",
        "bucket_put_int",
        "bucket_put_string",
        "bucket_update_begin",
        "items_next",
        "message_clear",
        "registry_lookup",
        "server_begin",
        "server_cast",
        "turn_answer",
        "turn_end",
        "turn_next",
        "update_end",
        "value_clear",
    )

    bucket_add_int: _Function
    bucket_expire: _Function
    bucket_get_entry: _Function
    bucket_get_into: _Function
    bucket_put_bytes: _Function
    bucket_put_entry: _Function
    bucket_put_float: _Function
    bucket_put_if: _Function
    bucket_put_if_equal: _Function
    bucket_put_int: _Function
    bucket_put_string: _Function
    bucket_update_begin: _Function
    items_next: _Function
    message_clear: _Function
    registry_lookup: _Function
    server_begin: _Function
    server_cast: _Function
    turn_answer: _Function
    turn_end: _Function
    turn_next: _Function
    update_end: _Function
    value_clear: _Function

    def __init__(self, quick: ctypes.CDLL, changing: ctypes.CDLL | None = None) -> None:
        """Makes function objects of its own, beside those that have argument types.

        `CHANGES` are those of `changing`, if it is given.
        """
        for name in self.__slots__:
            of = quick if changing is None or name not in CHANGES else changing
            function = of[f"kvreg_{name}"]
            function.restype = None if name.endswith("_clear") else ctypes.c_int32
            declared = getattr(quick, f"kvreg_{name}").argtypes
            if sys.platform == "win32" and ctypes.c_size_t in declared:  # Windows only
                function.argtypes = declared
            setattr(self, name, function)


Slot = tuple[_abi.Value, Any, Any]
"""A struct, a reference to it, and a buffer of `ROOM` bytes: where one call answers."""

slots: list[Slot] = []
"""Those that nobody uses. Whoever needs one pops it, and appends it again: another thread, a
signal handler, or a destructor may read a bucket at any point, and must find another one."""


def new_slot() -> Slot:
    """One more, where there is none to pop."""
    value = _abi.Value()
    return value, ctypes.byref(value), ctypes.create_string_buffer(ROOM)
