"""A number that is added to: by a server in Python, and by a method with a lock."""

from __future__ import annotations

import threading

import kvreg


class Counter(kvreg.Server):
    """A number."""

    def __init__(self) -> None:
        self.n = 0

    @kvreg.call
    def add(self, by: int) -> int:
        """Adds."""
        self.n += by
        return self.n

    @kvreg.cast
    def put(self, n: int) -> None:
        """Sets."""
        self.n = n


class LockedCounter:
    """A number with a lock."""

    def __init__(self) -> None:
        self.n = 0
        self.lock = threading.Lock()

    def add(self, by: int) -> int:
        """Adds."""
        with self.lock:
            self.n += by
            return self.n
