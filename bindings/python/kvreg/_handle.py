"""What all objects of kvreg have in common: they own one handle, and free it exactly once."""

from __future__ import annotations

import ctypes
import weakref
from typing import ClassVar, NoReturn, TypeVar

from ._errors import check
from ._library import library as load_library

_Self = TypeVar("_Self", bound="Handle")


class Handle:
    """Owns a handle. The number stays as it is after `close`: the library refuses it then."""

    __slots__ = ("__weakref__", "_finalizer", "_handle", "_library")

    _kind: ClassVar[str]
    """As in the names of the C functions: `kvreg_<kind>_free`."""

    def __init__(self, library: ctypes.CDLL, handle: int | None) -> None:
        """Owns `handle` from here on."""
        free = getattr(library, f"kvreg_{self._kind}_free")
        self._library = library
        self._handle = handle
        # No lock and no wait: freeing may happen wherever the garbage collector runs.
        self._finalizer = weakref.finalize(self, free, handle)
        # The end of the interpreter is not an end of the object: a daemon thread may still
        # use it then, and should not find it closed.
        self._finalizer.atexit = False

    def _call(self, function: str, *arguments: object) -> None:
        """Calls a function on the handle; raises what it answers."""
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


def obtain(function: str, *arguments: object) -> tuple[ctypes.CDLL, int | None]:
    """Calls a function whose last argument is a handle it gives; raises what it answers."""
    library = load_library()
    handle = ctypes.c_void_p()
    check(library, getattr(library, function)(*arguments, ctypes.byref(handle)))
    return library, handle.value
