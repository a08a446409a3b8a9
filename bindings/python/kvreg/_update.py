"""One update of one key by a function, without a callback: begun, decided here, and ended.

The interpreter's lock is kept from begin to end, but for what the function does: a thread that
got it in between would keep it for a switch interval (5 ms), and the bucket so long from all
others. Nobody can wait for this thread meanwhile: who has the turn waits for nothing to end,
the library's threads never want the lock, and to begin waits without it.
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
    from ._bucket import Bucket


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT = _Absent.ABSENT
"""In place of a value or a default: there is none."""


_LONG = 1 << 20
"""Bytes whose copying takes so long that other threads may run meanwhile."""


def run(
    bucket: Bucket,
    key: Key,
    fn: Callable[[Any], Any],
    default: Any,
    *,
    needed: bool = False,
) -> Any:
    """Does what `Bucket.update` says; with `needed` an absent key is a `KeyNotFound`."""
    library = bucket._library
    data = encode_key(key)
    if len(data) > LONGEST:
        raise InvalidArgument(TOO_LONG)
    current, update = _abi.Value(), ctypes.c_void_p()
    read, reference = ctypes.byref(current), ctypes.byref(update)
    # The library writes the handle into `update` before Python can be interrupted again, so
    # that the turn is given back whatever is raised, and wherever: KeyboardInterrupt too.
    try:
        status = library.hot.bucket_update_begin(
            bucket._now or bucket._at_once(), data, len(data), read, reference
        )
        if status == Status.TIMEOUT and bucket._timeout != 0:
            begin = library.kvreg_bucket_update_begin
            status = bucket._wait(begin, data, len(data), read, reference)
        bucket._check(status)
        if current.type == _abi.ABSENT:
            if needed:
                raise KeyNotFound(key)
            given = default
        else:
            given = decoded(bucket._codec, take(library, current))
        result = fn(given)
        status = _end(bucket, update, result)
        # The handle is freed, whatever was answered.
        update.value = None
        bucket._check(status)
    finally:
        if update:
            library.quick.kvreg_update_free(update)
    if result is Verdict.KEEP:
        return given
    return None if result is Verdict.REMOVE else result


def _end(bucket: Bucket, update: ctypes.c_void_p, result: Any) -> int:
    library = bucket._library
    end = library.hot.update_end
    if isinstance(result, Verdict):
        return end(update, _abi.KEEP if result is Verdict.KEEP else _abi.REMOVE, None)
    stored = borrowed(encoded(bucket._codec, result))
    if stored.type in (_abi.STRING, _abi.BYTES) and stored.len > _LONG:
        status: int = library.kvreg_update_end(update, _abi.STORE, stored)
        return status
    return end(update, _abi.STORE, ctypes.byref(stored))
