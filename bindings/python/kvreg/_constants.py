"""The numbers of the header: statuses, reasons, log levels, and what an update answers."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """What a function of the C interface answers; `Error.status` has it."""

    OK = 0
    NOT_FOUND = 1
    ALREADY_STARTED = 2
    NO_PROCESS = 3
    SERVER_DOWN = 4
    TIMEOUT = 5
    OUTCOME_UNKNOWN = 6
    CALLING_SELF = 7
    BAD_HANDLE = 8
    WRONG_KIND = 9
    INVALID_ARGUMENT = 10
    WRONG_TYPE = 11
    CONFLICT = 12
    LIMIT = 13
    NO_MEMORY = 14
    ABORTED = 15
    FORKED = 16
    SHUT_DOWN = 17
    UNSUPPORTED = 18
    IO = 19
    INTERNAL = 20
    TOO_SMALL = 21


class Reason(enum.IntEnum):
    """Why a bucket or a registry ended (Erlang's exit reasons)."""

    NORMAL = 0
    """Stopped, after all that was queued."""
    SHUTDOWN = 1
    """Told to end, in good order."""
    KILLED = 2
    """Ended at once."""
    CRASHED = 3
    """Its own code failed."""
    NOPROC = 4
    """It had ended before it was monitored."""


class Restart(enum.IntEnum):
    """When a bucket that ended is started again, empty, under its name (OTP's restart)."""

    TEMPORARY = 0
    """Never."""
    TRANSIENT = 1
    """After `Reason.KILLED` and `Reason.CRASHED`."""
    PERMANENT = 2
    """Always, after `Bucket.stop` too; `Registry.remove` ends it."""


class LogLevel(enum.IntEnum):
    """How important a log event is; a lower number is more important."""

    ERROR = 0
    WARN = 1
    INFO = 2
    DEBUG = 3


class Verdict(enum.Enum):
    """What the function of an update may return in place of a value."""

    KEEP = "KEEP"
    """Leave the key as it is."""
    REMOVE = "REMOVE"
    """Delete the key; of an absent key this does nothing."""

    def __repr__(self) -> str:
        return f"kvreg.{self.name}"


KEEP = Verdict.KEEP
REMOVE = Verdict.REMOVE
