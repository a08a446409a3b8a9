"""The types that a user of kvreg sees: checked by mypy and by pyright, and not run.

What is ignored here is an error to both, and each says so when it is none any more.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Awaitable, ItemsView, Iterator, KeysView, Mapping, MutableMapping
from typing import Any, Optional, Union

import kvreg
from kvreg import aio
from typing_extensions import assert_type


def values_of_a_bucket(bucket: kvreg.Bucket) -> None:
    assert_type(bucket.get("milk"), Any)
    assert_type(bucket.get(b"milk", 1), Union[Any, int])
    assert_type(bucket["milk"], Any)
    assert_type(bucket[b"milk"], Any)
    assert_type(bucket.pop("milk"), Any)
    assert_type(bucket.pop("milk", None), Optional[Any])
    assert_type(bucket.popitem(), tuple[str, Any])
    assert_type(bucket.setdefault("milk", 1), Any)
    assert_type(bucket.get_many(["milk", b"eggs"]), list[Any])
    assert_type(len(bucket), int)
    assert_type("milk" in bucket, bool)
    assert_type(bucket.name, Optional[str])
    assert_type(bucket.codec, Optional[kvreg.Codec])
    assert_type(bucket.timeout, Optional[float])
    assert_type(bucket.info(), kvreg.BucketInfo)
    assert_type(bucket.info().last_exit, Optional[kvreg.Reason])
    assert_type(bucket.clone(), kvreg.Bucket)


def revisions_of_a_bucket(bucket: kvreg.Bucket) -> None:
    entry = bucket.entry(b"milk")
    assert_type(entry, kvreg.Entry)
    assert_type(entry.value, Any)
    assert_type(entry.revision, int)
    assert_type(entry.ttl, Optional[float])
    assert_type(bucket.put("milk", 1), int)
    assert_type(bucket.put("milk", 1, if_revision=entry.revision), int)
    assert_type(bucket.put("milk", 1, if_absent=True), int)
    bucket.put("milk", 1, 7)  # type: ignore[call-arg]
    bucket.put("milk", 1, if_revision="7")  # type: ignore[arg-type]
    bucket.remove("milk")
    bucket.remove("milk", if_revision=entry.revision)
    assert_type(bucket.add("visits"), int)
    assert_type(bucket.add("visits", -1), int)
    bucket.add("visits", 1.5)  # type: ignore[arg-type]
    assert_type(bucket.compare_and_swap("state", kvreg.ABSENT, "open"), bool)
    assert_type(bucket.revision(), int)
    absent: kvreg.Absent = kvreg.ABSENT
    assert_type(bucket.get("milk", absent), Union[Any, kvreg.Absent])


def updates_of_a_bucket(bucket: kvreg.Bucket, other: kvreg.Bucket) -> None:
    assert_type(bucket.update("milk", lambda n: n + 1), Any)
    assert_type(bucket.update("milk", lambda n: n + 1, default=0), Any)
    assert_type(bucket.update("milk", lambda _: kvreg.KEEP), Any)
    assert_type(bucket.update("milk", lambda n: n if n else kvreg.REMOVE), Any)
    # These give None; a checker says so where the value is used.
    bucket.update({"milk": 1})
    bucket.update({b"milk": 1}, eggs=2)
    bucket.update([("milk", 1), (b"eggs", "two")])
    bucket.update(other)
    bucket.update(milk=1, eggs=None)
    bucket.update()
    bucket.update("milk", 1)  # type: ignore[call-overload]
    bucket.update("milk", lambda n: [n])  # as a codec may allow
    bucket.update("milk", len, 1)  # type: ignore[call-overload]
    bucket.update(1)  # type: ignore[call-overload]
    bucket.update(milk=[1])


def a_bucket_as_a_mapping(bucket: kvreg.Bucket) -> None:
    mapping: MutableMapping[str, Any] = bucket
    assert_type(iter(mapping), Iterator[str])
    assert_type(iter(bucket), Iterator[str])
    assert_type(dict(bucket), dict[str, Any])
    assert_type(bucket.keys(), KeysView[str])
    items: ItemsView[str, Any] = bucket.items()
    assert_type(dict(items), dict[str, Any])
    assert_type(list(bucket.values()), list[Any])
    assert_type(bucket | {"milk": 1}, dict[str, Any])
    bucket |= {"milk": 1}
    assert_type(bucket, kvreg.Bucket)
    bucket["milk"] = 1
    bucket[b"milk"] = None
    del bucket[b"milk"]
    bucket[1] = 1  # type: ignore[index]
    bucket["milk"] = object()
    with bucket as same:
        assert_type(same, kvreg.Bucket)


def a_registry_as_a_mapping(registry: kvreg.Registry) -> None:
    mapping: Mapping[str, kvreg.Bucket] = registry
    assert_type(mapping["shopping"], kvreg.Bucket)
    assert_type(registry["shopping"], kvreg.Bucket)
    assert_type(registry.get("shopping"), Optional[kvreg.Bucket])
    assert_type(registry.get("shopping", 1), Union[kvreg.Bucket, int])
    assert_type(dict(registry), dict[str, kvreg.Bucket])
    assert_type(list(registry), list[str])
    assert_type(list(registry.values()), list[kvreg.Bucket])
    assert_type(list(registry.items()), list[tuple[str, kvreg.Bucket]])
    assert_type(registry.create("shopping"), kvreg.Bucket)
    assert_type(registry.execute("GET shopping milk"), bytes)
    assert_type(registry.info(), kvreg.RegistryInfo)
    assert_type(kvreg.Registry.whereis("name"), kvreg.Registry)
    registry["shopping"] = registry.create("b")  # type: ignore[index]
    with registry as same:
        assert_type(same, kvreg.Registry)


def events(inbox: kvreg.Inbox, bucket: kvreg.Bucket) -> None:
    assert_type(inbox.monitor(bucket), int)
    event = inbox.receive(timeout=1)
    assert_type(event, Union[kvreg.Down, kvreg.Log, kvreg.Lost])
    if isinstance(event, kvreg.Down):
        assert_type(event.reason, kvreg.Reason)
        assert_type(event.name, Optional[str])
        assert_type(event.reference, int)
    elif isinstance(event, kvreg.Log):
        assert_type(event.level, kvreg.LogLevel)
    else:
        assert_type(event.count, int)
    for each in inbox:
        assert_type(each, kvreg.Event)


class Codec:
    """Any class with these two methods is a codec."""

    def encode(self, value: Any, /) -> bytes:
        return repr(value).encode()

    def decode(self, data: bytes, /) -> Any:
        return data.decode()


def codecs() -> None:
    for codec in (Codec(), kvreg.JSON, kvreg.PICKLE):
        kvreg.Registry(codec=codec)
        aio.Registry(codec=codec)
    kvreg.Bucket(codec=repr)  # type: ignore[arg-type]


async def tasks(bucket: aio.Bucket, registry: aio.Registry, inbox: aio.Inbox) -> None:
    waits: Awaitable[int] = bucket.put("milk", 1, if_absent=True)
    assert_type(await waits, int)
    assert_type(await bucket.entry("milk"), kvreg.Entry)
    assert_type(await bucket.revision(), int)
    assert_type(await bucket.add("visits", 2), int)
    assert_type(await bucket.compare_and_swap("state", kvreg.ABSENT, "open"), bool)
    await bucket.remove("milk", if_revision=await waits)
    assert_type(await bucket.get("milk"), Any)
    assert_type(await bucket.get("milk", 1), Union[Any, int])
    assert_type(await bucket.get_many(["milk"]), list[Any])
    assert_type(await bucket.contains("milk"), bool)
    assert_type(await bucket.count(), int)
    assert_type(await bucket.keys(), list[str])
    assert_type(await bucket.values(), list[Any])
    assert_type(await bucket.items(), list[tuple[str, Any]])
    assert_type(await bucket.pop("milk"), Any)
    assert_type(await bucket.pop("milk", None), Optional[Any])
    assert_type(await bucket.setdefault("milk", 1), Any)
    assert_type(await bucket.update("milk", lambda n: n + 1, default=0), Any)
    await bucket.update({"milk": 1}, eggs=2)
    await bucket.update([(b"milk", 1)])
    await bucket.update("milk", 1)  # type: ignore[call-overload]
    assert_type(await bucket.info(), kvreg.BucketInfo)
    assert_type(bucket.clone(), aio.Bucket)
    assert_type(bucket.timeout, Optional[float])
    assert_type(await registry.create("shopping"), aio.Bucket)
    assert_type(await registry.lookup("shopping"), aio.Bucket)
    assert_type(await registry.get("shopping"), Optional[aio.Bucket])
    assert_type(await registry.get("shopping", 1), Union[aio.Bucket, int])
    assert_type(await registry.names(), list[str])
    assert_type(await registry.info(), kvreg.RegistryInfo)
    assert_type(await registry.execute("GET shopping milk"), bytes)
    assert_type(aio.Registry.whereis("name"), aio.Registry)
    assert_type(aio.Registry.of(kvreg.Registry()), aio.Registry)
    assert_type(aio.Bucket.of(kvreg.Bucket()), aio.Bucket)
    assert_type(inbox.monitor(bucket), int)
    assert_type(await inbox.receive(timeout=1), kvreg.Event)
    async for event in inbox:
        assert_type(event, kvreg.Event)
    async with registry as same, bucket as shopping, inbox as box:
        assert_type(same, aio.Registry)
        assert_type(shopping, aio.Bucket)
        assert_type(box, aio.Inbox)
    registry["shopping"]  # type: ignore[index]


class Counter(kvreg.Server, restart=kvreg.Restart.PERMANENT):
    """A server whose calls and casts have parameters of all kinds."""

    answers = (ValueError,)

    def __init__(self, start: int = 0) -> None:
        self.n = start

    @kvreg.call
    def add(self, by: int, *, twice: bool = False) -> int:
        self.send_after(1.0, "tick", by)
        return self.n + by

    @kvreg.call
    def later_text(self, text: str) -> kvreg.Later[str]:
        later: kvreg.Later[str] = self.later()
        assert_type(later.set(text), bool)
        assert_type(later.fail(ValueError()), bool)
        return later

    @kvreg.cast
    def reset(self, to: int = 0) -> int:
        return to

    def on_info(self, tag: str, *values: object) -> None:
        assert_type(self.add(1), int)
        assert_type(self.me.add(1), int)

    def on_down(self, down: kvreg.Down) -> None:
        raise kvreg.Stop(down.detail)

    def on_terminate(self, reason: kvreg.Reason) -> None:
        raise kvreg.Refused(reason.name)


def servers(registry: kvreg.Registry, bucket: kvreg.Bucket, inbox: kvreg.Inbox) -> None:
    hits = Counter.start(registry, "hits", 10)
    assert_type(hits, Counter)
    assert_type(Counter.find(registry, "hits"), Counter)
    assert_type(Counter.start_alone(1), Counter)
    assert_type(Counter.start_exclusive(registry, "hits"), Counter)
    assert_type(hits.add(5), int)
    assert_type(hits.add(by=5, twice=True), int)
    hits.add("5")  # type: ignore[arg-type]
    hits.add()  # type: ignore[call-arg]
    hits.add(5, True)  # type: ignore[call-arg]
    assert_type(hits.later_text("text"), str)
    hits.later_text(1)  # type: ignore[arg-type]
    nothing: None = hits.reset(1)
    hits.reset("1")  # type: ignore[arg-type]
    found = registry.servers["hits"]
    assert_type(found, Any)
    again: Counter = found
    assert_type(again.add(1), int)
    assert_type(registry.servers, kvreg.Servers)
    assert_type(list(registry.servers), list[str])
    assert_type(hits.call("add", 5), Any)
    hits.cast("reset")
    hits.send("tag", 1, "two")
    assert_type(hits.send_after(0.5, "tag"), int)
    assert_type(hits.cancel(7), Optional[float])
    assert_type(hits.info(), kvreg.ServerInfo)
    assert_type(hits.name, Optional[str])
    assert_type(hits.timeout, Optional[float])
    hits.timeout = 2.0
    hits.timeout = "2"  # type: ignore[assignment]
    assert_type(hits.monitor(bucket), int)
    assert_type(inbox.monitor(hits), int)
    hits.link(registry)
    hits.exit(kvreg.Reason.KILLED, "why")
    with hits as same:
        assert_type(same, Counter)
    kvreg.serve(threads=4)
    assert_type(kvreg.serve_once(1.0), bool)
    kvreg.call(1)  # type: ignore[call-overload]
    return nothing


class Fetcher(aio.Server):
    """The same for tasks."""

    @aio.call
    async def fetch(self, page: str) -> bytes:
        assert_type(await self.length(page), int)
        return page.encode()

    @aio.call
    def length(self, page: str) -> int:
        return len(page)

    @aio.call
    def put_off(self) -> kvreg.Later[float]:
        return self.later()

    @aio.cast
    async def forget(self, page: str) -> int:
        return len(page)


async def servers_for_tasks(registry: aio.Registry, inbox: aio.Inbox) -> None:
    fetcher = await Fetcher.start(registry, "fetcher")
    assert_type(fetcher, Fetcher)
    assert_type(await Fetcher.find(registry, "fetcher"), Fetcher)
    assert_type(await fetcher.fetch("page"), bytes)
    assert_type(await fetcher.length("page"), int)
    assert_type(await fetcher.put_off(), float)
    await fetcher.fetch(1)  # type: ignore[arg-type]
    waits: Awaitable[int] = fetcher.length("page")
    assert_type(await waits, int)
    nothing: None = fetcher.forget("page")
    fetcher.forget(1)  # type: ignore[arg-type]
    assert_type(await fetcher.call("fetch", "page"), Any)
    assert_type(await fetcher.stop(), None)
    assert_type(inbox.monitor(fetcher), int)
    assert_type(registry.servers, aio.Servers)
    await registry.servers["fetcher"].fetch("page")
    assert_type(aio.Server.of(Counter(1)), Any)
    async with fetcher as same:
        assert_type(same, Fetcher)
    return nothing
