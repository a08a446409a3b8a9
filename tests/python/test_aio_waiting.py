"""kvreg.aio, when somebody else has the turn: tasks wait, the loop does not."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import threading
import traceback
import warnings
from typing import Any

import kvreg
import pytest
from aio_support import Factory, factories, held, pending, run_in, ticks, until
from kvreg import aio
from kvreg.aio import _request, _workers
from support import UNMEASURED, WAIT, Worker, live_handles, posix, python, wait


@factories
def test_what_needs_the_turn_waits_for_it_and_the_loop_runs_on(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put_many({"a": 1, "b": 2, "c": 3})
            with held(bucket) as go_on:
                tasks = await pending(
                    bucket.put("a", 2),
                    bucket.update("b", lambda n: n + 10),
                    bucket.pop("c"),
                    bucket.setdefault("d", 4),
                    bucket.put_many({"e": 5}),
                    bucket.update(f=6),
                )
                # Reads do not wait.
                assert dict(await bucket.items()) == {"a": 1, "b": 2, "c": 3}
                assert await bucket.get("a") == 1
                go_on.set()
                put, *others = await asyncio.gather(*tasks)
                assert (await bucket.entry("a")).revision == put
                assert others == [12, 3, 4, None, None]
            assert dict(await bucket.items()) == {"a": 2, "b": 12, "d": 4, "e": 5, "f": 6}
            with held(bucket) as go_on:
                [delete] = await pending(bucket.delete("nothing"))
                go_on.set()
                with pytest.raises(kvreg.KeyNotFound):
                    await delete
            with held(bucket) as go_on:
                [clear] = await pending(bucket.clear())
                go_on.set()
                await clear
            assert await bucket.count() == 0
            with held(bucket) as go_on:
                [stop] = await pending(bucket.stop())
                go_on.set()
                await stop
            with pytest.raises(kvreg.NoProcess):
                await bucket.get("a")

    run_in(factory, main())


@factories
def test_conditions_wait_for_their_turn_and_reads_of_revisions_do_not(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            milk, tea = await bucket.put("milk", 1), await bucket.put("tea", 1)
            with held(bucket) as go_on:
                tasks = await pending(
                    bucket.put("milk", 2, if_revision=milk),
                    bucket.put("tea", 2, if_absent=True),
                    bucket.add("visits", 3),
                    bucket.compare_and_swap("state", kvreg.ABSENT, "open"),
                    bucket.remove("tea", if_revision=tea),
                )
                assert await bucket.entry("milk") == kvreg.Entry(1, milk)
                assert await bucket.revision() == tea
                go_on.set()
                put, conflict, total, swapped, removed = await asyncio.gather(
                    *tasks, return_exceptions=True
                )
            assert isinstance(conflict, kvreg.Conflict)
            assert (total, swapped, removed) == (3, True, None)
            assert await bucket.entry("milk") == (2, put, None)
            assert await bucket.copy() == {"milk": 2, "visits": 3, "state": "open"}

    run_in(factory, main())


def test_a_line_of_the_protocol_waits() -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            bucket = await registry.create("shopping")
            with held(bucket) as go_on:
                [execute] = await pending(registry.execute("PUT shopping milk 1"))
                go_on.set()
                assert await execute == b"OK\r\n"
            assert await bucket.get("milk") == "1"

    asyncio.run(main())


@pytest.mark.parametrize("method", ["stop", "_stop_unless_ended"])
def test_a_registry_that_another_handle_stopped_was_not_left_unfinished(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = getattr(kvreg.Registry, method)
    handles = []

    def stop_later(registry: kvreg.Registry) -> None:
        handles.append(registry)
        if len(handles) == 1:
            raise kvreg.CallTimeout
        stop(registry)

    async def main() -> None:
        registry = aio.Registry()
        bucket = await registry.create("shopping")
        monkeypatch.setattr(kvreg.Registry, method, stop_later)
        if method == "stop":
            await registry.stop()
        else:
            await registry.__aexit__()
        assert len(set(map(id, handles))) == 2
        with pytest.raises(kvreg.NoProcess):
            await bucket.get("milk")

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(main())
        handles.clear()
        gc.collect()
    assert [str(one.message) for one in warned] == []


# Order


def test_reads_come_after_the_casts_of_the_loop() -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            bucket = await registry.create("shopping")
            await bucket.put_many({"milk": 1, "tea": 1})
            with held(bucket) as go_on:
                bucket.put_cast("milk", 2)
                bucket.delete_cast("tea")
                tasks = await pending(
                    bucket.get("milk"),
                    bucket.get_many(["milk", "tea"]),
                    bucket.contains("tea"),
                    bucket.count(),
                    bucket.keys(),
                    bucket.values(),
                    bucket.items(),
                    bucket.info(),
                    registry.execute("GET shopping milk"),
                )
                go_on.set()
                got = await asyncio.gather(*tasks)
            assert got[:7] == [2, [2, None], False, 1, ["milk"], [2], [("milk", 2)]]
            assert got[7].keys == 1
            assert got[8] == b"2\r\nOK\r\n"

    asyncio.run(main())


def test_what_is_stored_if_it_is_absent_comes_after_the_casts_of_the_loop() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            with held(bucket) as go_on:
                bucket.delete_cast("milk")
                [task] = await pending(bucket.setdefault("milk", 2))
                go_on.set()
                assert await task == 2
            assert await bucket.get("milk") == 2

    asyncio.run(main())


def test_a_thousand_tasks_at_once() -> None:
    many = 1000

    async def main() -> None:
        async with aio.Bucket() as bucket:
            bucket.timeout = None
            tasks = [bucket.update("n", lambda n: n + 1, default=0) for _ in range(many)]
            assert sorted(await asyncio.gather(*tasks)) == list(range(1, many + 1))
            with held(bucket) as go_on:
                tasks = [bucket.update("n", lambda n: n + 1) for _ in range(many)]
                waiting = await pending(*tasks)
                go_on.set()
                assert sorted(await asyncio.gather(*waiting)) == list(
                    range(many + 1, 2 * many + 1)
                )
            assert await bucket.get("n") == 2 * many

    asyncio.run(main())
    asyncio.run(_no_requests())


# Timeouts


@factories
def test_a_timeout_withdraws_the_request(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            called: list[int] = []
            with held(bucket):
                for seconds in (0, 0.01, 0.15):
                    bucket.timeout = seconds
                    with pytest.raises(kvreg.CallTimeout):
                        await bucket.put("milk", 2)
                    with pytest.raises(TimeoutError):
                        await bucket.update("milk", called.append)
                    with pytest.raises(kvreg.CallTimeout):
                        await bucket.setdefault("tea", 2)
                    bucket.put_cast("rum", 1)
                    with pytest.raises(kvreg.CallTimeout):
                        await bucket.get("milk")
            bucket.timeout = None
            assert dict(await bucket.items()) == {"milk": 1, "rum": 1}
            assert called == []

    run_in(factory, main())


@factories
@pytest.mark.parametrize("seconds", [None, math.inf, 1e300])
def test_a_timeout_may_be_for_ever(factory: Factory, seconds: float | None) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket, aio.Inbox() as inbox:
            bucket.timeout = seconds
            inbox.monitor(bucket)
            [event] = await pending(inbox.receive(seconds))
            with held(bucket) as go_on:
                [task] = await pending(bucket.put("milk", 1))
                go_on.set()
                await task
            await bucket.stop()
            assert isinstance(await event, kvreg.Down)

    run_in(factory, main())


def test_a_timeout_counts_behind_others() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket, aio.Bucket() as other:
            bucket.timeout = None
            with held(bucket) as go_on:
                waiting = await pending(*(bucket.put("n", n) for n in range(2 * _workers.MOST)))
                impatient = bucket.clone()
                impatient.timeout = 0.001
                with pytest.raises(kvreg.CallTimeout):
                    await impatient.put("milk", 1)
                # Nor do those who wait keep another bucket from its turn.
                with held(other) as other_goes_on:
                    [task] = await pending(other.put("milk", 1))
                    other_goes_on.set()
                    await task
                await ticks()
                assert not any(task.done() for task in waiting)
                go_on.set()
                await asyncio.gather(*waiting)
            assert not await bucket.contains("milk")

    asyncio.run(main())


# Cancellation


@factories
def test_a_task_that_is_cancelled_withdraws_its_request(factory: Factory) -> None:
    called: list[Any] = []

    async def main() -> None:
        async with aio.Registry() as registry:
            bucket = await registry.create("shopping")
            bucket.timeout = None
            await bucket.put("milk", 1)
            with held(bucket) as go_on:
                tasks = await pending(
                    bucket.put("milk", 2),
                    bucket.update("milk", called.append),
                    bucket.pop("milk"),
                    bucket.clear(),
                    bucket.stop(),
                    bucket.setdefault("tea", 1),
                )
                for task in tasks:
                    task.cancel()
                await ticks(3)
                for task in tasks:
                    task.cancel()  # once more changes nothing
                for task in tasks:
                    with pytest.raises(asyncio.CancelledError):
                        await task
                go_on.set()
            assert dict(await bucket.items()) == {"milk": 1}
            assert called == []

    run_in(factory, main())
    assert live_handles()["update"] == 0


def test_a_request_that_waits_behind_others_is_withdrawn_at_once() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            bucket.timeout = None
            await bucket.put("milk", 1)
            with held(bucket) as go_on:
                others = await pending(*(bucket.put("n", n) for n in range(_workers.MOST)))
                tasks = await pending(*(bucket.put("milk", n) for n in range(2, 50)))
                for task in tasks:
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(one) for one in done} == {asyncio.CancelledError}
                assert not any(task.done() for task in others)
                go_on.set()
                await asyncio.gather(*others)
            assert await bucket.get("milk") == 1

    asyncio.run(main())
    asyncio.run(_no_requests())


def test_cancelled_while_the_function_is_about_to_be_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(_request, "_SLICE", WAIT)  # it has its turn in the first one

    async def main() -> None:
        async with aio.Bucket() as bucket:
            bucket.timeout = None
            await bucket.put("milk", 1)
            with held(bucket) as go_on:
                [task] = await pending(bucket.update("milk", called.append))
                await until(lambda: _workers.workers._jobs.empty())
                task.cancel()
                await ticks()
                assert not task.done()
                go_on.set()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert called == []
            assert await bucket.get("milk") == 1
            await bucket.put("milk", 2)

    asyncio.run(main())


def test_a_wait_for_that_ends_takes_nothing_with_it() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            with held(bucket), pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(bucket.put("milk", 2), 0.01)
            assert await bucket.get("milk") == 1

    asyncio.run(main())


# The function of an update


@factories
def test_the_function_runs_once_in_the_loop_and_in_the_context(
    factory: Factory,
) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    seen: list[tuple[Any, str, int]] = []

    def more(n: int) -> int:
        seen.append((n, who.get(), threading.get_ident()))
        return n + 1

    async def ask(bucket: aio.Bucket, name: str) -> int:
        who.set(name)
        answer: int = await bucket.update("milk", more)
        return answer

    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            assert await ask(bucket, "at once") == 2
            with held(bucket) as go_on:
                tasks = await pending(ask(bucket, "one"), ask(bucket, "two"))
                go_on.set()
                assert sorted(await asyncio.gather(*tasks)) == [3, 4]
            me = threading.get_ident()
            assert seen[0] == (1, "at once", me)
            assert [(n, where) for n, _, where in seen[1:]] == [(2, me), (3, me)]
            assert {name for _, name, _ in seen[1:]} == {"one", "two"}

    run_in(factory, main())


_ERRORS = [
    ValueError("spilt"),
    kvreg.CallTimeout("mine"),
    kvreg.KeyNotFound("mine"),
    TimeoutError("mine"),
    asyncio.CancelledError("mine"),
    GeneratorExit("mine"),
]


@pytest.mark.parametrize("raised", _ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("contended", [False, True])
def test_an_exception_of_the_function_comes_out(raised: BaseException, contended: bool) -> None:
    calls = []

    def spill(n: int) -> int:
        calls.append(n)
        raise raised

    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            caught: BaseException | None = None
            with held(bucket) as go_on:
                if not contended:
                    go_on.set()
                    await until(lambda: not bucket._server.get("held"))

                async def ask() -> None:
                    nonlocal caught
                    try:
                        await bucket.update("milk", spill)
                    except BaseException as error:
                        caught = error

                task = asyncio.ensure_future(ask())
                if contended:
                    await ticks()
                    assert not task.done()
                    go_on.set()
                await task
            assert caught is raised
            assert traceback.extract_tb(raised.__traceback__)[-1].name == "spill"
            assert calls == [1]
            assert await bucket.get("milk") == 1
            assert await bucket.update("milk", lambda n: n + 1) == 2

    asyncio.run(main())


def test_stop_iteration_of_the_function_is_a_runtime_error() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            with pytest.raises(RuntimeError, match="StopIteration"):
                await bucket.update("milk", lambda _: next(iter(())))
            with held(bucket) as go_on:
                [task] = await pending(bucket.update("milk", lambda _: next(iter(()))))
                go_on.set()
                with pytest.raises(RuntimeError, match="StopIteration"):
                    await task

    asyncio.run(main())


def test_a_wrong_answer_changes_nothing() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            with held(bucket) as go_on:
                tasks = await pending(
                    bucket.update("milk", lambda _: 2**63),
                    bucket.update("milk", lambda _: object()),
                    bucket.update("tea", lambda n: n),
                    bucket.update("milk", lambda _: kvreg.KEEP),
                    bucket.update("tea", lambda _: kvreg.REMOVE, default=1),
                )
                go_on.set()
                got = await asyncio.gather(*tasks, return_exceptions=True)
            kinds = [type(one) for one in got]
            assert kinds == [OverflowError, TypeError, kvreg.KeyNotFound, int, type(None)]
            assert dict(await bucket.items()) == {"milk": 1}

    asyncio.run(main())


def test_inside_the_function_the_bucket_can_be_read() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            blocking = bucket._server

            def look(n: int) -> int:
                assert blocking["milk"] == n
                assert len(blocking) == 1
                return n + 1

            await bucket.put("milk", 1)
            with held(bucket) as go_on:
                [task] = await pending(bucket.update("milk", look))
                go_on.set()
                assert await task == 2

    asyncio.run(main())


# Ends


def test_a_bucket_that_ends_while_tasks_wait() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            with held(bucket):
                tasks = await pending(bucket.put("milk", 2), bucket.update("milk", lambda n: n))
                bucket.put_cast("tea", 1)
                tasks += await pending(bucket.get("tea"))
                bucket.exit(kvreg.Reason.KILLED)
                got = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(one) for one in got} <= {kvreg.ServerDown, kvreg.NoProcess}

    asyncio.run(main())


def test_an_object_that_is_closed_while_a_task_waits() -> None:
    async def main() -> None:
        bucket = aio.Bucket()
        again = aio.Bucket.of(bucket._server)
        with held(bucket) as go_on:
            [task] = await pending(bucket.put("milk", 1))
            await until(lambda: _workers.workers._jobs.empty())
            bucket.close()
            go_on.set()
            # The request has a handle of its own; but it may have come too late for one.
            got = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(got, int):
            assert await again.entry("milk") == (1, got, None)
        else:
            assert isinstance(got, kvreg.Closed)
            assert await again.get("milk") is None

    asyncio.run(main())


@factories
def test_a_loop_that_is_closed_while_a_request_waits(factory: Factory) -> None:
    called: list[Any] = []
    bucket = aio.Bucket()
    bucket.timeout = None
    with held(bucket) as go_on:
        loop = factory()
        tasks = [
            loop.create_task(bucket.update("milk", called.append, default=0)),
            loop.create_task(bucket.put("tea", 1)),
        ]
        loop.run_until_complete(ticks())
        loop.close()
        asyncio.run(_no_requests())
        go_on.set()
    assert called == []
    assert asyncio.run(bucket.keys()) == []
    _abandon(tasks)


def test_a_loop_that_is_closed_when_it_should_call_the_function() -> None:
    called: list[Any] = []
    bucket = aio.Bucket()
    loop = asyncio.new_event_loop()
    with held(bucket) as go_on:
        task = loop.create_task(bucket.update("milk", called.append, default=0))
        loop.run_until_complete(ticks())
        go_on.set()
        # The worker has the turn now, and the loop does not run.
        own = bucket._server.clone()
        own.timeout = None
        put = Worker(lambda: own.__setitem__("milk", 2))
        loop.close()
        put.result()
    assert called == []
    assert asyncio.run(bucket.get("milk")) == 2
    asyncio.run(_no_requests())
    _abandon([task])


@factories
def test_a_coroutine_that_is_closed_while_its_request_waits(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            bucket.timeout = None
            with held(bucket):
                coroutine = bucket.put("milk", 1)
                coroutine.send(None)
                coroutine.close()
                await _no_requests()
            assert await bucket.get("milk") is None

    run_in(factory, main())


def _abandon(tasks: list[asyncio.Task[Any]]) -> None:
    """Closes tasks of a loop that was closed, which would complain of it."""
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine: Any = task.get_coro()
        coroutine.close()


async def _no_requests() -> None:
    await until(lambda: _workers.workers._unfinished == 0)


def test_two_loops_in_two_threads() -> None:
    counted = threading.Barrier(3)

    async def count(bucket: kvreg.Bucket) -> kvreg.Event:
        async with aio.Bucket.of(bucket) as own, aio.Inbox() as inbox:
            inbox.monitor(own)
            own.timeout = None
            await asyncio.gather(*(own.update("n", lambda n: n + 1) for _ in range(300)))
            for _ in range(300):
                await own.update("n", lambda n: n + 1)
            counted.wait(WAIT)
            return await inbox.receive()

    with kvreg.Bucket() as bucket:
        bucket["n"] = 0
        workers = [Worker(lambda: asyncio.run(count(bucket))) for _ in range(2)]
        counted.wait(WAIT)
        assert bucket["n"] == 1200
        bucket.stop()
        for worker in workers:
            assert isinstance(worker.result(), kvreg.Down)


@posix
def test_a_child_has_threads_of_its_own() -> None:
    code = """
