"""Objects that are closed while others use them: each handle is freed once, nobody hangs."""

from __future__ import annotations

import ctypes
import threading

import kvreg
import pytest
from support import WAIT, Worker, live_handles, wait


def _hold(bucket: kvreg.Bucket) -> tuple[Worker, threading.Event]:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> kvreg.Verdict:
        begun.set()
        wait(go_on)
        return kvreg.KEEP

    worker = Worker(lambda: bucket.update("held", hold, default=None))
    wait(begun)
    return worker, go_on


def test_closed_while_the_main_thread_waits_for_its_turn(registry: kvreg.Registry) -> None:
    holding = registry.create("shopping")
    bucket = registry["shopping"]
    before = live_handles()["bucket"]
    worker, go_on = _hold(holding)

    def close() -> None:
        # Its own, the one that never waits, and the one that does.
        while len(bucket._owned) < 3:
            assert not go_on.wait(0.001)
        bucket.close()

    closer = Worker(close)
    with pytest.raises(kvreg.Closed):
        bucket["milk"] = 1
    closer.result()
    go_on.set()
    worker.result()
    assert "milk" not in holding
    # The handle is gone, and what the holder has for calls at once is new.
    assert live_handles()["bucket"] == before


def test_a_handle_that_is_made_while_the_object_is_closed_is_freed(
    bucket: kvreg.Bucket,
) -> None:
    before = live_handles()
    clone = bucket.clone()
    # Another thread has begun to close it, and has looked for what there is to free.
    clone._closed = True
    assert clone._another(ctypes.c_void_p()) == kvreg.Status.BAD_HANDLE
    assert live_handles()["bucket"] == before["bucket"] + 1
    clone.close()
    assert live_handles() == before


def test_many_threads_close_at_once(bucket: kvreg.Bucket) -> None:
    before = live_handles()
    clones = [bucket.clone() for _ in range(200)]
    together = threading.Barrier(4)

    def close() -> None:
        together.wait(WAIT)
        for clone in clones:
            clone.close()

    for worker in [Worker(close) for _ in range(4)]:
        worker.result()
    assert all(clone.closed for clone in clones)
    assert live_handles() == before


def test_iterating_an_inbox_ends_when_it_is_closed(registry: kvreg.Registry) -> None:
    inbox = kvreg.Inbox()
    names: list[str | None] = []
    heard = threading.Event()

    def listen() -> str:
        for event in inbox:
            assert isinstance(event, kvreg.Down)
            names.append(event.name)
            heard.set()
        return "ended"

    for name in ("a", "b"):
        bucket = registry.create(name)
        inbox.monitor(bucket)
        bucket.stop()
    listener = Worker(listen)
    wait(heard)
    bucket = registry.create("c")
    inbox.monitor(bucket)
    heard.clear()
    bucket.stop()
    wait(heard)
    inbox.close()
    assert listener.result() == "ended"
    assert names == ["a", "b", "c"]
    assert list(inbox) == []


def test_a_listener_that_is_closed_may_end_its_block(registry: kvreg.Registry) -> None:
    with kvreg.Listener(registry, "127.0.0.1:0") as listener:
        listener.close()
    assert listener.closed
