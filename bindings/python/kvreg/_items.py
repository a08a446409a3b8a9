"""Snapshots, and views of a mapping that go through one."""

from __future__ import annotations

import ctypes
from collections.abc import ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, Any, Protocol

from . import _abi
from ._abi import BYTES, STRING
from ._accelerated import native
from ._constants import Status
from ._values import decode_key, decoded, take

if TYPE_CHECKING:
    from ._dict_methods import DictMethods
    from ._server import Server


def keys(server: Server, function: str) -> list[str]:
    """The keys, or names, of the snapshot that `function` gives."""
    if native is not None:
        return _collected(server, function, False)
    return [
        data.decode("utf-8", "surrogateescape") for data, _ in _all(server, function, False)
    ]


def pairs(bucket: DictMethods) -> list[tuple[str, Any]]:
    """The keys and values of a bucket at one instant."""
    if native is not None and bucket._codec is None:
        return _collected(bucket, "kvreg_bucket_items", True)
    found = _all(bucket, "kvreg_bucket_items", True)
    codec = bucket._codec
    if codec is None:
        return [(data.decode("utf-8", "surrogateescape"), value) for data, value in found]
    return [(decode_key(data), decoded(codec, value)) for data, value in found]


def _collected(server: Server, function: str, values: bool) -> list[Any]:
    """The keys, or the keys and values, by the extension."""
    if function == "kvreg_bucket_items":
        taken: list[Any] | None = native.snapshot(server, values)
        if taken is not None:  # else it is not for the extension
            return taken
    snapshot = ctypes.c_void_p()
    try:
        server._call_blocking(function, ctypes.byref(snapshot))
        status, found = native.collect(snapshot.value, values)
        if status != Status.NOT_FOUND:
            server._check(status)
        collected: list[Any] = found
        return collected
    finally:
        server._library.kvreg_items_free(snapshot)


def _all(server: Server, function: str, values: bool) -> list[tuple[bytes, Any]]:
    found: list[tuple[bytes, Any]] = []
    library = server._library
    following, clear = library.hot.items_next, library.hot.value_clear
    snapshot = ctypes.c_void_p()
    key, value = _abi.Value(), _abi.Value()
    to_key, to_value = ctypes.byref(key), ctypes.byref(value) if values else None
    string_at = ctypes.string_at
    try:
        server._call_blocking(function, ctypes.byref(snapshot))
        while not (status := following(snapshot, to_key, to_value)):
            data = string_at(key.address or 0, key.len)
            clear(to_key)
            kind = value.type
            if kind in (BYTES, STRING):
                text = string_at(value.address or 0, value.len)
                clear(to_value)
                found.append((data, text if kind == BYTES else text.decode()))
            else:
                found.append((data, take(library, value)))
        if status != Status.NOT_FOUND:
            server._check(status)
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