import asyncio, os, sys, threading
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
import kvreg
from kvreg import aio

def contended():
    bucket = kvreg.Bucket()
    bucket.timeout = None
    begun, go_on = threading.Event(), threading.Event()
    def hold(_):
        begun.set()
        go_on.wait()
        return 1
    thread = threading.Thread(target=lambda: bucket.update("a", hold, default=0))
    thread.start()
    begun.wait()
    async def main():
        task = asyncio.ensure_future(aio.Bucket.of(bucket).update("a", lambda n: n + 1))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        return await task
    assert asyncio.run(main()) == 2
    thread.join()

contended()
pid = os.fork()
contended()
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""
    assert python(code, **UNMEASURED) == "done\n"


def test_without_a_thread_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with aio.Bucket() as bucket:
            with held(bucket) as go_on:
                monkeypatch.setattr(_workers, "workers", _workers.Workers())
                with monkeypatch.context() as without:
                    without.setattr(threading.Thread, "start", refuse)
                    with pytest.raises(RuntimeError, match="new thread"):
                        await bucket.put("milk", 1)
                # With one that is there, more are not needed.
                [task] = await pending(bucket.put("tea", 1))
                await until(lambda: _workers.workers._jobs.empty())
                with monkeypatch.context() as without:
                    without.setattr(threading.Thread, "start", refuse)
                    tasks = await pending(*(bucket.put(f"{n}", n) for n in range(3)))
                go_on.set()
                await asyncio.gather(task, *tasks)
            assert sorted(await bucket.keys()) == ["0", "1", "2", "tea"]

    asyncio.run(main())


def test_threads_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "_IDLE", 0.01)
    workers = _workers.Workers()
    done = threading.Event()
    for _ in range(2):
        done.clear()
        workers.submit(done.set)
        wait(done)

        async def ended() -> None:
            await until(lambda: workers._threads == 0)

        asyncio.run(ended())


def test_an_interpreter_ends_while_requests_wait() -> None:
    code = """
import asyncio, threading
import kvreg
from kvreg import aio
bucket = kvreg.Bucket()
begun = threading.Event()
def hold(_):
    begun.set()
    threading.Event().wait()
threading.Thread(target=lambda: bucket.update("a", hold, default=0), daemon=True).start()
begun.wait()
async def main():
    other = aio.Bucket.of(bucket)
    other.timeout = None
    tasks = [asyncio.ensure_future(other.put("a", 1)) for _ in range(40)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
asyncio.run(main())
print("done")
"""
    assert python(code, **UNMEASURED) == "done\n"
