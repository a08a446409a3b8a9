"""Watches for tasks."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Callable, TypeVar

from .. import _inbox
from .._errors import Closed, NoProcess
from .._inbox import Down
from .._watch import Change, Changes
from ._inbox import Inbox

_Self = TypeVar("_Self", bound="Watch")


class _Received(Inbox):
    """The inbox of one watch."""

    __slots__ = ()

    def __init__(self, inbox: _inbox.Inbox) -> None:
        self._take(inbox)


class Watch:
    """What becomes of keys, for tasks: `kvreg.Watch` with `await`.

    An asynchronous iterator, which ends with the bucket, and an asynchronous context manager.
    It begins with the block, or with the first `receive`.
    """

    __slots__ = ("_begin", "_closed", "_down", "_received")

    def __init__(self, begin: Callable[[], Awaitable[Changes]]) -> None:
        """Made by the methods that watch."""
        self._begin = begin
        self._received: _Received | None = None
        self._down: Down | None = None
        self._closed = False

    @property
    def down(self) -> Down | None:
        """How the bucket ended, once that was received."""
        return self._down

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def _inbox(self) -> _Received:
        if self._closed:
            raise Closed("the watch is closed")
        if self._received is None:
            received = _Received(await self._begin())
            if self._closed or self._received is not None:  # meanwhile, by another task
                received.close()
                return await self._inbox()
            self._received = received
        return self._received

    async def receive(self, timeout: float | None = None) -> Change:
        """The next change; `CallTimeout` (a `TimeoutError`) if none came within `timeout`.

        `timeout` is in seconds: None waits for ever, 0 not at all. `NoProcess` when the bucket
        has ended, and `Closed` after `close`.
        """
        inbox = await self._inbox()
        event: Any = await inbox.receive(timeout)
        if isinstance(event, Down):
            self._down = event
            raise NoProcess("what was watched has ended")
        change: Change = event
        return change

    def close(self) -> None:
        """Ends the watch; closing twice is fine. Who waits gets `Closed`."""
        self._closed = True
        if self._received is not None:
            self._received.close()

    async def __aenter__(self: _Self) -> _Self:
        await self._inbox()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __aiter__(self: _Self) -> _Self:
        return self

    async def __anext__(self) -> Change:
        if self._down is not None:
            raise StopAsyncIteration
        try:
            return await self.receive()
        except (Closed, NoProcess):
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        return f"<kvreg.aio.Watch{state} at {id(self):#x}>"
