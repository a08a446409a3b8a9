"""Limits and spans of time in options: None is the default here, 0 at the C interface."""

from __future__ import annotations

import math

from ._timeout import milliseconds

MOST_32 = 2**32 - 1
_MOST_64 = 2**64 - 1


def count(name: str, value: int | None, most: int = _MOST_64) -> int:
    """A limit as the library takes it. ctypes itself would cut one that is too large."""
    if value is None:
        return 0
    if not isinstance(value, int):
        raise TypeError(f"{name} is None or an int, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{name} is None or from 1 to {most}, not {value!r}")
    return value


def count_32(name: str, value: int | None) -> int:
    """A limit that has 32 bits."""
    return count(name, value, MOST_32)


def span(name: str, seconds: float | None, most: int = 2**63 - 1) -> int:
    """Seconds as milliseconds, more than 0; None is the default."""
    if seconds is None:
        return 0
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name} is None or more than 0 seconds, not {seconds!r}")
    return min(milliseconds(seconds), most)
