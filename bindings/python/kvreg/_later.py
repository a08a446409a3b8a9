"""Answers that come later, and what a handler raises that is no failure."""

from __future__ import annotations

import threading
from typing import Any, Callable, Generic, TypeVar

from ._errors import Aborted

_Result = TypeVar("_Result")


class Refused(Exception):
    """Raised by a handler to refuse: it comes out at the caller as itself; the server lives.

    Subclasses do the same. A caller in another language gets `ABORTED`, with the text. The
    handler has to have changed nothing.
    """


class Stop(Exception):
    """Raised by a handler to stop its server, reason NORMAL: `raise kvreg.Stop(result)`.

    `on_terminate` comes first, then the caller gets the result.
    """

    def __init__(self, result: Any = None) -> None:
        super().__init__(result)
        self.result = result


class Answer:
    """An answer that was put off: once it is there, or never will be, who waits is told."""

    __slots__ = ("_lock", "_told", "error", "is_there", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: Callable[[Answer], bool] | None = None
        self.is_there = False
        self.value: Any = None
        self.error: BaseException | None = None

    def end(self, error: BaseException | None, value: Any = None) -> bool:
        """It is there: false if it was before, or if nobody waits."""
        with self._lock:
            if self.is_there:
                return False
            self.is_there, self.error, self.value = True, error, value
            told = self._told
            self._told = None
        return told is None or told(self)

    def then(self, told: Callable[[Answer], bool]) -> None:
        """Has somebody told, at once if it is there. There is one who waits."""
        with self._lock:
            if not self.is_there:
                self._told = told
                return
        told(self)

    def is_left(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            self._told = _nobody

    def result(self) -> Any:
        """The answer, which is there; raises what it failed with."""
        if self.error is not None:
            raise self.error
        return self.value


def _nobody(_answer: Answer) -> bool:
    return False


class Later(Generic[_Result]):
    """An answer that comes later: `later = self.later()` in a call, and `return later`.

    Its caller waits until any thread says `set` or `fail`, while the server goes on with other
    messages. One that is forgotten answers `Aborted`.
    """

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer = Answer()

    def set(self, result: _Result) -> bool:
        """Answers. False if nobody waits any more, or it was answered before. Never blocks."""
        return self._answer.end(None, result)

    def fail(self, error: BaseException) -> bool:
        """Answers with an exception, which comes out at the caller as itself.

        A caller in another language gets `ABORTED`, with its text. False if nobody waits any
        more, or it was answered before. Never blocks.
        """
        return self._answer.end(error)

    def __del__(self) -> None:
        answer = getattr(self, "_answer", None)
        if answer is not None and not answer.is_there:
            answer.end(Aborted("the answer that was to come later was forgotten"))
