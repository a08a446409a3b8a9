"""Waits in the main thread, which Ctrl-C ends.

Does the waits that it reads from its input, one to a line, and says when it waits, and that
KeyboardInterrupt came. Or it does one, and lets KeyboardInterrupt end it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import kvreg
from kvreg import _inbox, _server, _timeout, aio
from load import WAIT, Held, Load

load = Load(pause=0.002)
bucket = load.registry.create("held")
bucket.timeout = None
inbox = kvreg.Inbox()
held = Held(bucket.clone())
ran: list[str] = []

SHORT, LONG = 0.1, 1.0
"""Seconds that a slice of a wait takes, and one in ten, after which Python looks at signals."""

slices: list[float] = []


def note(timeout: float | None) -> int:
    """What turns the timeouts of slices into milliseconds; it notes the main thread's."""
    if timeout is not None and threading.current_thread() is threading.main_thread():
        slices.append(timeout)
    return _timeout.milliseconds(timeout)


for module in (_inbox, _server):
    vars(module)["milliseconds"] = note


def check_slices(name: str) -> None:
    """No wait keeps a signal longer than a slice. An event loop looks at them itself."""
    assert slices or name.startswith("aio")
    assert all(slice <= LONG for slice in slices), slices
    assert sum(slice > SHORT for slice in slices) <= len(slices) / 10, slices


def fn(_: Any) -> str:
    ran.append("update")
    return "interrupted"


def iterate() -> None:
    for event in inbox:
        raise AssertionError(event)


async def aio_put() -> None:
    await aio.Bucket.of(bucket).put("interrupted", 1)


async def aio_update() -> None:
    await aio.Bucket.of(bucket).update("interrupted", fn, default=None)


async def aio_receive() -> None:
    async with aio.Inbox() as waiting:
        waiting.monitor(bucket)
        await waiting.receive()


# In debug mode, asyncio would say on stderr when a busy machine makes it slow.
WAITS: dict[str, Callable[[], Any]] = {
    "receive": inbox.receive,
    "iterate": iterate,
    "put": lambda: bucket.__setitem__("interrupted", 1),
    "pop": lambda: bucket.pop("held"),
    "clear": bucket.clear,
    "update": lambda: bucket.update("interrupted", fn, default=None),
    "put_many": lambda: bucket.put_many({"interrupted": 1}),
    "stop": bucket.stop,
    "aio_put": lambda: asyncio.run(aio_put(), debug=False),
    "aio_update": lambda: asyncio.run(aio_update(), debug=False),
    "aio_receive": lambda: asyncio.run(aio_receive(), debug=False),
}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def sleeps(name: str) -> bool:
    """Whether the main thread waits: in the library, or in the selector of a loop.

    A loop must be asleep in it: just before that it would not see a signal, which is true of
    asyncio everywhere. In the library a slice must have begun: this thread may wait for the
    interpreter's lock before.
    """
    main = threading.main_thread()
    assert main.ident is not None
    where = "select" if name.startswith("aio") else "_wait"
    if sys._current_frames()[main.ident].f_code.co_name != where:
        return False
    if where == "_wait" and not slices:
        return False
    state = Path(f"/proc/self/task/{main.native_id}/stat").read_text().rpartition(")")[2]
    return state.split()[0] == "S"


def tell(name: str, over: threading.Event) -> None:
    """Says when the main thread waits: twice in a row, for a loop may only look around."""
    seen = 0
    while seen < 2:
        seen = seen + 1 if sleeps(name) else 0
        if over.wait(0.001):
            return
    say("waits")


def wait(name: str) -> None:
    over = threading.Event()
    slices.clear()
    telling = threading.Thread(target=tell, args=(name, over))
    telling.start()
    try:
        WAITS[name]()
    finally:
        check_slices(name)
        over.set()
        telling.join(WAIT)
        say("ended")


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        try:
            wait(line.strip())
        except KeyboardInterrupt:
            say("interrupted")
        else:
            say("not interrupted")
    # What was interrupted was withdrawn: it is not done when its turn could come.
    assert bucket.info().mailbox == 0
    held.release()
    assert bucket.update("held", lambda text: text + " once") == "released once"
    assert dict(bucket) == {"held": "released once"}
    assert not ran
    # The inbox has lost nothing.
    inbox.monitor(bucket)
    bucket.stop()
    assert isinstance(inbox.receive(WAIT), kvreg.Down)
    # A registry does not wait for an update of one of its buckets: it ends it.
    another = Held(load.registry.create("another"), end=kvreg.ServerDown)
    load.stop()
    another.release()
    print("done")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        wait(sys.argv[1])
    else:
        main()
