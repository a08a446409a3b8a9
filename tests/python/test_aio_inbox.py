"""kvreg.aio.Inbox: events come to tasks, each to one, and none is lost."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import kvreg
import pytest
from aio_support import LOOPS, Factory, Unwatching, factories, pending, run_in, ticks, until
from kvreg import aio
from kvreg.aio import _workers
from support import SCALE, WAIT, Worker, python

_ALL = {**LOOPS, "unwatching": Unwatching}
everywhere = pytest.mark.parametrize("factory", _ALL.values(), ids=_ALL)


async def _buckets(registry: aio.Registry, count: int) -> list[aio.Bucket]:
    return [await registry.create(f"{n}") for n in range(count)]


@everywhere
def test_events_that_are_there_and_that_come(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            one, two = await _buckets(registry, 2)
            references = [inbox.monitor(one), inbox.monitor(two)]
            await one.stop()
            assert await inbox.receive() == kvreg.Down(
                references[0], kvreg.Reason.NORMAL, "0", ""
            )
            [task] = await pending(inbox.receive())
            two.exit(kvreg.Reason.KILLED, "now")
            assert await task == kvreg.Down(references[1], kvreg.Reason.KILLED, "1", "now")
            with pytest.raises(kvreg.CallTimeout):
                await inbox.receive(0)

    run_in(factory, main())


@everywhere
def test_events_wake_a_task_from_another_thread(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            inbox.monitor(registry)
            [task] = await pending(inbox.receive())
            stopper = kvreg.Registry.clone(registry._server)
            stopper.timeout = None
            worker = Worker(stopper.stop)
            assert isinstance(await task, kvreg.Down)
            worker.result()

    run_in(factory, main())


@everywhere
def test_a_timeout_takes_no_event(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            [bucket] = await _buckets(registry, 1)
            inbox.monitor(bucket)
            for seconds in (0, 0.0, 0.01):
                with pytest.raises(kvreg.CallTimeout):
                    await inbox.receive(timeout=seconds)
            with pytest.raises(ValueError, match="at least 0"):
                await inbox.receive(timeout=-1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(inbox.receive(), 0.01)
            await bucket.stop()
            assert isinstance(await inbox.receive(), kvreg.Down)

    run_in(factory, main())


@everywhere
def test_several_receivers_get_one_event_each_in_their_order(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            buckets = await _buckets(registry, 20)
            tasks = await pending(*(inbox.receive() for _ in buckets))
            for bucket in buckets:
                inbox.monitor(bucket)
            for bucket in buckets:
                await bucket.stop()
            downs = await asyncio.gather(*tasks)
            names = [down.name for down in downs]
            if factory is Unwatching:  # several threads may have received them
                names.sort(key=int)
            assert names == [str(n) for n in range(20)]

    run_in(factory, main())


@everywhere
def test_a_receiver_that_is_cancelled_loses_no_event(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            buckets = await _buckets(registry, 30)
            for bucket in buckets:
                inbox.monitor(bucket)
            got: list[kvreg.Event] = []

            async def receive() -> None:
                got.append(await inbox.receive())

            for bucket in buckets:
                tasks = [asyncio.ensure_future(receive()) for _ in range(3)]
                await ticks()
                await bucket.stop()
                # One has the event, but has not run: it is not known which.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            while len(got) < len(buckets):
                await receive()
            names = [one.name for one in got if isinstance(one, kvreg.Down)]
            assert sorted(names, key=str) == sorted((f"{n}" for n in range(30)), key=str)
            with pytest.raises(kvreg.CallTimeout):
                await inbox.receive(timeout=0.01)

    run_in(factory, main())


@factories
def test_an_event_handed_to_a_task_that_is_cancelled_goes_to_the_next(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            [bucket] = await _buckets(registry, 1)
            inbox.monitor(bucket)
            first, second = await pending(inbox.receive(), inbox.receive())
            await bucket.stop()
            inbox._hand_out()  # as the loop does; the first has it now, and has not run
            first.cancel()
            assert isinstance(await second, kvreg.Down)
            assert first.cancelled()

    run_in(factory, main())


@everywhere
def test_closing_ends_every_wait(factory: Factory) -> None:
    async def main() -> None:
        inbox = aio.Inbox()
        tasks = await pending(*(inbox.receive() for _ in range(3)), inbox.receive(timeout=WAIT))
        inbox.close()
        got = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in got] == [kvreg.Closed] * 4
        inbox.close()
        with pytest.raises(kvreg.Closed):
            await inbox.receive()
        with pytest.raises(kvreg.Closed):
            inbox.fileno()
        assert inbox.closed
        assert repr(inbox).startswith("<kvreg.aio.Inbox (closed)")

    run_in(factory, main())


@everywhere
def test_iteration_ends_when_the_inbox_is_closed(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            buckets = await _buckets(registry, 5)
            got: list[str | None] = []

            async def listen() -> str:
                async for event in inbox:
                    assert isinstance(event, kvreg.Down)
                    got.append(event.name)
                return "ended"

            for bucket in buckets:
                inbox.monitor(bucket)
            [task] = await pending(listen())
            for bucket in buckets:
                await bucket.stop()
            await until(lambda: len(got) == len(buckets))
            assert not task.done()
            inbox.close()
            assert await task == "ended"
            assert got == [str(n) for n in range(5)]

    run_in(factory, main())


@factories
def test_thousands_of_ends_through_one_inbox(factory: Factory) -> None:
    count, batch = max(1, SCALE) * 4_000, 1_000

    def of_aio() -> set[threading.Thread]:
        # Those of other tests may end meanwhile, and that for logs may begin.
        return {thread for thread in threading.enumerate() if thread.name == "kvreg-aio"}

    async def main() -> None:
        registry, inbox = kvreg.Registry(), aio.Inbox()
        received: set[int] = set()
        before, more = of_aio(), set[threading.Thread]()

        async def receive() -> None:
            async for event in inbox:
                assert isinstance(event, kvreg.Down)
                assert event.reference not in received
                received.add(event.reference)

        task = asyncio.ensure_future(receive())
        monitored: set[int] = set()
        for _ in range(count // batch):
            buckets = [kvreg.Bucket() for _ in range(batch)]
            monitored.update(map(inbox.monitor, buckets))
            for bucket in buckets:
                bucket.exit(kvreg.Reason.SHUTDOWN)
            await asyncio.sleep(0)
            more |= of_aio() - before
        await until(lambda: len(received) == count)
        inbox.close()
        await task
        assert received == monitored
        assert not more
        registry.stop()

    run_in(factory, main())


@everywhere
def test_logs_and_monitors_of_all_kinds(factory: Factory) -> None:
    async def main() -> None:
        with kvreg.Registry() as blocking:
            async with aio.Registry() as registry, aio.Inbox() as inbox:
                inbox.subscribe_logs(kvreg.LogLevel.DEBUG)
                registry.send("hello")
                while True:
                    event = await inbox.receive()
                    if isinstance(event, kvreg.Log) and "hello" in event.message:
                        break
            async with aio.Registry() as registry, aio.Inbox() as inbox:
                [bucket] = await _buckets(registry, 1)
                mine = blocking.create("blocking")
                references = {
                    *(inbox.monitor(bucket), inbox.monitor(mine)),
                    *(inbox.monitor(registry), inbox.monitor(blocking)),
                }
                gone = inbox.monitor(bucket)
                inbox.demonitor(gone)
                with pytest.raises(TypeError, match="monitored"):
                    inbox.monitor(inbox)  # type: ignore[arg-type]
                mine.stop()
                blocking.stop()
                await bucket.stop()
                late = inbox.monitor(bucket)
                inbox.demonitor(late, flush=True)
                await registry.stop()
                downs: list[Any] = [await inbox.receive() for _ in range(4)]
                assert {down.reference for down in downs} == references

    run_in(factory, main())


def test_two_loops_cannot_wait_at_one_inbox() -> None:
    async def other() -> None:
        with pytest.raises(RuntimeError, match="another loop"):
            await inbox.receive()

    async def main() -> None:
        [task] = await pending(inbox.receive())
        Worker(lambda: asyncio.run(other())).result()
        inbox.monitor(bucket)
        await bucket.stop()
        assert isinstance(await task, kvreg.Down)

    inbox, bucket = aio.Inbox(), aio.Bucket()
    asyncio.run(main())
    inbox.close()


@everywhere
def test_a_loop_that_is_closed_while_a_task_waits(factory: Factory) -> None:
    inbox, bucket = aio.Inbox(), aio.Bucket()
    inbox.monitor(bucket)
    tasks: list[asyncio.Task[Any]] = []
    for _ in range(2):
        loop = factory()
        tasks.append(loop.create_task(inbox.receive()))
        loop.run_until_complete(ticks())
        loop.close()

    async def main() -> kvreg.Event:
        [task] = await pending(inbox.receive())
        await bucket.stop()
        event: kvreg.Event = await task
        return event

    assert isinstance(run_in(factory, main()), kvreg.Down)
    loop = factory()
    tasks.append(loop.create_task(inbox.receive()))
    loop.run_until_complete(ticks())
    loop.close()
    inbox.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine: Any = task.get_coro()
        coroutine.close()


def test_waiting_often_in_a_loop_that_watches_nothing_needs_few_threads() -> None:
    async def main() -> None:
        await until(lambda: _workers.workers._unfinished == 0)  # what other tests have left
        async with aio.Inbox() as inbox:
            for _ in range(200):
                bucket = aio.Bucket()
                inbox.monitor(bucket)
                [task] = await pending(inbox.receive())
                await bucket.stop()
                await task
                # A thread may not have counted yet that it has told the task.
                await until(lambda: _workers.workers._unfinished <= 2)

    run_in(Unwatching, main())


@everywhere
def test_events_are_received_where_they_are_handed_out(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two threads that receive would have each an event, and nobody knows whose came first.
    received: list[int] = []
    receive = kvreg.Inbox._received

    def noted(inbox: kvreg.Inbox, *arguments: Any) -> kvreg.Event:
        received.append(threading.get_ident())
        return receive(inbox, *arguments)

    monkeypatch.setattr(kvreg.Inbox, "_received", noted)

    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            buckets = await _buckets(registry, 100)
            references = [inbox.monitor(bucket) for bucket in buckets]
            [task] = await pending(inbox.receive())
            for bucket in buckets:
                await bucket.stop()
            downs: list[Any] = [await task] + [await inbox.receive() for _ in buckets[1:]]
            assert [down.reference for down in downs] == references

    run_in(factory, main())
    assert received == [threading.get_ident()] * 100


def test_more_inboxes_than_threads_in_a_loop_that_watches_nothing() -> None:
    async def main() -> None:
        inboxes = [aio.Inbox() for _ in range(_workers.MOST + 10)]
        async with aio.Bucket() as bucket:
            for inbox in inboxes:
                inbox.monitor(bucket)
            *_, last = await pending(*(inbox.receive() for inbox in inboxes))
            own = aio.Bucket()
            inboxes[-1].monitor(own)
            await own.stop()
            assert isinstance(await last, kvreg.Down)
        for inbox in inboxes:
            inbox.close()

    run_in(Unwatching, main())


def test_the_end_of_the_library_ends_the_wait_of_a_thread() -> None:
    code = """
import asyncio
import kvreg
from kvreg import aio

class Unwatching(asyncio.SelectorEventLoop):
    def add_reader(self, fd, callback, *args):
        raise NotImplementedError

async def main():
    inbox = aio.Inbox()
    task = asyncio.ensure_future(inbox.receive())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    kvreg.shutdown()
    try:
        await asyncio.wait_for(task, 120)
    except kvreg.ShutDown:
        print("ShutDown")
    inbox.close()

loop = Unwatching()
loop.run_until_complete(main())
loop.close()
"""
    assert python(code) == "ShutDown\n"
