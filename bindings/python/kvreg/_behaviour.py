"""What servers of `kvreg` and of `kvreg.aio` have in common: what their own methods use."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, ClassVar

from . import _abi, _target
from ._constants import Reason, Restart
from ._errors import NoProcess
from ._info import ServerInfo
from ._kind import Kind, options
from ._later import Later

if TYPE_CHECKING:
    from ._inbox import Down


class Behaviour:
    """A class of servers; see `kvreg.Server`."""

    answers: ClassVar[tuple[type[Exception], ...]] = ()
    """Exceptions that come out at whoever waits, as they are; the server stays as it is."""

    _kvreg_kind: ClassVar[Kind]
    _kvreg_cell: Any = None

    def __init_subclass__(
        cls,
        *,
        restart: Restart = Restart.TRANSIENT,
        hand_over: bool = False,
        max_restarts: int | None = None,
        restart_period: float | None = None,
        shutdown: float | None = None,
        max_mailbox: int | None = None,
        max_bytes: int | None = None,
        max_value: int | None = None,
        **others: Any,
    ) -> None:
        """Looks at what the class can do; `TypeError` for what it cannot. Never blocks.

        `restart_period` and `shutdown` are in seconds.
        """
        super().__init_subclass__(**others)
        if "_kvreg_base" in vars(cls):
            return
        own = options(
            *(restart, max_restarts, restart_period, shutdown),
            *(max_mailbox, max_bytes, max_value),
        )
        base = next(it for it in cls.__mro__ if "_kvreg_base" in vars(it))
        cls._kvreg_kind = Kind(cls, base, own, hand_over)

    # What a class may say itself

    def on_info(self, tag: str, *values: Any) -> None:
        """Gets what `send` and `send_after` sent, which wait for nothing.

        A class without it has them logged and dropped.
        """

    def on_down(self, down: Down) -> None:
        """Gets the end of a server that this one monitors, which waits for nothing.

        A class without it has that logged and dropped.
        """

    def on_terminate(self, reason: Reason) -> None:
        """Runs before an end in good order: a stop, a shutdown, a crash of its own.

        Not before `exit`, which does not wait. What was sent meanwhile is dropped.
        """

    # For the methods of the class itself, and of its handles

    def later(self) -> Later[Any]:
        """An answer that comes later: a call returns it, and any thread says `set` or `fail`.

        Never blocks.
        """
        return Later()

    def send(self, tag: str, *values: Any) -> None:
        """Sends an info: `on_info` gets the tag and the values. Never blocks."""
        cell = cell_of(self)
        _target.send(cell, cell.spec, 0, tag, values)

    def send_next(self, tag: str, *values: Any) -> None:
        """Sends this server an info that comes before all that waits (OTP's continue).

        From inside its own methods only: else `InvalidArgument`. Never blocks.
        """
        cell = cell_of(self)
        _target.send(cell, cell.spec, _abi.SEND_NEXT, tag, values)

    def send_after(self, delay: float, tag: str, *values: Any) -> int:
        """Sends an info in `delay` seconds; gives the reference of the timer, for `cancel`.

        It ends with the server. Never blocks.
        """
        cell = cell_of(self)
        return _target.send_after(cell, cell.spec, delay, tag, values)

    def cancel(self, reference: int) -> float | None:
        """Takes a timer back: the seconds that were left, or None if it has come already.

        Never blocks.
        """
        return _target.cancel(cell_of(self), reference)

    def monitor(self, server: Any) -> int:
        """Has `on_down` told of the end of any server; gives the reference of its `Down`.

        At once, reason NOPROC, if that has ended. Never blocks.
        """
        return _target.monitor(cell_of(self), server)

    def demonitor(self, reference: int, flush: bool = False) -> None:
        """Takes a monitor back: no `Down` of it comes any more. Never blocks.

        With `flush` one that waits already is removed too.
        """
        _target.demonitor(cell_of(self), reference, flush)

    def link(self, server: Any) -> None:
        """Links this server and another: when one ends abnormally, so does the other.

        `NoProcess` if one has ended. Never blocks.
        """
        _target.link(cell_of(self), server)

    def unlink(self, server: Any) -> None:
        """Takes a link away, if there is one. Never blocks."""
        _target.unlink(cell_of(self), server)

    def exit(self, reason: Reason, detail: str = "") -> None:
        """Ends the server at once, without `on_terminate`; what is queued is dropped.

        A method that runs is not interrupted, and its answer is dropped. `Reason.NORMAL` does
        nothing, and `Reason.NOPROC` is an `InvalidArgument`. Never waits for a turn.
        """
        _target.exits(cell_of(self), reason, detail)

    def info(self) -> ServerInfo:
        """What there is to know about the server. Never blocks."""
        return _target.info(cell_of(self))

    @property
    def name(self) -> str | None:
        """The name under which it is registered, after its end too. Never blocks."""
        return _target.name_of(cell_of(self))


def cell_of(server: Behaviour) -> Any:
    """What its own methods know it by; `NoProcess` for an object that was not started."""
    cell = server._kvreg_cell
    if cell is None:
        raise NoProcess(f"this {type(server).__qualname__} was not started: it is an object")
    return cell


def cloned(cell: Any) -> int | None:
    """A handle of its own."""
    handle = ctypes.c_void_p()
    clone = cell._library.quick.kvreg_server_clone
    _target.check(cell, clone(cell._handle, ctypes.byref(handle)))
    return handle.value
