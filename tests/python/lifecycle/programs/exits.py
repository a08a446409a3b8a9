"""Ways of a script to end, while threads are at work."""

from __future__ import annotations

import atexit
import builtins
import concurrent.futures
import gc
import os
import sys
import threading
import weakref
from typing import Any

import kvreg
from load import WAIT, Held, Load, main


def finite() -> None:
    """Threads that the interpreter waits for at its end."""
    Load(rounds=10)
    print("done")


def daemons() -> None:
    """Threads that it leaves behind, in the middle of anything."""
    Load()
    print("done")


def block() -> None:
    """The end of a `with` block stops the registry under them."""
    load = Load()
    with load.registry:
        load.over()
    for thread in load.threads:
        thread.join(WAIT)
    print("done")


def shutdown() -> None:
    """All of kvreg is shut down under them, and they go on asking."""
    load = Load()
    told: list[str] = []

    def ask() -> None:
        while True:
            try:
                load.bucket["milk"] = 1
            except kvreg.Error as error:
                told.append(type(error).__name__)
                if isinstance(error, kvreg.ShutDown):
                    return

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    # The others have nobody to tell what they meet.
    threading.excepthook = lambda _: None
    kvreg.shutdown(WAIT)
    for thread in asking:
        thread.join(WAIT)
    assert told[-1] == "ShutDown", told
    print("done")


