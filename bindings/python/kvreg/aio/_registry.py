"""Registries for tasks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Callable, TypeVar, overload

from .. import _bucket, _registry
from .._codecs import Codec
from .._constants import Reason
from .._errors import Error
from .._info import RegistryInfo
from .._stores import is_stored, stored_in
from .._values import encode_text
from ._bucket import Bucket
from ._server import Server

if TYPE_CHECKING:
    from .._bucket_options import BucketOptions
    from ._user_server import Servers
    from ._watch import Watch

_Blocking = _registry.Registry
_Default = TypeVar("_Default")


class Registry(Server[_Blocking]):
    """A registry, for tasks: `kvreg.Registry` with methods in place of a mapping's operators.

    `Registry()` starts one; the arguments are those of `kvreg.Registry`. As an asynchronous
    context manager it stops at the end of the block, with its buckets; one that `whereis`,
    `of` or `clone` gave is only closed there. Two of these objects are equal only if they are
    the same.
    """

    __slots__ = ("_stops",)

    _stops: bool

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
        """Starts a registry. Never waits."""
        server = _Blocking(
            name,
            codec=codec,
            bucket=bucket,
            store=store,
            max_buckets=max_buckets,
            max_bytes=max_bytes,
            max_mailbox=max_mailbox,
            max_servers=max_servers,
        )
        self._take(server, name)
        self._stops = True

    @classmethod
    def whereis(cls, name: str, *, codec: Codec | None = None) -> Registry:
        """The registry that has the name in this process; `RegistryNotFound` if none has."""
        return cls._adopt(_Blocking.whereis(name, codec=codec), name)

    @classmethod
    def of(cls, registry: _Blocking) -> Registry:
        """The same registry for tasks: a handle of its own, timeout and codec of that one."""
        return cls._adopt(registry.clone(), registry._handle)

    @classmethod
    def _adopt(cls, registry: _Blocking, turn: Hashable) -> Registry:
        adopted = cls.__new__(cls)
        adopted._take(registry, turn)
        adopted._stops = False
        return adopted

    def _turn_of(self, bucket: str | None) -> Hashable:
        """The key of a bucket's turn; None is for what waits for all of them."""
        return self._turn, bucket

    def _bucket(self, found: _bucket.Bucket, name: str) -> Bucket:
        return Bucket._adopt(found, self._turn_of(name))

    def clone(self) -> Registry:
        """Another handle to the same registry, with the timeout of this one."""
        other = super().clone()
        other._stops = False
        return other

    @property
    def codec(self) -> Codec | None:
        """What makes bytes of the values in its buckets, if anything does."""
        return self._server.codec

    @property
    def servers(self) -> Servers:
        """The servers that programs write, by name: a mapping, whose handles are awaited."""
        from ._user_server import Servers  # not before it is needed

        return Servers(self._server.servers)

    async def create(
        self, name: str, exclusive: bool = False, options: BucketOptions | None = None
    ) -> Bucket:
        """The bucket of that name, started if there is none; see `kvreg.Registry.create`."""

        def create(registry: _Blocking) -> _bucket.Bucket:
            return registry.create(name, exclusive, options)

        has_store = options is not None and options.store is not None
        if has_store or is_stored(self._server, name):
            return self._bucket(await self._elsewhere(create), name)
        return self._bucket(await self._call(create), name)

    def create_cast(self, name: str) -> None:
        """Starts a bucket of that name, unless there is one, without waiting."""
        self._server.create_cast(name)

    async def lookup(self, name: str) -> Bucket:
        """The bucket that has the name now; `BucketNotFound` (a `KeyError`) if none has."""
        return self._bucket(await self._read(lambda registry: registry[name]), name)

    @overload
    async def get(self, name: str, /) -> Bucket | None: ...
    @overload
    async def get(self, name: str, /, default: _Default) -> Bucket | _Default: ...
    async def get(self, name: str, /, default: object = None) -> object:
        """The bucket that has the name now, or `default`."""
        found = await self._read(lambda registry: registry.get(name))
        return default if found is None else self._bucket(found, name)

    async def contains(self, name: object, /) -> bool:
        """Whether a bucket has the name now."""
        return await self._read(lambda registry: name in registry)

    async def count(self) -> int:
        """How many names there are."""
        return await self._read(len)

    async def names(self) -> list[str]:
        """The names at one instant."""
        return await self._read(list)

    async def remove(self, name: str) -> None:
        """Ends the bucket of that name for good; see `kvreg.Registry.remove`."""
        if name in self._server.servers or is_stored(self._server, name):
            await self._elsewhere(lambda registry: registry.remove(name))
        else:
            await self._call(lambda registry: registry.remove(name), self._turn_of(name))

    async def erase(self, name: str) -> None:
        """Removes a bucket and what a store keeps of it; see `kvreg.Registry.erase`."""
        await self._elsewhere(lambda registry: registry.erase(name))

    async def execute(self, line: str | bytes) -> bytes:
        """Carries out a line of the text protocol; see `kvreg.Registry.execute`."""
        words = encode_text(line).split()
        if words[:1] == [b"GET"]:
            return await self._read(lambda registry: registry.execute(line))
        if stored_in(self._server) is not None:
            return await self._elsewhere(lambda registry: registry.execute(line))
        turn = self._turn
        if len(words) > 2:  # all but CREATE wait for the bucket
            turn = self._turn_of(words[1].decode("utf-8", "replace"))
        return await self._call(lambda registry: registry.execute(line), turn)

    def watch_names(
        self,
        prefix: str = "",
        *,
        name: str | None = None,
        only_new: bool = False,
        max_pending: int | None = None,
    ) -> Watch:
        """Follows names as if they were keys; see `kvreg.Registry.watch_names`."""
        from .._watch import Changes, wanted  # they know registries
        from ._watch import Watch

        how = wanted("watch_names", prefix, name, False, only_new, max_pending)
        return Watch(lambda: self._read(lambda registry: Changes(registry, how, None)))

    async def info(self) -> RegistryInfo:
        """What there is to know about the registry."""
        return await self._read(_Blocking.info)

    def send(self, message: str | bytes) -> None:
        """Sends a message that the registry does not expect: logged at debug and dropped."""
        self._server.send(message)

    async def stop(self) -> None:
        """Ends all buckets, reason SHUTDOWN, then the registry; returns when all are gone."""
        await self._end(_Blocking.stop)
        self._server._warns = False  # it may have been another handle that stopped it

    async def _end(self, end: Callable[[_Blocking], None]) -> None:
        # Servers that want to know of their end may be this loop's, and stores block.
        try:
            is_long = len(self._server.servers) > 0 or stored_in(self._server) is not None
        except Error:
            is_long = False  # the end says why
        if is_long:
            await self._elsewhere(end)
        else:
            await self._call(end, self._turn_of(None))

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends the registry at once; see `kvreg.Registry.exit`. Never waits for a turn."""
        self._server.exit(reason, detail)

    async def __aexit__(self, *exception: object) -> None:
        try:
            if self._stops and not self.closed:
                await self._end(_Blocking._stop_unless_ended)
        finally:
            self.close()
