"""Servers for tests, and what another language would do with them."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kvreg
from kvreg import _abi, _arguments, _table
from kvreg._library import library as load_library
from support import WAIT, Worker, wait


class Counter(kvreg.Server):
    """Knows one handler of each kind, and says what it heard."""

    answers = (LookupError,)

    def __init__(self, start: int = 0, heard: Any = None) -> None:
        self.n = start
        self.heard = queue.SimpleQueue() if heard is None else heard
        self.kept: kvreg.Later[Any] | None = None

    @kvreg.call
    def add(self, by: int) -> int:
        """Adds a number."""
        self.n += by
        return self.n

    @kvreg.call
    def where(self) -> int:
        return threading.get_ident()

    @kvreg.call
    def give(self, *args: Any, key: Any = None, **others: Any) -> Any:
        return args, key, others

    @kvreg.call
    def raises(self, error: BaseException) -> int:
        self.n += 1000
        raise error

    @kvreg.call
    def stops(self, result: Any = None) -> Any:
        raise kvreg.Stop(result)

    @kvreg.call
    def put_off(self) -> kvreg.Later[Any]:
        self.kept = self.later()
        self.heard.put(("later", self.kept))
        return self.kept

    @kvreg.call
    def does(self, work: Any) -> Any:
        return work(self)

    @kvreg.cast
    def set(self, n: int) -> None:
        self.n = n
        self.heard.put(("set", n, threading.get_ident()))

    @kvreg.cast
    def cast_raises(self, error: BaseException) -> None:
        raise error

    def on_info(self, tag: str, *values: Any) -> None:
        self.heard.put((tag, *values))
        if tag == "raise":
            raise values[0]

    def on_down(self, down: kvreg.Down) -> None:
        self.heard.put(down)

    def private(self) -> None:
        raise AssertionError("nobody calls it")


class Polite(Counter):
    """The same, and wants to know of its end."""

    def on_terminate(self, reason: kvreg.Reason) -> None:
        self.heard.put(("terminate", reason, self.n))


class Handing(Counter, hand_over=True):
    """Whose calls all run on the serving thread."""


def hear(heard: Any) -> Any:
    """The next thing that a server heard."""
    return heard.get(timeout=WAIT)


@contextmanager
def held(server: Counter) -> Iterator[None]:
    """Another thread has the server's turn."""
    began, go_on = threading.Event(), threading.Event()

    def hold(_: Counter) -> None:
        began.set()
        wait(go_on)

    holder = Worker(lambda: server.does(hold))
    wait(began)
    try:
        yield
    finally:
        go_on.set()
        holder.result()


def handle(server: Any) -> int:
    found: int = server._handle
    return found


def foreign_call(server: Any, tag: str, *values: Any) -> Any:
    """A call as C makes it, with the status and the text if it is not OK."""
    library, reply = load_library(), _abi.Value()
    name = tag.encode()
    status = library.kvreg_server_call(
        handle(server), name, len(name), _arguments.values_of(values, None), len(values), reply
    )
    if status:
        return kvreg.Status(status), library_text()
    value = _arguments.peek(reply)
    library.kvreg_value_clear(reply)
    return value


def library_text() -> str:
    from kvreg._errors import last_error

    return last_error(load_library()).partition(": ")[2]


def foreign_cast(server: Any, tag: str, *values: Any) -> None:
    library, name = load_library(), tag.encode()
    assert not library.kvreg_server_cast(
        handle(server), name, len(name), _arguments.values_of(values, None), len(values)
    )


_HANDLE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(_abi.Message), ctypes.POINTER(_abi.Value)
)


def _adds(_state: int, message: Any, reply: Any) -> int:
    told = message.contents
    tag = ctypes.string_at(told.tag.address, told.tag.len)
    if told.type == _abi.MESSAGE_CALL and tag == b"add":
        reply.contents.type = _abi.INT
        reply.contents.integer = sum(told.values[n].integer for n in range(told.count))
        return _abi.KEEP
    if tag == b"text":
        reply.contents.type = told.values[0].type
        reply.contents.data = b"text of C"
        reply.contents.len = 9
        return _abi.KEEP
    return _abi.ABORT if tag == b"refuse" else _abi.UNHANDLED


_adds_in_c = _HANDLE(_adds)


def start_in_c(registry: kvreg.Registry, name: str, flags: int = 0) -> None:
    """A server by callbacks, as a C program has them."""
    options = _abi.ServerOptions(
        handle=ctypes.cast(_adds_in_c, ctypes.c_void_p).value, flags=flags
    )
    library, server, data = load_library(), ctypes.c_void_p(), name.encode()
    assert not library.kvreg_registry_start_server(
        *(registry._handle, data, len(data), 0, options, ctypes.byref(server), None)
    )
    library.kvreg_server_free(server)


def until_gone() -> None:
    """Waits until the package knows of no server any more."""
    done = threading.Event()
    deadline = threading.Timer(WAIT, done.set)
    deadline.daemon = True
    deadline.start()
    table = _table.table
    while table.specs or table.cells or table.monitors:
        table.sweep()
        assert not done.is_set(), (table.specs, table.cells, table.monitors)
        done.wait(0.001)
    deadline.cancel()
    assert not table.watched
