"""How servers in Python fail, end and come back; monitors, links and timers."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import weakref
from typing import Any, Callable

import kvreg
import pytest
from kvreg import Reason
from servers_support import (
    Counter,
    Handing,
    Polite,
    foreign_call,
    foreign_cast,
    hear,
    held,
    start_in_c,
    until_gone,
)
from support import WAIT, Worker, wait


class Watched:
    """A server that is monitored."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.inbox = kvreg.Inbox()
        self.reference = self.inbox.monitor(server)

    def down(self) -> kvreg.Down:
        event = self.inbox.receive(WAIT)
        self.inbox.close()
        assert isinstance(event, kvreg.Down) and event.reference == self.reference
        return event

    def lives(self) -> None:
        with pytest.raises(kvreg.CallTimeout):
            self.inbox.receive(0)
        self.inbox.close()
        assert self.server.add(0) is not None


def start(kind: type[Counter], registry: kvreg.Registry, *args: Any) -> Any:
    return kind.start(registry, "hits", *args)


KINDS = pytest.mark.parametrize("kind", [Counter, Polite, Handing])


# Exceptions


@KINDS
def test_an_exception_ends_the_server(registry: kvreg.Registry, kind: type[Counter]) -> None:
    server = start(kind, registry)
    watched, error = Watched(server), ZeroDivisionError("on purpose")
    with pytest.raises(kvreg.ServerDown, match="ZeroDivisionError: on purpose") as caught:
        server.raises(error)
    assert caught.value.__cause__ is error
    down = watched.down()
    assert (down.reason, down.name) == (Reason.CRASHED, "hits")
    assert down.detail.startswith("Traceback (most recent call last):\n")
    assert "in raises\n" in down.detail
    assert down.detail.endswith("ZeroDivisionError: on purpose\n")
    assert "kvreg Counter" not in down.detail
    with pytest.raises(kvreg.NoProcess):
        server.add(1)
    assert kind.find(registry, "hits").add(1) == 1  # it came back, without what was half done


@KINDS
def test_refusals_leave_the_server_alive(registry: kvreg.Registry, kind: type[Counter]) -> None:
    class Own(kvreg.Refused):
        pass

    server = start(kind, registry)
    watched = Watched(server)
    for error in (kvreg.Refused("no"), Own("own"), LookupError("l"), KeyError("k")):
        with pytest.raises(type(error)) as caught:
            server.raises(error)
        assert caught.value is error
    watched.lives()


def test_errors_of_kvreg_crash_too(registry: kvreg.Registry) -> None:
    """They are the handler's own: it asked somebody else."""
    server, watched = start(Counter, registry), None
    for error in (kvreg.NoProcess("other"), kvreg.CallTimeout("other"), kvreg.Closed("other")):
        watched = Watched(server)
        with pytest.raises(kvreg.ServerDown) as caught:
            server.raises(error)
        assert caught.value.__cause__ is error
        assert watched.down().reason is Reason.CRASHED
        server = Counter.find(registry, "hits")


