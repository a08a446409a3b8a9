"""The end of the interpreter, and forks, while servers in Python are at work."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from runs import TIMES, WAIT, Ended, ends, ends_well, finish, run, start, together
from support import SCALE, posix


@pytest.mark.parametrize("scenario", ["finite", "stopped", "shutdown", "interrupted", "loop"])
def test_a_script_ends(scenario: str) -> None:
    ends_well("servers", scenario)


@posix
@pytest.mark.parametrize("scenario", ["forks", "pools-fork", "pools-forkserver", "pools-spawn"])
def test_forks(scenario: str) -> None:
    ends_well("servers", scenario, times=TIMES if SCALE > 1 else 1)


def test_exit_in_a_handler_has_its_status() -> None:
    ends("servers", "exits", expected=Ended(3, "done\n", ""))
    ends("servers", "ends_at_once", expected=Ended(0, "done\n", ""))


@posix
@pytest.mark.parametrize("scenario", ["told_to_end", "told_to_end_handed_over"])
def test_it_is_told_to_end_in_a_handler(scenario: str) -> None:
    def once(_: int) -> None:
        process = start("servers", scenario)
        watch = threading.Timer(WAIT, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            process.send_signal(signal.SIGINT)
            status, out, err = finish(process)
        finally:
            watch.cancel()
        # Python itself ends by the signal then, as a shell expects.
        assert (status, out) == (-signal.SIGINT, ""), (status, out, err)
        assert err.startswith("Traceback"), err
        assert err.endswith("\nKeyboardInterrupt\n"), err
        assert err.count("Traceback") == 1, err

    together(once)


def test_an_exception_in_a_handler_is_told_once() -> None:
    for ended in run("servers", "fails"):
        assert (ended.status, ended.out) == (1, "done\n"), ended.err
        last = ended.err.splitlines()[-1]
        assert last.startswith("kvreg._errors.ServerDown: ") and "ZeroDivisionError" in last
        assert ended.err.count("direct cause") == 1, ended.err
