"""Registries as mappings from names to buckets."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from . import _abi
from ._accelerated import accelerated, own_slots
from ._bucket import Bucket, options_struct
from ._codecs import Codec, checked_codec
from ._constants import Reason, Status, exit_arguments
from ._errors import BucketNotFound, Error, RegistryNotFound, check
from ._handle import Handle, obtain
from ._hot import LONGEST
from ._info import RegistryInfo, exit_reason
from ._items import keys
from ._library import Library
from ._library import library as load_library
from ._logging import follow
from ._options import count
from ._server import Server
from ._stores import is_stored, keep, named, note, provide, removing, stored_in, uncut
from ._values import encode_name, encode_text, take_bytes
from ._whole import ELSEWHERE, Reading, WholeKeys, looked_up
from ._whole import names as iterate

if TYPE_CHECKING:
    from ._bucket_options import BucketOptions
    from ._servers import Servers
    from ._stores import Stored
    from ._watch import Watch

_Self = TypeVar("_Self", bound="Registry")

# To the end of a block these are as good as its own stop; after a fork it is the parent's.
_ENDED = (Status.NO_PROCESS, Status.SERVER_DOWN, Status.FORKED, Status.SHUT_DOWN)


class _Keeper:
    """By which buckets keep the registry that they came from, when its objects are gone.

    It is shared by all clones of an object. When the last of them was closed, and not just
    forgotten, somebody has said that the registry may end: then it is kept no longer.
    """

    __slots__ = ("__weakref__", "_closed", "_handle", "_open", "stored")

    def __init__(self) -> None:
        self.stored: Stored | None = None
        self._handle: _Kept | None = None
        self._open: list[object] = []
        self._closed = False

    def add(self, token: object) -> None:
        """One more object, which has a token of its own."""
        self._open.append(token)

    def close(self, token: object) -> None:
        """An object was closed."""
        with contextlib.suppress(ValueError):  # closed twice
            self._open.remove(token)
        if not self._open:
            self._closed = True
            if self._handle is not None:
                self._handle.close()

    def keep(self, registry: Registry) -> None:
        """Has a handle of its own from here on."""
        if self._handle is None and not self._closed:
            # Of two threads that come here at once one's is used.
            self._handle = _Kept(*obtain("kvreg_registry_clone", registry._handle))
            if self._closed:  # meanwhile
                self._handle.close()


class _Kept(Handle):
    """A handle of a registry, and nothing else."""

    __slots__ = ()

    _kind = "registry"


@accelerated
class Registry(Server, Mapping[str, Bucket]):
    """A registry: a server that knows buckets by name, used as a read-only `dict` is.

    `Registry()` starts one. As a context manager it stops at the end of the block, with its
    buckets; a clone is only closed there. Without `with` it lives until its objects are closed,
    or until none is left, nor a bucket that came from it. Each lookup gives a new `Bucket`
    object, with a handle and a timeout of its own. Two registries are equal only if they are
    the same object.

    `Registry("name")` starts one that `Registry.whereis` finds, anywhere in this process; it
    runs on without a handle, until it is stopped. `AlreadyStarted` if the name is taken.
    `bucket` has the options of buckets that are created without their own, and `store` the URL
    of their store: the same as in these options. `max_buckets` limits
    the names, `max_bytes` the keys and values of all buckets together, and `max_mailbox` the
    messages that wait at the registry itself (1,048,576; the others are without a limit),
    `max_servers` the servers that programs write. `LimitReached` says that one is reached, and
    nothing was changed.

    >>> import kvreg
    >>> with kvreg.Registry() as registry:
    ...     registry.create("shopping")["milk"] = 1
    ...     print(registry["shopping"]["milk"], "garage" in registry, list(registry))
    1 False ['shopping']

    A name leads to a bucket that is alive: once anybody has learned that a bucket ended, its
    name is gone. Iterating sees the names as they are at one instant; `values()`,
    `items()` and `dict(registry)` look each of them up then, and leave out those that are gone
    meanwhile. A bucket keeps the registry that it came from.

    Threads: any thread may use a registry, and finds what it has created itself, by a cast
    too. Lookups do not wait; calls wait for their turn for at most `timeout` seconds.

    Errors of all operations: `NoProcess` when the registry had ended, `CallTimeout` when the
    time was over and nothing was done, `InvalidArgument` for what cannot be a name (1 to 255
    bytes of UTF-8 without NUL), `Closed` after `close`.
    """

    __slots__ = own_slots("_codec", "_keeper", "_readings", "_stops", "_token", "_warns")

    _kind = "registry"
    _codec: Codec | None
    _keeper: _Keeper
    _readings: list[Reading]
    _token: object
    _stops: bool
    _warns: bool

    def __init__(
        self,
        name: str | None = None,
        *,
        codec: Codec | None = None,
        bucket: BucketOptions | None = None,
        store: str | None = None,
        max_buckets: int | None = None,
        max_bytes: int | None = None,
        max_mailbox: int | None = None,
        max_servers: int | None = None,
    ) -> None:
        """Starts a registry. Never blocks, but for the disk if an engine is to be imported.

        `InvalidArgument` if `bucket` names another store than `store`.
        """
        codec = checked_codec(codec)
        self._forget()
        options = _abi.RegistryOptions(
            max_buckets=count("max_buckets", max_buckets),
            max_bytes=count("max_bytes", max_bytes),
            max_mailbox=count("max_mailbox", max_mailbox),
            max_servers=count("max_servers", max_servers),
        )
        if name is not None:
            options.name = data = encode_name(name)
            options.name_len = len(data)
        of_buckets = _abi.BucketOptions() if bucket is None else options_struct(bucket)
        if store is not None:
            named(of_buckets, store)
            provide(store)
        options.bucket = ctypes.pointer(of_buckets)
        super().__init__(*obtain("kvreg_registry_start", options))
        self._codec, self._readings, self._called = codec, [], name
        self._share(_Keeper())
        if store is not None or bucket is not None and bucket.store is not None:
            note(self, None)
        self._stops = True
        self._warns = name is None

    @classmethod
    def whereis(cls: type[_Self], name: str, *, codec: Codec | None = None) -> _Self:
        """The registry that has the name in this process; `RegistryNotFound` if none has.

        As a context manager it is closed at the end of the block, and nothing else. Never
        blocks.
        """
        codec = checked_codec(codec)
        data, library, handle = encode_name(name), load_library(), ctypes.c_void_p()
        follow()
        found = library.quick.kvreg_registry_whereis
        status = found(data, len(data), ctypes.byref(handle))
        if status == Status.NOT_FOUND:
            raise RegistryNotFound(name)
        check(library, status)
        registry = cls._of(library, handle.value)
        registry._codec, registry._called = codec, name
        return registry

    @classmethod
    def _of(cls: type[_Self], library: Library, handle: int | None) -> _Self:
        registry = super()._of(library, handle)
        registry._codec, registry._readings = None, []
        registry._share(_Keeper())
        registry._stops = registry._warns = False
        return registry

    def clone(self: _Self) -> _Self:
        """Another handle to the same registry, with timeout and codec of this one.

        As a context manager it is closed at the end of the block, and nothing else. Never
        blocks.
        """
        other = super().clone()
        other._codec = self._codec
        other._share(self._keeper)
        return other

    def _share(self, keeper: _Keeper) -> None:
        self._keeper, self._token = keeper, object()
        keeper.add(self._token)

    def close(self) -> None:
        """Frees the handle; closing twice is fine.

        From here on the object raises `Closed`. A registry that has a name goes on; one without
        ends when all its objects are closed. Never blocks, and may be called while other
        threads use the object.
        """
        super().close()
        self._keeper.close(self._token)

    @property
    def codec(self) -> Codec | None:
        """What makes bytes of the values in its buckets, if anything does. Never blocks."""
        return self._codec

    @property
    def servers(self) -> Servers:
        """The servers that programs write, by name: a mapping. Never blocks."""
        from ._servers import Servers  # not before it is needed

        return Servers(self)

    def _bucket(self, handle: int | None, name: str) -> Bucket:
        bucket = Bucket._of(self._library, handle)
        bucket._codec, bucket._called = self._codec, name
        bucket._keeper = self._keeper
        self._keeper.keep(self)
        if is_stored(self, name):
            keep(bucket)
        return bucket

    def create(
        self, name: str, exclusive: bool = False, options: BucketOptions | None = None
    ) -> Bucket:
        """The bucket of that name, started if there is none. Waits for its turn.

        With `exclusive`, `AlreadyStarted` if there is one. `options` are for a bucket that is
        started now, in place of those of the registry; one that is there keeps its own.

        A bucket that has a store begins with what that keeps. If the store cannot be opened
        there is no bucket: `InvalidArgument` for a URL that cannot be, `Unsupported` if its
        engine is not there, `OSError` if the system refuses, or another has the store. Blocks
        until it is open, for at most `timeout` seconds.
        """
        data, flags = encode_name(name), _abi.CREATE_EXCLUSIVE if exclusive else 0
        if options is None:
            call: tuple[Any, ...] = ("kvreg_registry_create", data, len(data), flags)
        else:
            given = options_struct(options)
            call = ("kvreg_registry_create_with", data, len(data), flags, given)
            if options.store is not None:
                return uncut(lambda: self._create_stored(name, *call))
        if is_stored(self, name):
            return uncut(lambda: self._create(Handle._call_blocking, name, *call))
        return self._create(type(self)._call, name, *call)

    def _create(self, make: Callable[..., None], name: str, *call: Any) -> Bucket:
        """The bucket that a call gives.

        What may open a store blocks: to try first if it need not wait would be with the lock.
        """
        handle = ctypes.c_void_p()
        make(self, *call, ctypes.byref(handle))
        return self._bucket(handle.value, name)

    def _create_stored(self, name: str, *call: Any) -> Bucket:
        note(self, name)  # for others who find it as soon as it is there
        bucket = self._create(Handle._call_blocking, name, *call)
        note(self, name)  # whoever has removed another one meanwhile forgot it
        keep(bucket)
        return bucket

    def create_cast(self, name: str) -> None:
        """Starts a bucket of that name, unless there is one, without waiting.

        What this thread does next with the registry sees it. `LimitReached` if too much is
        queued, or there are too many buckets. Never blocks.
        """
        data = encode_name(name)
        Handle._call(self, "kvreg_registry_create_cast", data, len(data))

    def remove(self, name: str) -> None:
        """Ends the bucket of that name for good, reason SHUTDOWN, whatever its restart option.

        What is queued there is dropped. `BucketNotFound` if there is none. Waits for its turn.
        """
        data, library = encode_name(name), self._library
        with removing(self, name):
            status = self._wait(library.kvreg_registry_remove, data, len(data))
            if status == Status.NOT_FOUND:
                raise BucketNotFound(name)
            self._check(status)

    def erase(self, name: str) -> None:
        """As `remove`, and erases what a store keeps of the bucket: the next one is empty.

        Of a name that no bucket has it erases what the store of the registry's own options
        keeps. `BucketNotFound` if there is neither. Waits for its turn, and blocks for the
        store, for at most `timeout` seconds.
        """
        data = encode_name(name)
        with removing(self, name):
            uncut(lambda: self._erase(name, data))

    def _erase(self, name: str, data: bytes) -> None:
        follow()
        status = self._library.kvreg_registry_erase(self._handle, data, len(data))
        if status == Status.NOT_FOUND:
            raise BucketNotFound(name)
        self._check(status)

    def __getitem__(self, name: str, /) -> Bucket:
        """The bucket that has the name now; `BucketNotFound` (a `KeyError`) if none has.

        Waits for casts of this thread, and for a store that is being opened; for nothing else.
        """
        if self._readings:
            found: Any = looked_up(self, name)
            if found is not ELSEWHERE:
                bucket: Bucket = found
                return bucket
        handle = ctypes.c_void_p()
        status = self._look_up(name, handle)
        if status == Status.NOT_FOUND:
            raise BucketNotFound(name)
        self._check(status)
        return self._bucket(handle.value, name)

    def __contains__(self, name: object, /) -> bool:
        """Whether a bucket has the name now; what cannot be a name is none's.

        Waits for casts of this thread only.
        """
        if not isinstance(name, str):
            return False
        handle = ctypes.c_void_p()
        try:
            status = self._look_up(name, handle)
        except UnicodeEncodeError:
            return False
        # WRONG_KIND: of a server that is no bucket.
        if status in (Status.NOT_FOUND, Status.INVALID_ARGUMENT, Status.WRONG_KIND):
            return False
        self._check(status)
        self._library.quick.kvreg_bucket_free(handle)
        return True

    def _look_up(self, name: str, handle: ctypes.c_void_p) -> int:
        data, reference = encode_name(name), ctypes.byref(handle)
        if len(data) > LONGEST:  # no name: the library says so
            return self._wait(self._library.kvreg_registry_lookup, data, len(data), reference)
        status = self._hot.registry_lookup(self._at_once(), data, len(data), reference)
        if status == Status.TIMEOUT and self._timeout != 0:
            # Casts of this thread are queued.
            lookup = self._library.kvreg_registry_lookup
            status = self._wait(lookup, data, len(data), reference)
        return status

    def __len__(self) -> int:
        """How many names there are. Waits for casts of this thread only."""
        count = ctypes.c_size_t()
        self._call("kvreg_registry_count", ctypes.byref(count))
        return count.value

    def __iter__(self) -> Iterator[str]:
        """The names as they are at this instant. Waits for casts of this thread only."""
        return iterate(self)

    def _names(self) -> list[str]:
        return keys(self, "kvreg_registry_names")

    def _snapshot(self) -> list[tuple[str, Bucket]]:
        return list(_living(self))

    def keys(self) -> KeysView[str]:
        """A view of the names; to iterate waits for casts of this thread only."""
        return WholeKeys(self)

    def items(self) -> ItemsView[str, Bucket]:
        """A view of names and buckets; to iterate waits for casts of this thread only."""
        return _Items(self)

    def values(self) -> ValuesView[Bucket]:
        """A view of the buckets; to iterate waits for casts of this thread only."""
        return _Values(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def watch_names(
        self,
        prefix: str = "",
        *,
        name: str | None = None,
        only_new: bool = False,
        max_pending: int | None = None,
    ) -> Watch:
        """Follows the names that begin with `prefix`, or one `name`, as if they were keys.

        A bucket that is created or started again is a `Put` whose value is None, one that has
        gone a `Delete`; see `Watch`. A registry that comes back after a crash is not watched
        any more: its end is `Watch.down`. The rest is as `Bucket.watch` says. Blocks while
        names are changed, as long as `timeout`.
        """
        from ._watch import Changes, Watch, wanted  # they know registries

        how = wanted("watch_names", prefix, name, False, only_new, max_pending)
        return Watch(Changes(self, how, None))

    def send(self, message: str | bytes) -> None:
        """Sends a message that the registry does not expect: logged at debug and dropped.

        `InvalidArgument` for more than 65,536 bytes, `LimitReached` if too much is queued.
        Never blocks.
        """
        data = encode_text(message)
        Handle._call(self, "kvreg_registry_send", data, len(data))

    def execute(self, line: str | bytes) -> bytes:
        r"""Carries out a line of the text protocol, and gives the reply as a server sends it.

        `CREATE bucket`, `PUT bucket key value`, `GET bucket key`, `DELETE bucket key`. The
        reply is `OK`, after a line with the value for `GET`; or `NOT FOUND`, or `UNKNOWN
        COMMAND`; each line ends in `\r\n`. `InvalidArgument` for a name or a key that cannot
        be, `Unsupported` for a value with a line break. Waits for its turn.
        """
        data = encode_text(line)
        if stored_in(self) is None:
            return self._executed(self._call_blocking, data)
        # It may create a bucket.
        blocking = functools.partial(Handle._call_blocking, self)
        return uncut(lambda: self._executed(blocking, data))

    def _executed(self, call: Callable[..., None], data: bytes) -> bytes:
        reply = _abi.Value()
        call("kvreg_registry_execute", data, len(data), reply)
        return take_bytes(self._library, reply)

    def stop(self) -> None:
        """Ends all buckets, reason SHUTDOWN, then the registry; returns when all are gone.

        `CallingSelf` from inside an update of one of its buckets. Waits for its turn.
        """
        self._check(self._stopped())
        self._warns = False

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends the registry at once, and its buckets with reason SHUTDOWN.

        After KILLED and CRASHED it comes back, empty, behind its handles and its name, before
        this returns; its monitors get their `Down` and do not carry over. `Reason.NORMAL`
        does nothing, and `Reason.NOPROC` is an `InvalidArgument`. Never waits for a turn.
        """
        self._call_blocking("kvreg_registry_exit", *exit_arguments(reason, detail))

    def info(self) -> RegistryInfo:
        """What there is to know about the registry. Waits for casts of this thread only."""
        stats = _abi.RegistryStats()
        self._call("kvreg_registry_info", stats)
        return RegistryInfo(
            buckets=stats.buckets,
            keys=stats.keys,
            bytes=stats.bytes,
            mailbox=stats.mailbox,
            handled=stats.handled,
            restarts=stats.restarts,
            last_exit=exit_reason(stats.last_exit),
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __del__(self) -> None:
        if getattr(self, "_warns", False):
            self._warn_if_open()
        super().__del__()

    def __exit__(self, *exception: object) -> None:
        try:
            if self._stops and not self.closed:
                self._stop_unless_ended()
        finally:
            self.close()

    def _stop_unless_ended(self) -> None:
        status = self._stopped()
        if status not in _ENDED:
            self._check(status)

    def _stopped(self) -> int:
        follow()
        stop = self._library.kvreg_registry_stop
        try:
            has_servers = bool(self._servers())
        except Error:
            has_servers = False  # stop says why
        if not has_servers:
            return self._wait(stop)
        # The time that servers have for their ends is not cut into slices.
        from ._serving import serve_while

        return serve_while(functools.partial(stop, self._handle))

    def _servers(self) -> list[str]:
        return keys(self, "kvreg_registry_servers")

    def __repr__(self) -> str:
        if self.closed:
            return "<kvreg.Registry (closed)>"
        try:
            count = len(self)
        except Error:
            return "<kvreg.Registry>"
        buckets = "1 bucket" if count == 1 else f"{count} buckets"
        return f"<kvreg.Registry of {buckets}>"


def _living(registry: Registry) -> Iterator[tuple[str, Bucket]]:
    for name in registry._names():
        bucket = registry.get(name)
        if bucket is not None:
            yield name, bucket


class _Items(ItemsView[str, Bucket]):
    _mapping: Registry

    def __iter__(self) -> Iterator[tuple[str, Bucket]]:
        return _living(self._mapping)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple):
            return False
        pair: tuple[Any, ...] = item  # pyright: ignore[reportUnknownVariableType]
        if len(pair) != 2 or pair[0] not in self._mapping:
            return False
        found = self._mapping.get(pair[0])
        return found is not None and found == pair[1]


class _Values(ValuesView[Bucket]):
    _mapping: Registry

    def __iter__(self) -> Iterator[Bucket]:
        return (bucket for _, bucket in _living(self._mapping))

    def __contains__(self, value: object) -> bool:
        return any(found == value for found in self)
