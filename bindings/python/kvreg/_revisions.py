"""Single keys with their revisions: what reads one, and what changes a key on a condition."""

from __future__ import annotations

import ctypes
import math
import operator
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from . import _abi
from ._constants import ABSENT, DEFAULT, KEEP, Default, Status, Verdict
from ._errors import InvalidArgument
from ._hot import LONGEST, ROOM, TOO_LONG
from ._values import Key, borrowed, decoded, encode_key, encoded, take

if TYPE_CHECKING:
    from ._bucket import Bucket

Ttl = Union[float, Verdict, Default, None]
"""A time to live: seconds; None, for ever; `kvreg.KEEP`; or that of the options."""


class Entry(NamedTuple):
    """The value of a key, and what is known of it: all of the same change."""

    value: Any
    """The value, decoded if the bucket has a codec."""
    revision: int
    """Of the change that stored it; later changes of the bucket have larger ones."""
    ttl: float | None = None
    """Seconds that are left to the key; None if it stays."""


_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1
_REVISION_MAX = 2**64 - 1
_TTL_END = 2**40
"""Seconds that need not be told to the library to be refused."""

_TEXTS = (_abi.STRING, _abi.BYTES)

_Slot = tuple[_abi.Entry, _abi.Value, Any]
"""A struct, its value, and a reference to it."""

_slots: list[_Slot] = []
"""Those that nobody uses, as `_hot.slots`."""


def _new_slot() -> _Slot:
    entry = _abi.Entry()
    return entry, entry.value, ctypes.byref(entry)


_PutSlot = tuple[_abi.Value, Any, ctypes.c_uint64, Any]
"""A struct for the value and a reference to it, a revision and a reference to that."""

_put_slots: list[_PutSlot] = []
"""Those that nobody uses."""


def _new_put_slot() -> _PutSlot:
    value, revision = _abi.Value(), ctypes.c_uint64()
    return value, ctypes.byref(value), revision, ctypes.byref(revision)


def entry(bucket: Bucket, key: Key) -> Entry:
    """Does what `Bucket.entry` says."""
    data = _key(key)
    try:
        slot = _slots.pop()
    except IndexError:
        slot = _new_slot()
    found, value, found_at = slot
    status = _call(bucket, "bucket_get_entry", data, found_at)
    if status:
        _slots.append(slot)
        raise bucket._absent(status, key)
    revision, left = found.revision, found.ttl_ms
    stored = value.integer if value.type == _abi.INT else take(bucket._library, value)
    _slots.append(slot)
    codec = bucket._codec
    ttl = None if left == _abi.TTL_NEVER else left / 1000
    return Entry(stored if codec is None else decoded(codec, stored), revision, ttl)


def put(
    bucket: Bucket, key: Key, value: Any, ttl: Ttl, if_revision: int | None, if_absent: bool
) -> int:
    """Does what `Bucket.put` says.

    Written out, as the other frequent calls are: it is the put of `kvreg.aio`.
    """
    data = key.encode("utf-8", "surrogateescape") if type(key) is str else encode_key(key)
    size = len(data)
    if size > LONGEST:
        raise InvalidArgument(TOO_LONG)
    ttl_ms: Any = _abi.TTL_DEFAULT if ttl is DEFAULT else milliseconds(ttl)
    function = "bucket_put_entry"
    condition: tuple[Any, ...] = ()
    if if_absent or if_revision is not None:
        function, condition = "bucket_put_if", (expected_revision(if_revision, if_absent),)
    codec = bucket._codec
    stored: Any = value if codec is None else encoded(codec, value)
    now = bucket._now
    if now is None:
        now = bucket._at_once()
    try:
        slot = _put_slots.pop()
    except IndexError:
        slot = _new_put_slot()
    given, given_at, revision, revision_at = slot
    kind: type[Any] = type(stored)  # pyright: ignore[reportUnknownVariableType]
    is_long = False
    if kind is int and _INT_MIN <= stored <= _INT_MAX:
        given.type = _abi.INT
        given.integer = stored
    elif kind is bytes and len(stored) <= ROOM:
        given.type = _abi.BYTES
        given.data = stored
        given.len = len(stored)
    elif kind is str and len(stored) <= ROOM:
        text = stored.encode()
        given.type = _abi.STRING
        given.data = text
        given.len = len(text)
    else:
        # The struct of a slot keeps the last text, which is to be short.
        other = borrowed(stored)
        given_at, is_long = ctypes.byref(other), _is_long(other)
    arguments = (data, size, given_at, *condition, ttl_ms, revision_at)
    status: int = Status.TIMEOUT
    if not is_long:
        status = getattr(bucket._hot, function)(now, *arguments)
    if status == Status.TIMEOUT:
        status = bucket._wait(getattr(bucket._library, f"kvreg_{function}"), *arguments)
    stored_as: int = revision.value
    _put_slots.append(slot)
    if status:
        bucket._check(status)
    return stored_as


