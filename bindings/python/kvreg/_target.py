"""What is asked of a server by a handle of it, or by the server itself of its own."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Callable, Protocol

from . import _abi
from ._arguments import values_of
from ._constants import Reason, Status, exit_arguments
from ._errors import error
from ._info import ServerInfo, exit_reason
from ._library import Library
from ._logging import follow
from ._server import Server
from ._table import Cell, Parcel, Spec
from ._timeout import milliseconds
from ._values import take

if TYPE_CHECKING:
    from ._codecs import Codec


class Target(Protocol):
    """What can be sent to: a handle, or the server itself as its own methods know it."""

    @property
    def _library(self) -> Library: ...
    @property
    def _handle(self) -> Any: ...
    @property
    def _codec(self) -> Codec | None: ...
    @property
    def _called(self) -> str | None: ...


def check(target: Target, status: int) -> None:
    """Raises what a status other than OK says."""
    if status:
        raise error(target._library, status, target._called)


def tag_of(tag: str) -> bytes:
    """A tag as the library has it."""
    if not isinstance(tag, str):
        raise TypeError(f"a tag is a str, not {type(tag).__name__}")
    return tag.encode("utf-8")


def handle_of(server: Any) -> Any:
    """The handle of any server, from an object of any of them."""
    found = handle_or_none(server)
    if found is None:
        raise TypeError(f"a server is expected, not {type(server).__name__}")
    return found


def handle_or_none(server: Any) -> Any:
    """The same, or None for what is no server."""
    blocking = getattr(server, "_server", server)  # of kvreg.aio
    if isinstance(blocking, Server):
        return blocking._handle
    cell = getattr(server, "_kvreg_cell", None)
    return cell._handle if isinstance(cell, Cell) else None


def posted(
    target: Target,
    spec: Spec | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    send: Callable[[Any, int], int],
) -> None:
    """Sends something that nobody waits for; what `send` answers is raised.

    To Python go the objects themselves, in a parcel.
    """
    follow()
    if not args and not kwargs:
        check(target, send(None, 0))
    elif spec is None:
        check(target, send(values_of(args, target._codec), len(args)))
    else:
        parcel = Parcel(args, kwargs)
        spec.keep(parcel)
        status = send(address(spec, parcel), 1)
        if status:
            spec.take(parcel.number)
            check(target, status)


def address(spec: Spec, parcel: Parcel) -> Any:
    """What stands for a parcel in a message to this server."""
    value = _abi.Value(type=_abi.BYTES)
    value.data = spec.table.cookie + parcel.number.to_bytes(8, "little")
    value.len = 24
    return ctypes.byref(value)


def send(
    target: Target, spec: Spec | None, flags: int, tag: str, values: tuple[Any, ...]
) -> None:
    """Sends an info."""
    name, quick = tag_of(tag), target._library.quick
    posted(
        target,
        spec,
        values,
        {},
        lambda at, count: quick.kvreg_server_send(
            target._handle, flags, name, len(name), at, count
        ),
    )


def send_after(
    target: Target, spec: Spec | None, delay: float, tag: str, values: tuple[Any, ...]
) -> int:
    """Sends an info in a while; the reference of the timer."""
    name, quick = tag_of(tag), target._library.quick
    wait, reference = milliseconds(delay), ctypes.c_uint64()
    if wait < 0:
        raise ValueError("a delay is a number of seconds, at least 0")
    posted(
        target,
        spec,
        values,
        {},
        lambda at, count: quick.kvreg_server_send_after(
            target._handle, wait, name, len(name), at, count, ctypes.byref(reference)
        ),
    )
    return reference.value


def cancel(target: Target, reference: int) -> float | None:
    """Takes a timer back; the seconds that were left, or None."""
    left = ctypes.c_int64()
    cancel = target._library.quick.kvreg_server_cancel
    status = cancel(target._handle, reference, ctypes.byref(left))
    if status == Status.NOT_FOUND:
        return None
    check(target, status)
    return left.value / 1000


def monitor(target: Target, server: Any) -> int:
    """Has a server told of the end of another."""
    reference = ctypes.c_uint64()
    monitor = target._library.quick.kvreg_server_monitor
    check(target, monitor(target._handle, handle_of(server), ctypes.byref(reference)))
    return reference.value


def demonitor(target: Target, reference: int, flush: bool) -> None:
    """Takes a monitor back."""
    flags = _abi.DEMONITOR_FLUSH if flush else 0
    demonitor = target._library.quick.kvreg_server_demonitor
    check(target, demonitor(target._handle, reference, flags))


def link(target: Target, server: Any) -> None:
    """Links two servers."""
    link = target._library.quick.kvreg_server_link
    check(target, link(target._handle, handle_of(server)))


def unlink(target: Target, server: Any) -> None:
    """Takes a link away."""
    unlink = target._library.quick.kvreg_server_unlink
    check(target, unlink(target._handle, handle_of(server)))


def exits(target: Target, reason: Reason, detail: str) -> None:
    """Ends a server at once."""
    follow()
    exits = target._library.kvreg_server_exit
    check(target, exits(target._handle, *exit_arguments(reason, detail)))


def name_of(target: Target) -> str | None:
    """The name of a server."""
    name = _abi.Value()
    check(target, target._library.quick.kvreg_server_name(target._handle, name))
    found: str | None = take(target._library, name)
    return found


def info(target: Target) -> ServerInfo:
    """Facts about a server."""
    stats = _abi.ServerStats()
    check(target, target._library.quick.kvreg_server_info(target._handle, stats))
    return ServerInfo(
        mailbox=stats.mailbox,
        bytes=stats.bytes,
        handled=stats.handled,
        restarts=stats.restarts,
        last_exit=exit_reason(stats.last_exit),
        busy=stats.turn_ms / 1000,
    )
