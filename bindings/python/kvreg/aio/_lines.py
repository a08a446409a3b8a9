"""The requests that wait, in a line for each turn that they wait for.

Only the first of a line has a worker thread, so that what waits at one bucket takes one thread,
however many tasks that are, and other buckets have theirs. The others have none of its turn
anyway before it.

Which turn that is says a key: a bucket that was looked up has its registry's key and its name,
for each lookup gives another handle to it; anything else has the number of its first handle.
Two keys of one bucket make two lines, which costs a thread; one key never has two buckets that
live at once.

Threads: a line is in `_lines` as long as it has a job, which is to look at it once more. Both
change under `_lock`, so whoever adds a request finds a job that will see it, or makes one. To
take a request out needs no lock, since a dict does that in one step: a coroutine may be given
up by the garbage collector, in any thread and while that holds the lock.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol

from ._workers import others_wait, submit, submit_again

_lock = threading.Lock()
_lines: dict[Hashable, Line] = {}


def _begin_anew() -> None:
    # No thread does the jobs of the parent's lines in a forked child.
    global _lock, _lines
    _lock, _lines = threading.Lock(), {}


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


class Waiting(Protocol):
    """What stands in a line."""

    def wait(self) -> bool:
        """Waits for a while, in a worker thread; whether that was enough. Raises nothing."""
        ...


class Line:
    """Requests that wait for one turn, first come, first served."""

    def __init__(self, key: Hashable) -> None:
        self._key = key
        self._requests: OrderedDict[Waiting, None] = OrderedDict()
        self._first: Waiting | None = None

    def leave(self, request: Waiting) -> None:
        """Takes a request out, if it is there: it was answered, or is withdrawn."""
        self._requests.pop(request, None)

    def _run(self) -> None:
        while True:
            request = self._first or self._next()
            if request is None:
                if self._ends():
                    return
                continue
            self._first = None if request.wait() else request
            del request  # and what it holds
            if others_wait():
                return submit_again(self._run)

    def _next(self) -> Waiting | None:
        try:
            return self._requests.popitem(last=False)[0]
        except KeyError:
            return None

    def _ends(self) -> bool:
        with _lock:
            if not self._requests:
                del _lines[self._key]
            return not self._requests


def join(key: Hashable, request: Waiting) -> Line:
    """Puts a request at the end of the line for a turn, and gives the line.

    `RuntimeError` if no thread can be had for it; then it does not stand there.
    """
    with _lock:
        line = _lines.get(key)
        if line is None:
            line = Line(key)
            submit(line._run)
            _lines[key] = line
        line._requests[request] = None
    return line
