"""Threads that wait, so that a loop need not: a few, and only while something waits.

They are daemons, unlike those of `concurrent.futures`: a request that waits for ever does not
keep the interpreter from its end.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import Callable

Job = Callable[[], None]

MOST = 32
_IDLE = 10.0
"""Seconds after which a thread that has nothing to do ends."""


class Workers:
    """Runs jobs, which raise nothing, in threads."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._counts = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    def submit(self, job: Job) -> None:
        """Runs a job as soon as a thread is free. Never blocks.

        `RuntimeError` if there is no thread and none can be started; then it never runs.
        """
        with self._counts:
            if self._threads <= self._unfinished and self._threads < MOST:
                self._start()
            self._unfinished += 1
            self._jobs.put(job)

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="kvreg-aio", daemon=True).start()
        except RuntimeError:
            if not self._threads:
                raise
            return  # those that are there will do it
        self._threads += 1

    def others_wait(self) -> bool:
        """Whether there are jobs without a thread."""
        return not self._jobs.empty()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except queue.Empty:
                with self._counts:
                    if self._jobs.empty():
                        self._threads -= 1
                        return
                continue
            try:
                job()
            finally:
                del job  # and what it holds
                with self._counts:
                    self._unfinished -= 1


workers = Workers()


def _begin_anew() -> None:
    # The threads are not there in a forked child.
    global workers
    workers = Workers()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def submit(job: Job) -> None:
    """Runs a job, which raises nothing, in one of this process's threads."""
    workers.submit(job)


def others_wait() -> bool:
    """Whether there are jobs that wait for a thread: who has one should give it up."""
    return workers.others_wait()
