"""Inboxes for tasks: through the loop's own watch of descriptors, without a thread.

Where a loop watches none, as the usual one on Windows, a thread waits; the loop receives.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Callable, TypeVar, cast

from .. import _bucket, _inbox, _registry
from .._constants import LogLevel
from .._errors import CallTimeout, Closed, Unsupported
from .._inbox import Event
from .._ready import Ready
from .._timeout import milliseconds
from ._bucket import Bucket
from ._registry import Registry
from ._workers import others_wait, submit, submit_again

if TYPE_CHECKING:
    from .._user_server import Server as _Blocking
    from ._user_server import Server

_Self = TypeVar("_Self", bound="Inbox")

_SLICE = 0.1
"""Seconds for which a worker thread waits before it looks whether it still should."""


class Inbox:
    """An inbox, for tasks: events wait in it until they are received.

    An asynchronous iterator: `async for event in inbox` ends when the inbox is closed. As an
    asynchronous context manager it is closed at the end of the block.

    Any number of tasks of one loop may receive; each event goes to one of them, in the order
    in which they asked.
    """

    __slots__ = ("__weakref__", "_early", "_inbox", "_loop", "_thread", "_waiting", "_watched")

    def __init__(self) -> None:
        """Opens an inbox."""
        self._take(_inbox.Inbox())

    def _take(self, inbox: _inbox.Inbox) -> None:
        self._inbox = inbox
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[Event]] = deque()
        # Received for somebody who had gone when they came.
        self._early: deque[Event] = deque()
        self._watched: int | None = None
        self._thread: _Thread | None = None

    def monitor(
        self,
        server: Bucket | Registry | Server | _bucket.Bucket | _registry.Registry | _Blocking,
    ) -> int:
        """Asks for the end of any server; gives the reference of its `Down`."""
        if isinstance(server, (Bucket, Registry)):
            return self._inbox.monitor(server._server)
        return self._inbox.monitor(cast("_Blocking", server))

    def demonitor(self, reference: int, flush: bool = False) -> None:
        """Takes a monitor back; see `kvreg.Inbox.demonitor`."""
        self._inbox.demonitor(reference, flush)

    def subscribe_logs(self, level: LogLevel) -> None:
        """From now on the inbox gets `Log` events of this level and more important ones."""
        self._inbox.subscribe_logs(level)

    def fileno(self) -> int:
        """A file descriptor that is readable while events wait."""
        return self._inbox.fileno()

    def close(self) -> None:
        """Frees the handle; who waits gets `Closed`. Closing twice is fine."""
        self._forget_closed_loop()
        self._stop_watching()
        self._inbox.close()
        self._early.clear()
        self._hand_out()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._inbox.closed

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._inbox).replace("<kvreg.", "<kvreg.aio.", 1)

    def __aiter__(self: _Self) -> _Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except Closed:
            raise StopAsyncIteration from None

    async def receive(self, timeout: float | None = None) -> Event:
        """The next event; `CallTimeout` (a `TimeoutError`) if none came within `timeout`.

        `timeout` is in seconds: None waits for ever, 0 not at all. A task that is cancelled
        takes no event with it. `Closed` if the inbox is closed meanwhile.
        """
        milliseconds(timeout)
        self._forget_closed_loop()
        if not self._waiting:
            event = self._poll()
            if event is not None:
                return event
        if timeout == 0:
            raise CallTimeout("no event is there")
        loop = asyncio.get_running_loop()
        if self._waiting and self._loop is not loop:
            raise RuntimeError("a task of another loop waits at this inbox")
        self._loop = loop
        waiter: asyncio.Future[Event] = loop.create_future()
        self._waiting.append(waiter)
        timer = None if timeout is None else loop.call_later(timeout, _expire, waiter)
        try:
            self._watch(loop)
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._early.appendleft(waiter.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            self._hand_out()

    def _forget_closed_loop(self) -> None:
        """Tasks that waited in a loop that was closed never go on."""
        if self._loop is not None and self._loop.is_closed():
            self._stop_watching()
            self._waiting.clear()
            self._loop = None

    def _poll(self) -> Event | None:
        return self._early.popleft() if self._early else self._inbox._poll()

    def _hand_out(self) -> None:
        """Gives events that are there to those who wait; watches if anybody still does."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            try:
                event = self._poll()
            except Exception as error:
                for waiter in self._waiting:
                    if not waiter.done():
                        waiter.set_exception(error)
                self._waiting.clear()
                break
            if event is None:
                return
            self._waiting.popleft().set_result(event)
        self._stop_watching()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._watched is not None:
            return
        if self._thread is not None and self._thread.go_on(loop):
            return
        try:
            descriptor = self._inbox.fileno()
            loop.add_reader(descriptor, self._hand_out)
        except (NotImplementedError, Unsupported):
            # The loop watches no descriptors, or the platform has none.
            self._thread = _Thread(Ready(self._inbox), loop, self._hand_out)
            self._thread.start()
        else:
            self._watched = descriptor

    def _stop_watching(self) -> None:
        if self._watched is not None and self._loop is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._watched)
            self._watched = None
        if self._thread is not None:
            self._thread.wanted = False


class _Thread:
    """Waits in a worker thread until events are there, for a loop that cannot.

    It receives none of them: the loop does, one after the other, so that they keep their order.
    """

    def __init__(
        self, ready: Ready, loop: asyncio.AbstractEventLoop, hand_out: Callable[[], None]
    ) -> None:
        self._ready = ready
        self._loop = loop
        self._hand_out = hand_out
        # Not from when the loop is told that events are there until it wants to know again.
        self._asked = threading.Event()
        self._asked.set()
        self._ending = threading.Lock()
        self._ended = False
        self.wanted = True

    def start(self) -> None:
        """Begins to wait. Raises `RuntimeError` if there is no thread for that."""
        try:
            submit(self._run)
        except BaseException:
            self._ended = True
            self._ready.close()
            raise

    def go_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wants it again; false if that came too late, or it is for another loop."""
        with self._ending:
            self.wanted = self._loop is loop and not self._ended
            if self.wanted:
                self._asked.set()
            return self.wanted

    def _goes_on(self) -> bool:
        with self._ending:
            self._ended = not self.wanted or self._loop.is_closed()
            return not self._ended

    def _run(self) -> None:
        while True:
            # A loop that was told often asks again soon: so long it has.
            is_asked = self._asked.wait(_SLICE)
            if is_asked and self._ready.wait(_SLICE):
                self._asked.clear()
                with contextlib.suppress(RuntimeError):  # it was closed since
                    self._loop.call_soon_threadsafe(self._look)
            elif not self._goes_on():
                return self._ready.close()
            if others_wait():
                return submit_again(self._run)

    def _look(self) -> None:
        if self.wanted:  # else the inbox may be another loop's by now
            self._hand_out()
        if self.wanted:
            self._asked.set()


def _expire(waiter: asyncio.Future[Event]) -> None:
    if not waiter.done():
        waiter.set_exception(CallTimeout("no event came in time"))
