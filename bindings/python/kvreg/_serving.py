"""Who handles what nobody calls for: casts, timers, DOWNs, and calls of other languages.

The inbox of the table says which servers have mail. It is served by daemon threads of Python's,
one unless the program says how many, or by the program itself; no thread of the library's ever
runs Python. A thread begins a turn without waiting: if somebody has it, he is told of what is
left when he gives it back.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from typing import Any, Callable

from . import _abi, _table
from ._constants import Status
from ._library import library as load_library
from ._logging import follow
from ._messages import drain
from ._table import Cell, Spec, down_of
from ._timeout import milliseconds
from ._turns import NOW, new_slot

_SLICE = 0.05
"""Seconds for which somebody waits who may have to serve meanwhile."""


class _Threads:
    """Which serve."""

    def __init__(self) -> None:
        self.wanted: int | None = None
        self.serving: set[int] = set()
        """Their numbers, and those of who serves by `serve_once` now."""
        self.count = 0
        self.mail: deque[int] = deque()
        """Keys of those that have mail, of which somebody heard who did not serve."""


_threads = _Threads()


def _begin_anew() -> None:
    # The threads are not there in a forked child; how many the program wants is still so.
    global _threads
    wanted, _threads = _threads.wanted, _Threads()
    _threads.wanted = wanted


_table.begin_anew(_begin_anew)


def serve(threads: int = 1) -> None:
    """Has so many daemon threads serve the servers that are written in Python. Never blocks.

    They handle casts, timers, DOWNs, what `hand_over` hands over, and calls of other languages;
    calls of Python run on the thread that makes them. One thread is started with the first
    server unless this was called before. With 0 the program serves by itself, by `serve_once`.
    Of more threads than are wanted the others end, when each has served next.
    """
    if not isinstance(threads, int) or threads < 0:
        raise ValueError(f"threads is an int from 0, not {threads!r}")
    _threads.wanted = threads
    if threads and _table.table.specs:
        start()


def start() -> None:
    """Starts the threads that are wanted, unless they are there."""
    table, threads = _table.table, _threads
    wanted = 1 if threads.wanted is None else threads.wanted
    if threads.count >= wanted:
        return
    with table.lock:
        while threads.count < wanted:
            threads.count += 1
            try:
                threading.Thread(
                    target=_serve, args=(table, threads), name="kvreg-serving", daemon=True
                ).start()
            except RuntimeError:
                # There can be no more threads, as when the interpreter ends: calls need none.
                threads.count -= 1
                return


def serve_once(timeout: float | None = 0.0) -> bool:
    """Serves one server that has mail, in this thread: whether there was one.

    For programs that said `serve(threads=0)`: in their own loop, with a `timeout` in seconds,
    None for ever. The end of a server counts too. Blocks until there is something, for as long
    as `timeout`, and as long as the handlers take.
    """
    milliseconds(timeout)
    load_library()
    follow()
    event, table = _abi.Event(), _table.table
    me, threads = threading.get_ident(), _threads
    key = threads.mail.popleft() if threads.mail else None
    if key is None:
        status = table.inbox.next_event(event, timeout)
        if status == Status.TIMEOUT:
            return False
        table.inbox._check(status)
    is_new = me not in threads.serving
    threads.serving.add(me)
    try:
        if key is None:
            handle(table, event)
        else:
            serve_key(table, key)
    finally:
        if is_new:
            threads.serving.discard(me)
    return True


def is_served_here(spec: Spec) -> bool:
    """Whether this thread is one that would have to serve it, and would wait for itself."""
    if spec.where is spec.table:
        return threading.get_ident() in _threads.serving
    found: bool = spec.where.is_here()
    return found


def serve_while(work: Callable[[], int]) -> int:
    """What `work` answers, which waits for servers to end: served here, if nobody else does."""
    if _threads.count or not _table.table.specs:
        return work()
    answers: list[int] = []
    worker = threading.Thread(target=lambda: answers.append(work()), daemon=True)
    worker.start()
    while worker.is_alive():
        serve_once(_SLICE)
    return answers[0]


def wait_for(came: Any, seconds: float | None) -> bool:
    """Whether a lock came free in time; meanwhile serves, where no thread does."""
    if _threads.count:
        return bool(came.acquire(True, -1 if seconds is None else min(seconds, 1e6)))
    end = None if seconds is None else time.monotonic() + seconds
    while not came.acquire(True, _SLICE if seconds is None else min(seconds, _SLICE)):
        while _collect():
            pass
        if end is not None:
            seconds = max(0.0, end - time.monotonic())
            if seconds == 0:
                return bool(came.acquire(False))
    return True


def _collect() -> bool:
    """Hears of an end, if there is one to hear of: mail stays for who serves."""
    event, table = _abi.Event(), _table.table
    if table.inbox.next_event(event, 0):
        return False
    if event.type == _abi.EVENT_MAIL:
        _threads.mail.append(event.reference)
        table.inbox._library.quick.kvreg_event_clear(event)
    else:
        handle(table, event)
    return True


def _serve(table: _table.Table, threads: _Threads) -> None:
    inbox, event = table.inbox, _abi.Event()
    library = inbox._library
    me = threading.get_ident()
    threads.serving.add(me)
    try:
        while not library.kvreg_inbox_receive(inbox._handle, -1, event):
            try:
                handle(table, event)
            except Exception as raised:
                # None of a handler's. It is told, as of a thread that ends; this one goes on.
                told = (type(raised), raised, raised.__traceback__, threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(told))
                del raised, told
            except BaseException:
                pass  # it has ended the server, and its traceback is the detail of that
            with table.lock:
                if threads.wanted is not None and threads.count > threads.wanted:
                    return
    finally:
        threads.serving.discard(me)
        threads.count -= 1


def handle(where: Any, event: _abi.Event) -> None:
    """Does what an event of the table, or of a loop, asks for."""
    what, reference = event.type, event.reference
    try:
        down = down_of(event) if what == _abi.EVENT_DOWN else None
    finally:
        where.inbox._library.quick.kvreg_event_clear(event)
    if down is not None:
        home = where.monitors.pop(reference, None)
        if home is not None:
            home.home(down)
    elif what == _abi.EVENT_MAIL:
        serve_key(_table.table, reference)


def serve_key(table: _table.Table, key: int) -> None:
    """Handles what waits at the server that has the key."""
    spec = table.specs.get(key)
    if spec is not None:
        serve_spec(spec)


def serve_spec(spec: Spec) -> None:
    """Handles what waits at a server, unless somebody is there already."""
    cell = spec.current
    if cell is not None:
        _serve_process(spec, cell.at, cell)
    # A process that comes in the place of another has the name, and mail, before the other one
    # is closed. No other way leads there.
    again = found_again(spec)
    if again is not None:
        try:
            _serve_process(spec, again, None)
        finally:
            spec.library.quick.kvreg_server_free(again)


def _serve_process(spec: Spec, at: ctypes.c_void_p, cell: Cell | None) -> None:
    """The same of one process."""
    turn, turn_at, waiting, waiting_at = new_slot()
    hot = spec.library.hot
    if hot.server_begin(at, NOW, waiting_at, turn_at):
        return
    try:
        if waiting:
            drain(spec, turn, cell)
    finally:
        hot.turn_end(turn, _abi.KEEP, None, 0)


def found_again(spec: Spec) -> ctypes.c_void_p | None:
    """A handle of the process that has the name of a specification, if that has mail."""
    if spec.name is None or spec.sentinel is None:
        return None
    keeper = None if spec.keeper is None else spec.keeper()
    if keeper is not None and keeper._handle is not None:
        found = _looked_up(spec, keeper._handle._handle)
        if found is not None:
            return found
    if spec.registry_name is None:
        return None
    quick, registry = spec.library.quick, ctypes.c_void_p()
    name = spec.registry_name.encode()
    if quick.kvreg_registry_whereis(name, len(name), ctypes.byref(registry)):
        return None
    try:
        return _looked_up(spec, registry)
    finally:
        quick.kvreg_registry_free(registry)


def _looked_up(spec: Spec, registry: Any) -> ctypes.c_void_p | None:
    quick, found = spec.library.quick, ctypes.c_void_p()
    name = (spec.name or "").encode()
    if quick.kvreg_registry_lookup_server(registry, name, len(name), ctypes.byref(found)):
        return None
    if not _has_mail(spec, found):
        quick.kvreg_server_free(found)
        return None
    return found


def _has_mail(spec: Spec, found: ctypes.c_void_p) -> bool:
    stats = _abi.ServerStats()
    status: int = spec.library.quick.kvreg_server_info(found, stats)
    is_own = not status and (stats.owner, stats.key) == (spec.table.owner, spec.key)
    return is_own and stats.mailbox > 0
