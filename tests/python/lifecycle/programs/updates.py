"""What can happen in the middle of an update, or of any call; other threads are at work."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
import types
from typing import Any, Callable

import kvreg
from kvreg import _abi, _library
from load import WAIT, Load, main


class Own(BaseException):
    """Not even an Exception."""


class Storm(BaseException):
    """What a signal handler raises, anywhere."""


def is_usable(bucket: kvreg.Bucket, **contents: Any) -> None:
    """The turn was given back, to this thread and others, and the contents are these."""
    assert dict(bucket) == contents
    for work in (lambda: bucket.update("turn", lambda n: n + 1), lambda: bucket.pop("turn")):
        bucket.setdefault("turn", 1)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(WAIT)
        assert not thread.is_alive(), "the turn is lost"
    assert dict(bucket) == contents


def live_handles() -> dict[str, int]:
    live = _abi.Live(size=ctypes.sizeof(_abi.Live))
    assert not _library.library().kvreg_live_counts(live)
    kinds = ("registry", "bucket", "update", "items", "inbox")
    return {kind: getattr(live, f"{kind}_handles") for kind in kinds}


def exceptions() -> None:
    """Whatever is raised in an update comes out of it, and changes nothing."""
    load = Load()
    bucket = load.registry.create("dairy")
    bucket["milk"] = 1
    raised: list[BaseException] = [
        ZeroDivisionError("of the function"),
        KeyError("milk"),
        StopIteration(1),
        StopAsyncIteration(),
        GeneratorExit(),
        SystemExit(3),
        KeyboardInterrupt(),
        MemoryError(),
        Own(),
        kvreg.CallTimeout("of the function"),
        kvreg.ServerDown("of the function"),
    ]
    for error in raised:

        def fail(_: Any, error: BaseException = error) -> None:
            raise error

        for key in ("milk", "absent"):
            try:
                bucket.update(key, fail, default=None)
            except BaseException as caught:
                assert caught is error
                assert caught.__traceback__ is not None
                assert fail.__code__ in codes(caught.__traceback__)
            else:
                raise AssertionError(f"{error!r} did not come out")
            error.__traceback__ = None
        is_usable(bucket, milk=1)

    def deep(n: Any) -> Any:
        return deep(n)

    def interrupted(_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not interrupted")

    def unfit(_: Any) -> Any:
        return object()

    def too_large(_: Any) -> int:
        return int(2**63)

    for fn, kind in (
        (deep, RecursionError),
        (interrupted, KeyboardInterrupt),
        (unfit, TypeError),
        (too_large, OverflowError),
    ):
        try:
            bucket.update("milk", fn)
        except kind:
            is_usable(bucket, milk=1)
        else:
            raise AssertionError(f"{kind} did not come out")

    def generate() -> Any:
        try:
            yield 1
        finally:
            # Closed in the middle of an update, by GeneratorExit.
            bucket.update("tea", lambda n: n + 1, default=0)

    def close(_: Any) -> Any:
        generator = generate()
        next(generator)
        generator.close()

    try:
        bucket.update("milk", close)
    except kvreg.CallingSelf:
        is_usable(bucket, milk=1)
    load.stop()
    print("done")


def codes(traceback: types.TracebackType | None) -> list[types.CodeType]:
    found = []
    while traceback is not None:
        found.append(traceback.tb_frame.f_code)
        traceback = traceback.tb_next
    return found


def itself() -> None:
    """An update that calls its own bucket, or its registry's end, hears so, and goes on."""
    load = Load()
    bucket = load.registry.create("dairy")
    bucket.update({"milk": 1, "tea": 2})
    heard = []

    def fn(n: int) -> int:
        with kvreg.Inbox() as inbox, bucket.clone() as other:
            inbox.monitor(bucket)
            writes: list[Callable[[], Any]] = [
                lambda: bucket.__setitem__("milk", 2),
                lambda: other.__setitem__("milk", 2),
                lambda: bucket.update("milk", fn),
                lambda: bucket.update("tea", fn),
                lambda: bucket.update("absent", fn, default=1),
                lambda: bucket.pop("tea"),
                lambda: bucket.setdefault("absent", 1),
                lambda: bucket.put_many({"milk": 2}),
                bucket.popitem,
                bucket.clear,
                bucket.stop,
                load.registry.stop,
                inbox.receive,
            ]
            for write in writes:
                try:
                    write()
                except kvreg.CallingSelf:
                    heard.append(write)
            assert len(heard) == len(writes)
        # Reads see what was there before, and other buckets are others.
        assert bucket["milk"] == n == 1 and dict(bucket) == {"milk": 1, "tea": 2}
        assert load.registry.create("bakery").update("bread", nested, default=0) == 2
        return n + 1

    def nested(n: int) -> int:
        try:
            bucket["milk"] = 3  # from inside it all the same
        except kvreg.CallingSelf:
            return n + 2
        raise AssertionError("it would have waited for itself")

    assert bucket.update("milk", fn) == 2
    is_usable(bucket, milk=2, tea=2)
    load.stop()
    print("done")


