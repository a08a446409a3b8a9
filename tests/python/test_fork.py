"""Forks: what a child inherits is its parent's, and what it starts itself works."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import socket
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

import kvreg
import pytest
from support import SCALE, WAIT, Child, Worker, forked, live_handles, python, wait

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def is_forked(*uses: Callable[[], object]) -> None:
    for use in uses:
        with pytest.raises(kvreg.ForkedError) as caught:
            use()
        assert isinstance(caught.value, RuntimeError)
        assert caught.value.status is kvreg.Status.FORKED


def start_threads(bucket: kvreg.Bucket) -> None:
    """Has the library start its threads, by a cast that has to wait."""
    bucket.update("begun", lambda _: bucket.put_cast("cast", 1), default=None)
    assert bucket["cast"] == 1


def work_alone() -> None:
    """A registry of this process's own, with casts that are handled at once and later."""
    with kvreg.Registry("alone") as registry, kvreg.Inbox() as inbox:
        bucket = registry.create("dairy")
        registry.create_cast("bakery")
        assert sorted(registry) == ["bakery", "dairy"]
        bucket.put_cast("milk", 1)
        bucket.update("milk", lambda n: n + 1)
        start_threads(bucket)
        assert bucket == {"milk": 2, "begun": None, "cast": 1}
        reference = inbox.monitor(bucket)
        bucket.exit(kvreg.Reason.KILLED)
        event = inbox.receive(timeout=WAIT)
        assert event == kvreg.Down(reference, kvreg.Reason.KILLED, "dairy", "")
        assert list(registry) == ["bakery"]


def test_what_is_inherited(
    registry: kvreg.Registry, bucket: kvreg.Bucket, inbox: kvreg.Inbox
) -> None:
    bucket["milk"] = 1
    start_threads(bucket)
    reference = inbox.monitor(bucket)

    def child() -> None:
        is_forked(
            lambda: registry["shopping"],
            lambda: registry.create("dairy"),
            lambda: len(registry),
            registry.info,
            registry.clone,
            registry.stop,
            lambda: bucket["milk"],
            lambda: bucket.put_cast("milk", 2),
            lambda: bucket.update("milk", lambda n: n + 1),
            lambda: bucket.exit(kvreg.Reason.KILLED),
            lambda: list(bucket),
            lambda: inbox.receive(timeout=0),
            inbox.receive,
            inbox.fileno,
        )
        # Freed twice: by hand, and by the garbage collector.
        for inherited in (registry, bucket, inbox):
            repr(inherited)
            inherited.close()
            inherited.close()
            assert inherited.closed
        gc.collect()

    forked(child).check()
    assert dict(bucket) == {"milk": 1, "begun": None, "cast": 1}
    bucket.stop()
    down = inbox.receive(timeout=WAIT)
    assert down == kvreg.Down(reference, kvreg.Reason.NORMAL, "shopping", "")
    assert list(registry) == []


def test_a_child_works_alone_and_the_parent_goes_on(bucket: kvreg.Bucket) -> None:
    start_threads(bucket)
    bucket["milk"] = 1
    for child in [forked(work_alone) for _ in range(3)]:
        child.check()
    bucket.put_cast("milk", 2)
    assert bucket["milk"] == 2
    start_threads(bucket)
    work_alone()


def test_a_child_has_names_of_its_own() -> None:
    with kvreg.Registry("host") as host:

        def child() -> None:
            with pytest.raises(kvreg.RegistryNotFound):
                kvreg.Registry.whereis("host")
            with kvreg.Registry("host") as mine, kvreg.Registry.whereis("host") as found:
                mine.create("dairy")["milk"] = 1
                assert found["dairy"]["milk"] == 1
            is_forked(lambda: host["dairy"])

        forked(child).check()
        assert list(kvreg.Registry.whereis("host")) == []


def test_a_child_forks_too(bucket: kvreg.Bucket) -> None:
    def child() -> None:
        mine = kvreg.Bucket()
        mine["milk"] = 1

        def grandchild() -> None:
            is_forked(lambda: mine["milk"], lambda: bucket["milk"])
            work_alone()

        forked(grandchild).check()
        assert mine["milk"] == 1
        is_forked(lambda: bucket["milk"])

    forked(child).check()


def test_a_child_leaves_the_blocks_of_its_parent() -> None:
    with kvreg.Inbox() as inbox:
        left = None
        with kvreg.Registry() as registry:
            inbox.monitor(registry)
            with kvreg.Listener(registry, "0"):
                child = Child()
                if child.pid:
                    child.check()
                    registry.create("dairy")
                    left = inbox.demonitor
        if child.pid == 0:
            # An exception on the way here would have been the parent's, so to speak.
            child.leave("" if registry.closed and left is None else "not left")
        assert registry.closed


