"""Who serves servers that are written in Python: threads, the program itself; and forks."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import kvreg
import pytest
from kvreg import Reason, _serving, _table
from servers_support import Counter, Handing, Polite, foreign_call, foreign_cast, hear, held
from support import WAIT, Child, Worker, forked, posix, python, wait


@pytest.fixture
def alone() -> Iterator[None]:
    """A process in which nothing was started: what a fork gives, without one."""
    before = _table.table
    threads = _serving._threads
    _table.table = _table.Table()
    _serving._threads = _serving._Threads()
    try:
        yield
    finally:
        _serving.serve(0)
        _table.table = before
        _serving._threads = threads


@pytest.fixture
def by_itself(alone: None) -> None:
    """The program serves."""
    kvreg.serve(threads=0)


def ready(count: int) -> None:
    """Waits until so many threads serve."""
    end = time.monotonic() + WAIT
    while len(_serving._threads.serving) != count:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_one_thread_serves_unless_told(alone: None, registry: kvreg.Registry) -> None:
    assert _serving._threads.count == 0
    one = Counter.start(registry, "one")
    other = Counter.start(registry, "other")
    heard = one.does(lambda it: it.heard), other.does(lambda it: it.heard)
    one.set(1)
    other.set(2)
    first, second = hear(heard[0]), hear(heard[1])
    assert first[2] == second[2] != threading.get_ident()
    assert _serving._threads.count == 1


def test_several_threads_serve(alone: None, registry: kvreg.Registry) -> None:
    kvreg.serve(threads=3)
    barrier = threading.Barrier(3, timeout=WAIT)
    servers = [Handing.start(registry, f"{number}") for number in range(3)]
    ready(3)
    callers = [
        Worker(lambda server=server: server.does(lambda _: barrier.wait()))  # type: ignore[misc]
        for server in servers
    ]
    assert sorted(caller.result() for caller in callers) == [0, 1, 2]
    kvreg.serve(threads=1)
    for server in 5 * servers:
        server.add(1)
    ready(1)
    assert servers[0].add(1) == 6
    kvreg.serve(threads=2)
    ready(2)


def test_the_program_serves(by_itself: None, registry: kvreg.Registry) -> None:
    server = Counter.start(registry, "hits", 1)
    assert _serving._threads.count == 0
    assert not kvreg.serve_once()
    assert server.add(1) == 2  # a call needs nobody
    heard = server.does(lambda it: it.heard)
    server.set(7)
    assert kvreg.serve_once(WAIT)
    assert hear(heard) == ("set", 7, threading.get_ident())
    server.send_after(0.001, "tick")
    assert kvreg.serve_once(WAIT) and hear(heard) == ("tick",)
    called = Worker(lambda: foreign_call(server, "add", 1))
    assert kvreg.serve_once(WAIT) and called.result() == 8
    foreign_cast(server, "set", 3)
    assert server.add(0) == 3  # by the caller
    assert kvreg.serve_once(WAIT)  # there was mail, and it is gone
    server.stop()
    while _table.table.specs:
        assert kvreg.serve_once(WAIT)  # its end
    assert not kvreg.serve_once(0.001)
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError):
            kvreg.serve_once(wrong)
    for wrong_threads in (-1, 1.5):
        with pytest.raises(ValueError):
            kvreg.serve(wrong_threads)  # type: ignore[arg-type]


def test_calls_that_nobody_serves(by_itself: None, registry: kvreg.Registry) -> None:
    server = Handing.start(registry, "handing", 1)
    server.timeout = 0.01
    for call in (lambda: server.add(1), lambda: Worker(lambda: server.add(1)).result()):
        with pytest.raises(kvreg.CallTimeout):
            call()
    server.timeout = 0
    with pytest.raises(kvreg.CallTimeout):
        server.add(1)
    server.timeout = WAIT
    called = Worker(lambda: server.add(1))
    while called.runs():
        kvreg.serve_once(0.01)
    assert called.result() == 2  # what timed out has not run


def test_an_interrupt_while_the_program_serves(
    by_itself: None, registry: kvreg.Registry
) -> None:
    server = Counter.start(registry, "hits")
    server.cast_raises(KeyboardInterrupt("on purpose"))
    with pytest.raises(KeyboardInterrupt, match="on purpose"):
        kvreg.serve_once(WAIT)
    with pytest.raises(kvreg.NoProcess):
        server.add(1)


def test_ends_are_heard_of_where_nobody_serves(
    by_itself: None, registry: kvreg.Registry
) -> None:
    server = Counter.start(registry, "hits")
    waiting = Worker(server.put_off)
    hear(server.does(lambda it: it.heard))
    server.set(1)
    server.exit(Reason.KILLED)
    with pytest.raises(kvreg.ServerDown):
        waiting.result()
    assert Counter.start(registry, "hits").add(1) == 1
    assert kvreg.serve_once(WAIT)


def test_a_registry_stops_where_nobody_serves(by_itself: None) -> None:
    with kvreg.Registry() as registry:
        server = Polite.start(registry, "polite")
        heard = server.does(lambda it: it.heard)
    assert hear(heard)[:2] == ("terminate", Reason.SHUTDOWN)


def test_a_thread_that_cannot_start(
    alone: None, registry: kvreg.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as refused:
        refused.setattr(threading.Thread, "start", refuse)
        server = Counter.start(registry, "hits")
        assert server.add(1) == 1 and _serving._threads.count == 0
    server.set(5)
    Counter.start(registry, "other")  # now it can
    assert hear(server.does(lambda it: it.heard))[:2] == ("set", 5)


def test_a_fault_of_the_package_ends_no_thread(
    alone: None, registry: kvreg.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Any = []
    came = threading.Event()

    def hook(args: Any) -> None:
        told.append(args.exc_type)
        came.set()

    monkeypatch.setattr(threading, "excepthook", hook)
    server = Counter.start(registry, "hits")
    with monkeypatch.context() as broken:
        broken.setattr(_serving, "serve_key", None)
        server.set(1)
        wait(came)
    assert told == [TypeError]
    server.add(1)
    server.set(2)
    heard = server.does(lambda it: it.heard)
    assert hear(heard)[1] == 1 and hear(heard)[1] == 2


# Interrupts

WAITS: dict[str, Callable[[Counter], object]] = {
    "call": lambda server: server.add(1),
    "stop": lambda server: server.stop(),
    "later": lambda server: server.put_off(),
    "handed over": lambda server: server.add(1),
    "stop handed over": lambda server: server.stop(),
}


@posix
@pytest.mark.parametrize("how", WAITS)
def test_ctrl_c_ends_a_wait(registry: kvreg.Registry, how: str) -> None:
    """What waited is withdrawn, and the server lives."""
    kind = Handing if "handed" in how else Counter
    server = kind.start(registry, "hits")
    began, go_on = threading.Event(), threading.Event()

    def hold(_: Counter) -> None:
        began.set()
        wait(go_on)

    holder = Worker(lambda: server.does(hold) if how != "later" else None)
    if how != "later":
        wait(began)
    main = threading.main_thread().ident
    assert main is not None
    with pytest.raises(KeyboardInterrupt):
        interrupt = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
        interrupt.start()
        WAITS[how](server)
        raise AssertionError("nothing came")
    go_on.set()
    holder.result()
    assert server.add(1) == 1


# Forks


def _is_forked(server: Any) -> None:
    for use in (
        lambda: server.add(1),
        lambda: server.set(1),
        server.stop,
        server.info,
        lambda: server.send_after(1, "x"),
    ):
        try:
            use()
        except kvreg.ForkedError:
            continue
        raise AssertionError("it is the parent's")
    server.close()


def _works_alone() -> None:
    assert not _table.table.specs and not _table.table.cells
    with kvreg.Registry() as registry:
        server = Counter.start(registry, "hits", 1)
        heard = server.does(lambda it: it.heard)
        server.set(7)
        assert hear(heard)[1] == 7
        assert server.add(1) == 8
        server.exit(Reason.KILLED)
        assert Counter.find(registry, "hits").add(1) == 2


@posix
def test_a_forked_child_begins_anew(registry: kvreg.Registry) -> None:
    server = Counter.start(registry, "hits")
    server.set(1)

    def work() -> None:
        _is_forked(server)
        _works_alone()

    forked(work).check()
    assert server.add(1) == 2


@posix
def test_a_fork_while_another_thread_is_inside(registry: kvreg.Registry) -> None:
    server = Counter.start(registry, "hits")
    with held(server):

        def work() -> None:
            _is_forked(server)
            _works_alone()

        forked(work).check()
    assert server.add(1) == 1


@posix
def test_a_method_that_forks(registry: kvreg.Registry) -> None:
    server = Counter.start(registry, "hits", 1)

    def forks(counter: Counter) -> Child:
        counter.n += 1
        return Child()

    child = None
    try:
        child = server.does(forks)
    except kvreg.ForkedError:
        # In the child: its turn was the parent's. The child object went with the answer.
        import os

        os._exit(0)
    assert child is not None and child.pid
    child.check()
    assert server.add(0) == 2


def test_an_interpreter_that_only_defines_starts_nothing() -> None:
    code = """
import sys, threading
import kvreg
class Counter(kvreg.Server):
    @kvreg.call
    def add(self, by: int) -> int:
        return by
print(threading.active_count(), "asyncio" in sys.modules, kvreg._library._loaded)
kvreg.serve(2)
print(threading.active_count())
"""
    assert python(code) == "1 False None\n1\n"
