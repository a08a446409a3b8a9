"""Ctrl-C, sent while the main thread waits: KeyboardInterrupt, and nothing done.

That it comes at once follows from the length of the slices of a wait, which the program looks
at: how long it took would say how busy the machine is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
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


def interrupt(process: subprocess.Popen[str], wait: str) -> None:
    """Interrupts one wait."""
    assert process.stdin is not None
    process.stdin.write(f"{wait}\n")
    process.stdin.flush()
    assert read(process) == "waits", wait
    process.send_signal(signal.SIGINT)
    assert (read(process), read(process)) == ("ended", "interrupted"), wait


def interrupt_all(_: int) -> None:
    with running() as process:
        for wait in WAITS:
            interrupt(process, wait)
        ended = finish(process)
        assert (ended.status, ended.out, ended.err) == (0, "done\n", ""), ended


def test_it_is_answered_at_once_and_the_request_withdrawn() -> None:
    together(interrupt_all, at_once=_AT_ONCE)


def interrupt_one(number: int) -> None:
    wait = WAITS[number % len(WAITS)]
    with running(wait) as process:
        assert read(process) == "waits", wait
        process.send_signal(signal.SIGINT)
        status, out, err = finish(process)
        # Python itself ends by the signal then, as a shell expects.
        assert status == -signal.SIGINT, (wait, status, err)
        assert out == "ended\n", (wait, out)
        assert err.startswith("Traceback"), (wait, err)
        assert err.endswith("\nKeyboardInterrupt\n"), (wait, err)
        assert err.count("Error") == 0 or wait.startswith("aio"), (wait, err)
        assert "Exception ignored" not in err, (wait, err)


def test_a_script_that_does_not_care_ends() -> None:
    together(interrupt_one, times=TIMES, at_once=_AT_ONCE)
