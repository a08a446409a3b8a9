"""One update of one key by a function, without a callback: begun, decided here, and ended."""

from __future__ import annotations

import ctypes
import enum
from typing import TYPE_CHECKING, Any, Callable

from . import _abi
from ._constants import Status, Verdict
from ._errors import KeyNotFound, check
from ._values import Key, borrowed, decoded, encode_key, encoded, take

if TYPE_CHECKING:
    from ._bucket import Bucket


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT = _Absent.ABSENT
"""In place of a value or a default: there is none."""


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
    current = _abi.Value()
    update = ctypes.c_void_p()
    # The library writes the handle into `update` before Python can be interrupted again, so
    # that the turn is given back whatever is raised, and wherever: KeyboardInterrupt too.
    try:
        bucket._call(
            "kvreg_bucket_update_begin", data, len(data), current, ctypes.byref(update)
        )
        if current.type == _abi.NIL and _is_absent(bucket, data):
            if needed:
                raise KeyNotFound(key)
            given = default
        else:
            given = decoded(bucket._codec, take(library, current))
        result = fn(given)
        status = _end(bucket, update, result)
        # The handle is freed, whatever was answered.
        update.value = None
        check(library, status)
    finally:
        if update:
            library.quick.kvreg_update_free(update)
    if result is Verdict.KEEP:
        return given
    return None if result is Verdict.REMOVE else result


def _end(bucket: Bucket, update: ctypes.c_void_p, result: Any) -> int:
    end = bucket._library.kvreg_update_end
    if result is Verdict.KEEP:
        status: int = end(update, _abi.KEEP, None)
    elif result is Verdict.REMOVE:
        status = end(update, _abi.REMOVE, None)
    else:
        status = end(update, _abi.STORE, borrowed(encoded(bucket._codec, result)))
    return status


def _is_absent(bucket: Bucket, key: bytes) -> bool:
    """Tells a key that is absent from one that has None: a read is allowed in an update."""
    library = bucket._library
    status = library.quick.kvreg_bucket_get(bucket._handle, key, len(key), _abi.Value())
    if status == Status.NOT_FOUND:
        return True
    check(library, status)
    return False
