"""The numbers of the header: statuses, reasons, log levels, and what an update answers."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """What a function of the C interface answers; `Error.status` has it."""

    OK = 0
    """It was done."""
    NOT_FOUND = 1
    """No such name or key."""
    ALREADY_STARTED = 2
    """The name is taken; or `kvreg.configure` came too late."""
    NO_PROCESS = 3
    """The server had ended: not delivered."""
    SERVER_DOWN = 4
    """The server ended while it had the request."""
    TIMEOUT = 5
    """Withdrawn: it has not run and never will."""
    OUTCOME_UNKNOWN = 6
    """Another thread had begun and would finish it."""
    CALLING_SELF = 7
    """The caller would wait for itself."""
    BAD_HANDLE = 8
    """Closed, or no handle."""
    WRONG_KIND = 9
    """A live handle of another kind."""
    INVALID_ARGUMENT = 10
    """A name, a key, a reason or another argument that cannot be."""
    WRONG_TYPE = 11
    """The value has another type than was asked for."""
    CONFLICT = 12
    """It was not as expected; nothing was changed."""
    LIMIT = 13
    """A limit is reached; nothing was changed."""
    NO_MEMORY = 14
    """No memory; nothing was changed."""
    ABORTED = 15
    """The update was given up."""
    FORKED = 16
    """Inherited through a fork."""
    SHUT_DOWN = 17
    """After `kvreg.shutdown`."""
    UNSUPPORTED = 18
    """Not on this platform, not in this version, or not with this value."""
    IO = 19
    """The operating system refused."""
    INTERNAL = 20
    """A caught panic in kvreg itself: a bug."""
    TOO_SMALL = 21
    """The caller's buffer; not seen in Python."""


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


class Reads(enum.IntEnum):
    """Where a bucket that a store keeps reads; where it is files, both are the same."""

    STORE = 0
    """What is stored."""
    COPY = 1
    """A copy in this process, at the speed of memory: it may be behind what others changed, and
    never goes back. What a thread changed its own reads find."""


class LogLevel(enum.IntEnum):
    """How important a log event is; a lower number is more important."""

    ERROR = 0
    """A bucket or a registry was killed or crashed, or a bucket stays down."""
    WARN = 1
    """A subscriber was cut off, a callback is stuck, and so on; the rest goes on."""
    INFO = 2
    """A bucket was started again; a listener listens."""
    DEBUG = 3
    """A registry got a message that it does not expect."""


class Verdict(enum.Enum):
    """What the function of an update may return in place of a value."""

    KEEP = "KEEP"
    """Leave the key as it is."""
    REMOVE = "REMOVE"
    """Delete the key; of an absent key this does nothing."""

    def __repr__(self) -> str:
        return f"kvreg.{self.name}"


KEEP = Verdict.KEEP
"""What the function of an update returns to leave the key as it is."""
REMOVE = Verdict.REMOVE
"""What the function of an update returns to delete the key."""


class Absent(enum.Enum):
    """Stands for no value, where None would be one."""

    ABSENT = "ABSENT"
    """There is none."""

    def __repr__(self) -> str:
        return f"kvreg.{self.name}"


ABSENT = Absent.ABSENT
"""Stands for no value in `Bucket.compare_and_swap`, on either side."""


def exit_arguments(reason: Reason, detail: str) -> tuple[int, bytes, int]:
    """A reason and a detail as `exit` hands them over."""
    if not isinstance(reason, int):
        raise TypeError(
            f"a reason is a kvreg.Reason, as kvreg.Reason.KILLED is, not {reason!r}"
        )
    if not isinstance(detail, str):
        raise TypeError(f"a detail is a str, not {detail!r}")
    text = detail.encode("utf-8")
    return int(reason), text, len(text)


def log_level(level: LogLevel) -> int:
    """A level of logs as it is handed over."""
    if not isinstance(level, int):
        raise TypeError(
            f"a level is a kvreg.LogLevel, as kvreg.LogLevel.INFO is, not {level!r}"
        )
    return int(level)


class Default(enum.Enum):
    """The type of `DEFAULT`."""

    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return "the bucket's default"


DEFAULT = Default.DEFAULT
"""Stands for what the options of the bucket say."""
