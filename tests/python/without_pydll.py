"""A session that meets every way into the library, where ctypes has no PyDLL."""

import asyncio
import ctypes
import threading

import kvreg
from kvreg import aio

assert not hasattr(ctypes, "PyDLL")

VALUES = [None, True, False, -(2**63), 1.5, "milk", "", b"a\0b", b"x" * 5000, "ß" * 5000]


def contended(bucket: kvreg.Bucket) -> None:
    """Several threads add to one number."""

    def add() -> None:
        for _ in range(100):
            bucket.update("n", lambda n: n + 1, default=0)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bucket.pop("n") == 300


async def tasks(blocking: kvreg.Registry) -> None:
    """The same for tasks."""
    async with aio.Registry.of(blocking) as registry, aio.Inbox() as inbox:
        errands = await registry.create("errands")
        await asyncio.gather(*(errands.put(f"{n}", n) for n in range(10)))
        inbox.monitor(errands)
        await errands.stop()
        down = await inbox.receive(10.0)
        assert isinstance(down, kvreg.Down) and down.name == "errands"
        errands.close()


with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
    shopping = registry.create("shopping")
    for value in VALUES:
        shopping["key"] = value
        assert shopping["key"] == value and type(shopping["key"]) is type(value)
    shopping.put_many({"milk": 1, b"eggs": 2})
    shopping.put_cast("tea", 3)
    assert dict(shopping) == {"key": VALUES[-1], "milk": 1, "eggs": 2, "tea": 3}
    assert shopping.get_many(["milk", "tea"]) == [1, 3]
    shopping.clear()
    contended(shopping)
    try:
        shopping.update("milk", lambda _: 1 // 0, default=1)
    except ZeroDivisionError:
        assert "milk" not in shopping
    inbox.monitor(shopping)
    shopping.exit(kvreg.Reason.CRASHED, "sour")
    down = inbox.receive(timeout=120.0)
    assert isinstance(down, kvreg.Down) and down.detail == "sour"
    assert "shopping" not in registry
    assert registry.execute("CREATE shopping") == b"OK\r\n"
    asyncio.run(tasks(registry))
assert kvreg.live_counts().registries == kvreg.live_counts().buckets == 0
print("done")
