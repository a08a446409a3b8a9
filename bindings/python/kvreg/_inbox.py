"""Inboxes: the caller's own mailbox, where the ends of buckets are heard of."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from . import _abi
from ._accelerated import accelerated, know
from ._bucket import Bucket
from ._constants import LogLevel, Reason, Status, log_level
from ._errors import CallTimeout, Closed
from ._handle import Handle, obtain
from ._registry import Registry
from ._timeout import milliseconds

if TYPE_CHECKING:
    from ._user_server import Server as UserServer

_SLICE = 0.05
"""Seconds after which a wait in the main thread looks for signals."""


class Down(NamedTuple):
    """A monitored bucket or registry ended."""

    reference: int
    """What `Inbox.monitor` gave."""
    reason: Reason
    """Why it ended; `NOPROC` if it had before it was monitored."""
    name: str | None
    """The name of the bucket, if it has one."""
    detail: str
    """What was said at its exit, or nothing."""


class Log(NamedTuple):
    """The library says something; see `Inbox.subscribe_logs`."""

    level: LogLevel
    """How important it is."""
    name: str | None
    """Of the bucket that it is about, if it has one."""
    message: str
    """One sentence, for people."""


class Lost(NamedTuple):
    """So many log events did not fit in the inbox; a `Down` is never lost."""

    count: int  # type: ignore[assignment]  # and not the method of a tuple
    """How many."""


Event = Union[Down, Log, Lost]
"""What an inbox gives: tell them apart by `isinstance`."""


@accelerated
class Inbox(Handle):
    """An inbox: events wait in it until they are received. It belongs to no registry.

    As a context manager it is closed at the end of the block.

    >>> import kvreg
    >>> with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
    ...     shopping = registry.create("shopping")
    ...     reference = inbox.monitor(shopping)
    ...     shopping.stop()
    ...     down = inbox.receive(timeout=5.0)
    ...     print(down.name, down.reason.name, down.reference == reference)
    shopping NORMAL True

    Threads: any thread may use an inbox; each event goes to one receiver. Nothing here
    blocks but `receive`. Errors of all operations: `Closed` after `close`.
    """

    __slots__ = ()

    _kind = "inbox"

    def __init__(self) -> None:
        """Opens an inbox. Never blocks."""
        self._forget()
        super().__init__(*obtain("kvreg_inbox_open"))

    def monitor(self, server: Bucket | Registry | UserServer) -> int:
        """Asks for the end of any server; gives the reference of its `Down`.

        The end gives exactly one `Down` with that reference; at once, reason NOPROC, if the
        server has ended. Each call is a monitor of its own. `LimitReached` beyond 1,048,576
        (see `kvreg.configure`). Never blocks.
        """
        handle: Any
        if isinstance(server, Bucket):
            monitor, handle = "kvreg_inbox_monitor", server._handle
        elif isinstance(server, Registry):
            monitor, handle = "kvreg_inbox_monitor_registry", server._handle
        else:
            monitor, handle = "kvreg_inbox_monitor_server", None
            targets = sys.modules.get(f"{__package__}._target")
            if targets is not None:
                handle = targets.handle_or_none(server)
            if handle is None:
                kind = type(server).__name__
                raise TypeError(
                    f"a Bucket, a Registry or a Server can be monitored, not {kind}"
                )
        reference = ctypes.c_uint64()
        self._call(monitor, handle, ctypes.byref(reference))
        return reference.value

    def demonitor(self, reference: int, flush: bool = False) -> None:
        """Takes a monitor back: no `Down` of it comes any more.

        With `flush` one that waits already is removed too. An unknown reference is fine.
        Never blocks.
        """
        flags = _abi.DEMONITOR_FLUSH if flush else 0
        self._call("kvreg_inbox_demonitor", reference, flags)

    def subscribe_logs(self, level: LogLevel) -> None:
        """From now on the inbox gets `Log` events of this level and more important ones.

        Calling it again changes the level. Up to 1,024 such events wait; what does not fit
        arrives as one `Lost`. Never blocks.
        """
        self._call("kvreg_inbox_subscribe_logs", log_level(level))

    def receive(self, timeout: float | None = None) -> Event:
        """The next event; `CallTimeout` (a `TimeoutError`) if none came within `timeout`.

        `timeout` is in seconds: None waits for ever, 0 not at all. In the main thread
        Ctrl-C ends the wait. `Closed` if another thread closes the inbox meanwhile, and
        `CallingSelf` inside an update, unless `timeout` is 0. Blocks.
        """
        ms, event = milliseconds(timeout), _abi.Event()
        status = self._library.quick.kvreg_inbox_receive(self._handle, 0, event)
        if status == Status.TIMEOUT and ms != 0:
            status = self._wait(ms, timeout, event)
        if status == Status.TIMEOUT:  # the library speaks of requests
            raise CallTimeout("no event came in time")
        return self._received(status, event)

    def _poll(self) -> Event | None:
        """An event that is there, or None."""
        event = _abi.Event()
        status = self._library.quick.kvreg_inbox_receive(self._handle, 0, event)
        return None if status == Status.TIMEOUT else self._received(status, event)

    def _received(self, status: int, event: _abi.Event) -> Event:
        library = self._library
        self._check(status)
        try:
            return _event(event)
        finally:
            library.quick.kvreg_event_clear(event)

    def _received_at(self, address: int) -> Event:
        """The same of an event that the extension received."""
        return self._received(Status.OK, _abi.Event.from_address(address))

    def __iter__(self) -> Iterator[Event]:
        """Events as they come, waiting for each: until the inbox is closed. Blocks."""
        while True:
            try:
                yield self.receive()
            except Closed:
                return

    def __del__(self) -> None:
        self._warn_if_open()
        super().__del__()

    def _wait(self, ms: int, timeout: float | None, event: _abi.Event) -> int:
        receive = self._library.kvreg_inbox_receive
        status: int
        if threading.get_ident() != threading.main_thread().ident:
            status = receive(self._handle, ms, event)
            return status
        # Python handles signals only between two calls.
        end = None if ms < 0 else time.monotonic() + (timeout or 0)
        while True:
            left = _SLICE if end is None else max(0.0, end - time.monotonic())
            status = receive(self._handle, milliseconds(min(left, _SLICE)), event)
            if status != Status.TIMEOUT or left == 0:
                return status

    def fileno(self) -> int:
        """A file descriptor that is readable while events wait.

        For `select`, `selectors` and event loops, which take the inbox itself too. Only
        poll it; it is closed with the inbox. `Unsupported` where there is none. Never blocks.
        """
        descriptor = ctypes.c_int()
        self._call("kvreg_inbox_fd", ctypes.byref(descriptor))
        return descriptor.value


know(down=Down, lost=Lost, reasons=tuple(Reason))


def _event(event: _abi.Event) -> Event:
    if event.type == _abi.EVENT_DOWN:
        reason = Reason(event.reason)
        return Down(
            event.reference, reason, event.name.decoded() or None, event.detail.decoded()
        )
    if event.type == _abi.EVENT_LOG:
        return Log(LogLevel(event.level), event.name.decoded() or None, event.detail.decoded())
    return Lost(event.count)
