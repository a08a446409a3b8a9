"""One request that has to wait for its turn: made in a worker thread, for a task of a loop.

It stands in a line with the others for that turn. The worker makes the first of them in slices,
as a request with a short timeout, which withdraws itself; between two of them it looks whether
the task was cancelled, and makes room if others wait for a thread. The task, when it is
cancelled, waits for the end of the slice: only then it is sure that the request will not run
any more. Where no worker has the request there is nothing to wait for, and the end of the
timeout withdraws it as well.

So that a request comes to its turn where the core's own queue is always longer than a slice,
every tenth slice is longer; but never for more than half of the threads, so that one is free
soon. While others wait for a thread the slices are shorter.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Hashable
from typing import Callable, Generic, Optional, TypeVar, cast

from .._errors import CallTimeout
from .._server import Server
from ._lines import join
from ._workers import MOST, long_jobs, others_wait

_Server = TypeVar("_Server", bound=Server)
_Result = TypeVar("_Result")
_Answer = tuple[Optional[BaseException], Optional[_Result]]

_SLICE = 0.05
_SHORT_SLICE = 0.01
_LONG_SLICE = 1.0
_LONG_EVERY = 10
_MOST_LONG = MOST // 2


class Withdrawn(Exception):
    """The task was cancelled, and what it asked for has not run."""


class Request(Generic[_Server, _Result]):
    """A request at a server, for the task that made it."""

    def __init__(
        self,
        server: _Server,
        attempt: Callable[[_Server], _Result],
        timeout: float | None,
        turn: Hashable,
    ) -> None:
        """A request that waits for the turn that `turn` is the key of, see `_lines`."""
        self._server = server
        self._key = turn
        self._attempt = attempt
        self._end = None if timeout is None else time.monotonic() + timeout
        self._count = 0
        self._loop = asyncio.get_running_loop()
        # An exception is handed over as a value: a future refuses StopIteration.
        self._answer: asyncio.Future[_Answer[_Result]] = self._loop.create_future()
        # Who has it may make the request or withdraw it, and then never releases it.
        self._turn = threading.Lock()
        self.cancelled = False

    async def result(self) -> _Result:
        """What the request answers."""
        timer, line = None, None
        try:
            if self._end is not None:
                left = max(0.0, self._end - time.monotonic())
                timer = self._loop.call_later(left, self._expire)
            line = join(self._key, self)
            error, result = await asyncio.shield(self._answer)
        except asyncio.CancelledError:
            self.cancelled = True
            while not (self._answer.done() or self._turn.acquire(blocking=False)):
                try:
                    await asyncio.wait([self._answer])
                except asyncio.CancelledError:
                    continue  # once is enough
            raise
        except (
            BaseException
        ):  # no thread for it; or the coroutine was given up, and cannot wait
            self.cancelled = True
            self._turn.acquire(blocking=False)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if line is not None:
                line.leave(self)
        try:
            if error is not None:
                raise error
            return cast("_Result", result)
        finally:
            del error  # whose traceback refers to this frame

    def _expire(self) -> None:
        if self._turn.acquire(blocking=False) and not self._answer.done():
            error = CallTimeout("the time was over while the request waited for a thread")
            self._answer.set_result((error, None))

    def wait(self) -> bool:
        """Waits for a while; false if that was not enough, and others wait for the thread."""
        if not self._turn.acquire(blocking=False):
            return True  # withdrawn
        try:
            answer = self._wait()
        except BaseException as error:
            answer = error, None
        if answer is None:
            self._turn.release()
            # Between its look at `cancelled` and here the task may have begun to wait.
            if not (self.cancelled and self._turn.acquire(blocking=False)):
                return False
            answer = Withdrawn(), None
        self._tell(answer)
        return True

    def _wait(self) -> _Answer[_Result] | None:
        """The answer, or None when others should have the thread for a while."""
        with self._server.clone() as server:
            while not (self.cancelled or self._loop.is_closed()):
                wait = self._next_slice()
                left = wait + 1
                if self._end is not None:
                    left = max(0.0, self._end - time.monotonic())
                server.timeout = min(left, wait)
                try:
                    return None, self._attempt(server)
                except CallTimeout:
                    if left <= wait:
                        raise
                finally:
                    long_jobs().discard(self)
                if others_wait():
                    return None
        raise Withdrawn

    def _next_slice(self) -> float:
        if getattr(self._server, "_shared", False):
            return math.inf  # what a cluster was given is not called back at its end
        self._count += 1
        # Beside others it may count wrongly: then they are a few more.
        if self._count % _LONG_EVERY == 0 and len(long_jobs()) < _MOST_LONG:
            long_jobs().add(self)
            return _LONG_SLICE
        return _SHORT_SLICE if others_wait() else _SLICE

    def _tell(self, answer: _Answer[_Result]) -> None:
        # It is raised if the loop is closed; then nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer.set_result, answer)
