"""kvreg: a registry of named key-value buckets inside your process.

    import kvreg

    with kvreg.Registry() as registry:
        shopping = registry.create("shopping")
        shopping["milk"] = 1
        shopping.update("milk", lambda n: n + 1)

Each bucket is a server in the Erlang sense: it owns its state, handles one message at a
time, and can die alone. A bucket behaves as a `dict`, a registry as a mapping from names to
buckets, and an inbox hears of their ends. A listener serves a registry over TCP. A `Server` is
written by the program: a class whose methods answer calls and casts.

What a forked child inherits raises `ForkedError` there; what it starts itself works.

Timeouts are float seconds, None for ever. Every object may be used from any thread; a call
that has to wait releases the GIL. Exceptions inherit from `kvreg.Error` and carry a `Status`.
Importing this package neither loads the shared library nor starts anything; first use does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bucket import Bucket
from ._codecs import JSON, PICKLE, Codec
from ._constants import (
    ABSENT,
    KEEP,
    REMOVE,
    Absent,
    LogLevel,
    Reads,
    Reason,
    Restart,
    Status,
    Verdict,
)
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
    ServerNotFound,
    ShutDown,
    Unsupported,
    WrongKind,
    WrongType,
)
from ._inbox import Down, Event, Inbox, Log, Lost
from ._info import BucketInfo, RegistryInfo, ServerInfo
from ._library import LibraryError, library_version, load
from ._listener import Listener
from ._live import LiveCounts, live_counts
from ._mirror import Mirror
from ._process import configure, shutdown
from ._registry import Registry
from ._revisions import Entry
from ._stores import load_engine
from ._values import Key, Value
from ._watch import Away, Back, Change, Current, Delete, Evict, Expire, Put, Reset, Watch

if TYPE_CHECKING:
    from ._bucket_options import BucketOptions
    from ._cached import cached
    from ._later import Later, Refused, Stop
    from ._servers import Servers
    from ._serving import serve, serve_once
    from ._user_server import Server, call, cast

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
    "Away",
    "Back",
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
    "Later",
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
    "Reads",
    "Reason",
    "Refused",
    "Registry",
    "RegistryInfo",
    "RegistryNotFound",
    "Reset",
    "Restart",
    "Server",
    "ServerDown",
    "ServerInfo",
    "ServerNotFound",
    "Servers",
    "ShutDown",
    "Status",
    "Stop",
    "Unsupported",
    "Value",
    "Verdict",
    "Watch",
    "WrongKind",
    "WrongType",
    "cached",
    "call",
    "cast",
    "configure",
    "library_version",
    "live_counts",
    "load",
    "load_engine",
    "serve",
    "serve_once",
    "shutdown",
]

if not TYPE_CHECKING:  # to which any attribute would do
    # What is loaded when it is first asked for: it needs what costs more than all the rest.
    _LATE = {
        "BucketOptions": "_bucket_options",
        "Later": "_later",
        "Refused": "_later",
        "Server": "_user_server",
        "Servers": "_servers",
        "Stop": "_later",
        "cached": "_cached",
        "call": "_user_server",
        "cast": "_user_server",
        "serve": "_serving",
        "serve_once": "_serving",
    }

    def __getattr__(name: str) -> Any:
        module = _LATE.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        found = getattr(importlib.import_module(f".{module}", __name__), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