def expire(bucket: Bucket, key: Key, ttl: float | None) -> int:
    """Does what `Bucket.expire` says."""
    if isinstance(ttl, (Verdict, Default)):
        raise TypeError("a time to live is a number of seconds, or None")
    data, ttl_ms = _key(key), milliseconds(ttl)
    revision = ctypes.c_uint64()
    status = _call(bucket, "bucket_expire", data, ttl_ms, ctypes.byref(revision))
    if status:
        raise bucket._absent(status, key)
    return revision.value


def milliseconds(ttl: Ttl) -> ctypes.c_int64:
    """A time to live as the library takes it, rounded up."""
    if ttl is DEFAULT:
        return ctypes.c_int64(_abi.TTL_DEFAULT)
    if ttl is None or ttl is KEEP:
        return ctypes.c_int64(_abi.TTL_NEVER if ttl is None else _abi.TTL_KEEP)
    if isinstance(ttl, (Verdict, Default)):
        raise TypeError("a time to live is a number of seconds, None or kvreg.KEEP")
    if not 0 < ttl < _TTL_END:
        raise InvalidArgument(
            f"a time to live is above 0 seconds, 100 years at most: not {ttl!r}"
        )
    return ctypes.c_int64(math.ceil(ttl * 1000))


def remove(bucket: Bucket, key: Key, if_revision: int | None) -> None:
    """Does what `Bucket.remove` says."""
    data = encode_key(key)
    if if_revision is None:
        status = bucket._changed("kvreg_bucket_delete", data, len(data), None)
    else:
        expected = _revision(if_revision)
        status = bucket._changed("kvreg_bucket_delete_if", data, len(data), expected, None)
    if status:
        raise bucket._absent(status, key)


def add(bucket: Bucket, key: Key, n: int) -> int:
    """Does what `Bucket.add` says."""
    without_codec(bucket, "add", "the function of an update can add")
    data, n = _key(key), operator.index(n)
    if not _INT_MIN <= n <= _INT_MAX:
        raise OverflowError("an int value has 64 bits: so has what is added")
    total = ctypes.c_int64()
    told = ctypes.byref(total)
    bucket._check(_call(bucket, "bucket_add_int", data, ctypes.c_int64(n), told))
    return total.value


def compare_and_swap(bucket: Bucket, key: Key, expected: Any, value: Any) -> bool:
    """Does what `Bucket.compare_and_swap` says."""
    without_codec(bucket, "compare_and_swap", "put(if_revision=) compares revisions")
    data = _key(key)
    old = None if expected is ABSENT else borrowed(expected)
    new = None if value is ABSENT else borrowed(value)
    call = _call_blocking if _is_long(old) or _is_long(new) else _call
    given = (one if one is None else ctypes.byref(one) for one in (old, new))
    status = call(bucket, "bucket_put_if_equal", data, *given, None)
    if status == Status.CONFLICT:
        return False
    bucket._check(status)
    return True


def last(bucket: Bucket) -> int:
    """Does what `Bucket.revision` says."""
    revision = ctypes.c_uint64()
    bucket._call("kvreg_bucket_revision", ctypes.byref(revision))
    return revision.value


def _key(key: Key) -> bytes:
    """A key for a call without argument types."""
    data = encode_key(key)
    if len(data) > LONGEST:
        raise InvalidArgument(TOO_LONG)
    return data


def expected_revision(if_revision: int | None, if_absent: bool) -> ctypes.c_uint64:
    """The revision that a key must have; 0 if it must be absent."""
    if if_revision is None:
        return ctypes.c_uint64(0)
    if if_absent:
        raise InvalidArgument("if_revision= and if_absent= exclude each other")
    return _revision(if_revision)


def _revision(number: int) -> ctypes.c_uint64:
    """A revision as the library takes it; ctypes would only cut off what is too long."""
    number = operator.index(number)
    if not 0 <= number <= _REVISION_MAX:
        raise InvalidArgument(f"a revision is an int of 0 to 2**64 - 1, not {number}")
    return ctypes.c_uint64(number)


def without_codec(bucket: Bucket, method: str, instead: str) -> None:
    if bucket._codec is not None:
        raise TypeError(
            f"{method} is for values as the bucket has them, and {bucket._codec!r} makes"
            f" bytes of them: {instead}"
        )


def _is_long(value: _abi.Value | None) -> bool:
    """Whether copying it takes so long that other threads may run meanwhile."""
    return value is not None and value.type in _TEXTS and value.len > LONGEST


def _call(bucket: Bucket, function: str, data: bytes, *arguments: Any) -> int:
    """What a short call without argument types answers, which may have to wait."""
    now = bucket._now
    if now is None:
        now = bucket._at_once()
    status: int = getattr(bucket._hot, function)(now, data, len(data), *arguments)
    if status == Status.TIMEOUT and bucket._timeout != 0:
        status = _call_blocking(bucket, function, data, *arguments)
    return status


def _call_blocking(bucket: Bucket, function: str, data: bytes, *arguments: Any) -> int:
    """The same of one that waits at once, or that takes its time."""
    call = getattr(bucket._library, f"kvreg_{function}")
    return bucket._wait(call, data, len(data), *arguments)