def in_thread() -> None:
    """What ends a thread ends nothing else; from an update it gives the turn back."""
    load = Load()

    def leave(_: Any = None) -> None:
        sys.exit(3)

    def fail() -> None:
        load.bucket.update("updates", lambda n: n // 0)

    for work in (leave, lambda: load.bucket.update("updates", leave), fail):
        thread = threading.Thread(target=work, name="failing")
        thread.start()
        thread.join(WAIT)
    load.stop()
    print("done")


def exit_in_main() -> None:
    Load()
    print("done")
    sys.exit(3)


def exit_in_update() -> None:
    load = Load()

    def leave(_: Any) -> None:
        print("done")
        sys.exit(3)

    load.bucket.update("updates", leave)


def error_in_main() -> None:
    Load()
    print("done")
    raise ZeroDivisionError("of the script")


def error_in_update() -> None:
    load = Load()
    print("done")
    load.bucket.update("updates", lambda n: n // 0)


def late() -> None:
    """Handlers at exit use what is there, and what they start themselves."""
    load = Load()

    def use(bucket: kvreg.Bucket) -> None:
        bucket["late"] = 1
        assert bucket.update("late", lambda n: n + 1) == 2
        bucket.put_cast("late", 3)
        assert bucket["late"] == 3
        print("used")

    def start() -> None:
        with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
            dairy = registry.create("dairy")
            use(dairy)
            inbox.monitor(dairy)
            dairy.stop()
            inbox.receive(WAIT)

    # The last one is called first.
    atexit.register(start)
    atexit.register(load.stop)
    atexit.register(use, load.bucket)
    atexit.register(start)
    print("done")


class Finalized:
    """Uses kvreg when it goes, with all that it needs."""

    def __init__(self, name: str, bucket: kvreg.Bucket) -> None:
        self.name = name
        self.bucket = bucket
        self._write = os.write
        self._inbox = kvreg.Inbox()

    def __del__(self) -> None:
        bucket = self.bucket
        bucket["milk"] = 1
        bucket.update("milk", lambda n: n + 1)
        bucket.put_cast("tea", 3)
        assert bucket["milk"] + bucket["tea"] == 5
        assert dict(bucket.items()) == {"milk": 2, "tea": 3}
        bucket.clear()
        self._inbox.monitor(bucket)
        bucket.stop()
        self._inbox.receive(120.0)
        self._inbox.close()
        self._write(1, self.name.encode() + b"\n")


class Circle:
    """Is collected, as part of a circle, when the interpreter ends."""

    def __init__(self) -> None:
        self._circle = self

    def __del__(self) -> None:
        # Not the shared bucket: a daemon may have its turn, for ever.
        with kvreg.Registry.whereis("load") as registry:
            registry.create("circle")["milk"] = 1
            assert registry["circle"]["milk"] == 1
        os.write(1, b"circle\n")


def finalizers() -> None:
    """Objects that go with the interpreter, some of them after everything else."""
    # None is collected before the end: a daemon that collects the circle is stopped in the
    # middle of it when the interpreter ends, which then collects nothing any more.
    gc.set_threshold(1 << 30)
    load = Load()

    def of_weakref(registry: kvreg.Registry) -> None:
        bucket = registry.create("weakref")
        bucket["milk"] = 1
        assert bucket.update("milk", lambda n: n + 1) == 2
        print("weakref")

    globals()["of_module"] = Finalized("module", load.registry.create("module"))
    # In a circle the finalizers of all its objects are called, in no order: its bucket would
    # be closed before it is asked. But it may look the bucket up.
    Circle()
    builtins.kept = [  # type: ignore[attr-defined]
        Finalized("builtins", kvreg.Bucket()),
        kvreg.Inbox(),
        kvreg.Registry(),
        kvreg.Registry("kept"),
        kvreg.Listener(load.registry, "0"),
    ]
    # These go when most of Python has gone.
    sys.kept = kvreg.Bucket(), kvreg.Registry(), kvreg.Inbox()  # type: ignore[attr-defined]
    Finalized.kept = kvreg.Registry(), kvreg.Inbox()  # type: ignore[attr-defined]
    globals()["kept"] = load, kvreg.Registry(), kvreg.Inbox(), kvreg.Bucket()
    weakref.finalize(load, of_weakref, load.registry)


def blocked() -> None:
    """Daemons that wait for ever, in each of the ways, outlive the interpreter."""
    load = Load()
    bucket, inbox = kvreg.Bucket(), kvreg.Inbox()
    bucket.timeout = load.bucket.timeout = None
    Held(bucket)

    def receive() -> None:
        inbox.receive()

    def iterate() -> None:
        for _ in inbox:
            pass

    def put() -> None:
        bucket["milk"] = 1

    waits = (
        receive,
        iterate,
        put,
        bucket.stop,
        bucket.clear,
        lambda: bucket.put_many({"milk": 1}),
        lambda: bucket.update("milk", lambda n: n, default=1),
        lambda: bucket.pop("milk", None),
    )
    begun = [threading.Event() for _ in waits]
    for wait, event in zip(waits, begun):

        def begin(wait: Any = wait, event: threading.Event = event) -> None:
            event.set()
            wait()

        threading.Thread(target=begin, daemon=True).start()
    for event in begun:
        assert event.wait(WAIT)
    globals()["kept"] = load, bucket
    # Closing wakes who receives, at a time when nobody may run any more.
    globals()["inbox"] = inbox
    print("done")


def executor() -> None:
    """Threads of an executor, which the interpreter waits for, have jobs at its end."""
    load = Load()
    counter = kvreg.Registry("kept").create("counter")
    counter["jobs"] = 0
    pool = concurrent.futures.ThreadPoolExecutor(4)

    def job() -> None:
        counter.update("jobs", lambda n: n + 1)
        load.bucket["job"] = load.registry["shared"]["updates"]

    jobs = [pool.submit(job) for _ in range(100)]

    def check() -> None:
        assert all(job.exception() is None for job in jobs)
        print(counter["jobs"])

    atexit.register(check)


if __name__ == "__main__":
    main(
        {
            scenario.__name__: scenario
            for scenario in (
                finite,
                daemons,
                block,
                shutdown,
                in_thread,
                exit_in_main,
                exit_in_update,
                error_in_main,
                error_in_update,
                late,
                finalizers,
                blocked,
                executor,
            )
        }
    )
