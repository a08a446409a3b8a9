"""One update of one key by a function, without a callback: begun, decided here, and ended.

The interpreter's lock is kept from begin to end, but for what the function does, and for the
end where a store keeps the bucket, which blocks for that: a thread that got it in between would
keep it for a switch interval (5 ms), and the bucket so long from all others. Nobody can wait
for this thread meanwhile: who has the turn waits for nothing but a store to end, the library's
threads never want the lock, and to begin waits without it.
"""

from __future__ import annotations

import ctypes
import enum
from typing import TYPE_CHECKING, Any, Callable

from . import _abi
from ._constants import Status, Verdict
from ._errors import InvalidArgument, KeyNotFound
from ._hot import LONGEST, TOO_LONG
from ._values import Key, borrowed, decoded, encode_key, encoded, take

if TYPE_CHECKING:
    from ._dict_methods import DictMethods


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT = _Absent.ABSENT
"""In place of a value or a default: there is none. `kvreg.ABSENT` is another object, which may
be a default."""


_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1

_LONG = 1 << 20
"""Bytes whose copying takes so long that other threads may run meanwhile."""


_Slot = tuple[_abi.Value, Any, ctypes.c_void_p, Any]
"""A struct for the value and a reference to it, a handle and a reference to that."""

_slots: list[_Slot] = []
"""Those that nobody uses, as `_hot.slots`: `fn` may update another bucket."""


def _new_slot() -> _Slot:
    value, update = _abi.Value(), ctypes.c_void_p()
    return value, ctypes.byref(value), update, ctypes.byref(update)


def run(
    bucket: DictMethods,
    key: Key,
    fn: Callable[[Any], Any],
    default: Any,
    *,
    needed: bool = False,
) -> Any:
    """Does what `Bucket.update` says; with `needed` an absent key is a `KeyNotFound`.

    Written out, as the other frequent calls are: beside a busy thread the interpreter's lock
    is taken away every 5 ms, and what is longer loses it more often.
    """
    data = key.encode("utf-8", "surrogateescape") if type(key) is str else encode_key(key)
    size = len(data)
    if size > LONGEST:
        raise InvalidArgument(TOO_LONG)
    now = bucket._now
    if now is None:
        now = bucket._at_once()
    try:
        slot = _slots.pop()
    except IndexError:
        slot = _new_slot()
    value, value_at, update, update_at = slot
    hot = bucket._hot
    # The library writes the handle into `update` before Python can be interrupted again, so
    # that the turn is given back whatever is raised, and wherever: KeyboardInterrupt too.
    try:
        status = hot.bucket_update_begin(now, data, size, value_at, update_at)
        if status:
            _begin_slowly(bucket, status, data, value_at, update_at)
        kind = value.type
        if kind == _abi.ABSENT:
            if needed:
                raise KeyNotFound(key)
            given = default
        else:
            given = value.integer if kind == _abi.INT else take(bucket._library, value)
            if bucket._codec is not None:
                given = decoded(bucket._codec, given)
        result = fn(given)
        if type(result) is int and bucket._codec is None and _INT_MIN <= result <= _INT_MAX:
            value.type = _abi.INT
            value.integer = result
            status = hot.update_end(update, _abi.STORE, value_at)
        else:
            status = end(bucket, update, result)
        # The handle is freed, whatever was answered.
        update.value = None
        if status:
            bucket._check(status)
    finally:
        if update:
            bucket._library.quick.kvreg_update_free(update)
    # Only now: what was interrupted may have anything in it.
    _slots.append(slot)
    if result is Verdict.KEEP:
        return given
    return None if result is Verdict.REMOVE else result


def _begin_slowly(
    bucket: DictMethods, status: int, data: bytes, value_at: Any, update_at: Any
) -> None:
    """Begins an update that could not begin at once."""
    if status == Status.TIMEOUT and bucket._timeout != 0:
        begin = bucket._library.kvreg_bucket_update_begin
        if bucket._shared:
            # On this thread, whose turn it is then; and for as long as its end may take.
            status = begin(bucket._handle, data, len(data), value_at, update_at)
        else:
            status = bucket._wait(begin, data, len(data), value_at, update_at)
    bucket._check(status)


def end(bucket: DictMethods, update: ctypes.c_void_p, result: Any) -> int:
    """Ends an update whose function has returned `result`; what the library answers."""
    library = bucket._library
    hot_end = bucket._hot.update_end
    if isinstance(result, Verdict):
        return hot_end(update, _abi.KEEP if result is Verdict.KEEP else _abi.REMOVE, None)
    stored = borrowed(encoded(bucket._codec, result))
    if stored.type in (_abi.STRING, _abi.BYTES) and stored.len > _LONG:
        status: int = library.kvreg_update_end(update, _abi.STORE, stored)
        return status
    return hot_end(update, _abi.STORE, ctypes.byref(stored))
