"""kvreg for asyncio: the same registries, buckets and inboxes, awaited where they can wait.

    import asyncio
    from kvreg import aio

    async def main():
        async with aio.Registry() as registry:
            shopping = await registry.create("shopping")
            await shopping.put("milk", 1)
            await shopping.update("milk", lambda n: n + 1)
            async with aio.Inbox() as inbox:
                inbox.monitor(shopping)
                await shopping.stop()
                print(await inbox.receive())

    asyncio.run(main())

Nearly every request is carried out at once, in the loop's own thread, in about a microsecond.
Only one that would have to wait for its turn stands in line for it: the first at each bucket
has a worker thread. There are at most 32, which are shared where more are needed. So those that
wait at one bucket hold up nobody at another. `timeout` has the same meaning as in `kvreg`:
seconds that a request waits for its turn. Cancelling a task withdraws its request: after
`CancelledError` it never runs, unless it had run already. Reads wait only while casts of the
loop's thread are queued.

Events wake a task through the descriptor of the inbox (`loop.add_reader`), without a thread;
where a loop cannot watch descriptors, a worker thread waits for them.

Servers that a program writes are classes of `Server` here, whose handlers the loop runs and
which may be of `async def`.

Reads and batches of very many keys are copied in the loop's thread, which they hold up.

Objects belong to no loop until they wait; an inbox waits in one loop at a time. What never
waits is not awaited: casts, exit, link, monitor, close. `of` gives the object for one of
`kvreg` that is there already. Everything else is said in `kvreg`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._bucket import Bucket
from ._inbox import Inbox
from ._mirror import Mirror
from ._registry import Registry
from ._watch import Watch

if TYPE_CHECKING:
    from ._user_server import Server, Servers, call, cast

__all__ = [
    "Bucket",
    "Inbox",
    "Mirror",
    "Registry",
    "Server",
    "Servers",
    "Watch",
    "call",
    "cast",
]

if not TYPE_CHECKING:  # to which any attribute would do

    def __getattr__(name: str) -> Any:
        if name not in ("Server", "Servers", "call", "cast"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import _user_server  # not before it is needed

        found = getattr(_user_server, name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
