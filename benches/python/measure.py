"""Rounds that take turns, and their medians."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Callable

ROUNDS = 15
_ROUND = 0.02
"""Seconds that one round of one loop takes, about."""

Loop = Callable[[int], None]
"""Does its operation so many times."""


def medians(loops: dict[str, Loop]) -> dict[str, float]:
    """Nanoseconds of one operation of each loop."""
    counts = {name: _count(loop) for name, loop in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            begin = time.perf_counter_ns()
            loop(counts[name])
            times[name].append((time.perf_counter_ns() - begin) / counts[name])
    return {name: statistics.median(found) for name, found in times.items()}


def _count(loop: Loop) -> int:
    """How many operations fill a round."""
    count = 1
    while True:
        begin = time.perf_counter()
        loop(count)
        spent = time.perf_counter() - begin
        if spent > _ROUND / 4:
            return max(1, int(count * _ROUND / spent))
        count *= 2


def percentile_99(operation: Callable[[], object], count: int) -> float:
    """Nanoseconds that 99 of 100 operations do not exceed."""
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        operation()
        times.append(time.perf_counter_ns() - begin)
    return statistics.quantiles(times, n=100)[98]


class Busy:
    """Another thread that runs Python all the time."""

    def __enter__(self) -> None:
        self._over = False
        began = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(began,), daemon=True)
        self._thread.start()
        began.wait()

    def _run(self, began: threading.Event) -> None:
        began.set()
        while not self._over:
            sum(range(100))

    def __exit__(self, *exception: object) -> None:
        self._over = True
        self._thread.join()
