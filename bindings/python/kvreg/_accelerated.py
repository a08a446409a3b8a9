"""The extension module, where there is one: the short ways of this package, in C.

It changes nothing but speed. Where it is not, as in PyPy, in CPython before 3.11, or with the
environment variable KVREG_PURE=1, all is done by what the modules here say, which is also what
the extension calls for whatever is not short; see `native/native.h`.

A class that it knows gets a subclass, whose methods are the extension's before its own: those
of its own that are covered so have names that begin with `_pure_`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

_Class = TypeVar("_Class", bound=type)

VARIABLE = "KVREG_PURE"

VERSION = (0, 1)
"""Major and minor of the interface that _abi describes."""


def _found() -> Any:
    # Those before would take the file too, and not find in themselves what it needs.
    if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
        return None
    if os.environ.get(VARIABLE, "0") not in ("", "0"):
        return None
    name = f"{__package__}._native"
    try:
        found = importlib.import_module(name)
    except ImportError as error:
        # There is none, or none for this interpreter, as one that shares no lock with others.
        if isinstance(error, ModuleNotFoundError) and error.name != name:
            raise
        return None
    if (found.VERSION >> 16, found.VERSION >> 8 & 0xFF) != VERSION:
        needed = f"{VERSION[0]}.{VERSION[1]}"
        raise ImportError(
            f"{found.__file__} is of another version than the package, {needed}: build it"
            " again, or remove it"
        )
    return found


native: Any = _found()
"""The extension module, or None."""

if TYPE_CHECKING or native is None:

    class Object:
        """What every object with a handle is."""

        __slots__ = ()

        def _forget(self) -> None:
            """Before it gets a handle: what the extension knew of an older one."""

else:
    Object = native.Object


def own_slots(*names: str) -> tuple[str, ...]:
    """Those of the attributes of a class that the extension's objects have not already."""
    return tuple(name for name in names if not hasattr(Object, name))


def accelerated(pure: _Class) -> _Class:
    """Has a class take the short ways that the extension has for one of its name."""
    short = getattr(native, pure.__name__, None)
    if short is None:
        return pure
    body: dict[str, Any] = {
        f"_pure_{name}": found
        for owner in reversed(pure.__mro__)
        if owner.__module__.startswith(f"{__package__}.")
        for name, found in vars(owner).items()
        if name in vars(short) and name not in vars(native.Object)
    }
    for name in body:
        native.describe(pure.__name__, name[len("_pure_") :], body[name].__doc__ or "")
    body.update(__doc__=pure.__doc__, __module__=pure.__module__, __slots__=())
    body["__qualname__"] = pure.__qualname__
    made: _Class = type(pure)(pure.__name__, (short, pure), body)
    return made


def know(**what: object) -> None:
    """Tells the extension, if there is one, what it is to know of this package."""
    if native is not None:
        native.know(what)


def bind(library: ctypes.CDLL) -> bool:
    """Has the extension, if there is one, call this library's functions.

    Before the first object is made. False if it calls those of another one: an extension is
    loaded once in a process, for all interpreters.
    """
    if native is None:
        return True
    functions = (getattr(library, f"kvreg_{name}") for name in native.FUNCTIONS)
    is_bound: bool = native.bind(
        tuple(ctypes.cast(it, ctypes.c_void_p).value for it in functions)
    )
    return is_bound
