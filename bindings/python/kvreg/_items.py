"""Snapshots, and views of a mapping that go through one."""

from __future__ import annotations

import ctypes
from collections.abc import ItemsView, Iterator, ValuesView
from typing import Any, Protocol

from . import _abi
from ._constants import Status
from ._errors import check
from ._values import decode_key, take, take_bytes


def keys(library: ctypes.CDLL, function: str, handle: int | None) -> list[str]:
    """The keys, or names, of the snapshot that `function` gives."""
    found: list[str] = []
    snapshot = ctypes.c_void_p()
    key = _abi.Value()
    try:
        check(library, getattr(library, function)(handle, ctypes.byref(snapshot)))
        while not (status := library.kvreg_items_next(snapshot, key, None)):
            found.append(decode_key(take_bytes(library, key)))
        if status != Status.NOT_FOUND:
            check(library, status)
    finally:
        library.kvreg_items_free(snapshot)
    return found


def pairs(library: ctypes.CDLL, bucket: int | None) -> list[tuple[str, Any]]:
    """The keys and values of a bucket at one instant."""
    found: list[tuple[str, Any]] = []
    snapshot = ctypes.c_void_p()
    key, value = _abi.Value(), _abi.Value()
    try:
        check(library, library.kvreg_bucket_items(bucket, ctypes.byref(snapshot)))
        while not (status := library.kvreg_items_next(snapshot, key, value)):
            found.append((decode_key(take_bytes(library, key)), take(library, value)))
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
        if (
            not isinstance(item, tuple)
            or len(item) != 2
            or not isinstance(item[0], (str, bytes))
        ):
            return False
        return super().__contains__(item)


class SnapshotValues(ValuesView[Any]):
    """Values as they are at the instant at which an iteration begins."""

    _mapping: _HasSnapshot

    def __iter__(self) -> Iterator[Any]:
        return iter([value for _, value in self._mapping._snapshot()])

    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)
