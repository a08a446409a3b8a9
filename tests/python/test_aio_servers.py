"""Servers for tasks: classes with `async def`, and those of `kvreg` from a loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import threading
import weakref
from collections.abc import Coroutine
from typing import Any

import kvreg
import pytest
import servers_support
from aio_support import LOOPS, Unwatching, run_in
from kvreg import Reason, _abi, aio
from servers_support import foreign_call, held, start_in_c, until_gone
from support import SCALE, WAIT, Worker

MANY = 300 * max(SCALE, 1)
TICKING = 10000 if SCALE > 1 else 1000
TIMERS = 10


class Counter(aio.Server):
    """Whose handlers never wait."""

    def __init__(self, start: int = 0) -> None:
        self.n = start
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.kept: kvreg.Later[Any] | None = None

    @aio.call
    def add(self, by: int) -> int:
        self.n += by
        return self.n

    @aio.call
    def where(self) -> int:
        return threading.get_ident()

    @aio.call
    def hears(self) -> Any:
        return self.heard

    @aio.call
    def raises(self, error: BaseException) -> int:
        raise error

    @aio.call
    def put_off(self) -> kvreg.Later[int]:
        self.kept = self.later()
        self.heard.put_nowait(self.kept)
        return self.kept

    @aio.cast
    def set(self, n: int) -> None:
        self.n = n

    def on_info(self, tag: str, *values: Any) -> None:
        self.heard.put_nowait((tag, *values))

    def on_down(self, down: kvreg.Down) -> None:
        self.heard.put_nowait(down)


class Waiting(Counter):
    """Whose handlers wait, and which hands over to its loop."""

    @aio.call
    async def does(self, work: Any) -> Any:
        return await work(self)

    @aio.call
    async def slowly(self) -> int:
        n = self.n
        await asyncio.sleep(0)
        self.n = n + 1
        return self.n

    @aio.call
    async def async_later(self) -> kvreg.Later[int]:
        await asyncio.sleep(0)
        self.kept = self.later()
        self.heard.put_nowait(self.kept)
        return self.kept

    @aio.cast
    async def slow_cast(self, n: int) -> None:
        await asyncio.sleep(0)
        self.heard.put_nowait(("cast", n))


class Polite(Waiting):
    async def on_terminate(self, reason: Reason) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.heard.put_nowait(("terminate", reason))


@pytest.fixture(params=[*LOOPS, "unwatching"])
def run(request: pytest.FixtureRequest) -> Any:
    factory = Unwatching if request.param == "unwatching" else LOOPS[request.param]

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        return run_in(factory, asyncio.wait_for(main, WAIT))

    return run


KINDS = pytest.mark.parametrize("kind", [Counter, Waiting])


@KINDS
def test_a_call_is_awaited(run: Any, kind: type[Counter]) -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            hits = await kind.start(registry, "hits", 10)
            assert await hits.add(5) == 15
            assert await hits.where() == threading.get_ident()
            hits.set(3)
            assert await hits.add(1) == 4
            found = await kind.find(registry, "hits")
            assert await found.add(1) == 5
            again = registry.servers["hits"]
            assert await again.add(1) == 6 and await again.call("add", 1) == 7
            again.cast("set", 1)
            assert list(registry.servers) == ["hits"] and len(registry.servers) == 1
            assert "hits" in registry.servers and "nobody" not in registry.servers
            assert hits.name == "hits" and repr(hits) == f"<{kind.__name__} 'hits'>"
            assert await (await kind.start(registry, "hits")).add(0) == 1
            with pytest.raises(kvreg.AlreadyStarted):
                await kind.start_exclusive(registry, "hits")
            with pytest.raises(TypeError, match="add"):
                await hits.add()  # type: ignore[call-arg]
            with pytest.raises(kvreg.Unsupported):
                await hits.call("nothing")
            with pytest.raises(kvreg.Unsupported):
                hits.cast("add")
            await hits.stop()
            with pytest.raises(kvreg.NoProcess):
                await hits.add(1)
            with pytest.raises(kvreg.NoProcess):
                await hits.stop()
            with pytest.raises(kvreg.ServerNotFound):
                await kind.find(registry, "hits")

    run(main())


@KINDS
def test_failures(run: Any, kind: type[Counter]) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            hits = await kind.start(registry, "hits")
            refused = kvreg.Refused("no")
            with pytest.raises(kvreg.Refused) as kept:
                await hits.raises(refused)
            assert kept.value is refused
            inbox.monitor(hits)
            error = ZeroDivisionError("on purpose")
            with pytest.raises(kvreg.ServerDown) as caught:
                await hits.raises(error)
            assert caught.value.__cause__ is error
            down = await inbox.receive(WAIT)
            assert isinstance(down, kvreg.Down) and down.reason is Reason.CRASHED
            assert down.detail.endswith("ZeroDivisionError: on purpose\n")
            again = await kind.find(registry, "hits")
            assert await again.add(1) == 1
            assert await registry.servers["hits"].call("raises", kvreg.Stop(7)) == 7
            assert "hits" not in registry.servers

    run(main())


@KINDS
def test_answers_that_come_later(run: Any, kind: type[Counter]) -> None:
    async def main() -> None:
        hits = await kind.start_alone()
        heard = await hits.hears()
        waiting = asyncio.ensure_future(hits.put_off())
        later = await heard.get()
        assert await hits.add(1) == 1 and not waiting.done()
        threading.Thread(target=later.set, args=(7,)).start()
        assert await waiting == 7
        hits.timeout = 0.01
        with pytest.raises(kvreg.OutcomeUnknown):
            while True:
                with contextlib.suppress(kvreg.CallTimeout):  # it had not begun
                    await hits.put_off()
        assert (await heard.get()).set(1) is False
        hits.timeout = WAIT
        waiting = asyncio.ensure_future(hits.put_off())
        later = await heard.get()
        hits.exit(Reason.KILLED)
        with pytest.raises(kvreg.ServerDown):
            await waiting
        assert later.set(1) is False

    run(main())


@KINDS
def test_infos_timers_and_downs(run: Any, kind: type[Counter]) -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            hits, given = await kind.start(registry, "hits"), object()
            heard = await hits.hears()
            hits.send("info", given)
            assert await heard.get() == ("info", given)
            hits.send_after(0.001, "tick", given)
            assert await heard.get() == ("tick", given)
            bucket = await registry.create("shopping")
            reference = hits.monitor(bucket)
            await bucket.stop()
            assert (await heard.get()).reference == reference
            other = await kind.start(registry, "other")
            hits.link(other)
            other.exit(Reason.KILLED)
            for name in ("hits", "other"):
                assert (await kind.find(registry, name)).info().restarts == 1

    run(main())


def test_one_handler_at_a_time(run: Any) -> None:
    async def main() -> None:
        waiting = await Waiting.start_alone()
        await asyncio.gather(*(waiting.slowly() for _ in range(MANY)))
        assert await waiting.add(0) == MANY
        heard = await waiting.hears()
        for number in range(10):
            waiting.slow_cast(number)
        assert [await heard.get() for _ in range(10)] == [("cast", n) for n in range(10)]
        assert await waiting.does(lambda it: it.add(1)) == MANY + 1  # the object's own
        later = asyncio.ensure_future(waiting.async_later())
        (await heard.get()).set(3)
        answer: object = await later
        assert answer == 3

    run(main())


def test_circles_are_refused(run: Any) -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            one = await Waiting.start(registry, "one")
            other = await Waiting.start(registry, "other")

            async def itself(it: Any) -> Any:
                return await it.me.add(1)

            async def around(_: Any) -> Any:
                return await other.does(back)

            async def back(_: Any) -> Any:
                return await (await Waiting.find(registry, "one")).add(1)

            async def stops(it: Any) -> Any:
                await it.me.stop()

            async def blocking(_: Any) -> Any:
                registry._server.servers["other"].add(1)

            for work in (itself, around, stops, blocking):
                with pytest.raises(kvreg.ServerDown) as caught:
                    await one.does(work)
                found: BaseException | None = caught.value
                while found is not None and not isinstance(found, kvreg.CallingSelf):
                    found = found.__cause__
                assert found is not None
                one = await Waiting.start(registry, "one")
                other = await Waiting.start(registry, "other")
            with pytest.raises(kvreg.CallingSelf):
                registry._server.servers["one"].add(1)  # this loop would have to serve it
            with pytest.raises(kvreg.CallingSelf):
                registry._server.servers["one"].stop()

    run(main())


def test_a_task_that_is_cancelled_withdraws_its_call(run: Any) -> None:
    async def main() -> None:
        waiting, go_on = await Waiting.start_alone(), asyncio.Event()
        began = asyncio.Event()

        async def holds(_: Any) -> None:
            began.set()
            await go_on.wait()

        holding = asyncio.ensure_future(waiting.does(holds))
        await began.wait()
        soon = waiting.clone()
        soon.timeout = 0
        with pytest.raises(kvreg.CallTimeout):
            await soon.add(1)
        soon.timeout = 0.01
        with pytest.raises(kvreg.CallTimeout):
            await soon.add(1)
        queued = asyncio.ensure_future(waiting.add(1))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        go_on.set()
        await holding
        assert await waiting.add(0) == 0

    run(main())


def test_terminate_may_wait(run: Any) -> None:
    async def main() -> None:
        registry = aio.Registry()
        for end, reason in (
            (lambda it: it.stop(), Reason.NORMAL),
            (lambda _: registry.remove("polite"), Reason.SHUTDOWN),
            (lambda _: registry.stop(), Reason.SHUTDOWN),
        ):
            polite = await Polite.start(registry, "polite")
            heard = await polite.hears()
            await end(polite)
            assert await heard.get() == ("terminate", reason)
        registry.close()

    run(main())


def test_threads_call_into_the_loop(run: Any) -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            for kind in (Counter, Waiting):
                await kind.start(registry, kind.__name__)
                blocking = registry._server.servers[kind.__name__]
                called = asyncio.to_thread(blocking.add, 1)
                assert await called == 1
                foreign = asyncio.to_thread(foreign_call, blocking, "add", 2)
                assert await foreign == 3
                with pytest.raises(kvreg.Refused):
                    await asyncio.to_thread(blocking.raises, kvreg.Refused())
                await asyncio.to_thread(blocking.stop)

    run(main())


def test_blocking_classes_from_a_loop(run: Any) -> None:
    """Calls that would have to wait do so without the loop."""

    async def main() -> None:
        with kvreg.Registry() as blocking:
            server = servers_support.Counter.start(blocking, "hits", 1)
            hits = aio.Server.of(server)
            assert await hits.add(1) == 2
            assert server.add(1) == 3
            with held(server):
                waiting = asyncio.ensure_future(hits.add(1))
                stopping = asyncio.ensure_future(aio.Server.of(server).stop())
                await asyncio.sleep(0)
                assert not waiting.done()
            assert await waiting == 4
            await stopping
            handing = servers_support.Handing.start(blocking, "handing")
            given = object()
            assert (await aio.Server.of(handing).give(given))[0] == (given,)
            start_in_c(blocking, "c", _abi.SERVER_HAND_OVER)
            start_in_c(blocking, "here")
            registry = aio.Registry.of(blocking)
            for name in ("c", "here"):
                assert await registry.servers[name].call("add", 1, 2) == 3
                with pytest.raises(kvreg.Aborted):
                    await registry.servers[name].call("refuse")
                await registry.servers[name].stop()
            registry.close()

    run(main())


def test_many_servers_and_timers(run: Any) -> None:
    async def main() -> None:
        heard: queue.SimpleQueue[int] = queue.SimpleQueue()
        came, all_came = 0, asyncio.Event()

        class One(aio.Server):
            def on_info(self, tag: str, *values: Any) -> None:
                nonlocal came
                heard.put(values[0])
                came += 1
                if came == 3 * MANY:
                    all_came.set()

        async with aio.Registry() as registry:
            servers = [await One.start(registry, f"{n}") for n in range(MANY)]
            for number, server in enumerate(servers):
                for _ in range(3):
                    server.send_after(0.001 * (number % 10), "tick", number)
            await all_came.wait()
        found = sorted(heard.get_nowait() for _ in range(3 * MANY))
        assert found == sorted(3 * list(range(MANY)))

    run(main())


class Ticking(aio.Server):
    """Has timers from its beginning, some of which another one overtakes."""

    left = 0
    all_came: asyncio.Event

    def __init__(self, timers: int) -> None:
        self.came: set[int] = set()
        for number in range(timers):
            self.send_after(0.001 * (number * 7 % 50), "tick", number)

    @aio.call
    def kept(self) -> int:
        return len(self.came)

    def on_info(self, tag: str, *values: Any) -> None:
        assert values[0] not in self.came
        self.came.add(values[0])
        Ticking.left -= 1
        if Ticking.left == 0:
            self.all_came.set()


def test_very_many_servers_have_timers() -> None:
    async def main() -> None:
        Ticking.left, Ticking.all_came = TICKING * TIMERS, asyncio.Event()
        async with aio.Registry() as registry:
            servers = [
                await Ticking.start(registry, f"{number}", TIMERS) for number in range(TICKING)
            ]
            await Ticking.all_came.wait()
            assert Ticking.left == 0
            for server in servers:
                assert await server.kept() == TIMERS

    run_in(asyncio.new_event_loop, main())


def test_nothing_is_left(run: Any) -> None:
    async def main() -> Any:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            waiting = await Waiting.start(registry, "waiting")

            async def refers(it: Any) -> Any:
                return weakref.ref(it)

            reference = await waiting.does(refers)
            inbox.monitor(waiting)
            await waiting.stop()
            await inbox.receive(WAIT)
            waiting.close()
            while reference() is not None:
                await asyncio.sleep(0.001)
                gc.collect()

    run(main())
    gc.collect()
    until_gone()


def test_servers_that_outlive_their_loop() -> None:
    """Their ends are heard of when somebody looks, and nothing is left."""
    with kvreg.Registry() as registry:

        async def main() -> None:
            for kind in (Counter, Waiting):
                await kind.start(registry, kind.__name__)

        asyncio.run(main())
        assert registry.servers["Counter"].add(1) == 1  # by its caller
        waiting = registry.servers["Waiting"]
        waiting.timeout = 0.01
        with pytest.raises(kvreg.CallTimeout):
            waiting.add(1)  # nobody serves it
    gc.collect()
    until_gone()
    assert kvreg.live_counts().servers == 0


def test_what_is_no_handler() -> None:
    with pytest.raises(TypeError, match="without parentheses"):
        aio.call(1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="without parentheses"):
        aio.cast(1)  # type: ignore[arg-type]

    async def start() -> None:
        with pytest.raises(TypeError, match="subclasses"):
            await aio.Server.start_alone()

    asyncio.run(start())
    counter = Counter(1)
    assert asyncio.run(counter.add(1)) == 2
    for use in (lambda: counter.me, lambda: counter.timeout):
        with pytest.raises(kvreg.NoProcess):
            use()
    with pytest.raises(AttributeError):
        counter.close()
    with pytest.raises(AttributeError):
        counter.timeout = 1
    assert Worker(lambda: counter.closed).result() is False
