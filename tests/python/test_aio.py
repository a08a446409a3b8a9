"""kvreg.aio: each method does what that of `kvreg` does, when nobody is in the way."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import threading
from typing import Any

import kvreg
import pytest
from aio_support import Factory, factories, run_in
from kvreg import aio
from support import live_handles


@factories
def test_the_shopping_session(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            shopping = await registry.create("shopping")
            await shopping.put("milk", 1)
            assert await shopping.update("milk", lambda n: n + 1) == 2
            reference = inbox.monitor(shopping)
            await shopping.stop()
            assert await inbox.receive() == kvreg.Down(
                reference, kvreg.Reason.NORMAL, "shopping", ""
            )
            assert not await registry.contains("shopping")
        assert registry.closed
        assert inbox.closed

    run_in(factory, main())


@factories
def test_a_bucket_without_a_registry_has_options(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket(kvreg.BucketOptions(max_keys=1)) as bucket:
            await bucket.put("milk", 1)
            with pytest.raises(kvreg.LimitReached):
                await bucket.put("eggs", 12)

    run_in(factory, main())


@factories
def test_reads_and_writes_of_a_bucket(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            await bucket.put(b"eggs", "twelve")
            assert await bucket.get("milk") == 1
            assert await bucket.get(b"milk") == 1
            assert await bucket.get("tea") is None
            assert await bucket.get("tea", 7) == 7
            assert await bucket.get_many(iter(["eggs", "tea"])) == ["twelve", None]
            assert await bucket.contains("milk")
            assert not await bucket.contains(1)
            assert await bucket.count() == 2
            assert sorted(await bucket.keys()) == ["eggs", "milk"]
            assert sorted(map(str, await bucket.values())) == ["1", "twelve"]
            assert dict(await bucket.items()) == {"milk": 1, "eggs": "twelve"}
            assert (await bucket.info()).keys == 2
            await bucket.delete("milk")
            with pytest.raises(KeyError) as caught:
                await bucket.delete("milk")
            assert caught.value.args == ("milk",)
            assert await bucket.pop("eggs") == "twelve"
            assert await bucket.pop("eggs", None) is None
            with pytest.raises(kvreg.KeyNotFound):
                await bucket.pop("eggs")
            assert await bucket.setdefault("tea", 3) == 3
            assert await bucket.setdefault("tea", 4) == 3
            assert await bucket.setdefault("rum") is None
            await bucket.clear()
            assert await bucket.count() == 0

    run_in(factory, main())


def test_many_keys_at_once() -> None:
    class Pairs:
        def keys(self) -> list[str]:
            return ["a", "e"]

        def __getitem__(self, key: str) -> int:
            return 9

    async def main() -> None:
        other = kvreg.Bucket()
        other["d"] = 4
        async with aio.Bucket() as bucket:
            await bucket.put_many({"a": 1})
            mixed: list[tuple[kvreg.Key, kvreg.Value]] = [("b", 2), (b"b", 3), ("b", 4)]
            await bucket.put_many(iter(mixed))
            assert dict(await bucket.items()) == {"a": 1, "b": 4}
            await bucket.update({"a": 2}, c=3)
            await bucket.update([("x", 1), (b"x", 2), ("x", 3)])
            await bucket.update(other)
            await bucket.update(Pairs())
            await bucket.update(default=1)
            await bucket.update()
            assert dict(await bucket.items()) == {
                **{"a": 9, "b": 4, "c": 3, "d": 4, "e": 9, "x": 3, "default": 1}
            }
            with pytest.raises(OverflowError):
                await bucket.put_many({"a": 1, "b": 2**63})
            for wrong in (1, [1], ["abc"]):
                with pytest.raises((TypeError, ValueError)):
                    await bucket.update(wrong)  # type: ignore[arg-type]
            assert await bucket.count() == 7

    asyncio.run(main())


def test_updates_by_a_function() -> None:
    async def later(n: int) -> int:
        return n

    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("milk", 1)
            assert await bucket.update("milk", lambda n: n + 1) == 2
            assert await bucket.update("tea", lambda n: n + 1, default=0) == 1
            assert await bucket.update("milk", lambda _: kvreg.KEEP) == 2
            assert await bucket.update("milk", lambda _: kvreg.REMOVE) is None
            with pytest.raises(kvreg.KeyNotFound):
                await bucket.update("milk", lambda n: n)
            assert dict(await bucket.items()) == {"tea": 1}
            for arguments in (("tea", 1), ("tea", len, 1), ("tea", later)):
                with pytest.raises(TypeError, match="a plain function"):
                    await bucket.update(*arguments)
            with pytest.raises(TypeError, match="default="):
                await bucket.update("tea", len, other=1)  # type: ignore[call-overload]
            with pytest.raises(TypeError, match="a key is"):
                await bucket.update(1, len)  # type: ignore[call-overload]
            with pytest.raises(TypeError, match="no value"):
                await bucket.setdefault("milk", kvreg.KEEP)
            assert dict(await bucket.items()) == {"tea": 1}

    asyncio.run(main())


@factories
def test_revisions_and_conditions(factory: Factory) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            assert await bucket.revision() == 0
            first = await bucket.put("milk", 1, if_absent=True)
            assert await bucket.entry("milk") == kvreg.Entry(1, first)
            second = await bucket.put(b"milk", 2, if_revision=first)
            assert await bucket.revision() == second > first
            with pytest.raises(kvreg.Conflict):
                await bucket.put("milk", 3, if_absent=True)
            with pytest.raises(kvreg.Conflict):
                await bucket.put("milk", 3, if_revision=first)
            with pytest.raises(ValueError, match="exclude each other"):
                await bucket.put("milk", 3, if_revision=second, if_absent=True)
            with pytest.raises(kvreg.Conflict):
                await bucket.remove("milk", if_revision=first)
            assert await bucket.entry("milk") == kvreg.Entry(2, second)
            await bucket.remove("milk", if_revision=second)
            for absent in (bucket.entry("milk"), bucket.remove("milk")):
                with pytest.raises(KeyError) as caught:
                    await absent
                assert caught.value.args == ("milk",)
            assert await bucket.add("visits") == 1
            assert await bucket.add("visits", -3) == -2
            assert await bucket.compare_and_swap("state", kvreg.ABSENT, "open")
            assert not await bucket.compare_and_swap("state", "closed", "open")
            with pytest.raises(kvreg.WrongType):
                await bucket.add("state")
            assert await bucket.compare_and_swap("state", "open", kvreg.ABSENT)
            await bucket.remove("visits")
            assert await bucket.count() == 0

    run_in(factory, main())


def test_revisions_with_a_codec() -> None:
    async def main() -> None:
        async with aio.Bucket(codec=kvreg.JSON) as bucket:
            revision = await bucket.put("list", ["milk"])
            assert await bucket.entry("list") == kvreg.Entry(["milk"], revision)
            for wrong in (bucket.add("n"), bucket.compare_and_swap("list", ["milk"], [])):
                with pytest.raises(TypeError, match="JSON"):
                    await wrong

    asyncio.run(main())


def test_a_registry() -> None:
    async def main() -> None:
        options = kvreg.BucketOptions(max_keys=1)
        async with aio.Registry(bucket=options, max_buckets=5, max_bytes=10**6) as registry:
            await registry.create("a")
            with pytest.raises(kvreg.AlreadyStarted):
                await registry.create("a", exclusive=True)
            roomy = await registry.create("b", options=kvreg.BucketOptions(max_keys=2))
            await roomy.put_many({"a": 1, "b": 2})
            registry.create_cast("c")
            assert await registry.contains("c")
            assert not await registry.contains(1)
            assert not await registry.contains("n" * 70_000)
            assert sorted(await registry.names()) == ["a", "b", "c"]
            assert await registry.count() == 3
            assert (await registry.info()).buckets == 3
            found = await registry.lookup("b")
            assert found.name == "b"
            assert await found.get("b") == 2
            assert (await registry.get("b")) is not None
            assert await registry.get("d") is None
            assert await registry.get("d", 7) == 7
            with pytest.raises(kvreg.BucketNotFound) as caught:
                await registry.lookup("d")
            assert caught.value.args == ("d",)
            with pytest.raises(kvreg.InvalidArgument):
                await registry.lookup("n" * 70_000)
            await registry.remove("c")
            with pytest.raises(kvreg.BucketNotFound):
                await registry.remove("c")
            assert await registry.execute("PUT a milk 1") == b"OK\r\n"
            assert await registry.execute(b" GET a milk") == b"1\r\nOK\r\n"
            with pytest.raises(TypeError):
                await registry.execute(1)  # type: ignore[arg-type]
            registry.send("hello")
            registry.exit(kvreg.Reason.KILLED)
            assert await registry.count() == 0
            assert (await registry.info()).last_exit == kvreg.Reason.KILLED
        assert registry.closed

    asyncio.run(main())


def test_a_registry_with_a_name() -> None:
    value: Any = ["milk"]

    async def main() -> None:
        with pytest.raises(kvreg.RegistryNotFound):
            aio.Registry.whereis("shop")
        async with aio.Registry("shop", codec=kvreg.JSON) as registry:
            assert registry.codec is kvreg.JSON
            async with aio.Registry.whereis("shop", codec=kvreg.JSON) as found:
                shopping = await found.create("shopping")
                await shopping.put("list", value)
                assert shopping.codec is kvreg.JSON
            async with registry.clone() as clone, aio.Registry.of(clone._server) as third:
                assert third.codec is kvreg.JSON
                assert await (await third.lookup("shopping")).get("list") == ["milk"]
            # They were closed, and nothing else.
            assert await registry.count() == 1
        with pytest.raises(kvreg.RegistryNotFound):
            aio.Registry.whereis("shop")

    asyncio.run(main())


def test_a_registry_that_has_ended_or_is_closed_may_end_its_block() -> None:
    async def main() -> None:
        async with aio.Registry() as registry:
            await registry.stop()
            with pytest.raises(kvreg.NoProcess):
                await registry.count()
        async with aio.Registry() as registry:
            again = aio.Registry.of(registry._server)
            registry.close()
            registry.close()
            with pytest.raises(kvreg.Closed):
                await registry.count()
        assert await again.count() == 0
        await again.stop()

    asyncio.run(main())


def test_bucket_handles() -> None:
    async def main() -> None:
        value: Any = (1, 2)
        blocking = kvreg.Bucket(codec=kvreg.PICKLE)
        blocking.timeout = 0.25
        bucket = aio.Bucket.of(blocking)
        assert bucket.codec is kvreg.PICKLE
        assert bucket.timeout == 0.25
        assert blocking.timeout == 0.25
        assert bucket.name is None
        for other in (bucket.clone(), copy.copy(bucket)):
            assert other != bucket
            assert other.timeout == 0.25
            other.timeout = None
            async with other:
                await other.put("milk", value)
            assert other.closed
            with pytest.raises(kvreg.Closed):
                await other.get("milk")
        assert bucket.timeout == 0.25
        assert blocking["milk"] == value
        with pytest.raises(ValueError, match="at least 0"):
            bucket.timeout = -1
        with pytest.raises(TypeError, match="live handle"):
            pickle.dumps(bucket)
        with pytest.raises(TypeError, match="live handle"):
            copy.deepcopy(bucket)
        assert repr(bucket) == "<kvreg.aio.Bucket None>"
        bucket.close()
        assert repr(bucket) == "<kvreg.aio.Bucket (closed)>"
        assert not blocking.closed

    asyncio.run(main())


def test_links_and_exits() -> None:
    async def main() -> None:
        async with aio.Registry() as registry, aio.Inbox() as inbox:
            one, two, three = [await registry.create(name) for name in "abc"]
            one.link(two)
            one.link(three)
            one.unlink(three)
            references = [inbox.monitor(bucket) for bucket in (one, two, three)]
            one.exit(kvreg.Reason.CRASHED, "spilt")
            downs = [await inbox.receive() for _ in range(2)]
            assert sorted(downs) == [
                kvreg.Down(references[0], kvreg.Reason.CRASHED, "a", "spilt"),
                kvreg.Down(references[1], kvreg.Reason.CRASHED, "b", "spilt"),
            ]
            assert await registry.names() == ["c"]
            with pytest.raises(kvreg.NoProcess):
                await one.put("milk", 1)

    asyncio.run(main())


def test_nothing_is_left_behind_and_no_thread_was_needed() -> None:
    def of_aio() -> set[threading.Thread]:
        # Those of other tests may end meanwhile, and that for logs may begin.
        return {thread for thread in threading.enumerate() if thread.name == "kvreg-aio"}

    async def main() -> None:
        async with aio.Registry() as registry:
            for n in range(100):
                bucket = await registry.create(f"{n % 10}")
                await bucket.update("n", lambda n: n + 1, default=0)
                await bucket.items()
                await registry.lookup(f"{n % 10}")

    gc.collect()
    before, threads = live_handles(), of_aio()
    asyncio.run(main())
    gc.collect()
    assert live_handles() == before
    assert of_aio() <= threads


def test_objects_belong_to_no_loop() -> None:
    registry = aio.Registry()
    bucket = asyncio.run(registry.create("shopping"))
    inbox = aio.Inbox()
    inbox.monitor(bucket)
    for n in range(3):
        asyncio.run(bucket.put("milk", n))
        assert asyncio.run(bucket.get("milk")) == n
        with pytest.raises(kvreg.CallTimeout):
            asyncio.run(inbox.receive(timeout=0.001))
    asyncio.run(registry.stop())
    assert isinstance(asyncio.run(inbox.receive()), kvreg.Down)
    inbox.close()


def test_it_has_the_methods_of_the_blocking_classes() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    # What only a mapping has, or another name here.
    instead: dict[type, set[str]] = {
        aio.Bucket: {"of", "delete", "contains", "count"},
        aio.Registry: {"of", "lookup", "contains", "count", "names"},
        aio.Inbox: set(),
    }
    missing = {aio.Bucket: {"popitem"}, aio.Registry: {"keys", "values", "items"}}
    for kind, more in instead.items():
        blocking: Any = getattr(kvreg, kind.__name__)
        assert public(kind) - public(blocking) == more
        assert public(blocking) - public(kind) == missing.get(kind, set())
    for kind in instead:
        waits = {
            name for name in public(kind) if inspect.iscoroutinefunction(getattr(kind, name))
        }
        never = {"put_cast", "delete_cast", "create_cast", "exit", "link", "unlink", "monitor"}
        assert not waits & (never | {"demonitor", "subscribe_logs", "close", "clone", "send"})
