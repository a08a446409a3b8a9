"""Stores, which keep the contents of buckets beyond their end: engines, and who waits for them.

A change of a bucket that a store keeps is stored before it is made, by whoever has the turn: so
it blocks for a disk although nobody is in its way. It is made without the interpreter's lock
from its beginning, where other calls keep the lock and first try if they need not wait.

A store on a cluster answers nobody who has no time, so all that waits for it waits without that
lock; and once, not in slices: what a store has been given is not called back at the end of one.

The library does not say which buckets those are, so it is noted where a store is named: for a
registry that has a name by that, for whoever knows it looks its buckets up; for another one by
what its clones share. A bucket that was given a store by a program in C, in a registry that
Python found by its name, is not known: its changes keep the lock while they are stored.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from . import _abi, _timeout
from ._changes import path_text
from ._constants import Status
from ._errors import InvalidArgument, check
from ._hot import Hot
from ._library import engine_beside
from ._library import library as load_library
from ._logging import follow

if TYPE_CHECKING:
    from ._dict_methods import DictMethods
    from ._library import Library
    from ._registry import Registry

_Result = TypeVar("_Result")
_Bucket = TypeVar("_Bucket", bound="DictMethods")

_SLICE = 0.05
"""Seconds after which the main thread looks for signals, where the system does not wake it."""


def load_engine(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
    """Loads a shared object that is an engine: what opens the stores of its URLs.

    The engines that come with kvreg need it only where they do not lie beside kvreg's library.
    It stays loaded. `OSError` if it cannot be loaded, `Unsupported` if it is no engine or one
    of another version, `AlreadyStarted` if its URLs have one. Blocks for the disk.
    """
    text = path_text(path)
    library = load_library()
    follow()
    check(library, library.kvreg_engine_load(text, len(text)))


_PACKAGES = {"nats": "kvreg_nats"}
"""Engines that are distributions of their own, by the schemes of their URLs: `kvreg[nats]`."""

_provided: set[str] = set()
"""The schemes for which there is nothing left to be looked for."""


def provide(url: str) -> None:
    """Has the engine of a URL loaded, if it is installed as a package of its own.

    The library finds others by itself, and says what is missing. Once there is one, this is
    nothing; the first time it blocks for the disk. A child of a fork has its parent's.
    """
    scheme = url.partition(":")[0]
    package = _PACKAGES.get(scheme)
    if package is None or scheme in _provided:
        return
    library = load_library()
    if not engine_beside(library, scheme).is_file():
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as missing:
            if missing.name != package:
                raise
            return  # it may be installed later
        follow()
        path = path_text(module.LIBRARY)
        status = library.kvreg_engine_load(path, len(path))
        # The program may have registered one, or another thread this one.
        if status != Status.ALREADY_STARTED:
            check(library, status)
    _provided.add(scheme)


def named(options: _abi.BucketOptions, store: str) -> _abi.BucketOptions:
    """The options with a store; `InvalidArgument` if they name another one."""
    if not isinstance(store, str):
        raise TypeError(f"a store is the str of a URL, not {type(store).__name__}")
    url = store.encode()
    if options.store_len and options.store != url:
        raise InvalidArgument(f"store={store!r} and the bucket options name two stores")
    options.store, options.store_len = url, len(url)
    return options


class Stored:
    """Which buckets of a registry a store keeps, as far as one was named here."""

    __slots__ = ("_are_all", "_names")

    def __init__(self) -> None:
        self._are_all = False
        self._names: set[str] = set()

    def add(self, bucket: str | None) -> None:
        """Notes one; None: all that have no options of their own."""
        if bucket is None:
            self._are_all = True
        else:
            self._names.add(bucket)

    def discard(self, bucket: str) -> bool:
        """Forgets one that was named itself: whether it was there."""
        was_there = bucket in self._names
        self._names.discard(bucket)
        return was_there

    def has(self, bucket: str) -> bool:
        """Whether a store may keep it."""
        return self._are_all or bucket in self._names


of_named: dict[str, Stored] = {}
"""Of registries by their names, if a store was named there."""


def stored_in(registry: Registry) -> Stored | None:
    """What is known of a registry; None if no store was named there."""
    name = registry._called
    return registry._keeper.stored if name is None else of_named.get(name)


def note(registry: Registry, bucket: str | None) -> None:
    """A store is named for a bucket, or for all."""
    keeper, name = registry._keeper, registry._called
    if name is not None:
        found = of_named.setdefault(name, Stored())
    else:
        found = keeper.stored = keeper.stored or Stored()
    found.add(bucket)


def is_stored(registry: Registry, bucket: str) -> bool:
    """Whether a store may keep the bucket that has the name."""
    found = stored_in(registry)
    return found is not None and found.has(bucket)


@contextlib.contextmanager
def removing(registry: Registry, bucket: str) -> Iterator[None]:
    """While a bucket is removed, after which nothing need be known of it.

    That is forgotten before: who starts one of the name meanwhile notes it when it is there.
    """
    found = stored_in(registry)
    was_noted = found is not None and found.discard(bucket)
    try:
        yield
    except BaseException:
        if was_noted:
            note(registry, bucket)
        raise


def keep(bucket: DictMethods) -> None:
    """From here on changes through this object, which is new, let go of the lock."""
    bucket._stored, bucket._hot = True, _hot(bucket._library)
    bucket._shared = _is_shared(bucket)
    if bucket._shared:
        bucket._timeout = _timeout.shared  # as the library's own handles


def _is_shared(bucket: DictMethods) -> bool:
    """Whether others change it too, as on a cluster. Never blocks."""
    stats = _abi.BucketStats()
    status = bucket._library.quick.kvreg_bucket_info(bucket._at_once(), stats)
    # A cluster in reach tells nothing to who has no time, unless there is a copy to be asked.
    return status == Status.TIMEOUT or bool(stats.lacks & _abi.LACKS_WHOLE)


class _Casts(threading.local):
    """Which buckets that others change too a thread has cast to since it last waited there."""

    def __init__(self) -> None:
        self._names: set[str | None] = set()

    def note(self, bucket: DictMethods) -> None:
        """It casts there."""
        self._names.add(bucket._called)

    def forget(self, bucket: DictMethods) -> bool:
        """Whether it did; from here on it did not."""
        has_cast = bucket._called in self._names
        self._names.discard(bucket._called)
        return has_cast


casts = _Casts()


def after_mail(bucket: _Bucket) -> _Bucket:
    """The bucket, when it has handled what was cast before, by whichever thread. Blocks."""
    update = ctypes.c_void_p()
    library = bucket._library
    status = library.kvreg_bucket_update_begin(
        bucket._handle, b"", 0, None, ctypes.byref(update)
    )
    library.quick.kvreg_update_free(update)
    bucket._check(status)
    return bucket


def _hot(library: Library) -> Hot:
    found = library.storing
    if found is None:
        found = library.storing = Hot(library.quick, library)
    return found


def uncut(work: Callable[[], _Result]) -> _Result:
    """What `work` gives or raises, which waits for a store, once and as long as it takes.

    A wait is not cut into slices here, for an engine gives up at the end of each. So that
    Ctrl-C interrupts the main thread nevertheless, another thread waits in its place, and goes
    on then.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return work()
    answers: list[tuple[BaseException | None, Any]] = []
    done = threading.Event()

    def run() -> None:
        try:
            answers.append((None, work()))
        except BaseException as raised:
            answers.append((raised, None))
        done.set()

    try:
        threading.Thread(target=run, name="kvreg-store", daemon=True).start()
    except RuntimeError:  # there can be no more threads, as when the interpreter ends
        return work()
    while not done.wait(_SLICE):
        pass
    raised, result = answers.pop()
    try:
        if raised is not None:
            raise raised
        found: _Result = result
        return found
    finally:
        del raised  # whose traceback refers to this frame
