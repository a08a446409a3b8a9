"""Options of buckets.

Loaded when they are first asked for, because `dataclasses` costs more than all of kvreg.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _abi
from ._constants import Reads, Restart
from ._options import MOST_32, count, span
from ._stores import named


@dataclass(frozen=True)
class BucketOptions:
    """Options of a bucket, for `Registry.create`, `Registry` and `Bucket`; None is the default.

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
    ordered: bool = False
    """Whether `scan` looks at what it gives only, not at every key; a new key costs more."""
    evict: bool = False
    """Whether keys that are little used make room where a limit of keys or bytes is reached."""
    default_ttl: float | None = None
    """The time to live of keys that are stored without one of their own, in seconds; none."""
    store: str | None = None
    """The URL of the store that keeps the contents beyond the end of the bucket, which must
    have a name; None: they are in memory alone."""
    reads: Reads = Reads.STORE
    """Where a bucket that has a store reads."""

    def __post_init__(self) -> None:
        """Refuses what cannot be here, and not where the options are used."""
        bucket_struct(self)


def bucket_struct(options: BucketOptions) -> _abi.BucketOptions:
    """The options as the library takes them."""
    if not isinstance(options, BucketOptions):
        raise TypeError(f"expected BucketOptions, not {type(options).__name__}")
    restart = Restart.TEMPORARY if options.restart is None else Restart(options.restart)
    made = _abi.BucketOptions(
        restart=restart,
        max_restarts=count("max_restarts", options.max_restarts, MOST_32),
        restart_period_ms=span("restart_period", options.restart_period, MOST_32),
        max_mailbox=count("max_mailbox", options.max_mailbox),
        max_keys=count("max_keys", options.max_keys),
        max_bytes=count("max_bytes", options.max_bytes),
        max_value=count("max_value", options.max_value),
        order=bool(options.ordered),
        on_full=bool(options.evict),
        default_ttl_ms=span("default_ttl", options.default_ttl),
        reads=Reads(options.reads),
    )
    return made if options.store is None else named(made, options.store)
