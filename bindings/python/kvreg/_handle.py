"""What all objects of kvreg have in common: they own one handle, and free it exactly once."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import warnings
from typing import Callable, ClassVar, NoReturn, TypeVar, Union

from ._accelerated import Object, own_slots
from ._errors import Error, check, error
from ._library import Library
from ._library import library as load_library
from ._logging import follow

_Self = TypeVar("_Self", bound="Handle")
_Owned = Union[ctypes.c_void_p, int, None]
_Free = Callable[[_Owned], int]


def named(kind: str, verb: str) -> str:
    """The name of a function of the library, the same object each time: Python keeps others."""
    return sys.intern(f"kvreg_{kind}_{verb}")


class Handle(Object):
    """Owns a handle. The number stays as it is after `close`: the library refuses it then."""

    __slots__ = ("__weakref__", *own_slots("_closed", "_free", "_handle", "_library", "_owned"))

    _kind: ClassVar[str]
    """As in the names of the C functions: `kvreg_<kind>_free`."""

    def __init__(self, library: Library, handle: int | None) -> None:
        """Owns `handle` from here on."""
        self._library = library
        self._handle = handle
        self._closed = False
        self._free: _Free = getattr(library, named(self._kind, "free"))
        self._owned: list[_Owned] = [handle]

    # It may run anywhere, and late, when globals are gone: so it takes no lock, waits for
    # nobody, and has with it what it needs. In a forked child freeing does nothing.
    def __del__(self) -> None:
        if getattr(self, "_owned", None):  # else it could not be made, or was closed
            self._free_all()

    def _free_all(self) -> None:
        owned = self._owned
        # Two threads may do this at once: each handle comes out once.
        while owned:
            try:
                handle = owned.pop()
            except IndexError:
                return
            self._free(handle)

    def _own(self, handle: ctypes.c_void_p) -> None:
        """Owns another handle too, from the moment at which the library writes it there."""
        self._owned.append(handle)

    def _disown(self, handle: ctypes.c_void_p) -> None:
        """Forgets a handle that `_own` was given, and that is free."""
        with contextlib.suppress(ValueError):  # the object was closed meanwhile
            self._owned.remove(handle)

    def _call(self, function: str, *arguments: object) -> None:
        """Calls a function that never blocks on the handle; raises what it answers."""
        follow()
        self._check(getattr(self._library.quick, function)(self._handle, *arguments))

    def _call_blocking(self, function: str, *arguments: object) -> None:
        """The same of one that may block, or that takes its time."""
        follow()
        self._check(getattr(self._library, function)(self._handle, *arguments))

    def _check(self, status: int) -> None:
        """Raises what a status other than OK says."""
        if status:
            raise self._error(status)

    def _error(self, status: int) -> Error:
        return error(self._library, status, getattr(self, "_called", None))

    def close(self) -> None:
        """Frees the handle; closing twice is fine.

        From here on the object raises `Closed`. What others can still reach goes on: a bucket
        that has a name, a registry that has one, whatever has another handle. What nobody can
        reach any more ends. Never blocks, and may be called while other threads use the object.
        """
        self._closed = True
        self._free_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called. Never blocks."""
        return self._closed

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(
            f"a {kind} cannot be pickled or copied deeply: it is a live handle in this"
            " process and means nothing in another"
        )

    def __repr__(self) -> str:
        state = " (closed)" if self.closed else ""
        return f"<kvreg.{type(self).__name__}{state} at {id(self):#x}>"

    def _warn_if_open(self) -> None:
        """For `__del__` of what has more than memory: says that nobody closed it."""
        # A program may end with all open; and what could not be made owns nothing.
        if getattr(self, "_owned", None) and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)


def obtain(function: str, *arguments: object) -> tuple[Library, int | None]:
    """Calls a function that never blocks and gives a handle, its last argument."""
    library = load_library()
    follow()
    handle = ctypes.c_void_p()
    check(library, getattr(library.quick, function)(*arguments, ctypes.byref(handle)))
    return library, handle.value
