"""One request that has to wait for its turn: made in a worker thread, for a task of a loop.

The worker makes it in slices, as a request with a short timeout, which withdraws itself;
between two of them it looks whether the task was cancelled. The task, when it is cancelled,
waits for the end of the slice: only then it is sure that the request will not run any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Callable, Generic, TypeVar

from .._errors import CallTimeout
from .._server import Server
from ._workers import submit

_Server = TypeVar("_Server", bound=Server)
_Result = TypeVar("_Result")

_SLICE = 0.05
_LONG_SLICE = 1.0
_LONG_EVERY = 10


class Withdrawn(Exception):
    """The task was cancelled, and what it asked for has not run."""


class Request(Generic[_Server, _Result]):
    """A request at a server, for the task that made it."""

    def __init__(
        self,
        server: _Server,
        attempt: Callable[[_Server], _Result],
        timeout: float | None,
    ) -> None:
        self._server = server
        self._attempt = attempt
        self._end = None if timeout is None else time.monotonic() + timeout
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[_Result] = self._loop.create_future()
        self.cancelled = False

    async def result(self) -> _Result:
        """What the request answers."""
        submit(self._run)
        try:
            return await asyncio.shield(self._answer)
        except asyncio.CancelledError:
            self.cancelled = True
            while not self._answer.done():
                try:
                    await asyncio.wait([self._answer])
                except asyncio.CancelledError:
                    continue  # once is enough
            self._answer.exception()  # it was looked at
            raise

    def _run(self) -> None:
        try:
            answer = self._wait()
        except BaseException as error:
            self._tell(self._answer.set_exception, error)
        else:
            self._tell(self._answer.set_result, answer)

    def _wait(self) -> _Result:
        with self._server.clone() as server:
            count = 0
            while not self.cancelled:
                count += 1
                wait = _LONG_SLICE if count % _LONG_EVERY == 0 else _SLICE
                left = wait + 1
                if self._end is not None:
                    left = max(0.0, self._end - time.monotonic())
                server.timeout = min(left, wait)
                try:
                    return self._attempt(server)
                except CallTimeout:
                    if left <= wait:
                        raise
        raise Withdrawn

    def _tell(self, tell: Callable[[Any], None], what: object) -> None:
        # It is raised if the loop is closed; then nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(tell, what)
