"""Servers that programs write, for tasks: their handles, and classes with `async def`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from .. import _abi, _remote, _turns
from .._arguments import values_of
from .._behaviour import Behaviour, cell_of, cloned
from .._constants import Status
from .._errors import CallTimeout, of_status
from .._kind import MARK, Kind
from .._later import Answer, Later
from .._library import Library
from .._remote import Remote, of_parcel
from .._servers import Servers as _BlockingServers
from .._starting import checked, looked_up, started
from .._table import Parcel
from .._target import address, tag_of
from .._timeout import milliseconds
from .._user_server import Server as BlockingServer
from ._serving import elsewhere, serving

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from .._registry import Registry as _BlockingRegistry
    from ._registry import Registry

    _Parameters = ParamSpec("_Parameters")

_Result = TypeVar("_Result")
_Self = TypeVar("_Self", bound="Server")
_Remote = TypeVar("_Remote", bound="AsyncRemote")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


@overload
def call(
    function: Callable[_Parameters, Coroutine[Any, Any, _Result]], /
) -> Callable[_Parameters, Coroutine[Any, Any, _Result]]: ...
@overload
def call(
    function: Callable[_Parameters, Later[_Result]], /
) -> Callable[_Parameters, Coroutine[Any, Any, _Result]]: ...
@overload
def call(
    function: Callable[_Parameters, _Result], /
) -> Callable[_Parameters, Coroutine[Any, Any, _Result]]: ...
def call(function: Any, /) -> Any:
    """Marks a method of a `Server`, of `def` or `async def`, as the handler of a call.

    It is awaited, of handles and of the object itself. One of `async def` may await what it
    needs; one of `def` may return a `Later`.
    """
    if not callable(function):
        raise TypeError("a handler is a method: write @aio.call, without parentheses")
    marked: Any = function
    if not inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        marked = awaited
        marked._kvreg_function = function
    setattr(marked, MARK, True)
    return marked


def cast(function: Callable[_Parameters, object], /) -> Callable[_Parameters, None]:
    """Marks a method of a `Server`, of `def` or `async def`, as the handler of a cast.

    Handles of the server have it; it sends, and is not awaited.
    """
    if not callable(function):
        raise TypeError("a handler is a method: write @aio.cast, without parentheses")
    setattr(function, MARK, False)
    marked: Any = function
    return marked  # type: ignore[no-any-return]


class Server(Behaviour):
    """A server whose handlers the loop runs: `kvreg.Server`, with `async def` where it helps.

    `start` and `find` are awaited, and so are the methods that `@aio.call` marks: a call that
    meets nobody runs at once, in the loop's own thread, unless the class has a handler of
    `async def`. Such a class hands over: one message at a time is handled, by a task of the
    loop that started it, also while a handler waits. Casts, timers and DOWNs are handled by
    that loop, and so are calls of other languages and of blocking handles in other threads,
    while it runs.

    >>> import asyncio
    >>> from kvreg import aio
    >>> class Counter(aio.Server):
    ...     def __init__(self, start: int = 0) -> None:
    ...         self.n = start
    ...     @aio.call
    ...     async def add(self, by: int) -> int:
    ...         await asyncio.sleep(0)
    ...         self.n += by
    ...         return self.n
    >>> async def main() -> None:
    ...     async with aio.Registry() as registry:
    ...         hits = await Counter.start(registry, "hits", 10)
    ...         print(await hits.add(5))
    >>> asyncio.run(main())
    15

    A handler that awaits its own server, by way of others too, is refused: `CallingSelf`; and
    so is a blocking call from the loop's thread to a server that this loop has to serve.
    Cancelling a task withdraws its call, unless the server has begun it. All else is as in
    `kvreg.Server`.
    """

    _kvreg_base = True

    # Starting and finding

    @classmethod
    async def start(
        cls: type[_Self],
        registry: Registry | _BlockingRegistry,
        name: str,
        *args: Any,
        **kwargs: Any,
    ) -> _Self:
        """Starts a server under a name, in this loop; see `kvreg.Server.start`."""
        return await _started(cls, registry, name, False, args, kwargs)

    @classmethod
    async def start_exclusive(
        cls: type[_Self],
        registry: Registry | _BlockingRegistry,
        name: str,
        *args: Any,
        **kwargs: Any,
    ) -> _Self:
        """As `start`, but `AlreadyStarted` if there is a server of the name."""
        return await _started(cls, registry, name, True, args, kwargs)

    @classmethod
    async def start_alone(cls: type[_Self], *args: Any, **kwargs: Any) -> _Self:
        """Starts a server without a registry; see `kvreg.Server.start_alone`."""
        remote = started(_kind(cls), None, None, False, args, kwargs, serving())
        return _as(cls, adopted(remote))

    @classmethod
    async def find(
        cls: type[_Self], registry: Registry | _BlockingRegistry, name: str
    ) -> _Self:
        """A handle of the server of this class that has the name; see `kvreg.Server.find`."""
        remote = looked_up(_blocking(registry), name)
        return _as(cls, adopted(checked(_kind(cls), remote)))

    @staticmethod
    def of(server: BlockingServer) -> Any:
        """The same server for tasks, of any class: a handle whose calls are awaited.

        Its type is Any.
        """
        remote: Any = server
        return adopted(remote.clone())

    # For the methods of the class itself, and of its handles

    @property
    def me(self: _Self) -> _Self:
        """A handle of this server, to hand to others: `self` is for its own methods alone."""
        cell = cell_of(self)
        remote = AsyncRemote.of_kind(_kind(type(self)))._of(cell._library, cloned(cell))
        keeper = None if cell.spec.keeper is None else cell.spec.keeper()
        remote._adopt(cell.spec, cell._codec, keeper)
        remote._cell, remote._called = cell, cell._called
        return _as(type(self), remote)

    async def call(self, tag: str, *values: Any) -> Any:
        """Calls by a tag; see `kvreg.Server.call`."""
        return await _remote_of(self).call(tag, *values)

    def cast(self, tag: str, *values: Any) -> None:
        """Sends by a tag, as `call` calls."""
        _remote_of(self).cast(tag, *values)

    async def stop(self) -> None:
        """Stops the server, reason NORMAL, after what is queued; returns when it is gone."""
        await _remote_of(self).stop()

    @property
    def timeout(self) -> float | None:
        """How many seconds a call through a handle waits for its turn; None: for ever."""
        own: float | None = _remote_of(self).timeout
        return own

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        raise AttributeError("the timeout is a handle's: set that of self.me")

    def clone(self: _Self) -> _Self:
        """Another handle to the same server, with the timeout of this one."""
        return self.me

    def close(self) -> None:
        """Frees the handle; a server without a name ends with its last one."""
        raise AttributeError("to close is for handles: a server ends by raising kvreg.Stop")

    @property
    def closed(self) -> bool:
        """Whether the handle was closed."""
        return False

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()


def _as(_cls: type[_Self], remote: Any) -> _Self:
    typed: _Self = remote
    return typed


def _kind(cls: type[Behaviour]) -> Kind:
    kind: Kind | None = getattr(cls, "_kvreg_kind", None)
    if kind is None:
        raise TypeError("aio.Server is started by its subclasses")
    return kind


def _remote_of(server: Server) -> Any:
    return server.me


def _blocking(registry: Any) -> _BlockingRegistry:
    blocking: _BlockingRegistry = getattr(registry, "_server", registry)
    return blocking


async def _started(
    cls: type[_Self],
    registry: Any,
    name: str,
    exclusive: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Self:
    timeout: float | None = registry.timeout
    end = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    with _blocking(registry).clone() as now:
        now.timeout = 0
        while True:
            try:
                remote = started(_kind(cls), now, name, exclusive, args, kwargs, serving())
                return _as(cls, adopted(remote))
            except CallTimeout:  # somebody has the registry's turn, or starts it
                if end is not None and time.monotonic() >= end:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


# The short way of a call: as `_turns.METHODS`, but who would have to wait sends a message.
_METHODS = """
# CALL
async def @name@(@parameters@):
    try:
        _kvreg_slot = _kvreg_pop()
    except IndexError:
        _kvreg_slot = _kvreg_new()
    _kvreg_turn, _kvreg_turn_at, _kvreg_waiting, _kvreg_waiting_at = _kvreg_slot
    _kvreg_answer = None
    try:
        _kvreg_status = @me@._begin(@me@._at, 1, _kvreg_waiting_at, _kvreg_turn_at)
        _kvreg_cell = @me@._cell
        if _kvreg_status or _kvreg_waiting or _kvreg_cell is None:
            _kvreg_cell = _kvreg_enter(@me@, _kvreg_status, _kvreg_slot)
        if _kvreg_cell is not None:
            _kvreg_object = _kvreg_cell.object
            if _kvreg_object is None:
                _kvreg_has_gone(@me@, _kvreg_turn)
            _kvreg_result = _kvreg_function(_kvreg_object, @given@)
            if type(_kvreg_result) is _kvreg_later:
                _kvreg_answer = _kvreg_put_off(@me@, _kvreg_turn, _kvreg_result)
            else:
                _kvreg_status = @me@._end(_kvreg_turn, 0, None, 0)
    except BaseException as _kvreg_error:
        return _kvreg_failed(@me@, _kvreg_turn, _kvreg_error)
    if _kvreg_cell is None:
        return await _kvreg_message(@me@, "@name@", *_kvreg_pack(@given@))
    if _kvreg_answer is not None:
        return await _kvreg_await(@me@, _kvreg_answer)
    _kvreg_push(_kvreg_slot)
    if _kvreg_status:
        @me@._check(_kvreg_status)
    return _kvreg_result
