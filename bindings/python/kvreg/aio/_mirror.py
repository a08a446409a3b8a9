"""Mirrors for tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from .._errors import CallTimeout, Closed, NoProcess
from .._mirror import Shown

if TYPE_CHECKING:
    from .._inbox import Down
    from ._watch import Watch

_Self = TypeVar("_Self", bound="Mirror")


class Mirror(Shown):
    """The keys of a bucket as this program has heard of them, for tasks; see `kvreg.Mirror`.

    A task of the loop keeps it, from the beginning of its block or the first `wait_current` on.
    """

    __slots__ = ("_changed", "_task", "_watch")

    _package = "kvreg.aio"

    def __init__(self, watch: Watch) -> None:
        """Made by `Bucket.mirror`."""
        super().__init__()
        self._watch = watch
        self._task: asyncio.Task[None] | None = None
        self._changed: set[asyncio.Future[None]] = set()

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        error: BaseException = Closed("the mirror is closed")
        try:
            async for change in self._watch:
                if self._learn(change):
                    self._tell()
            if self._watch.down is not None:
                error = NoProcess("what was watched has ended")
        except Exception as failure:  # as what a codec raises
            error = failure
        finally:
            self._error = error
            self._tell()

    def _tell(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)
        self._changed.clear()

    async def wait_current(self, timeout: float | None = None) -> None:
        """Waits until all keys are shown: at first, and after each round.

        `CallTimeout` (a `TimeoutError`) if that takes longer than `timeout` seconds; None is
        for ever. `NoProcess` if the bucket has ended, `Closed` after `close`, and what a codec
        raised that could not decode a value.
        """
        self._start()
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while self._round is not None and self._error is None:
            waiter: asyncio.Future[None] = loop.create_future()
            self._changed.add(waiter)
            left = None if end is None else max(0.0, end - loop.time())
            done, _ = await asyncio.wait([waiter], timeout=left)
            self._changed.discard(waiter)
            if not done:
                raise CallTimeout("the mirror did not become current in time")
        if self._error is not None:
            raise self._error

    @property
    def down(self) -> Down | None:
        """How the bucket ended, once that is known."""
        return self._watch.down

    def close(self) -> None:
        """Follows no more; what is shown stays. Closing twice is fine."""
        self._watch.close()
        if self._task is None:
            self._error = Closed("the mirror is closed")

    async def __aenter__(self: _Self) -> _Self:
        self._start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()
        if self._task is not None:
            await self._task
