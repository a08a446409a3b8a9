"""Threads that wait, so that a loop need not: a few, and only while something waits.

A job that waits for long gives its thread up when others have none. What has not had a thread
yet comes before it, so that many that wait for long do not keep a new one from a short wait;
but not for ever: of nine jobs at least one is of those that had a thread.

They are daemons, unlike those of `concurrent.futures`: a request that waits for ever does not
keep the interpreter from its end.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from typing import Callable

Job = Callable[[], None]

MOST = 32
_IDLE = 10.0
"""Seconds after which a thread that has nothing to do ends."""

_NEW_IN_A_ROW = 8


class Workers:
    """Runs jobs, which raise nothing, in threads."""

    def __init__(self) -> None:
        # One item in `_jobs` for each job that is in one of the others.
        self._jobs: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._new: deque[Job] = deque()
        self._again: deque[Job] = deque()
        self._in_a_row = 0
        self._counts = threading.Lock()
        self._threads = 0
        self._unfinished = 0
        self.long_jobs: set[object] = set()

    def submit(self, job: Job) -> None:
        """Runs a job as soon as a thread is free. Never blocks.

        `RuntimeError` if there is no thread and none can be started; then it never runs.
        """
        with self._counts:
            if self._threads <= self._unfinished and self._threads < MOST:
                self._start()
            self._add(job, self._new)

    def submit_again(self, job: Job) -> None:
        """Runs a job that gives its thread up, after others. Only in that thread."""
        with self._counts:
            self._add(job, self._again)

    def _add(self, job: Job, jobs: deque[Job]) -> None:
        self._unfinished += 1
        jobs.append(job)
        self._jobs.put(None)

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

    def _next(self) -> Job:
        """Which of the jobs comes next; there is one."""
        with self._counts:
            if self._new and (not self._again or self._in_a_row < _NEW_IN_A_ROW):
                self._in_a_row += 1
                return self._new.popleft()
            self._in_a_row = 0
            return self._again.popleft()

    def _work(self) -> None:
        while True:
            try:
                self._jobs.get(timeout=_IDLE)
            except queue.Empty:
                with self._counts:
                    if self._jobs.empty():
                        self._threads -= 1
                        return
                continue
            job = self._next()
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


def submit_again(job: Job) -> None:
    """Runs a job that gives the thread in which this is called up to others, after them."""
    workers.submit_again(job)


def others_wait() -> bool:
    """Whether there are jobs that wait for a thread: who has one should give it up."""
    return workers.others_wait()


def long_jobs() -> set[object]:
    """What keeps its thread for longer than usual, as those that do so note there."""
    return workers.long_jobs
