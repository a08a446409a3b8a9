"""One update of one key by a function, without a callback: begun, decided here, and ended."""

from __future__ import annotations

import ctypes
import enum
from typing import Any, Callable

from . import _abi
from ._constants import Status, Verdict
from ._errors import KeyNotFound, check
from ._values import Key, borrowed, encode_key, take


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT = _Absent.ABSENT
"""In place of a value or a default: there is none."""


def run(
    library: ctypes.CDLL,
    bucket: int | None,
    key: Key,
    fn: Callable[[Any], Any],
    default: Any,
    *,
    needed: bool = False,
) -> Any:
    """Does what `Bucket.update` says; with `needed` an absent key is a `KeyNotFound`."""
    data = encode_key(key)
    current = _abi.Value()
    update = ctypes.c_void_p()
    begin = library.kvreg_bucket_update_begin
    # The library writes the handle into `update` before Python can be interrupted again, so
    # that the turn is given back whatever is raised, and wherever: KeyboardInterrupt too.
    try:
        check(library, begin(bucket, data, len(data), current, ctypes.byref(update)))
        if current.type == _abi.NIL and _is_absent(library, bucket, data):
            if needed:
                raise KeyNotFound(key)
            given = default
        else:
            given = take(library, current)
        result = fn(given)
        status = _end(library, update, result)
        # The handle is freed, whatever was answered.
        update.value = None
        check(library, status)
    finally:
        if update:
            library.kvreg_update_free(update)
    if result is Verdict.KEEP:
        return given
    return None if result is Verdict.REMOVE else result


def _end(library: ctypes.CDLL, update: ctypes.c_void_p, result: object) -> int:
    if result is Verdict.KEEP:
        status: int = library.kvreg_update_end(update, _abi.KEEP, None)
    elif result is Verdict.REMOVE:
        status = library.kvreg_update_end(update, _abi.REMOVE, None)
    else:
        status = library.kvreg_update_end(update, _abi.STORE, borrowed(result))  # type: ignore[arg-type]
    return status


def _is_absent(library: ctypes.CDLL, bucket: int | None, key: bytes) -> bool:
    """Tells a key that is absent from one that has None: a read is allowed in an update."""
    status = library.kvreg_bucket_get(bucket, key, len(key), _abi.Value())
    if status == Status.NOT_FOUND:
        return True
    check(library, status)
    return False
