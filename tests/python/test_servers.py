"""Servers that are written in Python: starting and finding them, and calls."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import traceback
import weakref
from typing import Any, Callable

import kvreg
import pytest
from kvreg import _abi, _arguments
from servers_support import (
    Counter,
    Handing,
    Polite,
    foreign_call,
    hear,
    held,
    start_in_c,
    until_gone,
)
from support import SCALE, Worker, wait


@pytest.fixture
def hits(registry: kvreg.Registry) -> Counter:
    return Counter.start(registry, "hits", 10)


# Starting and finding


def test_a_call_answers(hits: Counter) -> None:
    assert hits.add(5) == 15
    assert hits.add(by=1) == 16


def test_it_is_found(registry: kvreg.Registry, hits: Counter) -> None:
    found: Any = registry.servers["hits"]
    assert type(found) is type(hits) and found is not hits
    assert found.add(1) == 11
    assert Counter.find(registry, "hits").add(1) == 12
    assert hits.add(1) == 13
    assert repr(hits) == "<Counter 'hits'>"
    assert hits.name == "hits"


def test_servers_are_a_mapping(registry: kvreg.Registry, hits: Counter) -> None:
    registry.create("shopping")
    Counter.start(registry, "more")
    servers = registry.servers
    assert sorted(servers) == ["hits", "more"] and len(servers) == 2
    assert "hits" in servers and "nobody" not in servers
    for no_server in ("shopping", "", "\ud800", "x" * 256):
        assert no_server not in servers
    assert not servers.__contains__(1)
    assert servers.get("nobody") is None
    with pytest.raises(kvreg.ServerNotFound) as caught:
        servers["nobody"]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(kvreg.WrongKind):
        servers["shopping"]
    assert {name: it.name for name, it in servers.items()} == {"hits": "hits", "more": "more"}
    assert repr(servers) == "<the servers of <kvreg.Registry of 1 bucket>>"


def test_buckets_and_servers_share_the_names(registry: kvreg.Registry, hits: Counter) -> None:
    assert "hits" not in registry and list(registry) == [] and len(registry) == 0
    with pytest.raises(kvreg.WrongKind):
        registry["hits"]
    with pytest.raises(kvreg.WrongKind):
        registry.create("hits")
    registry.create("shopping")
    with pytest.raises(kvreg.WrongKind):
        Counter.start(registry, "shopping")
    assert hits.add(0) == 10


def test_a_second_start_finds_the_first(registry: kvreg.Registry, hits: Counter) -> None:
    assert Counter.start(registry, "hits", 1000).add(0) == 10
    with pytest.raises(kvreg.AlreadyStarted):
        Counter.start_exclusive(registry, "hits")
    assert Counter.start_exclusive(registry, "new", 1).add(0) == 1


def test_another_class_has_the_name(registry: kvreg.Registry, hits: Counter) -> None:
    Polite.start(registry, "polite")
    assert Counter.find(registry, "polite").add(1) == 1  # it is one of its subclasses
    for finding in (Polite.find, Polite.start):
        with pytest.raises(kvreg.WrongKind, match="Counter"):
            finding(registry, "hits")
    with pytest.raises(kvreg.ServerNotFound):
        Counter.find(registry, "nobody")
    start_in_c(registry, "c")
    with pytest.raises(kvreg.WrongKind, match="another language"):
        Counter.find(registry, "c")


def test_what_init_raises_comes_out(registry: kvreg.Registry) -> None:
    with pytest.raises(TypeError, match="positional"):
        Counter.start(registry, "hits", 1, 2, 3, 4)

    class Failing(kvreg.Server):
        def __init__(self, error: BaseException) -> None:
            raise error

    for error in (ZeroDivisionError("why"), kvreg.Refused("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            Failing.start(registry, "hits", error)
        assert caught.value is error
        assert "hits" not in registry.servers
        with pytest.raises(type(error)):
            Failing.start_alone(error)
    for name in ("", "a\0b", "x" * 256):
        with pytest.raises(kvreg.InvalidArgument):
            Counter.start(registry, name)
    until_gone()


def test_init_runs_in_the_starters_thread_and_may_use_its_server(
    registry: kvreg.Registry,
) -> None:
    class Early(Counter):
        def __init__(self) -> None:
            super().__init__()
            self.heard.put(threading.get_ident())
            self.heard.put(self.name)
            self.send_after(0, "tick")
            registry.create("mine")

        @kvreg.call
        def own(self) -> Any:
            return self.heard

    heard = Early.start(registry, "early").own()
    assert hear(heard) == threading.get_ident()
    assert hear(heard) == "early"
    assert hear(heard) == ("tick",)
    assert "mine" in registry


def test_one_without_a_registry_ends_with_its_handles() -> None:
    with kvreg.Inbox() as inbox:
        alone = Counter.start_alone(1)
        reference = inbox.monitor(alone)
        assert alone.add(1) == 2 and alone.name is None
        other = alone.clone()
        alone.close()
        assert alone.closed and other.add(1) == 3
        with pytest.raises(kvreg.Closed):
            alone.add(1)
        del other
        down = inbox.receive(60.0)
        assert down == kvreg.Down(reference, kvreg.Reason.NORMAL, None, "")
    until_gone()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_handle_keeps_the_registry() -> None:
    alive = Counter.start(kvreg.Registry(), "hits", 1)
    assert alive.add(1) == 2
    alive.stop()


def test_one_in_a_named_registry_lives_without_handles() -> None:
    registry = kvreg.Registry("servers that stay")
    Counter.start(registry, "hits", 1)
    registry.close()
    with kvreg.Registry.whereis("servers that stay") as found:
        assert Counter.find(found, "hits").add(1) == 2
        found.stop()
    until_gone()


def test_limits(registry: kvreg.Registry) -> None:
    with kvreg.Registry(max_servers=1) as small:
        Counter.start(small, "a")
        with pytest.raises(kvreg.LimitReached):
            Counter.start(small, "b")

    class Small(Counter, max_mailbox=2):
        pass

    server = Small.start(registry, "small")
    with held(server):
        server.set(1)
        server.set(2)
        with pytest.raises(kvreg.LimitReached):
            server.set(3)
    assert server.add(0) == 2
    for wrong in ({"max_mailbox": 0}, {"shutdown": -1.0}, {"max_restarts": 0}):
        with pytest.raises(ValueError):
            type("Wrong", (kvreg.Server,), {}, **wrong)


# What a class can do


def test_only_what_is_marked_is_reachable(hits: Counter) -> None:
    for name in ("n", "heard", "private", "on_info", "__dict__"):
        with pytest.raises(AttributeError):
            getattr(hits, name)
    with pytest.raises(AttributeError):
        hits.n = 7
    assert hits.add.__doc__ == "Adds a number."
    assert hits.add.__qualname__ == "Counter.add"


def test_arguments_that_do_not_fit_are_the_callers(hits: Counter) -> None:
    add: Any = hits.add
    for args, kwargs in (((), {}), ((1, 2), {}), ((), {"wrong": 1})):
        with pytest.raises(TypeError, match="add"):
            add(*args, **kwargs)
        with pytest.raises(TypeError, match="set"):
            hits.set(*args, **kwargs)
    assert hits.add(0) == 10


def test_parameters_of_every_kind(registry: kvreg.Registry) -> None:
    class Wide(kvreg.Server):
        @kvreg.call
        def all(me, a: int, /, b: int = 2, *more: int, c: int, d: int = 4, **rest: int) -> Any:
            return a, b, more, c, d, rest

        @kvreg.call
        def named(self, *, c: int = 3) -> int:
            return c

        @kvreg.call
        def first(self, a: int, b: object = [], /) -> Any:  # noqa: B006  # it stays itself
            return a, b

        @kvreg.cast
        def ignored(self, *args: int, **kwargs: int) -> None:
            self.got = args, kwargs

        @kvreg.call
        def ignores(self) -> Any:
            return self.got

    wide = Wide.start(registry, "wide")
    assert wide.all(1, c=3) == (1, 2, (), 3, 4, {})
    assert wide.all(1, 5, 6, 7, c=8, d=9, e=10) == (1, 5, (6, 7), 8, 9, {"e": 10})
    assert wide.named() == 3 and wide.named(c=4) == 4
    assert wide.first(1)[1] is wide.first(2)[1]
    wide.ignored(1, x=2)
    assert wide.ignores() == ((1,), {"x": 2})
    call: Any = wide.all
    for args, kwargs in (((), {"a": 1, "c": 2}), ((1,), {})):
        with pytest.raises(TypeError):
            call(*args, **kwargs)
    one: Any = wide.first
    with pytest.raises(TypeError):
        one(a=1)


def test_what_a_class_may_not_be() -> None:
    def one(_: Any) -> None: ...

    def none() -> None: ...

    with pytest.raises(TypeError, match="stop"):
        type("Wrong", (kvreg.Server,), {"stop": kvreg.call(one)})
    with pytest.raises(TypeError, match="no parameter"):
        type("Wrong", (kvreg.Server,), {"add": kvreg.call(none)})
    with pytest.raises(TypeError, match="no exception"):
        type("Wrong", (kvreg.Server,), {"answers": (1,)})
    with pytest.raises(TypeError, match="without parentheses"):
        kvreg.call(1)  # type: ignore[call-overload]

    async def waits(self: Any) -> None: ...

    with pytest.raises(TypeError, match=r"kvreg\.aio"):
        type("Wrong", (kvreg.Server,), {"waits": kvreg.call(waits)})
    with pytest.raises(TypeError, match="subclasses"):
        kvreg.Server.start_alone()


def test_a_subclass_has_what_its_base_has(registry: kvreg.Registry) -> None:
    class Twice(Counter):
        def add(self, by: int) -> int:  # it is a call there
            return super().add(2 * by)

    twice = Twice.start(registry, "twice")
    assert twice.add(1) == 2
    twice.set(5)
    assert twice.add(1) == 7


def test_an_object_that_was_not_started_is_an_object() -> None:
    counter = Counter(1)
    assert counter.add(1) == 2  # as in a test of its own
    for use in (counter.stop, counter.info, lambda: counter.name, lambda: counter.me):
        with pytest.raises(kvreg.NoProcess, match="not started"):
            use()
    with pytest.raises(AttributeError):
        counter.close()
    with pytest.raises(AttributeError):
        counter.timeout = 1.0
    assert not counter.closed


def test_a_handle_is_not_copied_deeply(hits: Counter) -> None:
    assert copy.copy(hits).add(1) == 11
    with pytest.raises(TypeError):
        pickle.dumps(hits)


# Calls


def test_objects_are_handed_over_as_they_are(hits: Counter) -> None:
    given = object(), [1], {"a": object()}
    args, key, others = hits.give(*given, key=given[1], more=given[2])
    assert all(one is other for one, other in zip(args, given))
    assert key is given[1] and others["more"] is given[2]


def test_a_call_runs_on_the_callers_thread_and_stack(hits: Counter) -> None:
    assert hits.where() == threading.get_ident()
    assert Worker(lambda: (hits.where(), threading.get_ident())).result()[0] != hits.where()
    stack = hits.does(lambda _: [frame.name for frame in traceback.extract_stack()])
    assert test_a_call_runs_on_the_callers_thread_and_stack.__name__ in stack


def test_handed_over_calls_run_on_the_serving_thread(registry: kvreg.Registry) -> None:
    handing = Handing.start(registry, "handing", 1)
    given = object()
    assert handing.give(given, key=given) == ((given,), given, {})
    assert handing.add(1) == 2
    assert handing.where() not in (threading.get_ident(), threading.main_thread().ident)
    assert Worker(lambda: handing.where()).result() == handing.where()
    with pytest.raises(LookupError):
        handing.raises(LookupError("it lives"))
    other = Handing.start(registry, "other")
    for work in (
        lambda it: it.me.add(1),
        lambda _: other.add(1),
        lambda _: other.stop(),
        lambda _: 1 // 0,
    ):
        with pytest.raises(kvreg.ServerDown) as caught:
            handing.does(work)
        assert isinstance(caught.value.__cause__, (kvreg.CallingSelf, ZeroDivisionError))
        handing = Handing.start(registry, "handing")
    assert handing.stops("over") == "over"
    other.stop()
    with pytest.raises(kvreg.NoProcess):
        other.stop()
    until_gone()


def test_one_method_at_a_time(hits: Counter) -> None:
    """G1: with a step between reading and writing, nothing is lost."""

    def slowly(counter: Counter) -> None:
        n = counter.n
        threading.Event().wait(0.00001)
        counter.n = n + 1

    rounds = 100 * max(SCALE, 1)
    workers = [Worker(lambda: [hits.does(slowly) for _ in range(rounds)]) for _ in range(4)]
    for worker in workers:
        worker.result()
    assert hits.add(0) == 10 + 4 * rounds


def test_a_call_sees_the_casts_of_its_thread(hits: Counter) -> None:
    """G3."""
    for n in range(300 * max(SCALE, 1)):
        hits.set(n)
        assert hits.add(0) == n


def test_a_caller_waits_for_the_turn(hits: Counter) -> None:
    with held(hits):
        waiter = Worker(lambda: hits.add(1))
        soon = hits.clone()
        soon.timeout = 0
        with pytest.raises(kvreg.CallTimeout):
            soon.add(1)
        soon.timeout = 0.01
        with pytest.raises(kvreg.CallTimeout):
            soon.add(1)
        with pytest.raises(kvreg.CallTimeout):
            Worker(lambda: soon.add(1)).result()
    assert waiter.result() == 11
    assert hits.add(1) == 12  # what timed out has not run


def test_calls_into_oneself(registry: kvreg.Registry, hits: Counter) -> None:
    """G8."""
    Counter.start(registry, "other")

    def in_a_circle(_: Counter) -> None:
        Counter.find(registry, "other").does(lambda _: Counter.find(registry, "hits").add(1))

    works: list[Callable[[Any], object]] = [
        lambda it: it.me.add(1),
        lambda it: Counter.find(registry, "hits").add(1),
        lambda it: it.stop(),
        lambda it: Counter.find(registry, "hits").stop(),
        lambda it: it.call("add", 1),
        lambda it: registry.stop(),
        in_a_circle,
    ]
    for work in works:
        with pytest.raises((kvreg.CallingSelf, kvreg.ServerDown)) as caught:
            hits.does(work)
        found: BaseException | None = caught.value
        while found is not None and not isinstance(found, kvreg.CallingSelf):
            found = found.__cause__
        assert found is not None
        hits = Counter.start(registry, "hits")
        Counter.start(registry, "other")


def test_a_chain_of_servers(registry: kvreg.Registry) -> None:
    """256 turns of one thread; the 257th is refused, and everything lives."""

    class Link(kvreg.Server):
        answers = (kvreg.LimitReached,)

        def __init__(self, following: Any) -> None:
            self.following = following

        @kvreg.call
        def depth(self) -> int:
            return 1 if self.following is None else 1 + self.following.depth()

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 2000)
    try:
        link: Any = None
        for number in range(256):
            link = Link.start(registry, f"{number}", link)
        assert link.depth() == 256
        last = Link.start(registry, "one more", link)
        with pytest.raises(kvreg.LimitReached):
            last.depth()
        assert link.depth() == 256
    finally:
        sys.setrecursionlimit(limit)


def test_by_tag(hits: Counter, registry: kvreg.Registry) -> None:
    given = object()
    assert hits.call("add", 5) == 15
    assert hits.call("give", given) == ((given,), None, {})
    hits.cast("set", 3)
    assert hits.call("add", 0) == 3
    for wrong in ("nothing", "set", "private"):
        with pytest.raises(kvreg.Unsupported):
            hits.call(wrong)
    for wrong in ("nothing", "add"):
        with pytest.raises(kvreg.Unsupported):
            hits.cast(wrong)
    assert hits.does(lambda it: Counter.find(registry, "hits").name) == "hits"


@pytest.mark.parametrize("flags", [0, _abi.SERVER_HAND_OVER])
def test_a_server_in_c(registry: kvreg.Registry, flags: int) -> None:
    start_in_c(registry, "c", flags)
    server = registry.servers["c"]
    assert repr(server) == "<a server 'c'>"
    runs: list[Callable[[Callable[[], Any]], Any]] = [
        lambda work: work(),
        lambda work: Worker(work).result(),
    ]
    for run in runs:
        assert run(lambda: server.call("add", 1, 2)) == 3
        assert run(lambda: server.call("text", "")) == "text of C"
        assert run(lambda: server.call("text", b"")) == b"text of C"
        with pytest.raises(kvreg.Unsupported):
            run(lambda: server.call("nothing"))
        with pytest.raises(kvreg.Aborted):
            run(lambda: server.call("refuse"))
    server.cast("add", 1)
    server.send("anything", 1, "two", None, 1.5, True, b"six")
    with pytest.raises(TypeError, match="codec"):
        server.call("add", object())
    with pytest.raises(TypeError, match="codec"):
        server.cast("add", [])
    with pytest.raises(OverflowError):
        server.call("add", 2**63)
    with pytest.raises(TypeError, match="tag"):
        server.call(b"add")
    for tag in ("", "x" * 256, "a\0b"):
        with pytest.raises(kvreg.InvalidArgument):
            server.call(tag)
    assert server.call("add", *range(255)) == sum(range(255))
    for ask in (server.call, server.cast):
        with pytest.raises(kvreg.InvalidArgument):
            ask("add", *range(256))
    server.stop()
    with pytest.raises(kvreg.NoProcess):
        server.call("add")


def test_what_a_call_makes_of_its_values_is_made_once() -> None:
    """A type that is made for each call is much slower than all else that a call does."""
    made = weakref.ref(type(_arguments.values_of((1, 2, 3), None)))
    gc.collect()
    assert made() is type(_arguments.values_of((4, 5, 6), None))


def test_with_a_codec() -> None:
    with kvreg.Registry(codec=kvreg.JSON) as registry:
        hits = Counter.start(registry, "hits", 1)
        assert hits.add(1) == 2
        start_in_c(registry, "c")
        with pytest.raises(kvreg.Aborted):
            registry.servers["c"].call("refuse", [1])
        told = foreign_call_by_worker(hits, "give", b'[1,{"a":2}]')
        assert told == b'[[[1,{"a":2}]],null,{}]'


def foreign_call_by_worker(server: Any, tag: str, *values: Any) -> Any:
    """Another thread calls as C does, while the serving thread answers."""
    return Worker(lambda: foreign_call(server, tag, *values)).result()


def test_other_languages_call(hits: Counter) -> None:
    assert foreign_call_by_worker(hits, "add", 5) == 15
    assert foreign_call_by_worker(hits, "stops", "text") == "text"


def test_what_other_languages_ask_wrongly_changes_nothing(hits: Counter) -> None:
    status = kvreg.Status
    for tag, values, expected, said in (
        ("nothing", (), status.UNSUPPORTED, "does not know"),
        ("set", (1,), status.UNSUPPORTED, "does not know"),
        ("add", (), status.ABORTED, "missing 1 required"),
        ("add", (1, 2), status.ABORTED, "takes"),
        ("give", (1,), status.ABORTED, "the result is no value"),
        ("does", (1,), status.SERVER_DOWN, ""),
    ):
        found = foreign_call_by_worker(hits, tag, *values)
        assert found[0] is expected and said in found[1], (tag, found)


def test_a_refusal_is_told_to_other_languages(registry: kvreg.Registry) -> None:
    class Refusing(kvreg.Server):
        @kvreg.call
        def no(self, why: str) -> None:
            raise kvreg.Refused(f"not {why}")

        @kvreg.call
        def nothing(self) -> None:
            pass

    server = Refusing.start(registry, "r")
    found = foreign_call_by_worker(server, "no", "now")
    assert found == (kvreg.Status.ABORTED, "the request was refused: not now")
    assert foreign_call_by_worker(server, "nothing") is None


def test_info(hits: Counter) -> None:
    info = hits.info()
    assert isinstance(info, kvreg.ServerInfo)
    assert (info.mailbox, info.bytes, info.restarts, info.last_exit) == (0, 0, 0, None)
    assert info.busy == 0
    with held(hits):
        hits.send("tag", 1)
        assert hits.info().mailbox == 1 and hits.info().bytes > 0
    hits.add(1)
    assert hits.info().handled > info.handled


def test_live_counts_tell_of_servers() -> None:
    until_gone()
    before = kvreg.live_counts()
    registry = kvreg.Registry()
    hits = Counter.start(registry, "hits")
    seen: list[kvreg.LiveCounts] = []
    hits.does(lambda _: seen.append(kvreg.live_counts()))
    assert seen[0].servers == before.servers + 1
    assert seen[0].server_handles == before.server_handles + 1
    assert seen[0].turn_handles == before.turn_handles + 1
    assert seen[0].buckets == before.buckets
    assert seen[0].bucket_handles == before.bucket_handles
    assert seen[0].inbox_handles == before.inbox_handles
    registry.stop()
    hits.close()
    registry.close()
    until_gone()
    after = kvreg.live_counts()
    assert (after.servers, after.server_handles) == (before.servers, before.server_handles)
    assert after.buckets == before.buckets


def test_calls_from_a_destructor(hits: Counter) -> None:
    called = threading.Event()

    class Goes:
        def __del__(self) -> None:
            hits.add(1)
            called.set()

    Goes()
    wait(called)
    assert hits.add(0) == 11
