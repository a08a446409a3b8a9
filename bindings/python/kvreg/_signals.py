"""Signals: they end what the shell waits for, and nothing else.

Python runs a handler between any two steps of the main thread, so one that always raised could
do so in the middle of an end or of another handler. This one raises only where the shell waits;
what comes elsewhere is kept until it waits again.

A signal may come when Python has looked for signals and the system has not yet begun to wait,
and the system may give it to another thread: the main thread would notice it after the wait
only. So a thread hears of every signal, from a pipe that Python writes to, and sends it to the
main thread again until the handler has run there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Callable, NoReturn, TypeVar

_Answer = TypeVar("_Answer")

_TAKEN = ("SIGINT", "SIGTERM", "SIGHUP")

_AGAIN = 0.01
"""Seconds after which a signal is sent again."""


class Signalled(BaseException):
    """A signal came; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Takes SIGINT, SIGTERM and SIGHUP inside a `with` block of the main thread.

    Those that the process was started to ignore stay ignored. In another thread it takes none.
    """

    def __init__(self) -> None:
        self._waits = False
        self._kept = 0
        self._apart = False
        self._ran = 0
        # Free when a signal came; an Event could be left locked by what is raised inside it.
        self._nothing_came = threading.Lock()
        self._nothing_came.acquire()
        self._over = threading.Event()
        self._taken = contextlib.ExitStack()

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            with contextlib.ExitStack() as taken:
                self._take(taken)
                self._taken = taken.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._taken.close()

    def during(self, wait: Callable[[], _Answer]) -> _Answer:
        """What `wait` gives, unless a signal comes, or has come before: then `Signalled`."""
        try:
            self._waits = True
            if self._kept:
                number, self._kept = self._kept, 0
                raise Signalled(number)
            return wait()
        finally:
            self._waits = False

    def apart(self, act: Callable[..., _Answer]) -> Callable[..., _Answer]:
        """`act`, for somebody who calls it during a wait and drops what it raises."""

        def acts(*arguments: Any) -> _Answer:
            self._apart = True
            try:
                return act(*arguments)
            finally:
                self._apart = False

        return acts

    def wait(self) -> NoReturn:
        """Waits for a signal: `Signalled`."""
        while True:
            self.during(self._nothing_came.acquire)

    def _take(self, taken: contextlib.ExitStack) -> None:
        for name in _TAKEN:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                taken.callback(signal.signal, number, signal.signal(number, self._come))
        heard, written = os.pipe()
        taken.callback(os.close, heard)
        if os.name == "posix":
            os.set_blocking(written, False)
        hears = threading.Thread(target=self._hear, args=(heard,), daemon=True)
        hears.start()
        taken.callback(hears.join)
        taken.callback(os.close, written)  # which ends the thread
        taken.callback(self._over.set)
        before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        taken.callback(signal.set_wakeup_fd, before)

    def _come(self, number: int, _frame: FrameType | None) -> None:
        if self._apart:
            return  # it is sent again
        self._ran += 1
        if self._waits:
            self._waits = False  # so that a second one raises nowhere on the way out
            raise Signalled(number)
        if self._kept in (0, signal.SIGINT):  # which may only drop a line
            self._kept = number

    def _hear(self, heard: int) -> None:
        ran = sent = 0
        while numbers := os.read(heard, 4096):
            if self._nothing_came.locked():
                self._nothing_came.release()
            sent -= len(numbers)
            if sent >= 0 or not hasattr(signal, "pthread_kill"):
                continue  # it was sent here
            sent = 0
            number = max(numbers, key=lambda number: number != signal.SIGINT)
            # Two that came as one are taken for one that did not run, and a third is sent.
            while not self._over.wait(_AGAIN) and self._ran == ran:
                signal.pthread_kill(threading.main_thread().ident or 0, number)
                sent += 1
            ran = self._ran
