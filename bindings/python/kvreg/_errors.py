"""Exceptions: one class for each status that a caller can meet, and the way there.

Each inherits from `Error`, which carries the status, and where Python has a word for it
from a built-in exception too, so that both idioms work.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from ._constants import Status

if TYPE_CHECKING:
    from ._library import Library


class Error(Exception):
    """What kvreg raises. `status` is the `Status` of the C function that failed."""

    status: int = Status.INTERNAL


class KeyNotFound(Error, KeyError):
    """The bucket has no such key."""

    status = Status.NOT_FOUND


class BucketNotFound(Error, KeyError):
    """The registry has no bucket of that name."""

    status = Status.NOT_FOUND


class ServerNotFound(Error, KeyError):
    """The registry has no server of that name that a program wrote."""

    status = Status.NOT_FOUND


class RegistryNotFound(Error, KeyError):
    """No registry of that name runs in this process."""

    status = Status.NOT_FOUND


class AlreadyStarted(Error):
    """The name is taken; or `kvreg.configure` came too late."""

    status = Status.ALREADY_STARTED


class NoProcess(Error):
    """The bucket or registry had ended: the request was not delivered."""

    status = Status.NO_PROCESS


class ServerDown(Error):
    """The bucket or registry ended while it had the request."""

    status = Status.SERVER_DOWN


class CallTimeout(Error, TimeoutError):
    """The time was over. The request was withdrawn: it has not run and never will."""

    status = Status.TIMEOUT


class OutcomeUnknown(Error, TimeoutError):
    """The time was over when another thread had begun with the request."""

    status = Status.OUTCOME_UNKNOWN


class CallingSelf(Error, RuntimeError):
    """The caller would wait for itself, as when an update calls its own bucket."""

    status = Status.CALLING_SELF


class Closed(Error, ValueError):
    """The object was closed, or its handle is none."""

    status = Status.BAD_HANDLE


class WrongKind(Error, TypeError):
    """The handle is of another kind."""

    status = Status.WRONG_KIND


class InvalidArgument(Error, ValueError):
    """A name, a key, a reason or another argument that cannot be."""

    status = Status.INVALID_ARGUMENT


class WrongType(Error, TypeError):
    """The value has another type than was asked for."""

    status = Status.WRONG_TYPE


class Conflict(Error, RuntimeError):
    """The key is not as it was expected to be; nothing was changed."""

    status = Status.CONFLICT
    key: str | bytes | None = None
    """Of a batch, the key that was not as expected."""


class LimitReached(Error):
    """A limit is reached; nothing was changed."""

    status = Status.LIMIT


class NoMemory(Error, MemoryError):
    """No memory; nothing was changed."""

    status = Status.NO_MEMORY


class Aborted(Error):
    """The update was given up, or the server refused."""

    status = Status.ABORTED


class ForkedError(Error, RuntimeError):
    """The object was inherited through a fork; what the child opens itself works."""

    status = Status.FORKED


class ShutDown(Error, RuntimeError):
    """The library was shut down in this process."""

    status = Status.SHUT_DOWN


class Unsupported(Error, NotImplementedError):
    """Not on this platform, not in this version, or not with this value."""

    status = Status.UNSUPPORTED


class IOFailed(Error, OSError):
    """The operating system refused.

    `errno` says why, as of any `OSError`, and on Windows `winerror` too; None if the system
    gave no number.
    """

    status = Status.IO

    def __str__(self) -> str:
        """The text alone, which has the number in it."""
        return super().__str__() if self.strerror is None else self.strerror


class InternalError(Error):
    """A panic in kvreg itself was caught: a bug."""

    status = Status.INTERNAL


# NOT_FOUND is a key here and a name there: whoever asked for it knows what was not found.
_BY_STATUS: dict[int, type[Error]] = {
    error.status: error
    for error in (
        AlreadyStarted,
        NoProcess,
        ServerDown,
        CallTimeout,
        OutcomeUnknown,
        CallingSelf,
        Closed,
        WrongKind,
        InvalidArgument,
        WrongType,
        Conflict,
        LimitReached,
        NoMemory,
        Aborted,
        ForkedError,
        ShutDown,
        Unsupported,
        IOFailed,
        InternalError,
    )
}


_METHODS = {
    "start": "",
    "start_with": "",
    "put": "__setitem__",
    "put_string": "__setitem__",
    "put_bytes": "__setitem__",
    "put_int": "__setitem__",
    "put_float": "__setitem__",
    "get": "__getitem__",
    "get_into": "__getitem__",
    "get_entry": "entry",
    "put_entry": "put",
    "put_if": "put",
    "delete_if": "remove",
    "apply": "batch",
    "put_if_equal": "compare_and_swap",
    "add_int": "add",
    "delete": "__delitem__",
    "put_columns": "put_many",
    "update_begin": "update",
    "end": "update",
    "free": "update",
    "create_with": "create",
    "lookup": "__getitem__",
    "count": "__len__",
    "names": "__iter__",
    "set_timeout": "timeout",
    "monitor_registry": "monitor",
    "fd": "fileno",
    "handle": "fileno",
    "next": "items",
    "start_server": "start",
    "lookup_server": "servers",
    "begin": "call",
}
"""What functions of the C interface are called in Python, where it is not by their verb."""

_SENTENCES = {
    "the handle is NULL, freed, or made up": "it was closed",
    "the handle was inherited through fork": "it was inherited through a fork",
}
"""What the library says of handles, which Python has none of."""


def last_error(library: Library) -> str:
    """The text of the last failing call on this thread."""
    capacity = 256
    while True:
        buffer = ctypes.create_string_buffer(capacity)
        length: int = library.quick.kvreg_last_error(buffer, capacity)
        if length < capacity:
            return buffer.raw[:length].decode("utf-8", "replace")
        capacity = length + 1


def told(text: str, name: str | None) -> str:
    """What the library says of a call, said of a method of the object that has the name."""
    function, colon, sentence = text.partition(": ")
    if not colon or not function.startswith("kvreg_"):
        return text
    kind, _, verb = function[len("kvreg_") :].partition("_")
    method = _METHODS.get(verb, verb)
    # `kvreg_configure` has no object, and an update is a bucket's.
    owner = {"update": "Bucket", "items": "Bucket", "turn": "Server"}.get(
        kind, kind.capitalize()
    )
    where = f"{owner}.{method}" if method else owner
    if kind == "engine":
        where = f"kvreg.{verb}_engine"
    if not verb:
        where = f"kvreg.{kind}"
    of = "" if name is None else f" of {name!r}"
    for own, in_python in _SENTENCES.items():
        sentence = sentence.replace(own, in_python)
    return f"{where}{of}: {sentence}"


def error(library: Library, status: int, name: str | None = None) -> Error:
    """The exception for a status; to be called before anything else fails on this thread."""
    kind, text = _BY_STATUS.get(status, Error), told(last_error(library), name)
    number: int = library.quick.kvreg_last_os_error() if kind is IOFailed else 0
    raised = _refused(number, text) if number else kind(text)
    if raised.status != status:  # one that has no class of its own
        raised.status = status
    return raised


def _refused(number: int, text: str) -> IOFailed:
    """With the system's error number, which is none of C's on Windows."""
    if sys.platform == "win32":
        return IOFailed(0, text, None, number)
    return IOFailed(number, text)


def of_status(status: int, text: str) -> Error:
    """The exception for a status that an event told, and not a call."""
    raised = _BY_STATUS.get(status, Error)(text)
    if raised.status != status:
        raised.status = status
    return raised


def check(library: Library, status: int) -> None:
    """Raises what a status other than OK says."""
    if status:
        raise error(library, status)
