"""Scans: keys in the order of their bytes, read as they are asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import _abi
from ._abi import BYTES, STRING
from ._constants import Status
from ._errors import InvalidArgument
from ._hot import LONGEST, TOO_LONG
from ._values import Key, decoded, encode_key, take

if TYPE_CHECKING:
    from ._bucket import Bucket

Page = tuple[list[bytes], list[Any]]
"""Keys, and their values, if these are wanted."""


class Wanted:
    """What a scan of a bucket gives, from where it has come on."""

    __slots__ = ("_after", "_bucket", "_ends", "_keys_only", "_page", "_prefix")

    def __init__(
        self, bucket: Bucket, prefix: Key, after: Key | None, page: int, keys_only: bool
    ) -> None:
        """Checks what was given; reads nothing."""
        if page < 1:
            raise ValueError(f"a page has at least one key, not {page}")
        self._bucket = bucket
        self._prefix = _checked(prefix)
        self._after = None if after is None else _checked(after)
        self._page = min(page, 2**64 - 1)
        self._keys_only = bool(keys_only)
        self._ends = False

    def next_page(self) -> list[Any]:
        """What comes next: empty at the end."""
        if self._ends:
            return []
        bucket = self._bucket
        stats = _abi.BucketStats()
        bucket._call("kvreg_bucket_info", stats)
        limit = self._page if stats.order == _abi.ORDERED else 0
        keys, values = _read(bucket, self._prefix, self._after, limit, self._keys_only)
        if limit == 0 or len(keys) < limit:
            self._ends = True
        else:
            self._after = keys[-1]
        names = [key.decode("utf-8", "surrogateescape") for key in keys]
        if self._keys_only:
            return names
        codec = bucket._codec
        if codec is not None:
            values = [decoded(codec, value) for value in values]
        return list(zip(names, values))


def scan(
    bucket: Bucket, prefix: Key, after: Key | None, page: int, keys_only: bool
) -> Iterator[Any]:
    """Does what `Bucket.scan` says."""
    return _all(Wanted(bucket, prefix, after, page, keys_only))


def _all(wanted: Wanted) -> Iterator[Any]:
    while page := wanted.next_page():
        yield from page


def _checked(key: Key) -> bytes:
    data = encode_key(key)
    if len(data) > LONGEST:
        raise InvalidArgument(TOO_LONG)
    return data


def _read(
    bucket: Bucket, prefix: bytes, after: bytes | None, limit: int, keys_only: bool
) -> Page:
    """One page, as it is at one instant; 0 is no limit."""
    options = _abi.ScanOptions(
        flags=_abi.KEYS_ONLY if keys_only else 0,
        prefix=_address(prefix),
        prefix_len=len(prefix),
        after=None if after is None else _address(after),
        after_len=0 if after is None else len(after),
        limit=limit,
    )
    library = bucket._library
    following, clear = library.hot.items_next, library.hot.value_clear
    items = ctypes.c_void_p()
    key, value = _abi.Value(), _abi.Value()
    to_key, to_value = ctypes.byref(key), None if keys_only else ctypes.byref(value)
    string_at = ctypes.string_at
    keys: list[bytes] = []
    values: list[Any] = []
    try:
        bucket._call_blocking("kvreg_bucket_scan", ctypes.byref(options), ctypes.byref(items))
        while not (status := following(items, to_key, to_value)):
            keys.append(string_at(key.address or 0, key.len))
            clear(to_key)
            if keys_only:
                continue
            kind = value.type
            if kind in (BYTES, STRING):
                text = string_at(value.address or 0, value.len)
                clear(to_value)
                values.append(text if kind == BYTES else text.decode())
            else:
                values.append(take(library, value))
        if status != Status.NOT_FOUND:
            bucket._check(status)
    finally:
        library.kvreg_items_free(items)
    return keys, values


def _address(data: bytes) -> int | None:
    """Where the bytes are, as long as they are kept."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
