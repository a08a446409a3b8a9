"""Inboxes: every end is heard of exactly once."""

from __future__ import annotations

import _thread
import pickle
import select
import selectors
import signal
import sys
import threading
import time

import kvreg
import pytest
from support import WAIT, Worker, posix, wait


@pytest.mark.parametrize(
    "reason", [kvreg.Reason.SHUTDOWN, kvreg.Reason.KILLED, kvreg.Reason.CRASHED]
)
def test_an_exit_gives_its_reason_and_detail(
    bucket: kvreg.Bucket, inbox: kvreg.Inbox, reason: kvreg.Reason
) -> None:
    reference = inbox.monitor(bucket)
    bucket.exit(reason, "spilt müsli")
    down = inbox.receive(timeout=WAIT)
    assert down == kvreg.Down(reference, reason, "shopping", "spilt müsli")
    assert isinstance(down, kvreg.Down)
    assert down.reason is reason


def test_each_monitor_has_a_down_of_its_own(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    references = [inbox.monitor(bucket) for _ in range(3)]
    assert len(set(references)) == 3
    bucket.stop()
    downs = [inbox.receive(timeout=WAIT) for _ in references]
    assert sorted(down.reference for down in downs if isinstance(down, kvreg.Down)) == sorted(
        references
    )
    with pytest.raises(kvreg.CallTimeout):
        inbox.receive(timeout=0)


def test_a_bucket_that_has_ended(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    bucket.stop()
    reference = inbox.monitor(bucket)
    down = inbox.receive(timeout=0)
    assert down == kvreg.Down(reference, kvreg.Reason.NOPROC, "shopping", "")


def test_a_bucket_without_a_name(inbox: kvreg.Inbox) -> None:
    with kvreg.Bucket() as bucket:
        reference = inbox.monitor(bucket)
        bucket.stop()
    assert inbox.receive(timeout=WAIT) == kvreg.Down(reference, kvreg.Reason.NORMAL, None, "")


def test_a_registry_can_be_monitored(inbox: kvreg.Inbox) -> None:
    with kvreg.Registry() as registry:
        reference = inbox.monitor(registry)
    assert inbox.receive(timeout=WAIT) == kvreg.Down(reference, kvreg.Reason.NORMAL, None, "")


def test_nothing_else_can_be_monitored(inbox: kvreg.Inbox) -> None:
    with pytest.raises(TypeError, match="not Inbox"):
        inbox.monitor(inbox)  # type: ignore[arg-type]


def test_demonitor(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    early, late, kept = (inbox.monitor(bucket) for _ in range(3))
    inbox.demonitor(early)
    bucket.stop()
    inbox.demonitor(late, flush=True)
    inbox.demonitor(kept)
    inbox.demonitor(2**63)
    down = inbox.receive(timeout=WAIT)
    assert isinstance(down, kvreg.Down)
    assert down.reference == kept
    with pytest.raises(kvreg.CallTimeout):
        inbox.receive(timeout=0)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.12])
def test_nothing_came(inbox: kvreg.Inbox, seconds: float) -> None:
    start = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        inbox.receive(timeout=seconds)
    assert time.monotonic() - start >= seconds
    assert type(caught.value) is kvreg.CallTimeout
    assert caught.value.status is kvreg.Status.TIMEOUT


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_timeout_is_not_negative(inbox: kvreg.Inbox, seconds: float) -> None:
    with pytest.raises(ValueError, match="at least 0 seconds"):
        inbox.receive(timeout=seconds)


@pytest.mark.parametrize("seconds", [None, 60.0, float("inf")])
def test_a_waiting_thread_is_woken(
    bucket: kvreg.Bucket, inbox: kvreg.Inbox, seconds: float | None
) -> None:
    reference = inbox.monitor(bucket)
    ready = threading.Event()

    def receive() -> kvreg.Event:
        ready.set()
        return inbox.receive(seconds)

    receiver = Worker(receive)
    wait(ready)
    bucket.stop()
    assert receiver.result().reference == reference


def test_the_main_thread_is_woken(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    reference = inbox.monitor(bucket)
    stopper = Worker(bucket.stop)
    down = inbox.receive()
    assert isinstance(down, kvreg.Down)
    assert down.reference == reference
    stopper.result()


def test_ctrl_c_ends_a_wait_in_the_main_thread(inbox: kvreg.Inbox) -> None:
    main = threading.main_thread().ident
    assert main is not None
    ready = threading.Event()

    def interrupt() -> None:
        wait(ready)
        if sys.platform == "win32":
            _thread.interrupt_main()  # as Python does it for a console
        else:
            signal.pthread_kill(main, signal.SIGINT)

    interrupter = Worker(interrupt)
    with pytest.raises(KeyboardInterrupt):
        ready.set()
        inbox.receive(timeout=WAIT)
    interrupter.result()
    with pytest.raises(kvreg.CallTimeout):
        inbox.receive(timeout=0)


def test_closing_wakes_receivers(inbox: kvreg.Inbox) -> None:
    ready = threading.Event()

    def receive() -> None:
        ready.set()
        inbox.receive()

    receiver = Worker(receive)
    wait(ready)
    inbox.close()
    inbox.close()
    with pytest.raises(kvreg.Closed):
        receiver.result()
    with pytest.raises(kvreg.Closed):
        inbox.receive(timeout=0)
    with pytest.raises(kvreg.Closed):
        inbox.fileno()
    assert "closed" in repr(inbox)


def test_inside_an_update_one_does_not_wait(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    bucket["milk"] = 1

    def receive(n: int) -> int:
        with pytest.raises(kvreg.CallingSelf):
            inbox.receive(timeout=1.0)
        with pytest.raises(kvreg.CallingSelf):
            inbox.receive()
        with pytest.raises(kvreg.CallTimeout):
            inbox.receive(timeout=0)
        return n + 1

    assert bucket.update("milk", receive) == 2


@posix
def test_the_descriptor_is_readable_while_events_wait(
    registry: kvreg.Registry, inbox: kvreg.Inbox
) -> None:
    def is_readable() -> bool:
        return select.select([inbox], [], [], 0)[0] == [inbox]

    assert not is_readable()
    for name in ("dairy", "bakery"):
        bucket = registry.create(name)
        inbox.monitor(bucket)
        bucket.stop()
    assert is_readable()
    inbox.receive(timeout=0)
    assert is_readable()
    inbox.receive(timeout=0)
    assert not is_readable()


@posix
def test_a_selector_waits_for_events(bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(inbox, selectors.EVENT_READ)
        reference = inbox.monitor(bucket)
        stopper = Worker(bucket.stop)
        assert selector.select(WAIT)
        down = inbox.receive(timeout=0)
        stopper.result()
    assert isinstance(down, kvreg.Down)
    assert down.reference == reference


def test_logs_are_sent_by_level(registry: kvreg.Registry, inbox: kvreg.Inbox) -> None:
    registry.send("before")
    inbox.subscribe_logs(kvreg.LogLevel.DEBUG)
    registry.send("between")
    registry.create("barrier")
    inbox.subscribe_logs(kvreg.LogLevel.ERROR)
    registry.send("after")
    registry.create("barrier")
    log = inbox.receive(timeout=WAIT)
    assert isinstance(log, kvreg.Log)
    assert "between" in log.message
    with pytest.raises(kvreg.CallTimeout):
        inbox.receive(timeout=0)


def test_what_does_not_fit_is_counted_and_a_down_is_never_lost(
    registry: kvreg.Registry, bucket: kvreg.Bucket, inbox: kvreg.Inbox
) -> None:
    inbox.subscribe_logs(kvreg.LogLevel.DEBUG)
    reference = inbox.monitor(bucket)
    for n in range(2000):
        registry.send(f"message {n}")
    registry.create("barrier")  # all messages of this thread were handled before it
    bucket.stop()
    events = []
    with pytest.raises(kvreg.CallTimeout):
        while True:
            events.append(inbox.receive(timeout=0))
    logs = [event for event in events if isinstance(event, kvreg.Log)]
    assert events[: len(logs)] == logs
    lost, down = events[len(logs) :]
    assert isinstance(lost, kvreg.Lost)
    assert len(logs) + lost.count == 2000
    assert len(logs) == 1024
    assert isinstance(down, kvreg.Down)
    assert down.reference == reference


def test_events_are_plain_frozen_data() -> None:
    down = kvreg.Down(1, kvreg.Reason.KILLED, "dairy", "")
    with pytest.raises(AttributeError):
        down.reference = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(down)) == down
    assert hash(down) == hash(kvreg.Down(1, kvreg.Reason.KILLED, "dairy", ""))


def test_an_inbox_cannot_be_pickled(inbox: kvreg.Inbox) -> None:
    with pytest.raises(TypeError, match="live handle"):
        pickle.dumps(inbox)
