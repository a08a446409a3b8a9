"""Options: None is the default here, 0 at the C interface."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import _abi
from ._constants import Restart
from ._timeout import milliseconds

_MOST_32 = 2**32 - 1
_MOST_64 = 2**64 - 1


@dataclass(frozen=True)
class BucketOptions:
    """Options of a bucket, for `Registry.create` and `Registry`; None is the default.

    `LimitReached` says that a limit is reached, and nothing was changed. `ValueError` for a
    limit below 1.
    """

    restart: Restart | None = None
    """When it is started again after its end; `Restart.TEMPORARY`: never."""
    max_restarts: int | None = None
    """More restarts than these within `restart_period`, and it stays down; 3."""
    restart_period: float | None = None
    """In seconds; 5."""
    max_mailbox: int | None = None
    """Messages that wait; 1,048,576."""
    max_keys: int | None = None
    """No limit."""
    max_bytes: int | None = None
    """Of keys and values, 8 for a number; what waits in casts counts too. No limit."""
    max_value: int | None = None
    """Bytes of one value; 536,870,912, which is also the most."""

    def __post_init__(self) -> None:
        """Refuses what cannot be here, and not where the options are used."""
        bucket_struct(self)


def bucket_struct(options: BucketOptions) -> _abi.BucketOptions:
    """The options as the library takes them."""
    if not isinstance(options, BucketOptions):
        raise TypeError(f"expected BucketOptions, not {type(options).__name__}")
    restart = Restart.TEMPORARY if options.restart is None else Restart(options.restart)
    return _abi.BucketOptions(
        restart=restart,
        max_restarts=count("max_restarts", options.max_restarts, _MOST_32),
        restart_period_ms=span("restart_period", options.restart_period, _MOST_32),
        max_mailbox=count("max_mailbox", options.max_mailbox),
        max_keys=count("max_keys", options.max_keys),
        max_bytes=count("max_bytes", options.max_bytes),
        max_value=count("max_value", options.max_value),
    )


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
    return count(name, value, _MOST_32)


def span(name: str, seconds: float | None, most: int = 2**63 - 1) -> int:
    """Seconds as milliseconds, more than 0; None is the default."""
    if seconds is None:
        return 0
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name} is None or more than 0 seconds, not {seconds!r}")
    return min(milliseconds(seconds), most)
