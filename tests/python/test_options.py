"""Names of registries, restarts, removal, links, facts, and what holds for the process."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from typing import Any

import kvreg
import pytest
from kvreg import Reason, Restart
from support import WAIT, Worker, python

ABNORMAL = (Reason.KILLED, Reason.CRASHED)
ENDS = (Reason.NORMAL, Reason.SHUTDOWN, *ABNORMAL)


def end(bucket: kvreg.Bucket, reason: Reason) -> None:
    if reason is Reason.NORMAL:
        bucket.stop()
    else:
        bucket.exit(reason)


def down(inbox: kvreg.Inbox) -> kvreg.Down:
    event = inbox.receive(timeout=WAIT)
    assert isinstance(event, kvreg.Down)
    return event


# Names of registries


def test_a_registry_is_found_by_its_name() -> None:
    with kvreg.Registry("host") as host:
        host.create("dairy")["milk"] = 1
        found = kvreg.Registry.whereis("host")
        assert found["dairy"]["milk"] == 1
        assert Worker(lambda: kvreg.Registry.whereis("host")["dairy"]["milk"]).result() == 1
        # Its block closes what was found, and nothing else.
        with found:
            pass
        assert found.closed
        assert host["dairy"]["milk"] == 1
    with pytest.raises(kvreg.RegistryNotFound):
        kvreg.Registry.whereis("host")


def test_an_unknown_registry() -> None:
    with pytest.raises(KeyError) as caught:
        kvreg.Registry.whereis("nobody")
    assert type(caught.value) is kvreg.RegistryNotFound
    assert caught.value.args == ("nobody",)
    assert caught.value.status is kvreg.Status.NOT_FOUND


def test_a_name_is_taken_once() -> None:
    with kvreg.Registry("host"), kvreg.Registry("Grüße"):
        with pytest.raises(kvreg.AlreadyStarted):
            kvreg.Registry("host")
        with kvreg.Registry.whereis("Grüße") as found:
            assert len(found) == 0
    with kvreg.Registry("host"):
        pass


def test_a_registry_with_a_name_runs_on_without_a_handle() -> None:
    host = kvreg.Registry(name="host")
    host.create("dairy")["milk"] = 1
    host.close()
    found = kvreg.Registry.whereis("host")
    assert found["dairy"]["milk"] == 1
    found.stop()
    with pytest.raises(kvreg.RegistryNotFound):
        kvreg.Registry.whereis("host")


@pytest.mark.parametrize("name", ["", "a\0b", "n" * 256])
def test_what_cannot_be_the_name_of_a_registry(name: str) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Registry(name)
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Registry.whereis(name)


def test_the_name_of_a_registry_is_text() -> None:
    with pytest.raises(TypeError, match="a name is a str"):
        kvreg.Registry(b"host")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a name is a str"):
        kvreg.Registry.whereis(1)  # type: ignore[arg-type]


# Restarts


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize("restart", [None, *Restart])
def test_a_bucket_is_restarted_as_its_option_says(
    registry: kvreg.Registry,
    inbox: kvreg.Inbox,
    restart: Restart | None,
    reason: Reason,
) -> None:
    bucket = registry.create("dairy", options=kvreg.BucketOptions(restart=restart))
    bucket["milk"] = 1
    reference = inbox.monitor(bucket)
    end(bucket, reason)
    assert down(inbox) == kvreg.Down(reference, reason, "dairy", "")
    with pytest.raises(kvreg.NoProcess):
        bucket["milk"]
    comes_back = restart is Restart.PERMANENT or (
        restart is Restart.TRANSIENT and reason in ABNORMAL
    )
    assert ("dairy" in registry) is comes_back
    if comes_back:
        again = registry["dairy"]
        assert again == {}
        assert again.info().restarts == 1
        assert again.info().last_exit is reason
        again["milk"] = 2
        assert registry["dairy"] == {"milk": 2}


def test_a_bucket_that_ends_too_often_stays_down(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(
        restart=Restart.PERMANENT, max_restarts=2, restart_period=3600
    )
    registry.create("dairy", options=options)
    for restarts in range(2):
        assert registry["dairy"].info().restarts == restarts
        registry["dairy"].exit(Reason.KILLED)
    registry["dairy"].exit(Reason.KILLED)
    assert "dairy" not in registry
    # The name is free, and a new bucket begins anew.
    assert registry.create("dairy").info().restarts == 0


def test_restarts_that_are_long_ago_do_not_count(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(
        restart=Restart.TRANSIENT, max_restarts=1, restart_period=0.001
    )
    registry.create("dairy", options=options)
    for restarts in range(1, 5):
        registry["dairy"].exit(Reason.CRASHED)
        assert registry["dairy"].info().restarts == restarts
        over = time.monotonic() + 0.002
        while time.monotonic() < over:
            time.sleep(0.002)


def test_options_of_a_registry_are_those_of_its_buckets() -> None:
    permanent = kvreg.BucketOptions(restart=Restart.PERMANENT)
    with kvreg.Registry(bucket=permanent) as registry:
        registry.create("dairy")
        registry.create_cast("bakery")
        # One of its own options replaces them all, and one that is there keeps its own.
        registry.create("garage", options=kvreg.BucketOptions(max_keys=1))
        registry.create("dairy", options=kvreg.BucketOptions())
        for name in ("dairy", "bakery", "garage"):
            registry[name].stop()
        assert sorted(registry) == ["bakery", "dairy"]


def test_an_exclusive_bucket_takes_options_too(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(max_keys=1)
    registry.create("dairy", True, options)["milk"] = 1
    with pytest.raises(kvreg.AlreadyStarted):
        registry.create("dairy", exclusive=True, options=options)


def test_whoever_hears_of_the_end_finds_the_successor(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(restart=Restart.PERMANENT, max_restarts=1000)
    registry.create("dairy", options=options)
    monitored = threading.Semaphore(0)

    def watch() -> None:
        with kvreg.Inbox() as inbox:
            for turn in range(200):
                inbox.monitor(registry["dairy"])
                monitored.release()
                assert down(inbox).reason is Reason.KILLED
                assert registry["dairy"].info().restarts == turn + 1

    watcher = Worker(watch)
    for _ in range(200):
        assert monitored.acquire(timeout=WAIT)
        registry["dairy"].exit(Reason.KILLED)
    watcher.result()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_keys": 0},
        {"max_bytes": -1},
        {"max_mailbox": 2**64},
        {"max_restarts": 2**32},
        {"restart_period": 0},
        {"restart_period": math.inf},
        {"restart_period": math.nan},
        {"restart": 3},
    ],
)
def test_options_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        kvreg.BucketOptions(**wrong)


def test_a_bucket_without_a_registry_has_options() -> None:
    with kvreg.Bucket(kvreg.BucketOptions(max_keys=1, max_value=4)) as bucket:
        bucket["milk"] = 1
        with pytest.raises(kvreg.LimitReached):
            bucket["eggs"] = 2
        with pytest.raises(kvreg.LimitReached):
            bucket["milk"] = "five!"
        assert bucket == {"milk": 1}
        assert bucket.name is None
    with kvreg.Bucket(None, codec=kvreg.JSON) as bucket:
        bucket["milk"] = [1]
        assert bucket["milk"] == [1]


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.PERMANENT])
def test_a_bucket_without_a_registry_is_not_restarted(restart: Restart) -> None:
    with pytest.raises(kvreg.InvalidArgument, match="without a registry") as caught:
        kvreg.Bucket(kvreg.BucketOptions(restart=restart))
    assert str(caught.value).startswith("Bucket: ")


def test_options_of_another_type(registry: kvreg.Registry) -> None:
    with pytest.raises(TypeError, match="max_keys is None or an int"):
        kvreg.BucketOptions(max_keys=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected BucketOptions"):
        registry.create("dairy", options={"max_keys": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected BucketOptions"):
        kvreg.Bucket({"max_keys": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_buckets"):
        kvreg.Registry(max_buckets=0)
    too_large = kvreg.BucketOptions(max_value=2**29 + 1)
    with pytest.raises(kvreg.InvalidArgument):
        registry.create("dairy", options=too_large)
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Registry(bucket=too_large)
    assert len(registry) == 0


def test_options_do_not_change() -> None:
    options = kvreg.BucketOptions(max_keys=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.max_keys = 2  # type: ignore[misc]
    more = dataclasses.replace(options, restart=Restart.PERMANENT)
    assert more == kvreg.BucketOptions(restart=Restart.PERMANENT, max_keys=1)


# Removal


@pytest.mark.parametrize("restart", Restart)
def test_what_is_removed_stays_away(
    registry: kvreg.Registry, inbox: kvreg.Inbox, restart: Restart
) -> None:
    bucket = registry.create("dairy", options=kvreg.BucketOptions(restart=restart))
    reference = inbox.monitor(bucket)
    registry.remove("dairy")
    assert "dairy" not in registry
    assert down(inbox) == kvreg.Down(reference, Reason.SHUTDOWN, "dairy", "removed")
    with pytest.raises(kvreg.NoProcess):
        bucket["milk"] = 1
    with pytest.raises(KeyError) as caught:
        registry.remove("dairy")
    assert type(caught.value) is kvreg.BucketNotFound
    assert caught.value.args == ("dairy",)
    assert registry.create("dairy") == {}


def test_what_cannot_be_removed(registry: kvreg.Registry) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        registry.remove("")
    with pytest.raises(TypeError):
        registry.remove(b"dairy")  # type: ignore[arg-type]


# The exit of a registry


@pytest.mark.parametrize("reason", ABNORMAL)
def test_a_registry_that_crashed_comes_back_empty(inbox: kvreg.Inbox, reason: Reason) -> None:
    with kvreg.Registry("host", max_buckets=1) as host:
        dairy = host.create("dairy")
        of_bucket, of_registry = inbox.monitor(dairy), inbox.monitor(host)
        host.exit(reason, "spilt müsli")
        heard = {event.reference: event for event in (down(inbox), down(inbox))}
        assert heard[of_bucket].reason is Reason.SHUTDOWN
        assert heard[of_registry].reason is reason
        assert heard[of_registry].detail == "spilt müsli"
        with pytest.raises(kvreg.NoProcess):
            dairy["milk"]
        info = host.info()
        assert (info.buckets, info.restarts, info.last_exit) == (0, 1, reason)
        # Behind the handle and the name, with its options; without its monitors.
        with kvreg.Registry.whereis("host") as found:
            found.create("bakery")["rye"] = 1
        assert host["bakery"] == {"rye": 1}
        with pytest.raises(kvreg.LimitReached):
            host.create("dairy")
    with pytest.raises(kvreg.CallTimeout):
        inbox.receive(timeout=0)


def test_a_registry_that_was_shut_down_is_gone(inbox: kvreg.Inbox) -> None:
    with kvreg.Registry("host") as host:
        dairy, reference = host.create("dairy"), inbox.monitor(host)
        host.exit(Reason.NORMAL)
        dairy["milk"] = 1
        with pytest.raises(kvreg.InvalidArgument):
            host.exit(Reason.NOPROC)
        host.exit(Reason.SHUTDOWN, "done")
        event = down(inbox)
        assert (event.reference, event.reason, event.detail) == (
            reference,
            Reason.SHUTDOWN,
            "done",
        )
        for use in (lambda: host.create("dairy"), lambda: dairy["milk"], host.info):
            with pytest.raises(kvreg.NoProcess):
                use()
        with pytest.raises(kvreg.RegistryNotFound):
            kvreg.Registry.whereis("host")


# Links


@pytest.mark.parametrize("reason", [Reason.SHUTDOWN, *ABNORMAL])
def test_an_abnormal_end_takes_the_linked_bucket_along(
    registry: kvreg.Registry, inbox: kvreg.Inbox, reason: Reason
) -> None:
    dairy, bakery, garage = (registry.create(name) for name in ("dairy", "bakery", "garage"))
    dairy.link(bakery)
    dairy.link(bakery)
    garage.link(garage)
    reference = inbox.monitor(bakery)
    dairy.exit(reason)
    event = down(inbox)
    assert (event.reference, event.reason, event.name) == (reference, reason, "bakery")
    assert list(registry) == ["garage"]


def test_links_go_both_ways_and_far(registry: kvreg.Registry) -> None:
    chain = [registry.create(f"bucket {n}") for n in range(100)]
    for one, other in zip(chain, chain[1:]):
        one.link(other)
    chain[50].exit(Reason.KILLED)
    assert len(registry) == 0


def test_a_normal_end_leaves_the_linked_bucket_alone(registry: kvreg.Registry) -> None:
    dairy, bakery = registry.create("dairy"), registry.create("bakery")
    dairy.link(bakery)
    dairy.stop()
    bakery["rye"] = 1
    with pytest.raises(kvreg.NoProcess):
        bakery.link(dairy)
    with pytest.raises(kvreg.NoProcess):
        dairy.link(bakery)


def test_a_link_can_be_taken_away(registry: kvreg.Registry) -> None:
    dairy, bakery = registry.create("dairy"), registry.create("bakery")
    dairy.unlink(bakery)
    dairy.link(bakery)
    bakery.unlink(dairy)
    dairy.exit(Reason.KILLED)
    assert list(registry) == ["bakery"]


def test_a_restarted_bucket_has_no_links(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(restart=Restart.TRANSIENT)
    dairy = registry.create("dairy", options=options)
    bakery = registry.create("bakery", options=options)
    dairy.link(bakery)
    dairy.exit(Reason.KILLED)
    assert registry["bakery"].info().last_exit is Reason.KILLED
    registry["dairy"].exit(Reason.KILLED)
    assert registry["dairy"].info().restarts == 2
    assert registry["bakery"].info().restarts == 1


def test_only_buckets_are_linked(registry: kvreg.Registry, bucket: kvreg.Bucket) -> None:
    with pytest.raises(TypeError, match="expected a Bucket, not Registry"):
        bucket.link(registry)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a Bucket, not str"):
        bucket.unlink("dairy")  # type: ignore[arg-type]


# Facts


def test_what_a_bucket_tells(bucket: kvreg.Bucket) -> None:
    fresh = bucket.info()
    assert fresh == kvreg.BucketInfo(
        keys=0,
        bytes=0,
        mailbox=0,
        handled=0,
        restarts=0,
        last_exit=None,
        hits=0,
        misses=0,
        expired=0,
        evicted=0,
    )
    bucket["milk"] = 1
    bucket.put_cast("tea", "green")
    bucket.update("milk", lambda n: n + 1)
    bucket.get("milk")
    info = bucket.info()
    assert (info.keys, info.bytes, info.mailbox, info.handled) == (2, 4 + 8 + 3 + 5, 0, 3)
    bucket.stop()
    with pytest.raises(kvreg.NoProcess):
        bucket.info()


def test_what_a_registry_tells(registry: kvreg.Registry) -> None:
    assert registry.info() == kvreg.RegistryInfo(
        buckets=0, keys=0, bytes=0, mailbox=0, handled=0, restarts=0, last_exit=None
    )
    registry.create("dairy")["milk"] = 1
    registry.create_cast("bakery")
    registry["bakery"]["rye"] = "two"
    info = registry.info()
    assert (info.buckets, info.keys, info.bytes, info.mailbox) == (2, 2, 12 + 6, 0)
    assert info.handled == 2
    registry.close()
    with pytest.raises(kvreg.Closed):
        registry.info()


# The process


def test_configure_comes_first() -> None:
    code = """
