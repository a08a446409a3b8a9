"""Buckets as mutable mappings."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Callable, TypeVar, overload

from . import _abi
from ._constants import Reason, Status, Verdict
from ._errors import KeyNotFound, check, error
from ._handle import obtain
from ._info import BucketInfo, exit_reason
from ._items import SnapshotItems, SnapshotValues, keys, pairs
from ._server import Server
from ._update import ABSENT, run
from ._values import Key, Pairs, Value, borrowed, encode_key, fill, take

_Default = TypeVar("_Default")
_Self = TypeVar("_Self", bound="Bucket")


class Bucket(Server, MutableMapping[str, Any]):
    """A bucket: a server that holds a map from key to value, used as a `dict` is.

    `Registry.create` and `Registry[name]` give named buckets; `Bucket()` starts one without
    a registry, which stops when its last handle is closed.

    Keys are str (UTF-8 with surrogateescape) or bytes, which are the same key as their text;
    they read back as str. Values are None, bool, int of 64 bits, float, str and bytes.
    Iterating, `items()` and `values()` see the bucket as it is at one instant. Two buckets
    are equal when their contents are, as with dicts; `name` tells which one it is.

    Threads: any thread may use a bucket; each operation is done as a whole. Messages of one
    thread are handled in the order sent. Reads wait for nothing but casts of the same
    thread; everything else waits for its turn for at most `timeout` seconds.

    Errors of all operations: `NoProcess` when the bucket had ended, `ServerDown` when it
    ended meanwhile, `CallTimeout` when the time was over and nothing was done, `CallingSelf`
    for a write from inside an update of the same bucket, `Closed` after `close`.
    """

    __slots__ = ()

    _kind = "bucket"

    def __init__(self) -> None:
        """Starts a bucket without a registry. Never blocks."""
        super().__init__(*obtain("kvreg_bucket_start"))

    @property
    def name(self) -> str | None:
        """The name under which the bucket is registered, after its end too. Never blocks."""
        name = _abi.Value()
        self._call("kvreg_bucket_name", name)
        found: str | None = take(self._library, name)
        return found

    def __repr__(self) -> str:
        if self.closed:
            return "<kvreg.Bucket (closed)>"
        name = _abi.Value()
        if self._library.kvreg_bucket_name(self._handle, name):
            return "<kvreg.Bucket>"
        return f"<kvreg.Bucket {take(self._library, name)!r}>"

    # One key

    def __getitem__(self, key: Key) -> Any:
        """The value of a key; `KeyError` if it is absent. Does not wait for writers."""
        data, value = encode_key(key), _abi.Value()
        library = self._library
        status = library.kvreg_bucket_get(self._handle, data, len(data), value)
        if status:
            raise self._absent(status, key)
        return take(library, value)

    @overload
    def get(self, key: Key, /) -> Any: ...
    @overload
    def get(self, key: Key, /, default: _Default) -> Any | _Default: ...
    def get(self, key: Key, /, default: Any = None) -> Any:
        """The value of a key, or `default`. Does not wait for writers."""
        data, value = encode_key(key), _abi.Value()
        library = self._library
        status = library.kvreg_bucket_get(self._handle, data, len(data), value)
        if status == Status.NOT_FOUND:
            return default
        check(library, status)
        return take(library, value)

    def __contains__(self, key: object) -> bool:
        """Whether there is such a key; what cannot be a key is none."""
        if not isinstance(key, (str, bytes)):
            return False
        data, value = encode_key(key), _abi.Value()
        library = self._library
        status = library.kvreg_bucket_get(self._handle, data, len(data), value)
        if status == Status.NOT_FOUND:
            return False
        check(library, status)
        library.kvreg_value_clear(value)
        return True

    def __setitem__(self, key: Key, value: Value) -> None:
        """Stores a value. `OverflowError` beyond 64 bits, `TypeError` for other types."""
        data = encode_key(key)
        self._call("kvreg_bucket_put", data, len(data), borrowed(value))

    def __delitem__(self, key: Key) -> None:
        """Takes a key out; `KeyError` if it is absent."""
        data = encode_key(key)
        status = self._library.kvreg_bucket_delete(self._handle, data, len(data), None)
        if status:
            raise self._absent(status, key)

    @overload
    def pop(self, key: Key, /) -> Any: ...
    @overload
    def pop(self, key: Key, /, default: _Default) -> Any | _Default: ...
    def pop(self, key: Key, /, default: Any = ABSENT) -> Any:
        """Takes a key out and gives its value, in one step; `default` if it is absent."""
        data, old = encode_key(key), _abi.Value()
        library = self._library
        status = library.kvreg_bucket_delete(self._handle, data, len(data), old)
        if status == Status.NOT_FOUND and default is not ABSENT:
            return default
        if status:
            raise self._absent(status, key)
        return take(library, old)

    def popitem(self) -> tuple[str, Any]:
        """Takes some key out and gives it and its value; `KeyError` if there is none."""
        while True:
            found = list(self)
            for key in found:
                value = self.pop(key, ABSENT)
                if value is not ABSENT:  # else another thread was faster
                    return key, value
            if not found:
                raise KeyNotFound("the bucket is empty")

    def setdefault(self, key: Key, default: Value = None) -> Any:
        """The value of a key; if it is absent, `default` is stored first, in one step."""
        found = self.get(key, ABSENT)
        if found is not ABSENT:
            return found
        # Another thread may store one before the update has its turn: that one is kept.
        return run(
            self._library,
            self._handle,
            key,
            lambda current: default if current is ABSENT else Verdict.KEEP,
            ABSENT,
        )

    def put_cast(self, key: Key, value: Value) -> None:
        """Stores a value without waiting; what this thread does next sees it.

        Never blocks. `LimitReached` if too much is queued.
        """
        data = encode_key(key)
        self._call("kvreg_bucket_put_cast", data, len(data), borrowed(value))

    def delete_cast(self, key: Key) -> None:
        """Takes a key out, if it is there, without waiting.

        Never blocks. `LimitReached` if too much is queued.
        """
        data = encode_key(key)
        self._call("kvreg_bucket_delete_cast", data, len(data))

    # Updates

    @overload
    def update(
        self, key: Key, fn: Callable[[Any], Value | Verdict], /, *, default: Any = ...
    ) -> Any: ...
    @overload
    def update(self, other: Pairs[Any], /, **named: Value) -> None: ...
    @overload
    def update(self, other: Iterable[tuple[Key, Value]], /, **named: Value) -> None: ...
    @overload
    def update(self, /, **named: Value) -> None: ...
    def update(self, /, *args: Any, **named: Any) -> Any:
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
            if args and isinstance(args[0], Bucket):
                args = (args[0]._snapshot(),)
            return self.put_many(dict(*args, **named))
        key, fn, *more = args
        default = named.pop("default", ABSENT)
        if more or named or not callable(fn):
            raise TypeError(
                "update takes a mapping or pairs, or a key, a function and default="
            )
        return run(self._library, self._handle, key, fn, default, needed=default is ABSENT)

    # Many keys

    def put_many(self, other: Mapping[Any, Value] | Iterable[tuple[Key, Value]]) -> None:
        """Stores all pairs of a mapping or an iterable in one step: all or none.

        Of equal keys the last one counts. Waits for its turn.
        """
        if isinstance(other, Mapping):
            other = other.items()
        chosen = list(other)
        batch = (_abi.Pair * len(chosen))()
        for pair, (key, value) in zip(batch, chosen):
            data = encode_key(key)
            pair.key, pair.key_len = data, len(data)
            fill(pair.value, value)
        self._call("kvreg_bucket_put_many", batch, len(batch))

    def get_many(self, keys: Iterable[Key]) -> list[Any]:
        """The values of the keys, in their order and as they are at one instant.

        An absent key gives None. Does not wait for a running update.
        """
        chosen = [encode_key(key) for key in keys]
        batch = (_abi.Pair * len(chosen))()
        for pair, data in zip(batch, chosen):
            pair.key, pair.key_len = data, len(data)
        self._call("kvreg_bucket_get_many", batch, len(batch))
        return [take(self._library, pair.value) for pair in batch]

    def __len__(self) -> int:
        """How many keys there are; a write in flight may count or not."""
        count = ctypes.c_size_t()
        self._call("kvreg_bucket_count", ctypes.byref(count))
        return count.value

    def __iter__(self) -> Iterator[str]:
        """The keys as they are at this instant."""
        return iter(keys(self._library, "kvreg_bucket_items", self._handle))

    def _snapshot(self) -> list[tuple[str, Any]]:
        return pairs(self._library, self._handle)

    def items(self) -> SnapshotItems:
        """A view of keys and values; each iteration is a snapshot of its own."""
        return SnapshotItems(self)

    def values(self) -> SnapshotValues:
        """A view of the values; each iteration is a snapshot of its own."""
        return SnapshotValues(self)

    def clear(self) -> None:
        """Takes all keys out, at one instant. Waits for its turn."""
        self._call("kvreg_bucket_clear")

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**dict(self.items()), **dict(other.items())}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**dict(other.items()), **dict(self.items())}

    def __ior__(  # type: ignore[misc]  # takes more than __or__, as in dict
        self: _Self, other: Mapping[Any, Value] | Iterable[tuple[Key, Value]]
    ) -> _Self:
        self.put_many(other)
        return self

    # Its end

    def stop(self) -> None:
        """Ends the bucket, reason NORMAL, after what is queued.

        When it returns the bucket is gone, and its name too. Waits for its turn.
        """
        self._call("kvreg_bucket_stop")

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends the bucket at once; monitors get the reason and the detail.

        What is queued is dropped, and the name is gone when it returns; a running update is
        not interrupted, but changes nothing. `Reason.NORMAL` does nothing, and
        `Reason.NOPROC` is an `InvalidArgument`. Never waits for a turn.
        """
        text = detail.encode("utf-8")
        self._call("kvreg_bucket_exit", int(reason), text, len(text))

    def link(self, other: Bucket) -> None:
        """Links two buckets (Erlang's link): when one ends abnormally, so does the other.

        That is for any reason but NORMAL, and the other one ends for the same. Linking twice
        is once; a bucket to itself is nothing. `NoProcess` if either has ended. A bucket that
        is started again has no links. Never blocks.
        """
        self._call("kvreg_bucket_link", _handle_of(other))

    def unlink(self, other: Bucket) -> None:
        """Takes a link away; without one it does nothing. Never blocks."""
        self._call("kvreg_bucket_unlink", _handle_of(other))

    def info(self) -> BucketInfo:
        """What there is to know about the bucket. Waits for casts of this thread only."""
        stats = _abi.BucketStats()
        self._call("kvreg_bucket_info", stats)
        return BucketInfo(
            keys=stats.keys,
            bytes=stats.bytes,
            mailbox=stats.mailbox,
            handled=stats.handled,
            restarts=stats.restarts,
            last_exit=exit_reason(stats.last_exit),
        )

    def _absent(self, status: int, key: Key) -> Exception:
        if status == Status.NOT_FOUND:
            return KeyNotFound(key)
        return error(self._library, status)


def _handle_of(bucket: Bucket) -> int | None:
    if not isinstance(bucket, Bucket):
        raise TypeError(f"expected a Bucket, not {type(bucket).__name__}")
    return bucket._handle
