"""Rounds that take turns, and their medians."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Callable, Optional

ROUNDS = 15
_ROUND = 0.02
"""Seconds that one round of one loop takes, about."""

_TRIES = 3

Loop = Callable[[int], Optional[float]]
"""Does its operation so many times. Gives the nanoseconds of one, if it is not here that it is
done: what it takes to have another process do it is not to be counted."""


def medians(loops: dict[str, Loop]) -> dict[str, float]:
    """Nanoseconds of one operation of each loop."""
    times = _rounds(loops, ROUNDS, _ROUND)
    return {name: statistics.median(found) for name, found in times.items()}


def leasts(loops: dict[str, Loop]) -> dict[str, float]:
    """The same in the best of many short rounds: what a busy machine adds comes and goes."""
    times = _rounds(loops, 10 * ROUNDS, _ROUND / 10)
    return {name: min(found) for name, found in times.items()}


def _rounds(loops: dict[str, Loop], rounds: int, seconds: float) -> dict[str, list[float]]:
    counts = {name: _count(loop, seconds) for name, loop in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            times[name].append(_time(loop, counts[name]))
    return times


def _count(loop: Loop, seconds: float) -> int:
    """How many operations fill a round of so long."""
    count = 1
    while True:
        # The least of some: what else the machine does must not make a round too short.
        spent = min(_time(loop, count) for _ in range(_TRIES)) * count / 1e9
        if spent > seconds / 4:
            return max(1, int(count * seconds / spent))
        count *= 2


def _time(loop: Loop, count: int) -> float:
    """Nanoseconds of one operation, of so many."""
    begin = time.perf_counter_ns()
    told = loop(count)
    return (time.perf_counter_ns() - begin) / count if told is None else told


def percentile(operation: Callable[[], object], count: int, of_1000: int) -> float:
    """Nanoseconds that so many of 1,000 operations do not exceed."""
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        operation()
        times.append(time.perf_counter_ns() - begin)
    return statistics.quantiles(times, n=1000)[of_1000 - 1]


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
