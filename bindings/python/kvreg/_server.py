"""What buckets and registries have in common: calls that wait for their turn.

A call is tried at once first, on a handle of its own with timeout 0, and keeps the GIL: nearly
all of them end there. Only when it would have to wait does it let go of the GIL and wait. In
the main thread it waits in slices, between which Python handles signals, so that Ctrl-C works;
each slice is a request of its own, which is withdrawn at its end and then made anew, at the end
of the queue. So that a caller comes to its turn where the queue is always longer than a slice,
every tenth is longer.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any, Callable, TypeVar

from . import _timeout
from ._accelerated import own_slots
from ._constants import Status
from ._handle import Handle, named, obtain
from ._hot import Hot
from ._library import Library
from ._logging import follow
from ._timeout import milliseconds

_Self = TypeVar("_Self", bound="Server")

_SLICE = 0.1
_LONG_SLICE = 1.0
_LONG_EVERY = 10


class Server(Handle):
    """Owns a handle of a server, which may have others."""

    __slots__ = own_slots("_called", "_hot", "_now", "_timeout")

    _called: str | None
    """The name by which it was started or found, for messages."""
    _hot: Hot
    _now: ctypes.c_void_p | None
    _timeout: float | None

    def __init__(self, library: Library, handle: int | None) -> None:
        """Owns `handle` from here on."""
        super().__init__(library, handle)
        self._hot = library.hot
        self._now = None
        self._called = None
        self._timeout = _timeout.default

    @classmethod
    def _of(cls: type[_Self], library: Library, handle: int | None) -> _Self:
        """An object for a handle that was obtained; starts no server."""
        server = cls.__new__(cls)
        Server.__init__(server, library, handle)
        return server

    def clone(self: _Self) -> _Self:
        """Another handle to the same server, with the timeout of this one. Never blocks.

        As a context manager it is closed at the end of the block, and nothing else.
        """
        other = self._of(*obtain(named(self._kind, "clone"), self._handle))
        other._timeout, other._called = self._timeout, self._called
        return other

    def __copy__(self: _Self) -> _Self:
        return self.clone()

    @property
    def timeout(self) -> float | None:
        """How many seconds a call through this object waits for its turn.

        5 at first (see `kvreg.configure`); `None` is for ever, 0 only if it need not wait.
        Clones have their own. To set it never blocks; `ValueError` below 0.
        """
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        Handle._call(self, named(self._kind, "set_timeout"), milliseconds(seconds))
        self._timeout = seconds

    def _at_once(self) -> ctypes.c_void_p:
        """The handle with timeout 0."""
        now = self._now
        if now is None:
            # Of two threads that come here at once both own one, and one of them is used.
            now = ctypes.c_void_p()
            self._check(self._another(now))
            self._now = now
        return now

    def _another(self, handle: ctypes.c_void_p) -> int:
        """Makes another handle of its own, with timeout 0."""
        clone = getattr(self._library.quick, named(self._kind, "clone"))
        # Owned before it is there: Python may be interrupted as soon as it is.
        self._own(handle)
        status: int = clone(self._handle, ctypes.byref(handle))
        if self._closed:  # perhaps meanwhile, when there was nothing to free yet
            self._free(handle)
            self._disown(handle)
        return status or self._set_timeout(handle, 0)

    def _set_timeout(self, handle: ctypes.c_void_p, timeout_ms: int) -> int:
        set_timeout = getattr(self._library.quick, named(self._kind, "set_timeout"))
        status: int = set_timeout(handle, timeout_ms)
        return status

    def _call(self, function: str, *arguments: object) -> None:
        self._check(self._status(function, *arguments))

    def _call_blocking(self, function: str, *arguments: object) -> None:
        self._check(self._wait_or_not(function, *arguments))

    def _wait_or_not(self, function: str, *arguments: object) -> int:
        """What a call answers that may be long: other threads run meanwhile."""
        follow()
        return self._wait(getattr(self._library, function), *arguments)

    def _status(self, function: str, *arguments: object) -> int:
        """What a short call answers, that may have to wait for its turn."""
        library = self._library
        status: int = getattr(library.quick, function)(self._at_once(), *arguments)
        if status == Status.TIMEOUT and self._timeout != 0:
            status = self._wait(getattr(library, function), *arguments)
        return status

    def _wait(self, function: Callable[..., int], *arguments: Any) -> int:
        """What a function answers that waits for its turn, for as long as it may."""
        timeout = self._timeout
        if timeout == 0 or threading.get_ident() != threading.main_thread().ident:
            return function(self._handle, *arguments)
        end = None if timeout is None else time.monotonic() + timeout
        slices, count = ctypes.c_void_p(), 0
        try:
            status = self._another(slices)
            if status:
                return status
            while True:
                count += 1
                wait = _LONG_SLICE if count % _LONG_EVERY == 0 else _SLICE
                left = wait + 1 if end is None else max(0.0, end - time.monotonic())
                self._set_timeout(slices, milliseconds(min(left, wait)))
                status = function(slices, *arguments)
                if status != Status.TIMEOUT or left <= wait:
                    return status
        finally:
            # At once, before Python can be interrupted again. If the object was closed
            # meanwhile it is free, and the library says so, to nobody.
            self._free(slices)
            slices.value = None
            self._disown(slices)
