"""What all objects of kvreg have in common: they own one handle, and free it exactly once."""

from __future__ import annotations

import ctypes
import sys
import warnings
import weakref
from typing import Callable, ClassVar, NoReturn, TypeVar

from ._errors import check
from ._library import Library
from ._library import library as load_library

_Self = TypeVar("_Self", bound="Handle")


class Handle:
    """Owns a handle. The number stays as it is after `close`: the library refuses it then."""

    __slots__ = ("__weakref__", "_finalizer", "_handle", "_library", "_owned")

    _kind: ClassVar[str]
    """As in the names of the C functions: `kvreg_<kind>_free`."""

    def __init__(self, library: Library, handle: int | None) -> None:
        """Owns `handle` from here on."""
        self._library = library
        self._handle = handle
        self._owned = [handle]
        # No lock and no wait: freeing may happen wherever the garbage collector runs.
        self._finalizer = weakref.finalize(self, _free, self._free_function(), self._owned)
        # The end of the interpreter is not an end of the object: a daemon thread may still
        # use it then, and should not find it closed.
        self._finalizer.atexit = False

    def _free_function(self) -> Callable[[int | None], int]:
        function: Callable[[int | None], int] = getattr(
            self._library, f"kvreg_{self._kind}_free"
        )
        return function

    def _own(self, handle: int | None) -> None:
        """Owns another handle too."""
        self._owned.append(handle)
        if not self._finalizer.alive:  # closed meanwhile
            _free(self._free_function(), self._owned)

    def _disown(self, handle: int | None) -> None:
        """Frees a handle that `_own` was given."""
        try:
            self._owned.remove(handle)
        except ValueError:  # closed meanwhile
            return
        self._free_function()(handle)

    def _call(self, function: str, *arguments: object) -> None:
        """Calls a function that never blocks on the handle; raises what it answers."""
        library = self._library
        check(library, getattr(library.quick, function)(self._handle, *arguments))

    def _call_blocking(self, function: str, *arguments: object) -> None:
        """The same of one that may block, or that takes its time."""
        library = self._library
        check(library, getattr(library, function)(self._handle, *arguments))

    def close(self) -> None:
        """Frees the handle and nothing else; closing twice is fine.

        From here on the object raises `Closed`. Never blocks, and may be called while other
        threads use the object.
        """
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

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
        # There is none if it could not be made. A program may end with all open.
        finalizer = getattr(self, "_finalizer", None)
        if finalizer is not None and finalizer.alive and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)


def _free(free: Callable[[int | None], int], owned: list[int | None]) -> None:
    # Two threads may do this at once: each handle comes out once.
    while owned:
        try:
            handle = owned.pop()
        except IndexError:
            return
        free(handle)


def obtain(function: str, *arguments: object) -> tuple[Library, int | None]:
    """Calls a function that never blocks and gives a handle, its last argument."""
    library = load_library()
    handle = ctypes.c_void_p()
    check(library, getattr(library.quick, function)(*arguments, ctypes.byref(handle)))
    return library, handle.value