# MESSAGE
async def @name@(@parameters@):
    return await _kvreg_message(@me@, "@name@", *_kvreg_pack(@given@))
# CAST
def @name@(@parameters@):
    _kvreg_cast(@me@, "@name@", *_kvreg_pack(@given@))
"""


async def _by_message(
    remote: AsyncRemote, tag: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    loop, spec = serving(), remote._spec
    loop.refuse_circle(remote)
    if remote._seconds == 0:
        raise CallTimeout(f"{remote._called!r}: somebody has its turn, or serves it")
    parcel, asked = Parcel(args, kwargs), spec.table.asked
    asked[parcel.number] = parcel
    try:
        answered = await loop.ask(remote, tag.encode(), address(spec, parcel), 1)
    finally:
        asked.pop(parcel.number, None)
    return of_parcel(remote, parcel, answered)


async def _await(remote: AsyncRemote, answer: Answer) -> Any:
    loop = asyncio.get_running_loop()
    came = loop.create_future()

    def arrive() -> None:
        if not came.done():
            came.set_result(None)

    def told(_answer: Answer) -> bool:
        try:
            loop.call_soon_threadsafe(arrive)
        except RuntimeError:  # it was closed
            return False
        return True

    try:
        answer.then(told)
        await asyncio.wait_for(came, remote._seconds)
    except asyncio.TimeoutError:
        answer.is_left()
        raise _turns.unknown(remote) from None
    except BaseException:
        answer.is_left()
        raise
    finally:
        if remote._cell is not None:
            remote._cell.answers.discard(answer)
    return answer.result()


_NAMES: dict[str, Any] = {
    **_remote.NAMES,
    "_kvreg_enter": _turns.try_enter,
    "_kvreg_await": _await,
    "_kvreg_message": _by_message,
}


class AsyncRemote(Remote):
    """A handle whose calls are awaited. Nothing that it does itself waits: `_timeout` is 0."""

    __slots__ = ("_seconds",)

    _seconds: float | None

    @classmethod
    def of_kind(cls, kind: Kind | None) -> type[AsyncRemote]:
        """The class of handles of a class of servers."""
        if kind is None:
            return AsyncRemote
        found: type[AsyncRemote] = kind.handles(AsyncRemote, _METHODS, _NAMES)
        return found

    @classmethod
    def _of(cls: type[_Remote], library: Library, handle: int | None) -> _Remote:
        remote = super()._of(library, handle)
        remote._seconds, remote._timeout = remote._timeout, 0
        return remote

    def clone(self: _Remote) -> _Remote:
        """Another handle to the same server, with the timeout of this one."""
        other = super().clone()
        other._seconds = self._seconds
        return other

    @property
    def timeout(self) -> float | None:
        """How many seconds a call through this handle waits; None: for ever."""
        return self._seconds

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._check(self._set_timeout(self._at, milliseconds(seconds)))
        self._seconds = seconds

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    async def call(self, tag: str, *values: Any) -> Any:
        """Calls by a tag; see `kvreg.Server.call`."""
        if self._kind_of_server is not None:
            return await self._method(tag, is_call=True)(*values)
        name, sent, reply = tag_of(tag), values_of(values, self._codec), _abi.Value()
        now = self._library.kvreg_server_call
        status = now(self._at_once(), name, len(name), sent, len(values), reply)
        if status != Status.TIMEOUT or self._seconds == 0:
            return self._answered((status, reply, None))
        return self._answered(await serving().ask(self, name, sent, len(values)))

    async def stop(self) -> None:  # type: ignore[override]
        """Stops the server, reason NORMAL, after what is queued; returns when it is gone."""
        kind = self._kind_of_server
        if kind is not None and not kind.hands_over:
            slot = _turns.new_slot()
            turn, turn_at, waiting, waiting_at = slot
            status = self._begin(self._at, _turns.NOW, waiting_at, turn_at)
            cell = self._cell
            if status or waiting or cell is None:
                cell = _turns.try_enter(self, status, slot)
            if cell is not None:
                self._check(self._end(turn, _abi.STOP, None, 0))
                _turns.has_stopped(self)
                return
        loop = serving()
        loop.refuse_circle(self)
        if self._seconds == 0:
            raise CallTimeout(f"{self._called!r}: somebody has its turn, or serves it")
        with Remote._of(self._library, cloned(self)) as remote:
            status = await elsewhere(lambda: self._library.kvreg_server_stop(remote._handle))
        if status:
            name = self._library.quick.kvreg_status_message(status).decode()
            raise of_status(status, f"Server.stop of {self._called!r}: {name}")


def adopted(remote: Remote) -> AsyncRemote:
    """A handle for tasks in the place of one that blocks, which is closed."""
    made = AsyncRemote.of_kind(remote._kind_of_server)
    timeout = remote.timeout
    other = made._of(remote._library, cloned(remote))
    other._adopt(remote._spec_or_none, remote._codec, remote._keeper)
    other._cell, other._called, other._seconds = remote._cell, remote._called, timeout
    remote.close()
    return other


class Servers(Mapping[str, Any]):
    """What `aio.Registry.servers` is: `kvreg.Servers`, with handles whose calls are awaited."""

    __slots__ = ("_servers",)

    def __init__(self, servers: _BlockingServers) -> None:
        self._servers = servers

    def __getitem__(self, name: str) -> Any:
        """A handle of the server that has the name now; `ServerNotFound` (a `KeyError`)."""
        return adopted(self._servers[name])

    def __contains__(self, name: object) -> bool:
        """Whether a server has the name now."""
        return name in self._servers

    def __iter__(self) -> Iterator[str]:
        """The names as they are at this instant."""
        return iter(self._servers)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._servers)
