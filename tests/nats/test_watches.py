"""What follows a bucket comes to the same as it, whatever happened to the server meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import kvreg
import pytest
from kvreg import BucketOptions, Reads
from nats.js import JetStreamContext
from nats_servers import WAIT, Road, Server, asked, until
from support import Worker

Known = dict[str, Any]


class Following:
    """A watch and a copy of a bucket, which come by a road."""

    def __init__(self, url: str) -> None:
        """Opens both, each as another process would."""
        self._registries = [kvreg.Registry(store=url) for _ in range(2)]
        options = BucketOptions(store=url, reads=Reads.COPY)
        self.bucket = self._registries[0].create("followed")
        self.copy = self._registries[1].create("followed", options=options)
        self.bucket.timeout = self.copy.timeout = WAIT
        self.watch = self.bucket.watch()
        self.known: Known = {}
        self.told: list[str] = []

    def close(self) -> None:
        """Ends both."""
        self.watch.close()
        for registry in self._registries:
            registry.close()

    def next(self) -> str:
        """What the watch is told next."""
        change = self.watch.receive(WAIT)
        if isinstance(change, kvreg.Reset):
            self.known = {}
        elif isinstance(change, kvreg.Put):
            self.known[change.key] = change.value
        elif isinstance(change, (kvreg.Delete, kvreg.Expire)):
            self.known.pop(change.key, None)
        self.told.append(type(change).__name__)
        return self.told[-1]

    def until_told(self, name: str) -> None:
        """Goes on to that change."""
        while self.next() != name:
            pass

    def until_known(self, contents: Known) -> None:
        """Goes on until that is what is known."""
        while self.known != contents:
            self.next()
        until(lambda: dict(self.copy.items()) == contents, "the copy does not come to it")
        assert dict(self.bucket.items()) == contents


@pytest.fixture
def following(road: Road) -> Iterator[Following]:
    """With a key that is there at first."""
    following = Following(road.url)
    following.bucket["before"] = 1
    following.until_known({"before": 1})
    yield following
    following.close()


async def change(js: JetStreamContext) -> None:
    """By somebody who comes another way."""
    kv = await js.key_value("followed")
    await kv.delete("before")
    for i in range(50):
        await kv.put(f"k{i % 5}", str(i).encode())
    await kv.delete("k0")


CHANGED = {f"k{i}": str(45 + i) for i in range(1, 5)}


def test_after_a_connection_that_was_cut(
    server: Server, road: Road, following: Following
) -> None:
    road.block()
    following.until_told("Away")
    asked(server.url, change)
    road.open()
    following.until_told("Back")
    following.until_known(CHANGED)
    assert following.told.count("Reset") == 1  # it went on where it was


def test_after_a_connection_that_was_silent(
    server: Server, road: Road, following: Following
) -> None:
    road.hold()
    asked(server.url, change)
    following.until_told("Away")
    road.open()
    following.until_told("Back")
    following.until_known(CHANGED)


def test_after_a_server_that_was_killed(server: Server, following: Following) -> None:
    server.kill()
    following.until_told("Away")
    server.restart()
    following.until_told("Back")
    asked(server.url, change)
    following.until_known(CHANGED)


def test_after_a_server_that_was_frozen(server: Server, following: Following) -> None:
    server.freeze()
    following.until_told("Away")
    server.thaw()
    following.until_told("Back")
    asked(server.url, change)
    following.until_known(CHANGED)


def test_a_bucket_that_was_made_anew(server: Server, road: Road, following: Following) -> None:
    async def make_anew(js: JetStreamContext) -> None:
        await js.delete_key_value("followed")
        kv = await js.create_key_value(bucket="followed")
        for i in range(20):
            await kv.put(f"new{i}", b"1")

    road.block()
    following.until_told("Away")
    asked(server.url, make_anew)
    road.open()
    following.until_known({f"new{i}": "1" for i in range(20)})
    assert following.told.count("Reset") == 2


def test_a_bucket_that_was_made_anew_with_the_same_revisions(
    server: Server, road: Road, following: Following
) -> None:
    async def make_anew(js: JetStreamContext) -> None:
        await js.delete_key_value("followed")
        await (await js.create_key_value(bucket="followed")).put("before", b"new")

    road.block()
    following.until_told("Away")
    asked(server.url, make_anew)
    road.open()
    following.until_known({"before": "new"})


def test_many_keys_are_told(server: Server, following: Following) -> None:
    contents = {f"k{i}": i for i in range(1000)}
    following.bucket.put_many(contents)
    following.bucket.remove("before")
    following.until_known(contents)
    with following.bucket.watch() as later:
        told = [later.receive(WAIT) for _ in range(1002)]
    assert {it.key: it.value for it in told if isinstance(it, kvreg.Put)} == contents


def test_messages_that_were_lost(server: Server, following: Following) -> None:
    # As after the loss of power: what had been answered is not there any more.
    server.kill()
    shutil.copytree(server.data, server.folder / "kept")
    server.restart()
    following.bucket["lost"] = 2
    following.bucket["before"] = 2
    following.until_known({"before": 2, "lost": 2})
    server.kill()
    following.until_told("Away")
    shutil.rmtree(server.data)
    (server.folder / "kept").rename(server.data)
    server.restart()
    following.until_known({"before": 1})
    following.bucket["after"] = 3
    following.until_known({"before": 1, "after": 3})


def test_a_server_that_has_nothing_any_more(server: Server, following: Following) -> None:
    server.kill()
    following.until_told("Away")
    shutil.rmtree(server.data)
    with kvreg.Inbox() as inbox:
        inbox.monitor(following.bucket)
        server.restart()
        down = inbox.receive(WAIT)
    assert isinstance(down, kvreg.Down)
    assert (down.reason, down.detail) == (kvreg.Reason.SHUTDOWN, "deleted")


def test_a_copy_is_read_while_the_server_is_away(
    server: Server, road: Road, following: Following
) -> None:
    road.block()
    following.until_told("Away")
    assert dict(following.copy.items()) == {"before": 1} == {"before": following.copy["before"]}
    following.bucket.timeout = following.copy.timeout = 0.05
    with pytest.raises(kvreg.CallTimeout):
        following.bucket["before"]
    with pytest.raises(kvreg.CallTimeout):
        following.copy["before"] = 2
    info = following.bucket.info()
    assert (info.store, info.away) == ("nats", True)
    road.open()
    following.until_told("Back")
    following.bucket.timeout = following.copy.timeout = WAIT
    # What answered that its time was over is not made later.
    following.bucket["after"] = 2
    following.until_known({"before": 1, "after": 2})


def test_what_was_stored_is_known_or_unknown(
    server: Server, road: Road, following: Following
) -> None:
    following.bucket.timeout = 0.3
    road.hold()
    with pytest.raises(kvreg.OutcomeUnknown) as raised:
        following.bucket["unknown"] = 1
    assert isinstance(raised.value, TimeoutError)
    road.open()
    following.bucket.timeout = WAIT
    assert following.bucket.get("unknown") in (None, 1)
    following.bucket["unknown"] = 2
    following.until_known({"before": 1, "unknown": 2})


def test_calls_wait_for_a_server_that_comes_back(server: Server, following: Following) -> None:
    server.kill()
    following.until_told("Away")

    def casts() -> object:
        for i in range(20):
            following.bucket.put_cast("cast", i)
        return following.bucket["cast"]

    waiting = Worker(casts)
    server.restart()
    assert waiting.result() == 19
    assert following.bucket.add("sum", 5) == 5
    following.until_known({"before": 1, "cast": 19, "sum": 5})
