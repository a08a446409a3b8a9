"""What `Bucket.info` and `Registry.info` tell."""

from __future__ import annotations

from typing import NamedTuple

from ._constants import Reason


class BucketInfo(NamedTuple):
    """Facts about a bucket, as they were when it was asked."""

    keys: int
    """How many there are."""
    bytes: int
    """Of keys and values, 8 for a number."""
    mailbox: int
    """Messages that wait."""
    handled: int
    """Messages handled: calls, casts and updates, not plain reads."""
    restarts: int
    """How often the bucket of this name was started again."""
    last_exit: Reason | None
    """Why the bucket of this name before this one ended, if there was one."""
    hits: int
    """Reads that found their key; counted in buckets that evict only."""
    misses: int
    """Reads that did not; counted in buckets that evict only."""
    expired: int
    """Keys whose time to live was over."""
    evicted: int
    """Keys that were taken out to make room."""
    ordered: bool = False
    """Whether a scan looks at what it gives only."""
    store: str | None = None
    """What the URL of its store begins with, up to the colon; None: it is in memory alone."""
    away: bool = False
    """Whether the store is out of reach: calls wait for it."""
    lacks: frozenset[str] = frozenset()
    """What the store cannot do, `Unsupported`: "batches" (`put_many` and `apply`), "ttl", and
    "whole" (`clear`, `save` and `restore`)."""


class RegistryInfo(NamedTuple):
    """Facts about a registry, as they were when it was asked."""

    buckets: int
    """How many names there are."""
    keys: int
    """In all buckets, while each is looked at."""
    bytes: int
    """Of their keys and values, 8 for a number."""
    mailbox: int
    """Messages that wait at the registry itself."""
    handled: int
    """Messages it handled itself: creations and so on, not lookups."""
    restarts: int
    """How often it came back."""
    last_exit: Reason | None
    """Why it ended the last time it came back, if it ever did."""


class ServerInfo(NamedTuple):
    """Facts about a server that a program writes, as they were when it was asked."""

    mailbox: int
    """Messages that wait."""
    bytes: int
    """Of their tags and values."""
    handled: int
    """Turns and messages."""
    restarts: int
    """How often the server of this name was started again."""
    last_exit: Reason | None
    """Why the server of this name before this one ended, if there was one."""
    busy: float
    """Seconds for which somebody has had its turn; 0 if nobody has."""


def exit_reason(number: int) -> Reason | None:
    """A field `last_exit` of the C interface, where -1 is none."""
    return None if number < 0 else Reason(number)