@KINDS
def test_interrupts_crash_and_come_out(registry: kvreg.Registry, kind: type[Counter]) -> None:
    for error in (KeyboardInterrupt(), SystemExit(3), GeneratorExit()):
        server = kind.start(registry, f"of {type(error).__name__}")
        watched = Watched(server)
        if kind is Handing:  # in another thread
            with pytest.raises(kvreg.ServerDown) as down:
                server.raises(error)
            assert down.value.__cause__ is error
        else:
            with pytest.raises(type(error)) as caught:
                server.raises(error)
            assert caught.value is error
        assert watched.down().reason is Reason.CRASHED


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads tell of exceptions."""
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    return told


def test_casts_and_infos_that_raise_end_the_server(
    registry: kvreg.Registry, told: list[Any]
) -> None:
    sends: list[Callable[[Any, BaseException], object]] = [
        lambda it, error: it.cast_raises(error),
        lambda it, error: it.send("raise", error),
        lambda it, error: it.send_after(0, "raise", error),
    ]
    for error in (ZeroDivisionError("z"), KeyboardInterrupt("k")):
        for send in sends:
            server = start(Counter, registry)
            watched = Watched(server)
            send(server, error)
            down = watched.down()
            assert down.reason is Reason.CRASHED and type(error).__name__ in down.detail
            Counter.find(registry, "hits").stop()
    assert told == []


def test_casts_that_refuse_or_stop(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    watched = Watched(server)
    server.cast_raises(kvreg.Refused("no"))
    server.cast_raises(LookupError("no"))
    assert server.add(1) == 1
    server.cast_raises(kvreg.Stop())
    assert watched.down().reason is Reason.NORMAL
    assert "hits" not in registry.servers


def test_a_foreign_message_that_raises(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    watched = Watched(server)
    foreign_cast(server, "set", "text that is no number", 2)  # refused, and logged
    foreign_cast(server, "nothing")
    foreign_cast(server, "set", 5)
    assert server.add(0) == 5
    called = Worker(lambda: foreign_call(server, "add", "x"))
    assert called.result()[0] is kvreg.Status.SERVER_DOWN
    assert "TypeError" in watched.down().detail


def test_details_are_texts_of_bounded_length(registry: kvreg.Registry) -> None:
    class Worst(Exception):
        def __str__(self) -> str:
            raise ValueError("it says nothing")

    for error in (ValueError("x" * 100_000), ValueError("a\0b\ud800"), Worst()):
        server = Counter.start_alone()
        watched = Watched(server)
        with pytest.raises(kvreg.ServerDown):
            server.raises(error)
        down = watched.down()
        assert type(error).__name__ in down.detail or down.detail.startswith("...\n")
        assert len(down.detail.encode()) <= 65536


def test_the_object_goes_with_the_server(registry: kvreg.Registry) -> None:
    for end in (
        lambda it: it.stop(),
        lambda it: it.exit(Reason.KILLED),
        lambda it: pytest.raises(kvreg.ServerDown, it.raises, ZeroDivisionError()),
        lambda it: registry.remove("hits"),
        lambda it: it.stops(),
    ):
        server = start(Counter, registry)
        reference, went = server.does(weakref.ref), threading.Event()
        weakref.finalize(reference(), went.set)
        given = threading.Event()
        server.send_after(3600, "never", given)
        end(server)
        if "hits" in registry.servers:
            registry.remove("hits")
        gc.collect()
        wait(went)
        server.close()
    until_gone()


# Ends


@KINDS
def test_stop(registry: kvreg.Registry, kind: type[Counter]) -> None:
    server = start(kind, registry)
    watched = Watched(server)
    heard = server.does(lambda it: it.heard)
    server.set(7)
    server.stop()
    assert "hits" not in registry.servers
    assert watched.down().reason is Reason.NORMAL
    assert hear(heard)[:2] == ("set", 7)  # what was queued came first
    if kind is Polite:
        assert hear(heard) == ("terminate", Reason.NORMAL, 7)
    assert heard.empty()
    with pytest.raises(kvreg.NoProcess):
        server.stop()
    with pytest.raises(kvreg.NoProcess):
        server.set(1)


@KINDS
def test_a_handler_stops_its_server(registry: kvreg.Registry, kind: type[Counter]) -> None:
    server = start(kind, registry, 3)
    watched, heard, result = Watched(server), server.does(lambda it: it.heard), object()
    assert server.stops(result) is result
    assert "hits" not in registry.servers
    assert watched.down().reason is Reason.NORMAL
    if kind is Polite:
        assert hear(heard) == ("terminate", Reason.NORMAL, 3)


def test_terminate_before_each_end_in_good_order(registry: kvreg.Registry) -> None:
    for end, reason in (
        (lambda it: pytest.raises(kvreg.ServerDown, it.raises, ZeroDivisionError()), "CRASHED"),
        (lambda it: it.cast_raises(ZeroDivisionError()), "CRASHED"),
        (lambda it: it.cast_raises(kvreg.Stop()), "NORMAL"),
        (lambda it: registry.remove("hits"), "SHUTDOWN"),
    ):
        server = start(Polite, registry)
        heard, watched = server.does(lambda it: it.heard), Watched(server)
        end(server)
        told = hear(heard)
        assert told[:2] == ("terminate", Reason[reason])
        assert watched.down().reason is Reason[reason]
        if "hits" in registry.servers:
            registry.remove("hits")


def test_terminate_when_the_registry_stops() -> None:
    registry = kvreg.Registry()
    servers = [Polite.start(registry, f"{number}") for number in range(10)]
    heard = [server.does(lambda it: it.heard) for server in servers]
    registry.stop()
    registry.close()
    assert {hear(it)[1] for it in heard} == {Reason.SHUTDOWN}
    until_gone()


def test_no_terminate_before_an_exit(registry: kvreg.Registry) -> None:
    server = start(Polite, registry)
    heard, watched = server.does(lambda it: it.heard), Watched(server)
    server.exit(Reason.KILLED, "at once")
    assert watched.down()[1:] == (Reason.KILLED, "hits", "at once")
    assert heard.empty()
    with pytest.raises(kvreg.InvalidArgument):
        server.exit(Reason.NOPROC)
    again = Polite.find(registry, "hits")
    again.exit(Reason.NORMAL)
    assert again.add(1) == 1


def test_terminate_that_raises(registry: kvreg.Registry) -> None:
    class Failing(Counter):
        def on_terminate(self, reason: Reason) -> None:
            raise ZeroDivisionError("at the end")

    server = Failing.start_alone()
    watched = Watched(server)
    with pytest.raises(kvreg.ServerDown):
        server.stop()
    down = watched.down()
    assert down.reason is Reason.CRASHED and "at the end" in down.detail


def test_a_kill_while_a_method_runs(registry: kvreg.Registry) -> None:
    """What it does to its own object nobody sees, and its answer is dropped."""
    server = start(Counter, registry)
    watched, first = Watched(server), server.does(weakref.ref)

    def killed(counter: Counter) -> int:
        server.exit(Reason.KILLED)
        assert Worker(watched.down).result().reason is Reason.KILLED
        again = Counter.find(registry, "hits")
        assert again.add(1) == 1  # another object
        counter.n = 1000
        return 7

    with pytest.raises(kvreg.ServerDown):
        server.does(killed)
    assert Counter.find(registry, "hits").add(1) == 2
    gc.collect()
    assert first() is None


def test_a_kill_while_callers_wait(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    with pytest.raises(kvreg.ServerDown), held(server):
        waiters = [Worker(lambda: server.add(1)) for _ in range(3)]
        server.exit(Reason.KILLED)
        for waiter in waiters:
            with pytest.raises((kvreg.ServerDown, kvreg.NoProcess)):
                waiter.result()


# Restarts


@KINDS
def test_a_restart_begins_with_init(registry: kvreg.Registry, kind: type[Counter]) -> None:
    given = object()

    class Again(kind):  # type: ignore[valid-type,misc]
        def __init__(self, start: Any) -> None:
            super().__init__()
            self.given = start

        @kvreg.call
        def got(self) -> Any:
            return self.given

    old = Again.start(registry, "again", given)
    for number in range(1, 4):
        old.exit(Reason.KILLED)
        new = Again.find(registry, "again")
        assert new.got() is given
        assert (new.info().restarts, new.info().last_exit) == (number, Reason.KILLED)
        with pytest.raises(kvreg.NoProcess):
            old.got()
        old = new
    with Watched(old).inbox:
        old.exit(Reason.KILLED)
    assert "again" not in registry.servers  # more than three in five seconds
    until_gone()


def test_restart_options(registry: kvreg.Registry) -> None:
    class Once(Counter, restart=kvreg.Restart.TEMPORARY):
        pass

    class Always(Counter, restart=kvreg.Restart.PERMANENT, max_restarts=1):
        pass

    once = Once.start(registry, "once")
    once.exit(Reason.KILLED)
    assert "once" not in registry.servers
    always = Always.start(registry, "always")
    always.stop()
    Always.find(registry, "always").stop()
    assert "always" not in registry.servers
    always = Always.start(registry, "always")
    registry.remove("always")
    assert "always" not in registry.servers
    until_gone()


def test_an_init_that_fails_again(registry: kvreg.Registry) -> None:
    starts: list[int] = []

    class Fails(Counter):
        def __init__(self) -> None:
            super().__init__()
            starts.append(1)
            if len(starts) > 1:
                raise ZeroDivisionError("the second time")

    server = Fails.start(registry, "fails")
    server.exit(Reason.KILLED)
    until_gone()
    assert "fails" not in registry.servers
    assert len(starts) == 4


def test_a_registry_that_crashes_takes_servers_along(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    watched = Watched(server)
    registry.exit(Reason.CRASHED)
    assert watched.down().reason is Reason.SHUTDOWN
    assert list(registry.servers) == []
    assert start(Counter, registry, 5).add(1) == 6


def test_casts_go_with_the_server_that_they_were_sent_to(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    given = threading.Event()
    reference = weakref.ref(given)
    with pytest.raises(kvreg.ServerDown), held(server):
        server.send("given", given)
        server.exit(Reason.KILLED)
    registry.remove("hits")
    until_gone()
    del given
    gc.collect()
    assert reference() is None


# Monitors and links


def test_a_server_monitors(registry: kvreg.Registry) -> None:
    watcher = start(Counter, registry)
    heard = watcher.does(lambda it: it.heard)
    bucket, target = registry.create("shopping"), Counter.start(registry, "target")
    for server, name in ((bucket, "shopping"), (target, "target")):
        reference = watcher.does(lambda it, server=server: it.monitor(server))
        server.exit(Reason.SHUTDOWN, "detail")
        assert hear(heard) == kvreg.Down(reference, Reason.SHUTDOWN, name, "detail")
    reference = watcher.monitor(target)  # it has gone
    assert hear(heard)[:2] == (reference, Reason.NOPROC)
    with kvreg.Registry() as other:
        reference = watcher.monitor(other)
        taken = watcher.monitor(other)
        watcher.demonitor(taken, flush=True)
        own = watcher.does(lambda it: it.monitor(other))
        watcher.does(lambda it: it.demonitor(own))
        other.stop()
    assert hear(heard)[:2] == (reference, Reason.NORMAL)
    assert heard.empty()
    with pytest.raises(TypeError, match="a server is expected"):
        watcher.monitor("hits")
    with kvreg.Inbox() as inbox, pytest.raises(TypeError):
        inbox.monitor("hits")  # type: ignore[arg-type]


def test_links(registry: kvreg.Registry) -> None:
    one, other = start(Counter, registry), Counter.start(registry, "other")
    bucket = registry.create("shopping")
    one.link(other)
    one.does(lambda it: it.link(bucket))
    other.link(bucket)
    other.unlink(bucket)
    watched = [Watched(one), Watched(other), Watched(bucket)]
    with pytest.raises(kvreg.ServerDown):
        one.raises(ZeroDivisionError())
    assert [it.down().reason for it in watched] == 3 * [Reason.CRASHED]
    with pytest.raises(kvreg.NoProcess):
        one.link(bucket)
    again, other = Counter.find(registry, "hits"), Counter.find(registry, "other")
    again.link(other)
    again.does(lambda it: it.unlink(other))
    again.exit(Reason.KILLED)
    assert other.add(1) == 1


# Infos and timers


def test_infos(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    heard, given = server.does(lambda it: it.heard), object()
    server.send("plain")
    server.send("given", given, 1)
    server.does(lambda it: it.send("own", given))
    assert [hear(heard) for _ in range(3)] == [("plain",), ("given", given, 1), ("own", given)]
    # What a new handle asks whose it is, no handler hears.
    assert Counter.find(registry, "hits").add(0) == 0
    assert heard.empty()
    start_in_c(registry, "c")

    class Silent(kvreg.Server):
        pass

    silent = Silent.start(registry, "silent")
    silent.send("unexpected", object())
    silent.monitor(server)
    server.exit(Reason.KILLED)
    assert silent.info().mailbox >= 0 and "silent" in registry.servers
    silent.stop()


def test_what_is_sent_next_comes_first(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    heard = server.does(lambda it: it.heard)

    def sends(counter: Counter) -> None:
        counter.me.send("queued")
        counter.send_next("first", 1)
        counter.send_next("second", 2)

    server.does(sends)
    assert [hear(heard)[0] for _ in range(3)] == ["first", "second", "queued"]
    with pytest.raises(kvreg.InvalidArgument):
        server.send_next("from outside")


def test_timers(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    heard, given = server.does(lambda it: it.heard), object()
    server.send_after(0.001, "soon", given)
    server.does(lambda it: it.send_after(0, "own", given))
    assert {hear(heard) for _ in range(2)} == {("soon", given), ("own", given)}
    late = server.send_after(3600, "late", given)
    left = server.cancel(late)
    assert left is not None and 3500 < left <= 3600
    assert server.cancel(late) is None
    other = server.does(lambda it: it.send_after(3600, "late"))
    assert server.does(lambda it: it.cancel(other)) is not None
    for wrong in (-1, float("inf")):
        with pytest.raises(ValueError):
            server.send_after(wrong, "x")
    server.send_after(3600, "never", given)
    server.stop()
    until_gone()
    assert sys.getrefcount(given) < 6


# Answers that come later


@KINDS
def test_an_answer_that_comes_later(registry: kvreg.Registry, kind: type[Counter]) -> None:
    server, result = start(kind, registry), object()
    heard = server.does(lambda it: it.heard)

    waiting = Worker(server.put_off)
    assert Worker(lambda: hear(heard)[1].set(result)).result() is True
    assert waiting.result() is result
    waiting, error = Worker(server.put_off), ValueError("later")
    assert Worker(lambda: hear(heard)[1].fail(error)).result() is True
    with pytest.raises(ValueError) as caught:
        waiting.result()
    assert caught.value is error
    # On this thread: it is there before the handler returns, or the server goes on meanwhile.
    at_once: kvreg.Later[int] = kvreg.Later()
    assert at_once.set(5) and not at_once.set(6) and not at_once.fail(ValueError())
    assert server.does(lambda _: at_once) == 5
    waiting = Worker(server.put_off)
    later = hear(heard)[1]
    assert server.add(1) == 1
    assert later.set(None) and waiting.result() is None


@KINDS
def test_an_answer_that_never_comes(registry: kvreg.Registry, kind: type[Counter]) -> None:
    server = start(kind, registry)
    heard = server.does(lambda it: it.heard)
    # Forgotten.
    waiting = Worker(server.put_off)
    later = hear(heard)[1]

    def forget(counter: Counter) -> None:
        counter.kept = None

    server.does(forget)
    del later
    gc.collect()
    with pytest.raises(kvreg.Aborted):
        waiting.result()
    # Too late: the caller has left.
    soon = server.clone()
    soon.timeout = 0.01

    def until_begun() -> None:
        while True:
            with contextlib.suppress(kvreg.CallTimeout):  # it had not begun
                soon.put_off()

    with pytest.raises(kvreg.OutcomeUnknown):
        until_begun()
    assert hear(heard)[1].set(1) is False
    with pytest.raises(kvreg.OutcomeUnknown):
        Worker(until_begun).result()
    assert hear(heard)[1].fail(ValueError()) is False
    # The server ends before.
    waiting = Worker(server.put_off)
    later = hear(heard)[1]
    server.exit(Reason.KILLED)
    with pytest.raises(kvreg.ServerDown):
        waiting.result()
    assert later.set(1) is False


def test_a_foreign_call_is_answered_later(registry: kvreg.Registry) -> None:
    server = start(Counter, registry)
    heard = server.does(lambda it: it.heard)
    answers: list[tuple[Callable[[Any], bool], object]] = [
        (lambda later: later.set(7), 7),
        (lambda later: later.set(object()), kvreg.Status.ABORTED),
        (lambda later: later.fail(ValueError("no")), kvreg.Status.ABORTED),
    ]
    for answer, expected in answers:
        waiting = Worker(lambda: foreign_call(server, "put_off"))
        assert answer(hear(heard)[1])
        found = waiting.result()
        assert expected in (found, found[0] if isinstance(found, tuple) else found)


def test_later_outside_of_a_call(registry: kvreg.Registry) -> None:
    class Casts(Counter):
        @kvreg.cast
        def puts_off(self) -> Any:
            return self.later()

    server = Casts.start(registry, "casts")
    server.puts_off()
    assert server.add(1) == 1
