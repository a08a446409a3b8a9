"""Registries: mappings from names to buckets that are alive."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Mapping

import kvreg
import pytest
from support import WAIT, Worker, live_handles

NAMES = ["dairy", "bakery", "Grüße", "n" * 255]


def test_it_is_a_mapping(registry: kvreg.Registry) -> None:
    for name in NAMES:
        registry.create(name)["name"] = name
    assert isinstance(registry, Mapping)
    assert len(registry) == 4
    assert sorted(registry) == sorted(registry.keys()) == sorted(NAMES)
    assert "dairy" in registry
    assert "garage" not in registry
    assert 1 not in registry  # type: ignore[comparison-overlap]
    for name, bucket in registry.items():
        assert bucket.name == bucket["name"] == name
    assert sorted(bucket["name"] for bucket in registry.values()) == sorted(NAMES)
    found = registry.get("dairy")
    assert found is not None
    assert found["name"] == "dairy"
    assert registry.get("garage") is None
    assert registry.get("garage", 1) == 1
    assert bool(registry)
    with kvreg.Registry() as empty:
        assert not empty


def test_an_unknown_name(registry: kvreg.Registry) -> None:
    with pytest.raises(KeyError) as caught:
        registry["garage"]
    assert type(caught.value) is kvreg.BucketNotFound
    assert caught.value.args == ("garage",)
    assert caught.value.status is kvreg.Status.NOT_FOUND


@pytest.mark.parametrize("name", ["", "a\0b", "n" * 256, "ü" * 128])
def test_what_cannot_be_a_name(registry: kvreg.Registry, name: str) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        registry.create(name)
    with pytest.raises(kvreg.InvalidArgument):
        registry.create_cast(name)
    with pytest.raises(kvreg.InvalidArgument):
        registry[name]
    assert name not in registry
    assert len(registry) == 0


def test_a_name_is_unicode_text(registry: kvreg.Registry) -> None:
    with pytest.raises(UnicodeEncodeError):
        registry.create("\udcff")
    with pytest.raises(TypeError, match="a name is a str"):
        registry.create(b"dairy")  # type: ignore[arg-type]
    assert b"dairy" not in registry  # type: ignore[comparison-overlap]


def test_registries_do_not_share_names(registry: kvreg.Registry) -> None:
    with kvreg.Registry() as other:
        registry.create("dairy")
        assert "dairy" not in other


def test_each_lookup_gives_an_object_of_its_own(registry: kvreg.Registry) -> None:
    created = registry.create("dairy")
    created.timeout = 1.0
    found = registry["dairy"]
    assert found is not created
    assert found.timeout == WAIT
    created.close()
    found["milk"] = 1


def test_views_leave_out_what_ends_meanwhile(registry: kvreg.Registry) -> None:
    for name in NAMES:
        registry.create(name)
    items = iter(registry.items())
    name, _ = next(items)
    for other in NAMES:
        if other != name:
            registry[other].stop()
    assert list(items) == []
    assert [bucket.name for bucket in registry.values()] == [name]


def test_the_names_of_ended_buckets_are_gone(registry: kvreg.Registry) -> None:
    for n in range(100):
        registry.create(f"bucket {n}").stop()
    assert len(registry) == 0
    assert list(registry) == []


def test_equality_is_identity(registry: kvreg.Registry) -> None:
    with kvreg.Registry() as other:
        assert registry == registry
        assert registry != other
        assert len({registry, other}) == 2


def test_with_stops_what_was_started_here() -> None:
    with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
        dairy = registry.create("dairy")
        bucket_reference = inbox.monitor(dairy)
        registry_reference = inbox.monitor(registry)
        registry.__exit__(None, None, None)
        downs = [inbox.receive(timeout=WAIT), inbox.receive(timeout=WAIT)]
        assert registry.closed
    assert downs == [
        kvreg.Down(bucket_reference, kvreg.Reason.SHUTDOWN, "dairy", ""),
        kvreg.Down(registry_reference, kvreg.Reason.NORMAL, None, ""),
    ]
    with pytest.raises(kvreg.NoProcess):
        dairy["milk"]
    with pytest.raises(kvreg.Closed):
        registry["dairy"]


def test_with_is_content_with_a_registry_that_has_ended() -> None:
    with kvreg.Registry() as registry:
        registry.stop()
        with pytest.raises(kvreg.NoProcess):
            registry.create("dairy")
        with pytest.raises(kvreg.NoProcess):
            registry.stop()
    with kvreg.Registry() as registry:
        registry.close()


def test_the_exception_of_the_block_comes_out() -> None:
    with pytest.raises(ZeroDivisionError), kvreg.Registry() as registry:
        _ = 1 / 0
    assert registry.closed


def test_a_clone_only_closes(registry: kvreg.Registry) -> None:
    registry.timeout = 0.5
    for other in (registry.clone(), copy.copy(registry)):
        with other:
            assert other.timeout == 0.5
            other.create("dairy")["milk"] = 1
        assert other.closed
        assert repr(other) == "<kvreg.Registry (closed)>"
    assert registry["dairy"]["milk"] == 1


def test_it_ends_with_its_last_handle(inbox: kvreg.Inbox) -> None:
    registry = kvreg.Registry()
    dairy = registry.create("dairy")
    inbox.monitor(dairy)
    clone = registry.clone()
    registry.close()
    dairy["milk"] = 1
    clone.close()
    down = inbox.receive(timeout=WAIT)
    assert isinstance(down, kvreg.Down)
    assert (down.reason, down.name) == (kvreg.Reason.SHUTDOWN, "dairy")


def test_handles_are_freed_by_the_garbage_collector() -> None:
    gc.collect()
    before = live_handles()
    registries = [kvreg.Registry() for _ in range(10)]
    registries += [registry.clone() for registry in registries]
    assert live_handles()["registry"] == before["registry"] + 20
    with pytest.warns(ResourceWarning, match="unclosed <kvreg.Registry") as warned:
        del registries
        gc.collect()
    assert len(warned) == 10
    del warned  # has them too
    gc.collect()
    assert live_handles() == before


def test_nothing_is_left_behind_by_use(registry: kvreg.Registry) -> None:
    registry.create("dairy")
    gc.collect()
    before = live_handles()
    assert "dairy" in registry
    list(registry)
    for _, bucket in registry.items():
        bucket.close()
    registry.execute("GET dairy milk")
    assert live_handles() == before


def test_it_cannot_be_pickled(registry: kvreg.Registry) -> None:
    with pytest.raises(TypeError, match="live handle"):
        pickle.dumps(registry)


def test_it_describes_itself(registry: kvreg.Registry) -> None:
    assert repr(registry) == "<kvreg.Registry of 0 buckets>"
    registry.create("dairy")
    assert repr(registry) == "<kvreg.Registry of 1 bucket>"
    registry.stop()
    assert repr(registry) == "<kvreg.Registry>"


def test_messages_that_nobody_expects_are_logged(
    registry: kvreg.Registry, inbox: kvreg.Inbox
) -> None:
    registry.create("dairy")
    inbox.subscribe_logs(kvreg.LogLevel.DEBUG)
    registry.send("hello")
    registry.send(b"\xff")
    logs = [inbox.receive(timeout=WAIT), inbox.receive(timeout=WAIT)]
    for log, said in zip(logs, ("hello", "xff")):
        assert isinstance(log, kvreg.Log)
        assert log.level is kvreg.LogLevel.DEBUG
        assert said in log.message
    assert "dairy" in registry


def test_threads_create_the_same_buckets(registry: kvreg.Registry) -> None:
    def work() -> None:
        for n in range(200):
            registry.create(f"bucket {n % 20}").update("count", lambda c: c + 1, default=0)

    for worker in [Worker(work) for _ in range(4)]:
        worker.result()
    assert len(registry) == 20
    assert [bucket["count"] for bucket in registry.values()] == [40] * 20
