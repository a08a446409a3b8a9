"""How a server that is written in Python starts: a name, a turn, and the object made in it."""

from __future__ import annotations

import ctypes
import functools
import weakref
from typing import TYPE_CHECKING, Any

from . import _abi, _messages, _remote, _serving, _table, _turns
from ._constants import Restart, Status
from ._errors import ServerNotFound, WrongKind, check
from ._library import library as load_library
from ._logging import follow
from ._remote import Remote
from ._table import Spec
from ._tracebacks import traceback_of
from ._values import encode_name

if TYPE_CHECKING:
    from ._kind import Kind
    from ._registry import Registry


def _options(spec: Spec) -> _abi.ServerOptions:
    kind, own = spec.kind, spec.kind.options
    flags = _abi.SERVER_WANTS_TERMINATE if kind.on_terminate is not None else 0
    if kind.hands_over:
        flags |= _abi.SERVER_HAND_OVER
    return _abi.ServerOptions(
        flags=flags,
        restart=own.restart if spec.name is not None else int(Restart.TEMPORARY),
        max_restarts=own.max_restarts,
        restart_period_ms=own.restart_period_ms,
        shutdown_ms=own.shutdown_ms,
        max_mailbox=own.max_mailbox,
        max_bytes=own.max_bytes,
        max_value=own.max_value,
        inbox=spec.where.inbox._handle,
        owner=spec.table.owner,
        key=spec.key,
    )


def started(
    kind: Kind,
    registry: Registry | None,
    name: str | None,
    exclusive: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    where: Any = None,
) -> Remote:
    """A handle of a server that was started, or that has the name."""
    library, table = load_library(), _table.table
    follow()
    if table.loops:
        table.sweep()
    spec = Spec(table, library, kind, args, kwargs)
    spec.where = table if where is None else where
    if registry is not None:
        registry._keeper.keep(registry)
        spec.keeper = weakref.ref(registry._keeper)
        spec.name, spec.codec, spec.registry_name = name, registry._codec, registry._called
    options = _options(spec)
    table.specs[spec.key] = spec
    server, turn = ctypes.c_void_p(), ctypes.c_void_p()
    try:
        if registry is None:
            check(
                library,
                library.quick.kvreg_server_start(
                    options, ctypes.byref(server), ctypes.byref(turn)
                ),
            )
        else:
            _start(registry, spec, options, exclusive, server, turn)
        if turn:
            _begin(spec, server, turn)
    except BaseException:
        if turn:  # interrupted
            library.quick.kvreg_turn_free(turn)
        library.quick.kvreg_server_free(server)
        spec.forget()  # there is no server of it, and none will come
        raise
    if not turn:
        spec.forget()
        return of_kind(kind, registry, name, server)
    if spec.where is table:
        _serving.start()
    cls = _remote.remote_class(kind)
    remote = cls._of(library, server.value)
    remote._adopt(spec, spec.codec, None if registry is None else registry._keeper)
    remote._called, remote._cell = name, spec.current
    return remote


def _start(
    registry: Registry,
    spec: Spec,
    options: _abi.ServerOptions,
    exclusive: bool,
    server: ctypes.c_void_p,
    turn: ctypes.c_void_p,
) -> None:
    library, flags = spec.library, _abi.CREATE_EXCLUSIVE if exclusive else 0
    data = encode_name(spec.name or "")
    comes_again = options.restart != _abi.TEMPORARY
    if comes_again:
        free = ctypes.cast(library.kvreg_bucket_free, ctypes.c_void_p)
        options.destroy = free.value

    def attempt(start: Any, handle: Any) -> int:
        if comes_again:  # of each attempt that fails it is freed
            options.argument = spec.watch().value
        status: int = start(
            *(handle, data, len(data), flags, options),
            *(ctypes.byref(server), ctypes.byref(turn)),
        )
        return status

    status = attempt(library.quick.kvreg_registry_start_server, registry._at_once())
    if status == Status.TIMEOUT and registry._timeout != 0:
        # Of an interpreter that is interrupted between two attempts none is there.
        blocking = library.kvreg_registry_start_server
        status = registry._wait(functools.partial(attempt, blocking))
    if status == Status.WRONG_KIND:
        raise WrongKind(f"a bucket has the name {spec.name!r}")
    registry._check(status)


def _begin(spec: Spec, server: ctypes.c_void_p, turn: ctypes.c_void_p) -> None:
    """Makes the object, and ends the first turn. What that raises comes out."""
    end = spec.library.hot.turn_end
    try:
        cell = _turns.begin_first(spec, server, turn)
        _messages.make(spec, cell)
    except BaseException as raised:
        verdict = _abi.ABORT if isinstance(raised, spec.kind.answers) else _abi.CRASH
        detail = traceback_of(raised)
        end(turn, verdict, detail, len(detail))
        turn.value = None
        raise
    status = end(turn, _abi.KEEP, None, 0)
    check(spec.library, status)


def looked_up(registry: Registry, name: str) -> Remote:
    """A handle of the server that has the name now."""
    data, library, handle = encode_name(name), registry._library, ctypes.c_void_p()
    status = registry._status(
        "kvreg_registry_lookup_server", data, len(data), ctypes.byref(handle)
    )
    if status == Status.NOT_FOUND:
        raise ServerNotFound(name)
    if status == Status.WRONG_KIND:
        raise WrongKind(f"a bucket has the name {name!r}")
    registry._check(status)
    registry._keeper.keep(registry)
    return _remote.found(library, handle, name, registry._codec, registry._keeper)


def of_kind(
    kind: Kind, registry: Registry | None, name: str | None, handle: ctypes.c_void_p
) -> Remote:
    """A handle of a server that is there, if it is one of a class."""
    library = load_library()
    keeper = None if registry is None else registry._keeper
    codec = None if registry is None else registry._codec
    remote = _remote.found(library, handle, name, codec, keeper)
    return checked(kind, remote)


def checked(kind: Kind, remote: Remote) -> Remote:
    """The same handle, if it is of a class."""
    of = remote._kind_of_server
    if of is None or not issubclass(of.server, kind.server):
        what = "another language's" if of is None else f"a {of.server.__qualname__}"
        remote.close()
        raise WrongKind(
            f"the server that has the name {remote._called!r} is {what}, and no"
            f" {kind.server.__qualname__}"
        )
    return remote
