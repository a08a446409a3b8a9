"""Other programs on the same bucket: nats-py, which has the layout of the nats command."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Any, Callable

import kvreg
import pytest
from nats.js import JetStreamContext
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from nats_servers import WAIT, Server, asked, until

TYPE = "Kvreg-Type"

AsOther = Callable[[str, Callable[[KeyValue], Awaitable[Any]]], Any]


@pytest.fixture
def as_other(shared_server: Server) -> AsOther:
    """Does something with a bucket by nats-py."""

    def do(name: str, work: Callable[[KeyValue], Awaitable[Any]]) -> Any:
        async def ask(js: JetStreamContext) -> Any:
            return await work(await js.key_value(name))

        return asked(shared_server.url, ask)

    return do


VALUES: list[tuple[str, Any, bytes]] = [
    ("string", "Käse", "Käse".encode()),
    ("string", "", b""),
    ("bytes", b"\xff\0", b"\xff\0"),
    ("bytes", b"text", b"text"),
    ("int", -3, b"-3"),
    ("int", 2**63 - 1, b"9223372036854775807"),
    ("float", 0.1, b"0.1"),
    ("float", -math.inf, b"-inf"),
    ("bool", True, b"true"),
    ("nil", None, b""),
]


def test_what_kvreg_stores_others_read(registry: kvreg.Registry, as_other: AsOther) -> None:
    bucket = registry.create("to-others")
    revisions = [bucket.put(f"k.{i}", value) for i, (_, value, _) in enumerate(VALUES)]

    async def read(kv: KeyValue) -> list[KeyValue.Entry]:
        return [await kv.get(f"k.{i}") for i in range(len(VALUES))]

    for i, entry in enumerate(as_other("to-others", read)):
        assert entry.key == f"k.{i}" and entry.revision == revisions[i]
        assert (entry.value or b"") == VALUES[i][2]
    assert [bucket[f"k.{i}"] for i in range(len(VALUES))] == [value for _, value, _ in VALUES]


def test_types_are_in_a_header(
    registry: kvreg.Registry, as_other: AsOther, shared_server: Server
) -> None:
    bucket = registry.create("headers")
    for i, (_, value, _) in enumerate(VALUES):
        bucket[f"k.{i}"] = value

    async def types(js: JetStreamContext) -> list[str]:
        messages = [
            await js.get_last_msg("KV_headers", f"$KV.headers.k.{i}")
            for i in range(len(VALUES))
        ]
        return [(message.headers or {})[TYPE] for message in messages]

    assert asked(shared_server.url, types) == [kind for kind, _, _ in VALUES]


def test_what_others_store_is_a_string_or_bytes(
    registry: kvreg.Registry, as_other: AsOther
) -> None:
    bucket = registry.create("from-others")

    async def store(kv: KeyValue) -> list[int]:
        return [
            await kv.put("text", "Käse".encode()),
            await kv.put("number", b"3"),
            await kv.put("bytes", b"\xff"),
            await kv.put("empty", b""),
            await kv.create("created", b"new"),
        ]

    revisions = as_other("from-others", store)
    assert dict(bucket.items()) == {
        "text": "Käse",
        "number": "3",
        "bytes": b"\xff",
        "empty": "",
        "created": "new",
    }
    keys = ("text", "number", "bytes", "empty", "created")
    assert [bucket.entry(key).revision for key in keys] == revisions
    with pytest.raises(kvreg.WrongType):
        bucket.add("number", 1)
    # What kvreg makes of it has a type, and what others make of that has none again.
    bucket["number"] = 3
    assert bucket.add("number", 1) == 4
    as_other("from-others", lambda kv: kv.put("number", b"5"))
    assert bucket["number"] == "5"


def test_deletes_are_seen_on_both_sides(registry: kvreg.Registry, as_other: AsOther) -> None:
    bucket = registry.create("deletes")
    bucket.put_many({"a": 1, "b": 2, "c": 3})
    del bucket["a"]
    with pytest.raises(KeyNotFoundError):
        as_other("deletes", lambda kv: kv.get("a"))
    as_other("deletes", lambda kv: kv.delete("b"))
    as_other("deletes", lambda kv: kv.purge("c"))
    assert len(bucket) == 0 and list(bucket) == []
    for key in ("a", "b", "c"):
        with pytest.raises(KeyError):
            bucket[key]
    # Deleted keys can be created, by whomever.
    as_other("deletes", lambda kv: kv.create("a", b"again"))
    assert bucket["a"] == "again"
    bucket.put("b", "again", if_absent=True)
    assert as_other("deletes", lambda kv: kv.get("b")).value == b"again"


def test_conditions_hold_between_both(registry: kvreg.Registry, as_other: AsOther) -> None:
    bucket = registry.create("conditions")
    first = bucket.put("k", "ours", if_absent=True)
    with pytest.raises(KeyWrongLastSequenceError):
        as_other("conditions", lambda kv: kv.create("k", b"theirs"))
    second = as_other("conditions", lambda kv: kv.update("k", b"theirs", last=first))
    with pytest.raises(kvreg.Conflict):
        bucket.put("k", "ours", if_revision=first)
    third = bucket.put("k", "ours", if_revision=second)
    with pytest.raises(KeyWrongLastSequenceError):
        as_other("conditions", lambda kv: kv.update("k", b"theirs", last=second))
    assert as_other("conditions", lambda kv: kv.get("k")).revision == third


def test_times_to_live_hold_on_both_sides(registry: kvreg.Registry, as_other: AsOther) -> None:
    bucket = registry.create("times")
    with bucket.watch() as watch:
        assert [type(watch.receive(WAIT)) for _ in range(2)] == [kvreg.Reset, kvreg.Current]
        bucket.put("ours", 1, ttl=1)
        as_other("times", lambda kv: kv.create("theirs", b"1", msg_ttl=1))
        as_other("times", lambda kv: kv.create("stays", b"1", msg_ttl=1000))
        ttl = bucket.entry("stays").ttl
        assert ttl is not None and 900 < ttl <= 1000
        bucket.put("long", 1, ttl=1000)
        told = [watch.receive(WAIT) for _ in range(6)]
    changes = {(type(it), it.key) for it in told if isinstance(it, (kvreg.Put, kvreg.Expire))}
    assert changes == {
        (kvreg.Put, "ours"),
        (kvreg.Put, "theirs"),
        (kvreg.Put, "stays"),
        (kvreg.Put, "long"),
        (kvreg.Expire, "ours"),
        (kvreg.Expire, "theirs"),
    }

    async def keys(kv: KeyValue) -> list[str]:
        return sorted(await kv.keys())

    assert as_other("times", keys) == ["long", "stays"] == sorted(bucket)

    async def left(kv: KeyValue) -> str:
        message = await kv._js.get_last_msg("KV_times", "$KV.times.long")
        return str((message.headers or {})["Nats-TTL"])

    assert as_other("times", left) in ("1000", "1000s", "16m40s")


def test_watches_are_told_of_the_other_side(
    registry: kvreg.Registry, as_other: AsOther
) -> None:
    bucket = registry.create("watched")
    bucket["before"] = 1

    async def both(kv: KeyValue) -> list[tuple[str, Any, str | None]]:
        theirs = await kv.watchall()
        seen: list[tuple[str, Any, str | None]] = []

        async def next_one() -> None:
            entry = await theirs.updates(timeout=WAIT)
            if entry is not None:
                seen.append((entry.key, entry.value or None, entry.operation))

        with bucket.watch() as ours:
            kinds = [type(ours.receive(WAIT)) for _ in range(3)]
            assert kinds == [kvreg.Reset, kvreg.Put, kvreg.Current]
            await kv.put("theirs", b"1")
            put = ours.receive(WAIT)
            assert isinstance(put, kvreg.Put) and put.value == "1"
            await kv.delete("theirs")
            gone = ours.receive(WAIT)
            assert isinstance(gone, kvreg.Delete) and gone.key == "theirs"
            await kv.purge("before")
            gone = ours.receive(WAIT)
            assert isinstance(gone, kvreg.Delete) and gone.key == "before"
            bucket["ours"] = 2.5
            del bucket["ours"]
            bucket["last"] = "end"
        while not seen or seen[-1][0] != "last":
            await next_one()
        await theirs.stop()
        return seen

    seen = as_other("watched", both)
    assert seen[0] == ("before", b"1", None)
    # A bucket keeps the last change of a key, and a watch may be told of that alone.
    assert [it for it in seen if it[0] == "ours"][-1] == ("ours", None, "DEL")
    assert seen[-1] == ("last", b"end", None)


def test_a_bucket_that_others_made_is_opened_as_it_is(
    registry: kvreg.Registry, shared_server: Server
) -> None:
    async def make(js: JetStreamContext) -> None:
        kv = await js.create_key_value(bucket="theirs", history=5)
        for i in range(3):
            await kv.put("k", str(i).encode())

    asked(shared_server.url, make)
    bucket = registry.create("theirs")
    assert dict(bucket.items()) == {"k": "2"} and bucket.entry("k").revision == 3
    bucket["k"] = 3

    async def history(js: JetStreamContext) -> list[bytes | None]:
        return [it.value for it in await (await js.key_value("theirs")).history("k")]

    assert asked(shared_server.url, history) == [b"0", b"1", b"2", b"3"]
    with bucket.watch() as watch:
        kinds = [type(watch.receive(WAIT)) for _ in range(3)]
        assert kinds == [kvreg.Reset, kvreg.Put, kvreg.Current]
    # It was made without times to live, unless this client asks for them.
    if "ttl" in bucket.info().lacks:
        with pytest.raises(kvreg.Unsupported):
            bucket.put("k", 1, ttl=5)


def test_keys_in_base64_are_decoded(shared_server: Server) -> None:
    url = f"{shared_server.url}?keys=base64&prefix=p-"
    with kvreg.Registry(store=url) as registry:
        bucket = registry.create("coded")
        bucket["a key, with spaces.."] = 1

        async def keys(js: JetStreamContext) -> list[str]:
            return list(await (await js.key_value("p-coded")).keys())

        (coded,) = asked(shared_server.url, keys)
        assert " " not in coded
        assert list(bucket) == ["a key, with spaces.."]


def test_others_may_delete_the_bucket(registry: kvreg.Registry, shared_server: Server) -> None:
    bucket = registry.create("deleted")
    bucket["k"] = 1
    with kvreg.Inbox() as inbox, bucket.watch() as watch:
        inbox.monitor(bucket)
        assert [type(watch.receive(WAIT)) for _ in range(3)] == [
            kvreg.Reset,
            kvreg.Put,
            kvreg.Current,
        ]
        asked(shared_server.url, lambda js: js.delete_key_value("deleted"))
        down = inbox.receive(WAIT)
        assert isinstance(down, kvreg.Down)
        assert (down.reason, down.detail) == (kvreg.Reason.SHUTDOWN, "deleted")
        assert list(watch) == [] and watch.down is not None
    until(lambda: "deleted" not in registry, "the name stays")
    assert len(registry.create("deleted")) == 0
    registry.erase("deleted")


def test_erased_here_is_gone_there(registry: kvreg.Registry, shared_server: Server) -> None:
    registry.create("erased")["k"] = 1
    registry.erase("erased")

    async def streams(js: JetStreamContext) -> list[str | None]:
        return [info.config.name for info in await js.streams_info()]

    assert "KV_erased" not in asked(shared_server.url, streams)
