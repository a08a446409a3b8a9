"""What a bucket has of a `dict`: one key, many keys, all of them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, KeysView, Mapping, MutableMapping
from typing import Any, Callable, TypeVar, overload

from . import _abi
from ._abi import BYTES, STRING
from ._accelerated import own_slots
from ._batch import get_many, put_many
from ._codecs import Codec
from ._constants import Status, Verdict
from ._errors import InvalidArgument, KeyNotFound
from ._hot import LONGEST, ROOM, TOO_LONG, new_slot, slots
from ._items import SnapshotItems, SnapshotValues, keys, pairs
from ._server import Server
from ._update import ABSENT, end, run
from ._values import Key, Pairs, as_pairs, borrowed, decoded, encode_key, encoded, take
from ._whole import ELSEWHERE, Reading, WholeKeys, looked_up, names

_Default = TypeVar("_Default")
_Self = TypeVar("_Self", bound="DictMethods")

_GONE = object()
"""In place of a value that another thread took out."""

_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1


class DictMethods(Server, MutableMapping[str, Any]):
    """The methods of a `dict`, of a handle of a bucket."""

    __slots__ = own_slots("_codec", "_readings", "_shared", "_stored")

    _codec: Codec | None
    _readings: list[Reading]
    _stored: bool
    """Whether a store may keep it, as far as that is known: then changes block for that."""
    _shared: bool
    """Whether others change that store too: then all blocks for it."""

    # One key

    def __getitem__(self, key: Key, /) -> Any:
        """The value of a key; `KeyError` if it is absent. Does not wait for writers."""
        if self._readings:
            found = looked_up(self, key)
            if found is not ELSEWHERE:
                return found
        found = self._find(key)
        if found is ABSENT:
            raise KeyNotFound(key)
        return found

    # pyright holds it against the overrides below that they give `Any | _Default` for Any.
    @overload
    def get(self, key: Key, /) -> Any: ...
    @overload
    def get(self, key: Key, /, default: _Default) -> Any | _Default: ...
    def get(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, key: Key, /, default: Any = None
    ) -> Any:
        """The value of a key, or `default`. Does not wait for writers."""
        found = self._find(key)
        return default if found is ABSENT else found

    def _find(self, key: Key) -> Any:
        """The value of a key, or ABSENT.

        Written out, and not in parts: it is what is called most, and each part would cost as
        much as the library's.
        """
        data = key.encode("utf-8", "surrogateescape") if type(key) is str else encode_key(key)
        size = len(data)
        if size > LONGEST:
            raise InvalidArgument(TOO_LONG)
        now = self._now
        if now is None:
            now = self._at_once()
        try:
            slot = slots.pop()
        except IndexError:
            slot = new_slot()
        value, reference, buffer = slot
        status = self._hot.bucket_get_into(now, data, size, buffer, ROOM, reference)
        if status:
            slots.append(slot)
            return self._find_slowly(status, data)
        kind = value.type
        if kind == BYTES and (size := value.len) <= ROOM:
            found: Any = buffer[:size]
        elif kind == STRING and (size := value.len) <= ROOM:
            found = buffer[:size].decode()
        else:
            found = take(self._library, value)
        slots.append(slot)
        codec = self._codec
        return found if codec is None else decoded(codec, found)

    def _find_slowly(self, status: int, data: bytes) -> Any:
        """The same after a call that did not succeed at once."""
        value = _abi.Value()
        if status == Status.TIMEOUT and self._timeout != 0:
            # Casts of this thread are queued.
            status = self._wait(self._library.kvreg_bucket_get, data, len(data), value)
        if status == Status.NOT_FOUND:
            return ABSENT
        self._check(status)
        return decoded(self._codec, take(self._library, value))

    def __contains__(self, key: object, /) -> bool:
        """Whether there is such a key; what cannot be a key is none.

        Does not wait for writers.
        """
        if not isinstance(key, (str, bytes)):
            return False
        try:
            data, value = encode_key(key), _abi.Value()
        except UnicodeEncodeError:
            return False
        if len(data) > LONGEST:
            return False
        status = self._status("kvreg_bucket_get", data, len(data), value)
        if status == Status.NOT_FOUND:
            return False
        self._check(status)
        self._library.quick.kvreg_value_clear(value)
        return True

    def __setitem__(self, key: Key, value: Any, /) -> None:
        """Stores a value. `OverflowError` beyond 64 bits, `TypeError` for other types.

        `LimitReached` if a limit is; `InvalidArgument` for a key of more than 65,536 bytes.
        Waits for its turn.
        """
        data = encode_key(key)
        size = len(data)
        if size > LONGEST:
            raise InvalidArgument(TOO_LONG)
        stored: Any = value if self._codec is None else encoded(self._codec, value)
        now = self._now
        if now is None:
            now = self._at_once()
        kind: type[Any] = type(stored)  # pyright: ignore[reportUnknownVariableType]
        status: int = Status.TIMEOUT
        if kind is str:
            text = stored.encode()
            if len(text) <= LONGEST:
                status = self._hot.bucket_put_string(now, data, size, text, len(text))
        elif kind is bytes:
            if len(stored) <= LONGEST:
                status = self._hot.bucket_put_bytes(now, data, size, stored, len(stored))
        elif kind is int and _INT_MIN <= stored <= _INT_MAX:
            status = self._hot.bucket_put_int(now, data, size, ctypes.c_int64(stored))
        elif kind is float:
            status = self._hot.bucket_put_float(now, data, size, ctypes.c_double(stored))
        else:
            self._check(self._changed("kvreg_bucket_put", data, size, borrowed(stored)))
            return
        if not status:
            return
        if status == Status.TIMEOUT:
            # Somebody else's turn; or long, so that others may run meanwhile.
            put = self._library.kvreg_bucket_put
            status = self._wait(put, data, size, borrowed(stored))
        self._check(status)

    def __delitem__(self, key: Key, /) -> None:
        """Takes a key out; `KeyError` if it is absent. Waits for its turn."""
        data = encode_key(key)
        status = self._changed("kvreg_bucket_delete", data, len(data), None)
        if status:
            raise self._absent(status, key)

    @overload
    def pop(self, key: Key, /) -> Any: ...
    @overload
    def pop(self, key: Key, /, default: _Default) -> Any | _Default: ...
    def pop(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, key: Key, /, default: Any = ABSENT
    ) -> Any:
        """Takes a key out and gives its value, in one step; `default` if it is absent.

        `KeyError` if it is absent and there is no default. Waits for its turn.
        """
        data, old = encode_key(key), _abi.Value()
        status = self._changed("kvreg_bucket_delete", data, len(data), old)
        if status == Status.NOT_FOUND and default is not ABSENT:
            return default
        if status:
            raise self._absent(status, key)
        return decoded(self._codec, take(self._library, old))

    def popitem(self) -> tuple[str, Any]:
        """Takes some key out and gives it and its value; `KeyError` if there is none.

        Waits for its turn.
        """
        while True:
            found = list(self)
            for key in found:
                value = self.pop(key, _GONE)
                if value is not _GONE:  # else another thread was faster
                    return key, value
            if not found:
                raise KeyNotFound("the bucket is empty")

    def setdefault(self, key: Key, default: Any = None) -> Any:
        """The value of a key; if it is absent, `default` is stored first, in one step.

        Waits for its turn if it is absent.
        """
        found = self._find(key)
        return self._store_if_absent(key, default) if found is ABSENT else found

    def _store_if_absent(self, key: Key, default: Any) -> Any:
        if isinstance(default, Verdict):
            raise TypeError(f"{default!r} is no value: it is for the function of an update")
        # Another thread may store one before the update has its turn: that one is kept.
        return run(
            self, key, lambda current: default if current is ABSENT else Verdict.KEEP, ABSENT
        )

    # Updates

    @overload
    def update(self, key: Key, fn: Callable[[Any], Any], /, *, default: Any = ...) -> Any: ...
    @overload
    def update(self, other: Pairs[Any], /, **named: Any) -> None: ...
    @overload
    def update(self, other: Iterable[tuple[Key, Any]], /, **named: Any) -> None: ...
    @overload
    def update(self, /, **named: Any) -> None: ...
    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, /, *args: Any, **named: Any
    ) -> Any:
        """Updates one key by a function, or many keys as `dict.update` does.

        `update(key, fn, *, default=...)`: calls `fn` with the value of the key, once, in
        this thread, while the bucket does nothing else; stores what it returns, and returns
        that. For an absent key `fn` gets `default`; without one that is a `KeyError`. `fn`
        may return `kvreg.KEEP` to leave the key as it is, and `update` returns what `fn`
        got; or `kvreg.REMOVE` to delete it, and `update` returns None. An exception of `fn`
        comes out with its traceback, and the bucket is unchanged. Inside `fn` the bucket
        can be read but not written (`CallingSelf`); other threads read on meanwhile and
        wait with their writes. Waits for its turn.

        `update(other, **named)`: stores all pairs of a mapping or an iterable in one step,
        all or none. Waits for its turn.
        """
        if len(args) < 2:
            if args and not named:
                return self.put_many(args[0])
            pairs = as_pairs(*args) if args else []
            return self.put_many([*pairs, *named.items()])
        key, fn, *more = args
        default = named.pop("default", ABSENT)
        if more or named or not callable(fn):
            raise TypeError(
                "update takes a mapping or pairs, or a key, a function and default="
            )
        return run(self, key, fn, default, needed=default is ABSENT)

    def _end_update(self, number: int, result: Any) -> None:
        """Ends an update of the extension's, whose function has returned `result`."""
        self._check(end(self, ctypes.c_void_p(number), result))

    # Many keys

    def put_many(self, other: Mapping[Any, Any] | Iterable[tuple[Key, Any]]) -> None:
        """Stores all pairs of a mapping or an iterable in one step: all or none.

        Of equal keys the last one counts. `LimitReached` if a limit is, and nothing was
        stored. Waits for its turn.
        """
        put_many(self, other)

    def get_many(self, keys: Iterable[Key], default: Any = None) -> list[Any]:
        """The values of the keys, in their order and as they are at one instant.

        An absent key gives `default`. Does not wait for a running update.
        """
        return get_many(self, keys, default)

    def __len__(self) -> int:
        """How many keys there are; a write in flight may count or not.

        Does not wait for writers.
        """
        count = ctypes.c_size_t()
        self._call("kvreg_bucket_count", ctypes.byref(count))
        return count.value

    def __iter__(self) -> Iterator[str]:
        """The keys as they are at this instant. Does not wait for writers."""
        return names(self)

    def _names(self) -> list[str]:
        return keys(self, "kvreg_bucket_items")

    def _snapshot(self) -> list[tuple[str, Any]]:
        return pairs(self)

    def copy(self) -> dict[str, Any]:
        """All keys and values as they are at one instant, as a dict of one's own.

        `dict(bucket)` and `{**bucket}` are the same. Another handle to the bucket is what
        `clone` and `copy.copy` give. Does not wait for writers.
        """
        return dict(self._snapshot())

    def keys(self) -> KeysView[str]:
        """A view of the keys; each iteration is a snapshot of its own.

        Does not wait for writers.
        """
        return WholeKeys(self)

    def items(self) -> SnapshotItems:
        """A view of keys and values; each iteration is a snapshot of its own.

        Does not wait for writers.
        """
        return SnapshotItems(self)

    def values(self) -> SnapshotValues:
        """A view of the values; each iteration is a snapshot of its own.

        Does not wait for writers.
        """
        return SnapshotValues(self)

    def clear(self) -> None:
        """Takes all keys out, at one instant. Waits for its turn."""
        self._call_blocking("kvreg_bucket_clear")

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**self.copy(), **dict(other.items())}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**dict(other.items()), **self.copy()}

    def __ior__(  # type: ignore[misc]  # takes more than __or__, as in dict
        self: _Self, other: Mapping[Any, Any] | Iterable[tuple[Key, Any]]
    ) -> _Self:
        self.put_many(other)
        return self

    def _changed(self, function: str, *arguments: object) -> int:
        """What a change answers: as `_status`, if it does not block for a store."""
        if self._stored:
            return self._wait_or_not(function, *arguments)
        return self._status(function, *arguments)

    def _absent(self, status: int, key: Key) -> Exception:
        if status == Status.NOT_FOUND:
            return KeyNotFound(key)
        return self._error(status)
