"""Buckets for tasks."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import threading
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable, Literal, TypeVar, overload

from .. import _bucket
from .._changes import Changes, apply
from .._codecs import Codec
from .._constants import DEFAULT, Default, Reason, Verdict
from .._errors import CallTimeout
from .._info import BucketInfo
from .._revisions import Entry
from .._scan import Wanted
from .._stores import after_mail
from .._update import ABSENT
from .._values import Key, Pairs, as_pairs
from ._request import Request, Withdrawn
from ._server import Server

if TYPE_CHECKING:
    from .._bucket_options import BucketOptions
    from ._mirror import Mirror
    from ._watch import Watch

_Blocking = _bucket.Bucket
_Default = TypeVar("_Default")
_Result = TypeVar("_Result")


class Bucket(Server[_Blocking]):
    """A bucket, for tasks: `kvreg.Bucket` with methods in place of the operators of a `dict`.

    `Registry.create` and `Registry.lookup` give named buckets; `Bucket()` starts one without a
    registry, which stops when its last handle is closed. As an asynchronous context manager it
    is closed at the end of the block, and nothing else. Two of these objects are equal only if
    they are the same.
    """

    __slots__ = ()

    def __init__(
        self, options: BucketOptions | None = None, *, codec: Codec | None = None
    ) -> None:
        """Starts a bucket without a registry. Never waits.

        It is never started again: `InvalidArgument` for `options` that say so.
        """
        super().__init__(_Blocking(options, codec=codec))

    @classmethod
    def of(cls, bucket: _Blocking) -> Bucket:
        """The same bucket for tasks: a handle of its own, timeout and codec of that one."""
        return cls._adopt(bucket.clone(), bucket._handle)

    @classmethod
    def _adopt(cls, bucket: _Blocking, turn: Hashable) -> Bucket:
        adopted = cls.__new__(cls)
        adopted._take(bucket, turn)
        return adopted

    @property
    def name(self) -> str | None:
        """The name under which the bucket is registered, after its end too."""
        return self._server.name

    @property
    def codec(self) -> Codec | None:
        """What makes bytes of the values, if anything does."""
        return self._server.codec

    async def _call(
        self, attempt: Callable[[_Blocking], _Result], turn: Hashable = None
    ) -> _Result:
        """Makes a request that may have to wait for its turn, or blocks for a store."""
        if not self._server._stored:
            return await super()._call(attempt, turn)
        if self._server._shared:  # once, for what was handed over is not called back
            return await self._elsewhere(lambda bucket: attempt(after_mail(bucket)))
        if self._timeout == 0:  # not in a line, where others are before it
            return await self._elsewhere(attempt)
        return await self._wait(attempt, turn)

    async def _read(self, attempt: Callable[[_Blocking], _Result]) -> _Result:
        """Reads what is there when the casts of this thread have been handled."""
        if not self._server._shared:
            return await super()._read(attempt)
        try:
            return attempt(self._server)  # a copy answers who has no time
        except CallTimeout:
            if self._timeout == 0:
                raise
        return await self._elsewhere(lambda bucket: attempt(after_mail(bucket)))

    # Reads

    @overload
    async def get(self, key: Key, /) -> Any: ...
    @overload
    async def get(self, key: Key, /, default: _Default) -> Any | _Default: ...
    async def get(self, key: Key, /, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        return await self._read(lambda bucket: bucket.get(key, default))

    async def get_many(self, keys: Iterable[Key], /, default: Any = None) -> list[Any]:
        """The values of the keys at one instant, in their order; `default` for an absent."""
        chosen = list(keys)
        return await self._read(lambda bucket: bucket.get_many(chosen, default))

    async def contains(self, key: object, /) -> bool:
        """Whether there is such a key."""
        return await self._read(lambda bucket: key in bucket)

    async def count(self) -> int:
        """How many keys there are."""
        return await self._read(len)

    async def keys(self) -> list[str]:
        """The keys at one instant."""
        return await self._read(list)

    async def values(self) -> list[Any]:
        """The values at one instant."""
        return await self._read(lambda bucket: list(bucket.values()))

    def watch(
        self,
        prefix: Key = "",
        *,
        key: Key | None = None,
        keys_only: bool = False,
        only_new: bool = False,
        max_pending: int | None = None,
    ) -> Watch:
        """Follows the keys that begin with `prefix`, or one `key`; see `kvreg.Bucket.watch`."""
        from .._watch import Changes, wanted  # they know buckets
        from ._watch import Watch

        how = wanted("watch", prefix, key, keys_only, only_new, max_pending)
        return Watch(lambda: self._read(lambda bucket: Changes(bucket, how, bucket.codec)))

    def mirror(self, prefix: Key = "") -> Mirror:
        """A mapping that follows the keys that begin with `prefix`; see `Mirror`."""
        from ._mirror import Mirror

        return Mirror(self.watch(prefix))

    async def items(self) -> list[tuple[str, Any]]:
        """Keys and values at one instant."""
        return await self._read(lambda bucket: list(bucket.items()))

    @overload
    def scan(
        self,
        prefix: Key = ...,
        after: Key | None = ...,
        page: int = ...,
        keys_only: Literal[False] = ...,
    ) -> AsyncIterator[tuple[str, Any]]: ...
    @overload
    def scan(
        self,
        prefix: Key = ...,
        after: Key | None = ...,
        page: int = ...,
        *,
        keys_only: Literal[True],
    ) -> AsyncIterator[str]: ...
    @overload
    def scan(
        self,
        prefix: Key = ...,
        after: Key | None = ...,
        page: int = ...,
        keys_only: bool = ...,
    ) -> AsyncIterator[tuple[str, Any]] | AsyncIterator[str]: ...
    def scan(
        self,
        prefix: Key = "",
        after: Key | None = None,
        page: int = 1000,
        keys_only: bool = False,
    ) -> AsyncIterator[tuple[str, Any]] | AsyncIterator[str]:
        """Keys and values in the order of the keys' bytes, for `async for`.

        As `kvreg.Bucket.scan`: each page is read when it is asked for.
        """
        return self._scan(Wanted(self._server, prefix, after, page, keys_only))

    async def _scan(self, wanted: Wanted) -> AsyncIterator[Any]:
        while page := await self._read(lambda _: wanted.next_page()):
            for item in page:
                yield item

    async def copy(self) -> dict[str, Any]:
        """Keys and values at one instant, as a dict of one's own."""
        return await self._read(_Blocking.copy)

    async def entry(self, key: Key, /) -> Entry:
        """The value of a key with its revision; `KeyError` if it is absent."""
        return await self._read(lambda bucket: bucket.entry(key))

    async def revision(self) -> int:
        """The revision of the last change, of whatever key; 0 if there was none."""
        return await self._read(_Blocking.revision)

    async def info(self) -> BucketInfo:
        """What there is to know about the bucket."""
        return await self._read(_Blocking.info)

    # Writes

    async def put(
        self,
        key: Key,
        value: Any,
        /,
        *,
        ttl: float | None | Verdict | Default = DEFAULT,
        if_revision: int | None = None,
        if_absent: bool = False,
    ) -> int:
        """Stores a value and gives the revision of the change; see `kvreg.Bucket.put`.

        `Conflict` if the key has not that revision, or is there.
        """
        return await self._call(
            lambda bucket: bucket.put(
                key, value, ttl=ttl, if_revision=if_revision, if_absent=if_absent
            )
        )

    async def expire(self, key: Key, ttl: float | None, /) -> int:
        """Gives a key another time to live, in seconds, or None; see `kvreg.Bucket.expire`."""
        return await self._call(lambda bucket: bucket.expire(key, ttl))

    async def remove(self, key: Key, /, *, if_revision: int | None = None) -> None:
        """Takes a key out; `KeyError` if it is absent.

        `Conflict` if it has another revision than that.
        """
        await self._call(lambda bucket: bucket.remove(key, if_revision=if_revision))

    async def add(self, key: Key, n: int = 1, /) -> int:
        """Adds an int to that of a key and gives the sum; see `kvreg.Bucket.add`."""
        return await self._call(lambda bucket: bucket.add(key, n))

    async def compare_and_swap(self, key: Key, expected: Any, value: Any, /) -> bool:
        """Stores a value if the key has the expected one, and says whether it did.

        See `kvreg.Bucket.compare_and_swap`.
        """
        return await self._call(lambda bucket: bucket.compare_and_swap(key, expected, value))

    def batch(self) -> Batch:
        """Changes that are made in one step at the end of an `async with`."""
        return Batch(self)

    async def save(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes], /) -> None:
        """Writes all keys into a file, in a worker thread; see `kvreg.Bucket.save`."""
        await self._wait(lambda bucket: bucket.save(path))

    async def restore(
        self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes], /
    ) -> None:
        """Stores all keys of a file, in a worker thread; see `kvreg.Bucket.restore`."""
        await self._wait(lambda bucket: bucket.restore(path))

    async def delete(self, key: Key, /) -> None:
        """Takes a key out; `KeyError` if it is absent."""
        await self._call(lambda bucket: bucket.__delitem__(key))

    @overload
    async def pop(self, key: Key, /) -> Any: ...
    @overload
    async def pop(self, key: Key, /, default: _Default) -> Any | _Default: ...
    async def pop(self, key: Key, /, default: Any = ABSENT) -> Any:
        """Takes a key out and gives its value, in one step; `default` if it is absent."""
        return await self._call(lambda bucket: bucket.pop(key, default))

    async def setdefault(self, key: Key, default: Any = None, /) -> Any:
        """The value of a key; if it is absent, `default` is stored first, in one step."""
        if self._server._stored:
            found = await self._read(lambda bucket: bucket.get(key, ABSENT))
            if found is not ABSENT:
                return found
            return await self._call(lambda bucket: bucket._store_if_absent(key, default))
        try:
            return self._server.setdefault(key, default)
        except CallTimeout:
            if self._timeout == 0:
                raise
        # Not by a read first: a worker thread's would not see the casts of this one.
        return await self._wait(lambda bucket: bucket._store_if_absent(key, default))

    async def put_many(self, other: Mapping[Any, Any] | Iterable[tuple[Key, Any]], /) -> None:
        """Stores all pairs of a mapping or an iterable in one step: all or none."""
        pairs = as_pairs(other)
        await self._call(lambda bucket: bucket.put_many(pairs))

    async def clear(self) -> None:
        """Takes all keys out, at one instant."""
        await self._call(_Blocking.clear)

    @overload
    async def update(
        self, key: Key, fn: Callable[[Any], Any], /, *, default: Any = ...
    ) -> Any: ...
    @overload
    async def update(self, other: Pairs[Any], /, **named: Any) -> None: ...
    @overload
    async def update(self, other: Iterable[tuple[Key, Any]], /, **named: Any) -> None: ...
    @overload
    async def update(self, /, **named: Any) -> None: ...
    async def update(self, /, *args: Any, **named: Any) -> Any:
        """Updates one key by a function, or many keys as `dict.update` does.

        As `kvreg.Bucket.update`: `fn` is called once, in the thread of the loop and in the
        context of the task, while the bucket does nothing else. It is a plain function, and
        cannot await.
        """
        if len(args) < 2:
            pairs = [*(as_pairs(*args) if args else []), *named.items()]
            return await self._call(lambda bucket: bucket.put_many(pairs))
        key, fn, *more = args
        if more or not callable(fn) or inspect.iscoroutinefunction(fn):
            raise TypeError(
                "update takes a mapping or pairs, or a key, a plain function and default="
            )
        once = _Once(fn)
        if self._server._stored:  # whose end blocks
            return await self._update_later(key, once, named)
        try:
            return self._server.update(key, once, **named)
        except CallTimeout:
            # It may also be what the function raised.
            if self._timeout == 0 or once.began:
                raise
        return await self._update_later(key, once, named)

    async def _update_later(self, key: Key, fn: _Once, named: dict[str, Any]) -> Any:
        def attempt(bucket: _Blocking) -> tuple[CallTimeout | None, Any]:
            try:
                return None, bucket.update(key, called, **named)
            except CallTimeout as error:
                if not fn.began:
                    raise
                return error, None  # the function raised it

        called = _InLoop(fn)
        if self._timeout == 0:
            error, result = await self._elsewhere(attempt)
        else:
            called.request = Request(self._server, attempt, self._timeout, self._turn)
            error, result = await called.request.result()
        if error is not None:
            raise error
        return result

    # Neither

    def put_cast(self, key: Key, value: Any, /) -> None:
        """Stores a value without waiting; what the loop's thread does next sees it."""
        self._server.put_cast(key, value)

    def delete_cast(self, key: Key, /) -> None:
        """Takes a key out, if it is there, without waiting."""
        self._server.delete_cast(key)

    async def stop(self) -> None:
        """Ends the bucket, reason NORMAL, after what is queued."""
        await self._call(_Blocking.stop)

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends the bucket at once; see `kvreg.Bucket.exit`. Never waits for a turn."""
        self._server.exit(reason, detail)

    def link(self, other: Bucket) -> None:
        """Links two buckets; see `kvreg.Bucket.link`."""
        self._server.link(other._server)

    def unlink(self, other: Bucket) -> None:
        """Takes a link away."""
        self._server.unlink(other._server)


class Batch(Changes):
    """A block of changes that are made in one step at its end; `Bucket.batch` gives one."""

    __slots__ = ("_tasks",)

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket._server)
        self._tasks = bucket

    async def __aenter__(self) -> Batch:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Makes the changes, unless the block raised something."""
        if kind is None:
            await self._tasks._call(lambda bucket: apply(bucket, self))


class _Once:
    """A function that is called once, and remembers that it was."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self._fn = fn
        self.began = False

    def __call__(self, given: Any) -> Any:
        self.began = True
        return self._fn(given)


class _InLoop:
    """Calls a function in the loop, for a worker that has the bucket's turn meanwhile."""

    def __init__(self, fn: _Once) -> None:
        self._fn = fn
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self.request: Request[Any, Any] | None = None
        """In which it is called, if that can be withdrawn."""

    def __call__(self, given: Any) -> Any:
        def now() -> None:
            try:
                if self.request is not None and self.request.cancelled:
                    raise Withdrawn
                self._result = self._fn(given)
            except BaseException as error:
                self._error = error
            self._done.set()

        self._loop.call_soon_threadsafe(now, context=self._context)
        # A loop that is stopped and never runs again must not keep the turn.
        while not self._done.wait(1.0):
            if self._loop.is_closed():
                raise Withdrawn
        if self._error is not None:
            raise self._error
        return self._result
