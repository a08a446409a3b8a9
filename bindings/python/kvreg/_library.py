"""Finding and loading the shared library: once, on first use.

Importing kvreg loads nothing. The first of these is taken:

1. what `load` was given,
2. the file that the environment variable KVREG_LIBRARY names,
3. a copy that the process has loaded already, so that a C host and its Python share one,
4. the file beside this package.

The file is used in two ways. `Library` itself is a `CDLL`, whose calls let go of the GIL: all
that may block goes there. `Library.quick` is a `PyDLL`, whose calls keep it: for those that
never block, where letting go would cost more than the call, and beside a busy thread a switch
interval (5 ms) before Python runs on. No thread of the library ever wants the GIL, so nobody
can wait for a caller that holds it. `Library.hot` are the most frequent of them. PyPy has no
`PyDLL`: there all calls are those of the `CDLL`, which are right as well, and slower.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path

from . import _abi, _accelerated
from ._accelerated import VERSION as _VERSION
from ._hot import Hot

VARIABLE = "KVREG_LIBRARY"

_BESIDE = Path(__file__).resolve().parent

if sys.platform == "win32":  # Windows only
    _FILE_NAME = "kvreg.dll"
elif sys.platform == "darwin":  # macOS only
    _FILE_NAME = "libkvreg.dylib"
else:
    _FILE_NAME = "libkvreg.so"


class Library(ctypes.CDLL):
    """The shared library, with its signatures."""

    quick: ctypes.CDLL
    hot: Hot
    storing: Hot | None = None
    """The same for buckets that a store keeps, once there are some."""


_loaded: Library | None = None
# Signal handlers and destructors may use kvreg too, in the middle of loading.
_loading = threading.RLock()


def _begin_anew() -> None:
    # The thread that was loading is not there in a forked child.
    global _loading
    _loading = threading.RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


class LibraryError(OSError):
    """The shared library cannot be loaded, or is of another version."""


def load(path: str | os.PathLike[str]) -> None:
    """Loads the shared library from `path`: before the first use, instead of searching for it.

    Raises `LibraryError` if the file cannot be loaded or is of another version, and
    `RuntimeError` if another one is in use already; the same one again is fine. May be
    called from any thread, and blocks while the system reads the file.
    """
    global _loaded
    path = os.fspath(path)
    with _loading:
        library = _open(path)
        if _loaded is None:
            _loaded = _used(library)
        elif _address(library) != _address(_loaded):
            raise RuntimeError(f"kvreg is in use already, as {_describe(_loaded)}")


def library() -> Library:
    """The library, loaded now if it was not. Raises `LibraryError`, naming all it tried."""
    global _loaded
    if _loaded is None:
        with _loading:
            if _loaded is None:
                found = _find()
                if _loaded is None:  # a signal handler may have been faster
                    _loaded = _used(found)
    return _loaded


def _used(library: Library) -> Library:
    """The library that is used from here on."""
    if not _accelerated.bind(library.quick):
        raise LibraryError(
            f"{_describe(library)}: another interpreter of this process uses another copy, and"
            f" the extension calls that; set {_accelerated.VARIABLE}=1 to do without it"
        )
    return library


def library_version() -> str:
    """The version of the shared library, "major.minor.patch".

    Loads it if it was not, as `load` does: `LibraryError`, naming all it tried. Then never
    blocks.
    """
    version: bytes = library().kvreg_version_string()
    return version.decode()


def _find() -> Library:
    named = os.environ.get(VARIABLE)
    if named:
        # What somebody asked for by name is not replaced by something else.
        try:
            return _open(named)
        except LibraryError as error:
            raise LibraryError(f"{error} (named by {VARIABLE})") from error
    loaded = _already_loaded()
    if loaded is not None:
        return _checked(loaded)
    beside = _BESIDE / _FILE_NAME
    try:
        return _open(str(beside))
    except LibraryError as error:
        raise LibraryError(
            f"cannot find the kvreg library, version {_needed()}. Tried:\n"
            f"  the environment variable {VARIABLE}: not set\n"
            "  a copy that this process has loaded: none\n"
            f"  {error}\n" + _what_to_do()
        ) from error


def _what_to_do() -> str:
    archive = next((path for path in _BESIDE.parents if path.is_file()), None)
    if archive is None:
        return f"Set {VARIABLE} to the path of {_FILE_NAME}, or call kvreg.load(path)."
    return (
        f"The package is inside {archive}, and the system loads no library out of an archive:"
        f" put {_FILE_NAME} beside the archive, and set {VARIABLE} to its path or call"
        " kvreg.load(path) before the first use; or install kvreg into a directory"
        " (pip install --target), and put that on sys.path."
    )


def _open(path: str) -> Library:
    try:
        opened = Library(path)
    except OSError as error:
        raise LibraryError(f"{path}: {error}") from error
    return _checked(opened)


if sys.platform == "win32":  # Windows only

    def _already_loaded() -> Library | None:
        get_module_handle = ctypes.WinDLL("kernel32").GetModuleHandleW
        get_module_handle.argtypes = [ctypes.c_wchar_p]
        get_module_handle.restype = ctypes.c_void_p
        module = get_module_handle(_FILE_NAME)
        return Library(_FILE_NAME, handle=module) if module else None

else:

    def _already_loaded() -> Library | None:
        program = Library(None)
        if hasattr(program, "kvreg_version_number"):
            return program
        # A host may have loaded it for itself alone; then only its name tells: that it is
        # linked by, or that of a file without one.
        for name in (f"libkvreg.so.{_VERSION[0]}", _FILE_NAME):
            try:
                return Library(name, mode=os.RTLD_NOLOAD)
            except OSError:
                continue
        return None


def _checked(opened: Library) -> Library:
    """The library with its signatures, if it is of the version that they describe."""
    try:
        number: int = opened.kvreg_version_number()
    except AttributeError:
        raise LibraryError(f"{_describe(opened)}: not a kvreg library") from None
    version = (number >> 16, number >> 8 & 0xFF)
    # What a version can do, later ones of the same major can.
    if version[0] != _VERSION[0] or version < _VERSION:
        raise LibraryError(
            f"{_describe(opened)}: version {version[0]}.{version[1]}, but the package in"
            f" {_BESIDE} needs {_needed()}"
        )
    try:
        _declare(opened)
    except AttributeError as error:
        raise LibraryError(f"{_describe(opened)}: {error}") from None
    opened.quick = opened
    if hasattr(ctypes, "PyDLL"):
        opened.quick = ctypes.PyDLL(opened._name, handle=opened._handle)
        _declare(opened.quick)
    opened.hot = Hot(opened.quick)
    return opened


def _declare(opened: ctypes.CDLL) -> None:
    """Gives each function its signature; `AttributeError` if the library lacks one."""
    for name, result, arguments in _abi.SIGNATURES:
        function = getattr(opened, name)
        function.restype = result
        function.argtypes = arguments


def engine_beside(opened: ctypes.CDLL, scheme: str) -> Path:
    """Where the library looks for an engine; a path in no directory where that is not known."""
    name = _FILE_NAME.replace("kvreg", f"kvreg_{scheme}")
    directory = os.path.dirname(opened._name or "")
    return Path(directory or os.devnull, name)


def _needed() -> str:
    return f"{_VERSION[0]}.{_VERSION[1]}"


def _address(opened: ctypes.CDLL) -> int | None:
    """Tells loaded copies apart: where one of the library's functions is."""
    return ctypes.cast(opened.kvreg_version_number, ctypes.c_void_p).value


def _describe(opened: ctypes.CDLL) -> str:
    return str(opened._name or "the running program")
