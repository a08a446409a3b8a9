"""Forks, while the threads of the parent are at work: children that use kvreg, and that end."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import Callable, NoReturn

import kvreg
from load import WAIT, Load, main

# Later Pythons warn of other threads, which are what is tested.
warnings.filterwarnings("ignore", category=DeprecationWarning)

CHILDREN = 3


def is_forked(use: Callable[[], object]) -> None:
    try:
        use()
    except kvreg.ForkedError as error:
        assert isinstance(error, RuntimeError)
    else:
        raise AssertionError("it raised nothing")


def use(load: Load) -> None:
    """What the child inherits is its parent's; what it starts itself works."""
    is_forked(lambda: load.bucket["updates"])
    is_forked(lambda: load.bucket.update("updates", lambda n: n + 1))
    is_forked(lambda: load.bucket.put_cast("casts", 0))
    is_forked(lambda: load.registry.create("dairy"))
    is_forked(load.registry.stop)
    with kvreg.Registry("load") as registry, kvreg.Inbox() as inbox:
        dairy = registry.create("dairy")
        dairy.put_cast("milk", 1)
        # One that has to wait for a thread of the library.
        dairy.update("milk", lambda _: dairy.put_cast("tea", 2))
        assert dict(dairy) == {"milk": None, "tea": 2}
        writers = [threading.Thread(target=write, args=(dairy, n)) for n in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(WAIT)
        assert dairy.pop("written") == 20
        inbox.monitor(dairy)
        dairy.stop()
        assert isinstance(inbox.receive(WAIT), kvreg.Down)
    load.bucket.close()


def write(bucket: kvreg.Bucket, number: int) -> None:
    for _ in range(10):
        bucket.update("written", lambda n: n + 1, default=0)
        bucket[f"number {number}"] = number


def is_status(pid: int, status: int) -> None:
    ended = os.waitpid(pid, 0)[1]
    assert (ended & 0x7F, ended >> 8) == (0, status), f"the child ended with {ended:#x}"


def leave(work: Callable[[], object], status: int) -> NoReturn:
    """Ends the child at once, with a status of its own if it failed."""
    try:
        work()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        os._exit(1)
    os._exit(status)


def use_and_leave() -> None:
    load = Load()
    for _ in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            leave(lambda: use(load), 7)
        is_status(pid, 7)
    load.stop()
    print("done")


def from_thread() -> None:
    """A thread forks, and its child goes on in that thread, as its main one."""
    load = Load()

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            leave(lambda: use(load), 7)
        is_status(pid, 7)
        forked.append(pid)

    forked: list[int] = []
    forking = [threading.Thread(target=fork) for _ in range(CHILDREN)]
    for thread in forking:
        thread.start()
    for thread in forking:
        thread.join(WAIT)
    assert len(forked) == CHILDREN
    load.stop()
    print("done")


def exits() -> None:
    """Children that end as scripts do, with all that they inherited and what is theirs."""
    load = Load()
    kept = (
        kvreg.Registry("kept"),
        kvreg.Inbox(),
        kvreg.Bucket(),
        kvreg.Listener(load.registry, "0"),
    )
    for status in (7, 0):
        pid = os.fork()
        if pid == 0:
            own = kvreg.Registry("own")
            own.create("dairy").update("milk", lambda _: 1, default=0)
            own.create_cast("bakery")
            # Daemons of the child are at work when it ends.
            own_load = Load()
            globals()["kept"] = kept, own, own_load
            if status:
                sys.exit(status)
            return
        is_status(pid, status)
    kept[-1].stop()
    kept[-1].close()
    kept[1].close()
    load.stop()
    print("done")


def logged() -> None:
    """The thread that hands logs on is not there in the child: which starts its own."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "sour" in record.getMessage():  # the load has its own
                heard.set()

    def hear(registry: kvreg.Registry) -> None:
        heard.clear()
        # That a bucket crashed is logged.
        registry.create("dairy").exit(kvreg.Reason.CRASHED, "sour")
        assert heard.wait(WAIT), "nothing was logged"

    heard = threading.Event()
    logging.getLogger("kvreg").addHandler(Handler())
    load = Load()
    hear(load.registry)

    def child() -> None:
        with kvreg.Registry() as registry:
            hear(registry)

    pid = os.fork()
    if pid == 0:
        heard = threading.Event()  # another thread of the parent may hold its lock
        leave(child, 7)
    is_status(pid, 7)
    load.stop()
    print("done")


if __name__ == "__main__":
    main({work.__name__: work for work in (use_and_leave, from_thread, exits, logged)})
