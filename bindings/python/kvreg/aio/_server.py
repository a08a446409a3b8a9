"""What buckets and registries of `kvreg.aio` have in common."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from typing import Any, Callable, Generic, TypeVar

from .._errors import CallTimeout
from .._server import Server as _BlockingServer
from .._timeout import milliseconds
from ._request import Request

_Blocking = TypeVar("_Blocking", bound=_BlockingServer)
_Result = TypeVar("_Result")
_Self = TypeVar("_Self", bound="Server[Any]")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


class Server(Generic[_Blocking]):
    """Has an object of `kvreg` that never waits, and waits in its place."""

    __slots__ = ("__weakref__", "_server", "_timeout", "_turn")

    _server: _Blocking
    _turn: Hashable
    """Of all its objects the same, as far as that is known; see `_lines`."""
    _timeout: float | None

    def __init__(self, server: _Blocking) -> None:
        self._take(server)

    def _take(self, server: _Blocking, turn: Hashable = None) -> None:
        self._server = server
        self._turn = server._handle if turn is None else turn
        self._timeout = server.timeout
        server.timeout = 0

    @property
    def timeout(self) -> float | None:
        """How many seconds a request through this object waits for its turn; None: for ever."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        milliseconds(seconds)
        self._timeout = seconds

    def clone(self: _Self) -> _Self:
        """Another handle to the same server, with the timeout of this one."""
        other = type(self).__new__(type(self))
        other._take(self._server.clone(), self._turn)
        other._timeout = self._timeout
        return other

    def __copy__(self: _Self) -> _Self:
        return self.clone()

    def close(self) -> None:
        """Frees the handle and nothing else; closing twice is fine."""
        self._server.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._server.closed

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._server).replace("<kvreg.", "<kvreg.aio.", 1)

    def __reduce__(self) -> Any:
        return self._server.__reduce__()

    async def _call(
        self, attempt: Callable[[_Blocking], _Result], turn: Hashable = None
    ) -> _Result:
        """Makes a request that may have to wait for its turn, or another's by its key."""
        try:
            return attempt(self._server)
        except CallTimeout:
            if self._timeout == 0:
                raise
        return await self._wait(attempt, turn)

    async def _wait(
        self, attempt: Callable[[_Blocking], _Result], turn: Hashable = None
    ) -> _Result:
        """Makes a request that has to wait for its turn, or another's by its key."""
        turn = self._turn if turn is None else turn
        return await Request(self._server, attempt, self._timeout, turn).result()

    async def _elsewhere(self, work: Callable[[_Blocking], _Result]) -> _Result:
        """What `work` gives, in another thread, which waits in one piece."""
        from ._serving import elsewhere  # not before it is needed

        server = self._server.clone()
        server.timeout = self._timeout

        def run() -> _Result:
            with server:  # until it is done, though the task may be cancelled before
                return work(server)

        return await elsewhere(run)

    async def _read(self, attempt: Callable[[_Blocking], _Result]) -> _Result:
        """Reads what is there when the casts of this thread have been handled.

        A worker thread would not know them: so this one looks again, and again.
        """
        try:
            return attempt(self._server)
        except CallTimeout:
            if self._timeout == 0:
                raise
        end = None if self._timeout is None else time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                return attempt(self._server)
            except CallTimeout:
                if end is not None and time.monotonic() >= end:
                    raise
