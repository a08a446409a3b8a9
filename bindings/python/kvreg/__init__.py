"""kvreg: a registry of named key-value buckets inside your process.

    import kvreg

    with kvreg.Registry() as registry:
        shopping = registry.create("shopping")
        shopping["milk"] = 1
        shopping.update("milk", lambda n: n + 1)

Each bucket is a server in the Erlang sense: it owns its state, handles one message at a
time, and can die alone. A bucket behaves as a `dict`, a registry as a mapping from names to
buckets, and an inbox hears of their ends. A listener serves a registry over TCP.

What a forked child inherits raises `ForkedError` there; what it starts itself works.

Timeouts are float seconds, None for ever. Every object may be used from any thread; a call
that has to wait releases the GIL. Exceptions inherit from `kvreg.Error` and carry a `Status`.
Importing this package neither loads the shared library nor starts anything; first use does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bucket import Bucket
from ._codecs import JSON, PICKLE, Codec
from ._constants import ABSENT, KEEP, REMOVE, Absent, LogLevel, Reason, Restart, Status, Verdict
from ._errors import (
    Aborted,
    AlreadyStarted,
    BucketNotFound,
    CallingSelf,
    CallTimeout,
    Closed,
    Conflict,
    Error,
    ForkedError,
    InternalError,
    InvalidArgument,
    IOFailed,
    KeyNotFound,
    LimitReached,
    NoMemory,
    NoProcess,
    OutcomeUnknown,
    RegistryNotFound,
    ServerDown,
    ShutDown,
    Unsupported,
    WrongKind,
    WrongType,
)
from ._inbox import Down, Event, Inbox, Log, Lost
from ._info import BucketInfo, RegistryInfo
from ._library import LibraryError, library_version, load
from ._listener import Listener
from ._live import LiveCounts, live_counts
from ._mirror import Mirror
from ._process import configure, shutdown
from ._registry import Registry
from ._revisions import Entry
from ._values import Key, Value
from ._watch import Change, Current, Delete, Evict, Expire, Put, Reset, Watch

if TYPE_CHECKING:
    from ._bucket_options import BucketOptions
    from ._cached import cached

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "JSON",
    "KEEP",
    "PICKLE",
    "REMOVE",
    "Aborted",
    "Absent",
    "AlreadyStarted",
    "Bucket",
    "BucketInfo",
    "BucketNotFound",
    "BucketOptions",
    "CallTimeout",
    "CallingSelf",
    "Change",
    "Closed",
    "Codec",
    "Conflict",
    "Current",
    "Delete",
    "Down",
    "Entry",
    "Error",
    "Event",
    "Evict",
    "Expire",
    "ForkedError",
    "IOFailed",
    "Inbox",
    "InternalError",
    "InvalidArgument",
    "Key",
    "KeyNotFound",
    "LibraryError",
    "LimitReached",
    "Listener",
    "LiveCounts",
    "Log",
    "LogLevel",
    "Lost",
    "Mirror",
    "NoMemory",
    "NoProcess",
    "OutcomeUnknown",
    "Put",
    "Reason",
    "Registry",
    "RegistryInfo",
    "RegistryNotFound",
    "Reset",
    "Restart",
    "ServerDown",
    "ShutDown",
    "Status",
    "Unsupported",
    "Value",
    "Verdict",
    "Watch",
    "WrongKind",
    "WrongType",
    "cached",
    "configure",
    "library_version",
    "live_counts",
    "load",
    "shutdown",
]

if not TYPE_CHECKING:  # to which any attribute would do

    def __getattr__(name: str) -> Any:
        if name == "BucketOptions":
            from ._bucket_options import BucketOptions  # not before it is needed, see there

            globals()[name] = BucketOptions
            return BucketOptions
        if name == "cached":
            from ._cached import cached  # nor is what that needs

            globals()[name] = cached
            return cached
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