import socket
import sys
from pathlib import Path
import kvreg
kvreg.configure(worker_threads=1, max_monitors=2, default_timeout=1.5, thread_name="cellar")
registry, inbox = kvreg.Registry(), kvreg.Inbox()
bucket = registry.create("dairy")
assert registry.timeout == bucket.timeout == kvreg.Bucket().timeout == 1.5
inbox.monitor(bucket)
inbox.monitor(bucket)
try:
    inbox.monitor(bucket)
except kvreg.LimitReached:
    print("two")
try:
    kvreg.configure(default_timeout=2)
except kvreg.AlreadyStarted:
    print("once")
with kvreg.Registry() as other:
    assert other.timeout == 1.5
with kvreg.Listener(registry, "0") as listener:
    with socket.create_connection(listener.address, timeout=120) as client:
        client.sendall(b"HELLO\\n")
        client.recv(100)  # now a thread has begun, and has its name
if sys.platform == "linux":
    threads = Path("/proc/self/task")
    assert "cellar\\n" in {comm.read_text() for comm in threads.glob("*/comm")}
"""
    assert python(code) == "two\nonce\n"


def test_the_default_timeout_holds() -> None:
    code = """
import threading, kvreg
kvreg.configure(default_timeout=0.01)
bucket, held, done = kvreg.Bucket(), threading.Event(), threading.Event()
def hold(_):
    held.set()
    done.wait()
