"""Watches: what becomes of the keys of a bucket, or of the names of a registry."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, Union

from . import _abi
from ._accelerated import accelerated, know, own_slots
from ._constants import Status
from ._errors import Closed, NoProcess
from ._inbox import Down, Inbox, Lost
from ._logging import follow
from ._values import Key, decode_key, decoded, encode_key, take

if TYPE_CHECKING:
    from ._codecs import Codec
    from ._server import Server

_Self = TypeVar("_Self", bound="Watch")


class Reset(NamedTuple):
    """What was known is to be forgotten: the present keys follow, and then `Current`."""

    def __bool__(self) -> bool:
        return True


class Put(NamedTuple):
    """A key was stored, or is there. Of a name: a bucket has it now."""

    key: str
    """The key, or the name of a bucket."""
    value: Any
    """The value, decoded if the bucket has a codec; None of a name, or with `keys_only`."""
    revision: int
    """Of the change that stored it."""


class Delete(NamedTuple):
    """A key was deleted."""

    key: str
    """The key, or the name of a bucket."""
    revision: int
    """Of the change."""


class Expire(NamedTuple):
    """The time of a key was over."""

    key: str
    """The key."""
    revision: int
    """Of the change."""


class Evict(NamedTuple):
    """A key was taken out to make room."""

    key: str
    """The key."""
    revision: int
    """Of the change."""


class Current(NamedTuple):
    """All keys have been told."""

    revision: int
    """What changed up to this one is known."""


class Away(NamedTuple):
    """The store of the bucket is out of reach: changes are told later, after `Back`."""

    def __bool__(self) -> bool:
        return True


class Back(NamedTuple):
    """The store of the bucket is in reach again."""

    def __bool__(self) -> bool:
        return True


Change = Union[Reset, Put, Delete, Expire, Evict, Current, Away, Back]
"""What a watch gives: tell them apart by `isinstance`, or by `match`."""

_GONE = {
    _abi.CHANGE_DELETE: Delete,
    _abi.CHANGE_EXPIRE: Expire,
    _abi.CHANGE_EVICT: Evict,
}


know(changes=(Put, Delete, Expire, Evict))


_ENDS = frozenset((Down, Lost))


class Changes(Inbox):
    """The inbox of one watch."""

    __slots__ = own_slots("_codec")

    def __init__(self, server: Server, wanted: Wanted, codec: Codec | None) -> None:
        """Watches from here on. Blocks as a call of the server."""
        super().__init__()
        is_decoded = not wanted.flags & _abi.KEYS_ONLY and wanted.kind == "watch"
        self._codec = codec if is_decoded else None
        try:
            self._begin(server, wanted)
        except BaseException:
            self.close()
            raise

    def _begin(self, server: Server, wanted: Wanted) -> None:
        library, name = self._library, f"kvreg_inbox_{wanted.kind}"
        prefix = ctypes.create_string_buffer(wanted.prefix, len(wanted.prefix))
        options = _abi.WatchOptions(
            flags=wanted.flags,
            prefix=ctypes.addressof(prefix),
            prefix_len=len(wanted.prefix),
            max_pending=wanted.max_pending,
        )
        reference = ctypes.c_uint64()
        given = (ctypes.byref(options), ctypes.byref(reference))
        follow()
        status = getattr(library.quick, name)(self._handle, server._at_once(), *given)
        if status == Status.TIMEOUT and server.timeout != 0:
            watch = getattr(library, name)

            def wait(handle: Any, *arguments: Any) -> int:
                status: int = watch(self._handle, handle, *arguments)
                return status

            status = server._wait(wait, *given)
        self._check(status)

    def _received(self, status: int, event: _abi.Event) -> Any:
        kind = event.type
        if status or kind not in (
            _abi.EVENT_CHANGE,
            _abi.EVENT_RESET,
            _abi.EVENT_CURRENT,
            _abi.EVENT_STORE,
        ):
            return super()._received(status, event)
        library = self._library
        try:
            if kind == _abi.EVENT_RESET:
                return Reset()
            if kind == _abi.EVENT_CURRENT:
                return Current(event.revision)
            if kind == _abi.EVENT_STORE:
                return Away() if event.level == _abi.STORE_AWAY else Back()
            key = decode_key(ctypes.string_at(event.name.address or 0, event.name.len))
            gone = _GONE.get(event.level)
            if gone is not None:
                return gone(key, event.revision)
            value = decoded(self._codec, take(library, event.value))
            return Put(key, value, event.revision)
        finally:
            library.quick.kvreg_event_clear(event)


know(watch=Changes)


class Wanted(NamedTuple):
    """How a watch is wanted."""

    kind: str
    prefix: bytes
    flags: int
    max_pending: int


def wanted(
    kind: str,
    prefix: Key,
    key: Key | None,
    keys_only: bool,
    only_new: bool,
    max_pending: int | None,
) -> Wanted:
    """What the methods that watch are told."""
    flags = _abi.KEYS_ONLY if keys_only else 0
    flags |= _abi.ONLY_NEW if only_new else 0
    if key is not None:
        if prefix:
            raise TypeError("a watch has a prefix or a key, not both")
        prefix, flags = key, flags | _abi.ONE_KEY
    if max_pending is not None and max_pending < 1:
        raise ValueError("max_pending is at least 1")
    return Wanted(kind, encode_key(prefix), flags, max_pending or 0)


@accelerated
class Watch:
    """What becomes of keys; `Bucket.watch` and `Registry.watch_names` give one.

    An iterator: it waits for each change, and ends with the bucket, whose `Down` is `down`
    then. As a context manager it is closed at the end of the block.

    First comes `Reset`, then the present keys, each as a `Put`, then `Current`, and from there
    on each change. At any time `Reset` may come again, with the present keys and `Current`
    after it: when the bucket was cleared, or when more changed than could be kept until it was
    received. What is overtaken before it is received may be left out, but never the last change
    of a key. Of a bucket on a cluster also `Away` and `Back` come.

    >>> import kvreg
    >>> with kvreg.Bucket() as bucket:
    ...     bucket["user:1"] = "Ada"
    ...     with bucket.watch("user:") as watch:
    ...         print(watch.receive(), watch.receive().key, type(watch.receive()).__name__)
    ...         bucket["user:2"] = "Grace"
    ...         print(watch.receive().value)
    Reset() user:1 Current
    Grace

    Threads: any thread may receive; each change goes to one of them.
    """

    __slots__ = ("_changes", "_down")

    def __init__(self, changes: Changes) -> None:
        """Made by the methods that watch."""
        self._changes = changes
        self._down: Down | None = None

    @property
    def down(self) -> Down | None:
        """How the bucket ended, once that was received. Never blocks."""
        return self._down

    @property
    def closed(self) -> bool:
        """Whether `close` was called. Never blocks."""
        return self._changes.closed

    def receive(self, timeout: float | None = None) -> Change:
        """The next change; `CallTimeout` (a `TimeoutError`) if none came within `timeout`.

        `timeout` is in seconds: None waits for ever, 0 not at all. `NoProcess` when the bucket
        has ended, and `Closed` after `close`. Blocks.
        """
        event: Any = self._changes.receive(timeout)
        if type(event) in _ENDS:
            self._ends(event)
        change: Change = event
        return change

    def _ends(self, event: Down | Lost) -> NoReturn:
        if isinstance(event, Down):
            self._down = event
        raise NoProcess("what was watched has ended")

    def fileno(self) -> int:
        """A file descriptor that is readable while there are changes; see `Inbox.fileno`."""
        return self._changes.fileno()

    def __iter__(self) -> Iterator[Change]:
        """Changes as they come, until the bucket has ended or the watch is closed. Blocks."""
        while self._down is None:
            try:
                yield self.receive()
            except (Closed, NoProcess):
                return

    def close(self) -> None:
        """Ends the watch; closing twice is fine. Who waits gets `Closed`. Never blocks."""
        self._changes.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " (closed)" if self.closed else ""
        return f"<kvreg.Watch{state} at {id(self):#x}>"
