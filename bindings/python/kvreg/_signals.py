"""Signals: they end what the shell waits for, and nothing else.

Python runs a handler between any two steps of the main thread, so one that always raised could
do so in the middle of an end or of another handler. This one raises only where the shell waits;
what comes elsewhere is kept until it waits again.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Callable, NoReturn, TypeVar

_Answer = TypeVar("_Answer")

_TAKEN = ("SIGINT", "SIGTERM", "SIGHUP")


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
        self._before: dict[int, Any] = {}
        self._waits = False
        self._kept = 0

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for name in _TAKEN:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._come)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

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

    def wait(self) -> NoReturn:
        """Waits for a signal: `Signalled`.

        Python would not notice one that comes when it has looked for signals and the system has
        not yet begun a sleep; a socket becomes readable then too.
        """
        import select
        import socket

        readable, written = socket.socketpair()
        with readable, written:
            written.setblocking(False)
            before = None
            if threading.current_thread() is threading.main_thread():
                before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
            try:
                while True:
                    if self.during(lambda: select.select([readable], [], []))[0]:
                        readable.recv(4096)
            finally:
                if before is not None:
                    signal.set_wakeup_fd(before)

    def _come(self, number: int, _frame: FrameType | None) -> None:
        if self._waits:
            self._waits = False  # so that a second one raises nowhere on the way out
            raise Signalled(number)
        if self._kept in (0, signal.SIGINT):  # which may only drop a line
            self._kept = number
