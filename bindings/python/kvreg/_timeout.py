"""Timeouts: seconds in Python, milliseconds at the C interface."""

from __future__ import annotations

import math

default: float | None = 5.0
"""Seconds a call waits for its turn unless its handle says otherwise; see `configure`."""

shared: float | None = 15.0
"""The same of a bucket on a cluster, which may have to find a new leader first."""

_FOREVER = -1
_LONGEST = 2**63 - 1


def milliseconds(timeout: float | None) -> int:
    """Seconds as milliseconds, rounded up; `None` and infinity are for ever."""
    if timeout is None or timeout == math.inf:
        return _FOREVER
    if not timeout >= 0:
        raise ValueError(f"a timeout is None or at least 0 seconds, not {timeout!r}")
    return min(math.ceil(timeout * 1000), _LONGEST)