def handlers() -> None:
    """Signal handlers and callbacks of the collector use the bucket that is being used."""
    load = Load()
    bucket = load.registry.create("dairy")
    bucket.update({"milk": 0, "handled": 0, "collected": 0})
    main_thread = threading.main_thread().ident
    refused = {"handled": 0, "collected": 0}
    done = {"handled": 0, "collected": 0}
    goes_on = True

    def use(what: str) -> None:
        bucket.get("milk")
        try:
            bucket.update(what, lambda n: n + 1)
            bucket["written"] = bucket["milk"]
            done[what] += 1
        except kvreg.CallingSelf:
            refused[what] += 1  # in the middle of an update
        with kvreg.Bucket() as own:
            own["milk"] = 1
            assert own.pop("milk") == 1

    # The next signal comes after the handler of this one: on a busy machine they would come
    # faster than they are handled, one inside the other.
    def handle(number: int, frame: Any) -> None:
        use("handled")
        if goes_on:
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

    def collect(phase: str, info: dict[str, int]) -> None:
        # The collector runs in any thread; one at a time can be told from the others.
        if phase == "stop" and threading.get_ident() == main_thread:
            use("collected")

    signal.signal(signal.SIGALRM, handle)
    gc.callbacks.append(collect)
    gc.set_threshold(20)
    signal.setitimer(signal.ITIMER_REAL, 0.001)

    def fn(n: int) -> int:
        for _ in range(20):
            [[] for _ in range(30)]
        return n + 1

    for number in range(100):
        assert bucket.update("milk", fn) == number + 1
        bucket["text"] = "text" * 10
        bucket.put_many({"text": "other"})
        bucket.put_cast("text", "cast")
        assert bucket.get("text") == "cast"
        assert dict(bucket)["milk"] == number + 1
    # Until each has met an update and something else.
    while not (all(done.values()) and all(refused.values())):
        bucket.update("milk", fn)
        [[] for _ in range(100)]
    goes_on = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.callbacks.remove(collect)
    gc.set_threshold(700)
    assert bucket["handled"] == done["handled"] and bucket["collected"] == done["collected"]
    load.stop()
    print("done")


def first_use() -> None:
    """A signal handler and a thread in the middle of the first use, which takes a lock."""
    import logging

    logging.getLogger("kvreg").addHandler(logging.NullHandler())
    used = []

    def handle(number: int, frame: Any) -> None:
        with kvreg.Bucket() as bucket:
            bucket["milk"] = 1
            used.append(bucket["milk"])

    def interrupting(function: Any) -> Any:
        def once(*args: Any, **named: Any) -> Any:
            first = once in waiting
            if first:
                waiting.remove(once)
                signal.raise_signal(signal.SIGUSR1)
            found = function(*args, **named)
            if first:
                signal.raise_signal(signal.SIGUSR1)
            return found

        waiting.append(once)
        return once

    waiting: list[Any] = []
    signal.signal(signal.SIGUSR1, handle)
    _library._find = interrupting(_library._find)
    start = threading.Thread.start
    threading.Thread.start = interrupting(start)  # type: ignore[method-assign]
    with kvreg.Bucket() as bucket:
        bucket["milk"] = 1
    assert not waiting and used == 4 * [1]
    threading.Thread.start = start  # type: ignore[method-assign]
    # One thread hands logs on, however often it was begun.
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("kvreg-logging") == 1, names
    assert live_handles()["inbox"] == 1
    print("done")


def storm() -> None:
    """Exceptions out of signal handlers anywhere: no turn and no handle is lost."""
    load = Load()
    bucket = load.registry.create("dairy")
    bucket["milk"] = bucket["waits"] = 0
    over = threading.Event()

    def contend() -> None:
        with load.registry["dairy"] as other:
            while not over.is_set():
                # The turn is kept for a moment, so that the main thread waits.
                other.update("waits", lambda n: (over.wait(0.0005), n + 1)[1])

    contending = threading.Thread(target=contend)
    armed, hits, done = False, 0, 0

    def handle(number: int, frame: Any) -> None:
        if armed:
            raise Storm

    signal.signal(signal.SIGALRM, handle)
    contending.start()
    # One signal to a round, and the later the more rounds it has ended: however slow the
    # machine is, some rounds are ended and some are not.
    after = 0.0007
    while hits < 50 or done < 5:
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, after)
            bucket.update("milk", lambda n: n + 1)
            bucket["tea"] = 1
            bucket.get("tea")
            bucket.put_many({"tea": 2})
            list(bucket)
            armed = False
            done += 1
            after = max(after / 2, 0.0001)
        except Storm:
            armed = False
            hits += 1
            after *= 1.1
    signal.setitimer(signal.ITIMER_REAL, 0)
    over.set()
    contending.join(WAIT)
    assert not contending.is_alive()
    load.stop()
    gc.collect()
    # The registry's, the shared bucket's and this one's: each with one that never waits. And
    # the one by which buckets keep their registry.
    assert live_handles() == {"registry": 3, "bucket": 4, "update": 0, "items": 0, "inbox": 0}
    print("done")


if __name__ == "__main__":
    sys.setrecursionlimit(300)  # else the deepest one takes long to be told
    main(
        {
            work.__name__: work
            for work in (
                exceptions,
                itself,
                handlers,
                first_use,
                storm,
            )
        }
    )
