"""Servers that programs write: a class whose methods are the handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from . import _remote
from ._behaviour import Behaviour, cell_of, cloned
from ._kind import MARK, Kind
from ._later import Later
from ._starting import checked, looked_up, started

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from ._registry import Registry

    _Parameters = ParamSpec("_Parameters")

_Result = TypeVar("_Result")
_Self = TypeVar("_Self", bound="Server")


@overload
def call(
    function: Callable[_Parameters, Later[_Result]], /
) -> Callable[_Parameters, _Result]: ...
@overload
def call(function: Callable[_Parameters, _Result], /) -> Callable[_Parameters, _Result]: ...
def call(function: Any, /) -> Any:
    """Marks a method of a `Server` as the handler of a call.

    Handles of the server have it, with the same parameters; it waits, and gives what the method
    returns. A method that answers later returns a `Later`. Never blocks.
    """
    return _marked(function, True)


def cast(function: Callable[_Parameters, object], /) -> Callable[_Parameters, None]:
    """Marks a method of a `Server` as the handler of a cast.

    Handles of the server have it, with the same parameters; it sends, waits for nothing, and
    gives None. Never blocks.
    """
    marked: Callable[_Parameters, None] = _marked(function, False)
    return marked


def _marked(function: Any, is_call: bool) -> Any:
    if not callable(function):
        raise TypeError("a handler is a method: write @kvreg.call, without parentheses")
    setattr(function, MARK, is_call)
    return function


class Server(Behaviour):
    """A server whose state and handlers are a class of Python's (Elixir's GenServer).

    Subclass it, mark methods by `@kvreg.call` and `@kvreg.cast`, and `start` one. `start` and
    `find` give a handle, which has those methods and the ones below, and nothing else of the
    object. One method runs at a time, whatever thread calls.

    >>> import kvreg
    >>> class Counter(kvreg.Server):
    ...     def __init__(self, start: int = 0) -> None:
    ...         self.n = start
    ...     @kvreg.call
    ...     def add(self, by: int) -> int:
    ...         self.n += by
    ...         return self.n
    >>> with kvreg.Registry() as registry:
    ...     hits = Counter.start(registry, "hits", 10)
    ...     print(hits.add(5), list(registry.servers))
    15 ['hits']

    Threads: a call runs on the thread that makes it, after what was sent before; arguments and
    result are the objects themselves, not copies. Casts, infos, timers and DOWNs run on a
    serving thread (see `serve`), or on that of a caller who comes first. With `hand_over=True`
    everything runs on the serving thread. Methods must return, and take no lock that a caller
    holds.

    What a method raises ends the server, reason CRASHED, with the traceback as the detail of
    its `Down`; the caller gets `ServerDown` from it. `Refused`, and exceptions of the classes
    in `answers`, come out at the caller as they are, and the server lives; `Stop` stops it.
    KeyboardInterrupt and SystemExit end the server too, and come out as they are.

    `restart` is TRANSIENT unless the class says otherwise: after a crash `__init__` runs again
    with the arguments of `start`, and old handles raise `NoProcess`. `max_restarts` (3) within
    `restart_period` seconds (5) are the most. `shutdown` (5) is how many seconds `on_terminate`
    may take. `max_mailbox` (1,048,576), `max_bytes` and `max_value` limit what waits.

    Errors of calls: `NoProcess` when the server had ended, `ServerDown` when it ended
    meanwhile, `CallTimeout` when the time was over and nothing was done, `OutcomeUnknown` when
    it had begun elsewhere, `CallingSelf` from inside the server.
    """

    _kvreg_base = True

    def __init_subclass__(cls, **options: Any) -> None:
        """Looks at what the class can do; `TypeError` for what it cannot. Never blocks."""
        super().__init_subclass__(**options)
        if cls._kvreg_kind.is_async:
            raise TypeError(
                f"{cls.__qualname__} has a handler of async def: that is for kvreg.aio.Server"
            )

    # Starting and finding

    @classmethod
    def start(
        cls: type[_Self], registry: Registry, name: str, *args: Any, **kwargs: Any
    ) -> _Self:
        """Starts a server under a name; `__init__` gets the arguments, on this thread.

        What `__init__` raises comes out, and the name is free again. If there is a server of
        the name that is given, once it has begun, and nothing is started; `WrongKind` if it is
        of another class, or a bucket. Blocks as `Registry.create` does, and for `__init__`.
        """
        return _as(cls, started(_kind(cls), registry, name, False, args, kwargs))

    @classmethod
    def start_exclusive(
        cls: type[_Self], registry: Registry, name: str, *args: Any, **kwargs: Any
    ) -> _Self:
        """As `start`, but `AlreadyStarted` if there is a server of the name. Blocks as that."""
        return _as(cls, started(_kind(cls), registry, name, True, args, kwargs))

    @classmethod
    def start_alone(cls: type[_Self], *args: Any, **kwargs: Any) -> _Self:
        """Starts a server without a registry and without a name, which is never started again.

        It stops when its last handle is closed or collected. Blocks for `__init__`.
        """
        return _as(cls, started(_kind(cls), None, None, False, args, kwargs))

    @classmethod
    def find(cls: type[_Self], registry: Registry, name: str) -> _Self:
        """A handle of the server of this class that has the name now.

        `ServerNotFound` (a `KeyError`) if none has, `WrongKind` if it is of another class, or a
        bucket. Waits for casts of this thread only.
        """
        return _as(cls, checked(_kind(cls), looked_up(registry, name)))

    # For the methods of the class itself, and of its handles

    @property
    def me(self: _Self) -> _Self:
        """A handle of this server, to hand to others: `self` is for its own methods alone.

        Never blocks.
        """
        cell = cell_of(self)
        handle = cloned(cell)
        remote = _remote.remote_class(_kind(type(self)))._of(cell._library, handle)
        keeper = None if cell.spec.keeper is None else cell.spec.keeper()
        remote._adopt(cell.spec, cell._codec, keeper)
        remote._cell, remote._called = cell, cell._called
        return _as(type(self), remote)

    def call(self, tag: str, *values: Any) -> Any:
        """Calls by a tag: the name of a method, or what a server in another language knows.

        Values that go to another language are those that a bucket can hold, by the codec of the
        registry if it has one. `Unsupported` if it does not know the tag, `Aborted` if it
        refuses. Blocks for its turn, and for the answer.
        """
        return _remote_of(self).call(tag, *values)

    def cast(self, tag: str, *values: Any) -> None:
        """Sends by a tag, as `call` calls. Never blocks."""
        _remote_of(self).cast(tag, *values)

    def stop(self) -> None:
        """Stops the server, reason NORMAL, after what is queued; returns when it is gone.

        A method of the class raises `Stop` instead: here that is `CallingSelf`. `ServerDown` if
        it ended for another reason meanwhile. Waits for its turn.
        """
        _remote_of(self).stop()

    @property
    def timeout(self) -> float | None:
        """How many seconds a call through a handle waits for its turn; None: for ever.

        Each handle has its own. To set it never blocks.
        """
        own: float | None = _remote_of(self).timeout
        return own

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        raise AttributeError("the timeout is a handle's: set that of self.me")

    def clone(self: _Self) -> _Self:
        """Another handle to the same server, with the timeout of this one. Never blocks."""
        return self.me

    def close(self) -> None:
        """Frees the handle; a server without a name ends with its last one. Never blocks."""
        raise AttributeError("to close is for handles: a server ends by raising kvreg.Stop")

    @property
    def closed(self) -> bool:
        """Whether the handle was closed. Never blocks."""
        return False

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _as(_cls: type[_Self], remote: Any) -> _Self:
    """A handle, by the type whose methods it has."""
    typed: _Self = remote
    return typed


def _kind(cls: type[Server]) -> Kind:
    kind: Kind | None = getattr(cls, "_kvreg_kind", None)
    if kind is None:
        raise TypeError("kvreg.Server is started by its subclasses")
    return kind


def _remote_of(server: Server) -> Any:
    return server.me
