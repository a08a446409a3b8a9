"""What buckets and registries have in common: other handles, and a timeout for each handle."""

from __future__ import annotations

import ctypes
from typing import TypeVar

from . import _timeout
from ._handle import Handle, obtain
from ._timeout import milliseconds

_Self = TypeVar("_Self", bound="Server")


class Server(Handle):
    """Owns a handle of a server, which may have others."""

    __slots__ = ("_timeout",)

    _timeout: float | None

    def __init__(self, library: ctypes.CDLL, handle: int | None) -> None:
        """Owns `handle` from here on."""
        super().__init__(library, handle)
        self._timeout = _timeout.default

    @classmethod
    def _of(cls: type[_Self], library: ctypes.CDLL, handle: int | None) -> _Self:
        """An object for a handle that was obtained; starts no server."""
        server = cls.__new__(cls)
        Server.__init__(server, library, handle)
        return server

    def clone(self: _Self) -> _Self:
        """Another handle to the same server, with the timeout of this one. Never blocks.

        As a context manager it is closed at the end of the block, and nothing else.
        """
        other = self._of(*obtain(f"kvreg_{self._kind}_clone", self._handle))
        other._timeout = self._timeout
        return other

    def __copy__(self: _Self) -> _Self:
        return self.clone()

    @property
    def timeout(self) -> float | None:
        """How many seconds a call through this object waits for its turn.

        5 at first (see `kvreg.configure`); `None` is for ever, 0 only if it need not wait.
        Clones have their own.
        """
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._call(f"kvreg_{self._kind}_set_timeout", milliseconds(seconds))
        self._timeout = seconds
