"""What lives in the library now."""

from __future__ import annotations

import sys
from typing import NamedTuple

from . import _abi, _logging
from ._errors import check
from ._library import library as load_library


class LiveCounts(NamedTuple):
    """What lives in this process: servers that have not ended, and handles that are not free.

    Those of C programs in the process are among them.
    """

    registries: int
    """Servers that have not ended."""
    buckets: int
    """Servers that have not ended."""
    registry_handles: int
    """Of `Registry` objects; each has one, or a second one once it was used."""
    bucket_handles: int
    """Of `Bucket` objects; each has one, or a second one once it was used."""
    update_handles: int
    """Updates that have begun."""
    items_handles: int
    """Iterations that have begun."""
    inbox_handles: int
    """Of `Inbox` objects; the one through which the package hears logs is left out."""
    listener_handles: int
    """Of `Listener` objects."""
    servers: int
    """Servers of programs that have not ended."""
    server_handles: int
    """Of objects that lead to servers of programs; each has one."""
    turn_handles: int
    """Turns that have begun."""
    reply_handles: int
    """Answers that are to come later."""


def live_counts() -> LiveCounts:
    """How many servers and handles there are: for tests, which want none to be left.

    What this package keeps for itself is left out. Never blocks, but to load the library.
    """
    library = load_library()
    live = _abi.Live()
    check(library, library.quick.kvreg_live_counts(live))
    counts = LiveCounts(*(getattr(live, name) for name in LiveCounts._fields))
    inboxes = _logging._inbox is not None
    tables = sys.modules.get(f"{__package__}._table")
    watched = 0
    if tables is not None:
        inboxes += tables.table.inboxes()
        watched = tables.table.sentinels()
    return counts._replace(
        inbox_handles=counts.inbox_handles - inboxes,
        buckets=counts.buckets - watched,
        bucket_handles=counts.bucket_handles - watched,
    )
