"""Work in flight: threads that use kvreg in all ways while a scenario happens."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any, Callable

import kvreg

WAIT = 120.0
"""Seconds after which a scenario that waits has failed."""

ENOUGH = 3
"""Rounds after which a thread counts as at work."""

# Otherwise threads that are busy take turns of 5 ms, and a scenario takes long.
sys.setswitchinterval(0.0005)

# What a thread may meet when a scenario ends its registry.
ENDED = (kvreg.NoProcess, kvreg.ServerDown, kvreg.BucketNotFound, kvreg.Closed)


class Load:
    """A registry and threads that use it, each in rounds with a pause between them.

    Daemons go on until the interpreter ends, or `stop`; others end after so many `rounds`, and
    the interpreter waits for them.
    """

    def __init__(self, rounds: int | None = None, pause: float = 0.0005) -> None:
        # A call waits as long as the scenario does: a busy machine is no failure.
        with contextlib.suppress(kvreg.AlreadyStarted):
            kvreg.configure(default_timeout=WAIT)
        self.registry = kvreg.Registry("load")
        self.bucket = self.registry.create("shared")
        self.bucket["updates"] = self.bucket["casts"] = 0
        self._rounds = rounds
        self._pause = pause
        self._over = threading.Event()
        self._working: list[threading.Event] = []
        self.threads: list[threading.Thread] = []
        self.done: dict[str, int] = {}
        for work in (self._put, self._cast, self._update, self._receive, self._create):
            self._start(work)
        for working in self._working:
            assert working.wait(WAIT), "a thread does not work"

    def _start(self, work: Callable[[int, kvreg.Registry], None]) -> None:
        working = threading.Event()

        def repeat() -> None:
            number = 0
            try:
                # Each with handles of its own.
                with kvreg.Registry.whereis("load") as registry:
                    while number != self._rounds and not self._over.is_set():
                        work(number, registry)
                        number += 1
                        if number == ENOUGH:
                            working.set()
                        self._over.wait(self._pause)
            except ENDED:
                if not self._over.is_set():
                    raise
            self.done[work.__name__] = number

        self._working.append(working)
        daemon = self._rounds is None
        self.threads.append(threading.Thread(target=repeat, daemon=daemon))
        self.threads[-1].start()

    def _put(self, number: int, registry: kvreg.Registry) -> None:
        bucket = registry["shared"]
        bucket["number"] = number
        bucket["text"] = "text" * 100
        many: dict[str, kvreg.Value] = {"number": number, "bytes": b"bytes" * 1000}
        bucket.put_many(many)
        assert bucket["number"] == number

    def _cast(self, number: int, registry: kvreg.Registry) -> None:
        bucket = registry["shared"]
        bucket.put_cast("casts", number + 1)
        assert bucket["casts"] == number + 1
        bucket.put_cast("casts", number + 1)

    def _update(self, number: int, registry: kvreg.Registry) -> None:
        assert registry["shared"].update("updates", lambda n: n + 1) == number + 1

    def _receive(self, number: int, registry: kvreg.Registry) -> None:
        with kvreg.Inbox() as inbox, kvreg.Bucket() as bucket:
            reference = inbox.monitor(bucket)
            bucket.exit(kvreg.Reason.KILLED)
            down = inbox.receive(WAIT)
            assert down == kvreg.Down(reference, kvreg.Reason.KILLED, None, "")

    def _create(self, number: int, registry: kvreg.Registry) -> None:
        registry.create_cast("brief")
        brief = registry["brief"]
        brief["milk"] = list(registry)[0]
        brief.stop()
        assert "brief" not in registry

    def over(self) -> None:
        """From here on the threads may end, and may find that the registry has."""
        self._over.set()

    def stop(self) -> None:
        """Ends the threads, and looks at what they did."""
        self.over()
        for thread in self.threads:
            thread.join(WAIT)
            assert not thread.is_alive(), "a thread hangs"
        assert self.bucket["updates"] == self.done["_update"] >= ENOUGH
        assert self.bucket["casts"] == self.done["_cast"] >= ENOUGH
        self.registry.stop()


class Held:
    """A bucket whose turn another thread has, in an update, until `release`."""

    def __init__(self, bucket: kvreg.Bucket, end: type[kvreg.Error] | None = None) -> None:
        """`end` is what the update raises, if the bucket ends before it."""
        self._release = threading.Event()
        began = threading.Event()

        def fn(_: Any) -> str:
            began.set()
            assert self._release.wait(WAIT)
            return "released"

        def hold() -> None:
            try:
                bucket.update("held", fn, default=None)
            except kvreg.Error as error:
                if type(error) is not end:
                    raise

        self.thread = threading.Thread(target=hold, daemon=True)
        self.thread.start()
        assert began.wait(WAIT)

    def release(self) -> None:
        self._release.set()
        self.thread.join(WAIT)
        assert not self.thread.is_alive(), "the update hangs"


def main(scenarios: dict[str, Callable[[], None]]) -> None:
    """Does what the program was told to."""
    scenarios[sys.argv[1]]()
