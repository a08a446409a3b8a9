"""The servers whose code is Python's: which there are in this process, and their objects.

A specification (`Spec`) is what one start gave: a class, its arguments, and how it is started
again. It has the key that the library tells of its mail. Each time that it is started it has a
new process, and so a new `Cell` here: the object whose methods are the handlers, and what only
this process knows. A cell is found by the handle that messages bring, which no other has.

Who owns what: the table holds the cells, a cell holds its object, and handles hold the cell.
The object goes at the DOWN of its process, which the inbox of the table gets: whoever is inside
then has it to the end of the method. A specification goes when it can never be started again.
Of that the library tells a C function, which Python has none of: so it is given a function of
its own, `kvreg_bucket_free`, and a bucket that nobody else knows, whose DOWN says it here.

What only Python understands stays here too, in parcels: a message then has the number of one.
That of a call is its caller's, who takes it back. Others are kept by the process that they were
sent to. Who sends may not know yet that this is a new one: so what an end finds there is kept
for the next one, and goes with that at the latest.

All of this is of one process: a forked child begins with an empty table. It is changed by
single steps of dicts, which the interpreter's lock makes whole. The lock of the table is for
parcels, and for what is to happen once; nothing is called with it that could wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
from typing import TYPE_CHECKING, Any, Callable
from weakref import ReferenceType

from . import _abi
from ._constants import Reason
from ._errors import ServerDown, check
from ._inbox import Down, Inbox
from ._library import Library
from ._timeout import milliseconds

if TYPE_CHECKING:
    from ._codecs import Codec
    from ._kind import Kind
    from ._later import Answer


class OwnInbox(Inbox):
    """An inbox that nobody has to close."""

    __slots__ = ()

    def __del__(self) -> None:
        self._free_all()

    def next_event(self, event: _abi.Event, timeout: float | None) -> int:
        """What the library answers; the event is to be cleared. Blocks but for 0 seconds."""
        receive = self._library.quick.kvreg_inbox_receive
        status: int = receive(self._handle, 0, event)
        if status != _abi.TIMEOUT or timeout == 0:
            return status
        return self._wait(milliseconds(timeout), timeout, event)


class Parcel:
    """What a message of Python has for Python: arguments, and what became of them."""

    __slots__ = ("args", "error", "kwargs", "number", "result", "was_kept")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.number = next(_numbers)
        self.args, self.kwargs = args, kwargs
        self.result: Any = None
        self.error: BaseException | None = None
        self.was_kept = False
        """Beyond the end of a process."""


_numbers = itertools.count(1)


class Spec:
    """See the module."""

    __slots__ = (
        "args",
        "codec",
        "current",
        "key",
        "keeper",
        "kind",
        "kwargs",
        "library",
        "name",
        "parcels",
        "registry_name",
        "sentinel",
        "table",
        "where",
    )

    def __init__(
        self,
        table: Table,
        library: Library,
        kind: Kind,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.table, self.library, self.kind = table, library, kind
        self.args, self.kwargs = args, kwargs
        self.key = next(_numbers)
        self.name: str | None = None
        self.registry_name: str | None = None
        self.codec: Codec | None = None
        self.keeper: ReferenceType[Any] | None = None
        self.current: Cell | None = None
        self.parcels: dict[int, Parcel] = {}
        """Sent to a process that has no cell yet."""
        self.sentinel: int | None = None
        self.where: Any = None
        """Who serves it: the table, or a loop."""

    def watch(self) -> ctypes.c_void_p:
        """A bucket whose end says that the specification has gone: for `destroy` to free."""
        bucket, reference = ctypes.c_void_p(), ctypes.c_uint64()
        quick = self.library.quick
        check(self.library, quick.kvreg_bucket_start(ctypes.byref(bucket)))
        inbox: Inbox = self.where.inbox
        inbox._call("kvreg_inbox_monitor", bucket, ctypes.byref(reference))
        if self.sentinel is not None:  # of an attempt that failed
            self.where.monitors.pop(self.sentinel, None)
        self.sentinel = reference.value
        self.where.monitors[reference.value] = self
        self.table.watched[reference.value] = bucket
        return bucket

    def home(self, down: Down) -> None:
        """The sentinel has ended."""
        self.table.watched.pop(down.reference, None)
        self.forget()

    def keep(self, parcel: Parcel) -> None:
        """Keeps a parcel for the process that there is, as far as that is known."""
        with self.table.lock:
            parcels = None if self.current is None else self.current.parcels
            (self.parcels if parcels is None else parcels)[parcel.number] = parcel

    def take(self, number: int) -> Parcel | None:
        """Keeps a parcel no more."""
        with self.table.lock:
            parcels = None if self.current is None else self.current.parcels
            parcel = None if parcels is None else parcels.pop(number, None)
            return self.parcels.pop(number, None) if parcel is None else parcel

    def forget(self) -> None:
        """It is never started again."""
        self.table.specs.pop(self.key, None)
        self.parcels = {}


class Cell:
    """A process of a specification, by the handle that messages have for it. See the module."""

    __slots__ = (
        "_called",
        "_codec",
        "_handle",
        "_library",
        "answers",
        "at",
        "failure",
        "object",
        "parcels",
        "spec",
    )

    def __init__(self, spec: Spec, me: int) -> None:
        """From here on it is found, and told of its end."""
        self.spec = spec
        self._library, self._codec, self._called = spec.library, spec.codec, spec.name
        self._handle = me
        self.at = ctypes.c_void_p(me)
        self.object: Any = None
        self.failure: BaseException | None = None
        """What was raised when it was told that it ends."""
        self.parcels: dict[int, Parcel] | None = {}
        self.answers: set[Answer] = set()
        """That callers in this process wait for."""
        reference = ctypes.c_uint64()
        inbox: Inbox = spec.where.inbox
        inbox._call("kvreg_inbox_monitor_server", self.at, ctypes.byref(reference))
        spec.where.monitors[reference.value] = self
        spec.table.cells[me] = self
        spec.current = self

    def home(self, down: Down) -> None:
        """It has ended."""
        spec = self.spec
        spec.table.cells.pop(self._handle, None)
        gone: list[Parcel] = []
        with spec.table.lock:
            mine, self.parcels = self.parcels or {}, None
            for parcels in (spec.parcels, mine):
                gone += [it for it in parcels.values() if it.was_kept]
            for parcel in gone:
                spec.parcels.pop(parcel.number, None)
            for number, parcel in mine.items():
                if not parcel.was_kept:
                    parcel.was_kept = True
                    spec.parcels[number] = parcel
        self.object = None
        del gone, mine  # outside the lock: what they have may do anything as it goes
        while self.answers:
            self.answers.pop().end(ServerDown(f"{self._called!r} ended: {down.detail}"))
        if self.spec.sentinel is None:
            self.spec.forget()


class Table:
    """See the module."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.owner = int.from_bytes(os.urandom(8), "little") | 1
        self.cookie = os.urandom(16)
        self.marker = b"kvreg-" + self.cookie.hex().encode()
        """The tag of a message by which a turn learns whose it is."""
        self.specs: dict[int, Spec] = {}
        self.cells: dict[int, Cell] = {}
        self.asked: dict[int, Parcel] = {}
        """Of calls that somebody waits for."""
        self.monitors: dict[int, Spec | Cell] = {}
        self.watched: dict[int, ctypes.c_void_p] = {}
        self.loops: list[Any] = []
        """Others that serve, each with an inbox of its own."""
        self._inbox: OwnInbox | None = None

    @property
    def inbox(self) -> OwnInbox:
        """Which gets the mail and the DOWNs of those that threads serve."""
        with self.lock:
            if self._inbox is None:
                self._inbox = OwnInbox()
            return self._inbox

    def inboxes(self) -> int:
        """How many inboxes are the package's own."""
        self.sweep()
        return (self._inbox is not None) + len(self.loops)

    def sweep(self) -> None:
        """Hears of the ends of servers whose loop was closed before they ended."""
        for loop in list(self.loops):
            if loop.is_over() and loop.hear_ends():
                with contextlib.suppress(ValueError):  # another thread was faster
                    self.loops.remove(loop)
                loop.inbox.close()

    def sentinels(self) -> int:
        """How many buckets there are that only say when a specification has gone."""
        name, alive = _abi.Value(), 0
        for bucket in list(self.watched.values()):
            library = self.inbox._library
            # One that was freed is no handle any more.
            if not library.quick.kvreg_bucket_name(bucket, name):
                library.quick.kvreg_value_clear(name)
                alive += 1
        return alive


def down_of(event: _abi.Event) -> Down:
    """A DOWN, as Python has it."""
    name, detail = event.name.decoded() or None, event.detail.decoded()
    return Down(event.reference, Reason(event.reason), name, detail)


table = Table()

_begun_anew: list[Callable[[], None]] = []


def begin_anew(what: Callable[[], None]) -> None:
    """Has something else done in each forked child, with the new table."""
    _begun_anew.append(what)


def _begin_anew() -> None:
    # What the child inherited is of the parent's servers.
    global table
    table = Table()
    for what in _begun_anew:
        what()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