def test_the_memory_of_handles_is_the_childs_own(bucket: kvreg.Bucket) -> None:
    kept = bucket.clone()

    def child() -> None:
        before = live_handles()
        assert set(before.values()) == {0}
        mine = kvreg.Registry()
        assert live_handles()["registry"] == 1
        mine.close()
        assert live_handles() == before

    forked(child).check()
    kept["milk"] = 1


def test_a_fork_inside_an_update(registry: kvreg.Registry, bucket: kvreg.Bucket) -> None:
    children: list[Child] = []
    bucket["k"] = 1

    def fn(n: int) -> int:
        children.append(Child())
        if children[0].pid == 0:
            try:
                is_forked(lambda: bucket["k"], lambda: registry["shopping"], bucket.info)
                work_alone()
            except BaseException:
                children[0].leave(traceback.format_exc())
        return n + 1

    try:
        result = bucket.update("k", fn)
    except kvreg.ForkedError:
        # The child's end of the update: the turn is the parent's.
        if children[0].pid == 0:
            children[0].leave()
        raise
    if children[0].pid == 0:
        children[0].leave("the update in the child raised nothing")
    assert result == 2
    children[0].check()
    assert bucket["k"] == 2
    bucket["k"] = 3
    assert bucket["k"] == 3


def test_a_fork_inside_an_update_that_raises(bucket: kvreg.Bucket) -> None:
    bucket["k"] = 1
    child: Child | None = None

    def fn(_: object) -> None:
        nonlocal child
        child = Child()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bucket.update("k", fn)
    assert child is not None
    if child.pid == 0:
        child.leave()
    child.check()
    bucket.update("k", lambda n: n + 1)
    assert bucket["k"] == 2


def test_a_fork_while_another_thread_updates(bucket: kvreg.Bucket) -> None:
    begun, done = threading.Event(), threading.Event()
    bucket["k"] = 1

    def fn(n: int) -> int:
        begun.set()
        wait(done)
        return n + 1

    updating = Worker(lambda: bucket.update("k", fn))
    wait(begun)
    bucket.put_cast("waits", 1)

    def child() -> None:
        is_forked(lambda: bucket["k"], lambda: bucket["waits"])
        work_alone()

    forked(child).check()
    done.set()
    assert updating.result() == 2
    assert bucket == {"k": 2, "waits": 1}