thread = threading.Thread(target=lambda: bucket.update("k", hold, default=None))
thread.start()
held.wait()
try:
    bucket["k"] = 1
except kvreg.CallTimeout:
    print("late")
done.set()
thread.join()
"""
    assert python(code) == "late\n"


def test_configure_comes_too_late() -> None:
    code = """
import kvreg
kvreg.library_version()
bucket = kvreg.Bucket()
try:
    kvreg.configure()
except kvreg.AlreadyStarted:
    print("late")
assert kvreg.Bucket().timeout == 5
"""
    assert python(code) == "late\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker_threads": 0},
        {"callback_threads": 2**32},
        {"default_timeout": 0},
        {"default_timeout": -1},
        {"thread_name": "a\0b"},
        {"thread_name": ""},
        {"thread_name": "n" * 16},
    ],
)
def test_what_cannot_be_configured(wrong: dict[str, Any]) -> None:
    code = f"""
import kvreg
try:
    kvreg.configure(**{wrong!r})
except ValueError:
    print("wrong")
kvreg.configure(default_timeout=None)
print(kvreg.Bucket().timeout)
"""
    assert python(code) == "wrong\nNone\n"


def test_after_a_shutdown_everything_has_ended() -> None:
    code = """
import kvreg
with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
    bucket = registry.create("dairy")
    with kvreg.Listener(registry, "0") as listener:
        kvreg.shutdown(timeout=120)
        for use in (
            lambda: bucket["milk"], lambda: inbox.receive(0), lambda: listener.address,
            lambda: registry.create("dairy"), kvreg.Registry, kvreg.Bucket, kvreg.Inbox,
        ):
            try:
                use()
            except kvreg.ShutDown:
                print("shut down")
    bucket.close()
print("done")
"""
    assert python(code) == 7 * "shut down\n" + "done\n"


def test_a_shutdown_inside_an_update_would_wait_for_itself() -> None:
    code = """
import kvreg
bucket = kvreg.Bucket()
def work(_):
    try:
        kvreg.shutdown()
    except kvreg.CallingSelf:
        return "itself"
print(bucket.update("k", work, default=None), bucket["k"])
"""
    assert python(code) == "itself itself\n"
