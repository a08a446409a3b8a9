"""`Bucket.update` keeps the interpreter's lock: a busy thread cannot come in between."""

from __future__ import annotations

import gc
import sys
import threading
import time
from functools import partial

import kvreg
from support import Worker, wait

ROUNDS = 300


def _second(value: object, _: object) -> object:
    return value


def test_no_thread_runs_between_the_function_and_the_end(bucket: kvreg.Bucket) -> None:
    over, began = threading.Event(), threading.Event()
    ran = 0

    def run() -> None:
        nonlocal ran
        while not over.is_set():
            ran += 1
            began.set()
            time.sleep(0)  # gives the lock up, and asks for it again

    # What other tests left may give the lock up when it is collected.
    gc.collect()
    gc.disable()
    interval = sys.getswitchinterval()
    # Nobody is made to give it up.
    sys.setswitchinterval(1000.0)
    seen: list[int] = []
    try:
        runner = Worker(run)
        wait(began)
        for value in (1, 1.5, None, "text" * 10_000, b"bytes", kvreg.KEEP, kvreg.REMOVE):
            for _ in range(ROUNDS):
                time.sleep(0)
                before = ran
                bucket.update("n", partial(_second, value), default=0)
                seen.append(ran - before)
    finally:
        over.set()
        sys.setswitchinterval(interval)
        gc.enable()
    runner.result()
    assert set(seen) == {0}


def test_who_waits_for_a_turn_gives_the_lock_up(bucket: kvreg.Bucket) -> None:
    """Else the one that has the turn could never end."""
    began, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> int:
        began.set()
        wait(go_on)
        return 1

    holding = Worker(lambda: bucket.update("n", hold, default=0))
    wait(began)
    waiting = [Worker(lambda: bucket.update("n", lambda n: n + 1)) for _ in range(4)]
    go_on.set()
    for worker in [holding, *waiting]:
        worker.result()
    assert bucket["n"] == 5
