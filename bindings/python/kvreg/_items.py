"""Snapshots, and views of a mapping that go through one."""

from __future__ import annotations

import ctypes
from collections.abc import ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, Any, Protocol

from . import _abi
from ._constants import Status
from ._errors import check
from ._values import decode_key, decoded, take, take_bytes

if TYPE_CHECKING:
    from ._bucket import Bucket
    from ._server import Server


def keys(server: Server, function: str) -> list[str]:
    """The keys, or names, of the snapshot that `function` gives."""
    found: list[str] = []
    library = server._library
    following = library.quick.kvreg_items_next
    snapshot = ctypes.c_void_p()
    key = _abi.Value()
    try:
        server._call_blocking(function, ctypes.byref(snapshot))
        while not (status := following(snapshot, key, None)):
            found.append(decode_key(take_bytes(library, key)))
        if status != Status.NOT_FOUND:
            check(library, status)
    finally:
        library.kvreg_items_free(snapshot)
    return found


def pairs(bucket: Bucket) -> list[tuple[str, Any]]:
    """The keys and values of a bucket at one instant."""
    found: list[tuple[str, Any]] = []
    library, codec = bucket._library, bucket._codec
    following = library.quick.kvreg_items_next
    snapshot = ctypes.c_void_p()
    key, value = _abi.Value(), _abi.Value()
    try:
        bucket._call_blocking("kvreg_bucket_items", ctypes.byref(snapshot))
        while not (status := following(snapshot, key, value)):
            name = decode_key(take_bytes(library, key))
            found.append((name, decoded(codec, take(library, value))))
        if status != Status.NOT_FOUND:
            check(library, status)
    finally:
        library.kvreg_items_free(snapshot)
    return found


class _HasSnapshot(Protocol):
    def _snapshot(self) -> list[tuple[str, Any]]: ...


class SnapshotItems(ItemsView[str, Any]):
    """Items as they are at the instant at which an iteration begins."""

    _mapping: _HasSnapshot

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._mapping._snapshot())

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple):
            return False
        pair: tuple[Any, ...] = item  # pyright: ignore[reportUnknownVariableType]
        if len(pair) != 2 or not isinstance(pair[0], (str, bytes)):
            return False
        try:
            return super().__contains__(pair)
        except ValueError:  # InvalidArgument, UnicodeEncodeError: it cannot be a key
            return False


class SnapshotValues(ValuesView[Any]):
    """Values as they are at the instant at which an iteration begins."""

    _mapping: _HasSnapshot

    def __iter__(self) -> Iterator[Any]:
        return iter([value for _, value in self._mapping._snapshot()])

    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)