def test_a_fork_while_another_thread_receives(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    reference = inbox.monitor(bucket)
    ready = threading.Event()

    def receive() -> kvreg.Event:
        ready.set()
        return inbox.receive(WAIT)

    receiver = Worker(receive)
    wait(ready)

    def child() -> None:
        is_forked(lambda: inbox.receive(timeout=WAIT))
        work_alone()

    forked(child).check()
    bucket.stop()
    assert receiver.result().reference == reference


@contextmanager
def living_child(work: Callable[[], None]) -> Iterator[None]:
    """A child that does `work` and lives, with all descriptors, to the end of the block."""
    reader, writer = os.pipe()
    ready, go = os.pipe()

    def child() -> None:
        os.close(writer)
        work()
        os.write(go, b".")
        os.read(reader, 1)

    living = forked(child)
    try:
        assert select.select([ready], [], [], WAIT)[0], "the child has not begun"
        yield
    finally:
        for descriptor in (reader, writer, ready, go):
            os.close(descriptor)
        living.check()


def test_a_listener_goes_on_and_its_port_is_free_though_a_child_has_it(
    registry: kvreg.Registry,
) -> None:
    with kvreg.Listener(registry, "0") as listener:
        address = listener.address

        def child() -> None:
            is_forked(lambda: listener.address, listener.stop)
            listener.close()

        with living_child(child):
            with socket.create_connection(address, timeout=WAIT) as client:
                client.sendall(b"CREATE shopping\r\n")
                assert client.recv(100) == b"OK\r\n"
            listener.stop()
            with kvreg.Listener(registry, f"{address[0]}:{address[1]}") as again:
                assert again.address == address


def test_a_listener_closes_its_connections_though_a_child_has_them(
    registry: kvreg.Registry,
) -> None:
    listener = kvreg.Listener(registry, "0")
    with listener, socket.create_connection(listener.address, timeout=WAIT) as client:
        client.sendall(b"CREATE shopping\r\n")
        assert client.recv(100) == b"OK\r\n"
        with living_child(lambda: None):
            listener.stop()
            # It was closed when `stop` returned.
            assert client.recv(100) == b""


def test_forks_while_threads_work(registry: kvreg.Registry) -> None:
    shared, done = registry.create("shared"), threading.Event()
    working = threading.Semaphore(0)
    start_threads(shared)

    def work(me: int) -> int:
        rounds = 0
        with kvreg.Inbox() as inbox:
            while not done.is_set():
                shared.update(f"updates {me}", lambda n: n + 1, default=0)
                shared.put_cast(f"casts {me}", rounds + 1)
                own = registry.create(f"own {me}")
                own["k"] = rounds
                reference = inbox.monitor(own)
                own.stop()
                own.close()
                down = inbox.receive(WAIT)
                assert isinstance(down, kvreg.Down)
                assert down.reference == reference
                rounds += 1
                if rounds == 1:
                    working.release()
        # Others may be in the way of the last cast; its own thread's read waits for it.
        assert shared.get(f"casts {me}", 0) == rounds
        return rounds

    def start(me: int) -> Worker:
        return Worker(lambda: work(me))

    def child() -> None:
        is_forked(lambda: shared["k"], lambda: registry.create("more"))
        shared.close()
        work_alone()

    workers = [start(me) for me in range(3)]
    try:
        for _ in workers:
            assert working.acquire(timeout=WAIT)
        for _ in range(max(1, 5 * SCALE)):
            forked(child).check()
    finally:
        done.set()
    for me, worker in enumerate(workers):
        rounds = worker.result()
        assert rounds > 0
        assert shared[f"updates {me}"] == shared[f"casts {me}"] == rounds
    assert list(registry) == ["shared"]


# What the workers of a pool inherit: it cannot be pickled.
INHERITED: dict[str, Any] = {}


def meet(barrier: Any) -> None:
    INHERITED["barrier"] = barrier


def work_in_pool(number: int) -> tuple[int, int, list[str]]:
    # Each of the two waits for the other: so they are in two processes.
    INHERITED["barrier"].wait(WAIT)
    raised = []
    uses: tuple[Callable[[], object], ...] = (
        lambda: INHERITED["registry"].create("dairy"),
        lambda: INHERITED["bucket"]["milk"],
        lambda: INHERITED["inbox"].receive(timeout=0),
    )
    for use in uses:
        try:
            use()
        except kvreg.Error as error:
            raised.append(type(error).__name__)
    work_alone()
    with kvreg.Registry() as registry:
        bucket = registry.create("numbers")
        for n in range(100):
            bucket.put_cast(str(n), n * number)
        return os.getpid(), sum(bucket.values()), raised


def test_a_pool_of_processes(
    registry: kvreg.Registry, bucket: kvreg.Bucket, inbox: kvreg.Inbox
) -> None:
    start_threads(bucket)
    bucket["milk"] = 1
    INHERITED.update(registry=registry, bucket=bucket, inbox=inbox)
    context = multiprocessing.get_context("fork")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pool = context.Pool(2, initializer=meet, initargs=(context.Barrier(2),))
        with pool:
            done = pool.map_async(work_in_pool, [1, 2], chunksize=1).get(timeout=2 * WAIT)
            pool.close()
            pool.join()
    finally:
        INHERITED.clear()
    assert len({pid for pid, _, _ in done} | {os.getpid()}) == 3
    assert [total for _, total, _ in done] == [4950, 9900]
    assert [raised for _, _, raised in done] == [["ForkedError"] * 3] * 2
    assert bucket["milk"] == 1
    assert registry["shopping"]["milk"] == 1


def test_a_child_loads_what_a_thread_of_its_parent_was_loading() -> None:
    code = """
import os, kvreg
from kvreg import _library
with _library._loading:
    pid = os.fork()
    if pid == 0:
        kvreg.Bucket()["milk"] = 1
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python(code) == "7\n"


def test_the_options_of_the_process_hold_in_the_child() -> None:
    code = """
import os, kvreg
kvreg.configure(default_timeout=1.5, max_monitors=1)
inherited = kvreg.Bucket()
pid = os.fork()
if pid == 0:
    bucket, inbox = kvreg.Bucket(), kvreg.Inbox()
    inbox.monitor(bucket)
    try:
        inbox.monitor(bucket)
    except kvreg.LimitReached:
        os._exit(7 if bucket.timeout == 1.5 else 1)
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python(code) == "7\n"


def test_a_child_may_just_exit() -> None:
    code = """
import os, sys, kvreg
registry, inbox = kvreg.Registry(), kvreg.Inbox()
bucket = registry.create("dairy")
bucket.update("begun", lambda _: bucket.put_cast("cast", 1), default=None)
assert bucket["cast"] == 1
pid = os.fork()
if pid == 0:
    mine = kvreg.Registry()
    bucket = mine.create("dairy")
    bucket.update("begun", lambda _: bucket.put_cast("milk", 1), default=None)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), bucket["cast"])
"""
    assert python(code) == "7 1\n"
