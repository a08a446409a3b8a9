"""Ctrl-C, sent while the main thread waits: KeyboardInterrupt at once, and nothing done."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from runs import TIMES, WAIT, finish, start, together

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the program looks into /proc"
)

# As in the program.
WAITS = (
    "receive",
    "iterate",
    "put",
    "pop",
    "clear",
    "update",
    "put_many",
    "stop",
    "aio_put",
    "aio_update",
    "aio_receive",
)

BOUND = 0.3
"""Seconds within which Ctrl-C is answered; a slice of a wait is 0.1."""

ATTEMPTS = 5
"""A machine that is busy may delay one answer, or two: but not all, as a long slice would."""

_AT_ONCE = 6


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An interpreter that is ended if it hangs, or if the test fails."""
    process = start("interrupts", *arguments, stdin=subprocess.PIPE)

    def end() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    watch = threading.Timer(WAIT, end)
    watch.start()
    try:
        yield process
    finally:
        watch.cancel()
        end()
        process.communicate()


def read(process: subprocess.Popen[str]) -> str:
    """The next line; nothing if it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def interrupt(process: subprocess.Popen[str], wait: str) -> float:
    """Interrupts one wait; gives how long the answer took."""
    assert process.stdin is not None
    process.stdin.write(f"{wait}\n")
    process.stdin.flush()
    assert read(process) == "waits", wait
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    word, answered = read(process).split()
    assert (word, read(process)) == ("ended", "interrupted"), wait
    return float(answered) - sent


def interrupt_all(_: int) -> dict[str, float]:
    with running() as process:
        took = {}
        for wait in WAITS:
            attempts = (interrupt(process, wait) for _ in range(ATTEMPTS))
            took[wait] = next((took for took in attempts if took < BOUND), BOUND)
        ended = finish(process)
        assert (ended.status, ended.out, ended.err) == (0, "done\n", ""), ended
        return took


def test_it_is_answered_at_once_and_the_request_withdrawn() -> None:
    for took in together(interrupt_all, at_once=_AT_ONCE):
        assert max(took.values()) < BOUND, took


def interrupt_one(number: int) -> None:
    wait = WAITS[number % len(WAITS)]
    with running(wait) as process:
        assert read(process) == "waits", wait
        process.send_signal(signal.SIGINT)
        status, out, err = finish(process)
        # Python itself ends by the signal then, as a shell expects.
        assert status == -signal.SIGINT, (wait, status, err)
        assert out.startswith("ended "), (wait, out)
        assert err.startswith("Traceback"), (wait, err)
        assert err.endswith("\nKeyboardInterrupt\n"), (wait, err)
        assert err.count("Error") == 0 or wait.startswith("aio"), (wait, err)
        assert "Exception ignored" not in err, (wait, err)


def test_a_script_that_does_not_care_ends() -> None:
    together(interrupt_one, times=TIMES, at_once=_AT_ONCE)
