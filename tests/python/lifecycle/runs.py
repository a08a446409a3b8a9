"""Runs a scenario in many interpreters, a few at a time, and looks at how each ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, NamedTuple, TypeVar

from support import PACKAGE, SCALE

PROGRAMS = Path(__file__).resolve().parent / "programs"

TIMES = 5 * SCALE if SCALE > 1 else 2
"""How often each scenario is run: what happens at an exit is a matter of luck."""

FEWER = TIMES // 2
"""The same of what takes long, or has several scenarios."""

WAIT = 300.0
"""Seconds after which an interpreter hangs; it takes a tenth of one."""

AT_ONCE = 4
"""Interpreters that run beside each other; more, where they mostly wait."""

_Result = TypeVar("_Result")


class Ended(NamedTuple):
    """How an interpreter ended."""

    status: int
    out: str
    err: str


def start(program: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """An interpreter that runs a scenario: the name of a program, and what it is to do."""
    script = str(PROGRAMS / f"{program}.py")
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its children can be ended with it
        **options,
    )


def finish(process: subprocess.Popen[str], text: str | None = None) -> Ended:
    """Waits for its end, and for its children's, which have the same pipes."""
    try:
        out, err = process.communicate(text, timeout=WAIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler says where it hangs
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(WAIT / 10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"it hangs\n{out}\n{err}") from None
    return Ended(process.returncode, out, err)


def together(
    work: Callable[[int], _Result], times: int = TIMES, at_once: int = AT_ONCE
) -> list[_Result]:
    """What `work` gives for each number, in several threads; raises what one of them does."""
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(work, range(times)))


def run(program: str, *arguments: str, times: int = TIMES) -> list[Ended]:
    """How a scenario ended, each time."""
    return together(lambda _: finish(start(program, *arguments)), times)


def ends_well(program: str, *arguments: str, times: int = TIMES, out: str = "done\n") -> None:
    """A scenario ends with status 0 each time, and says what it should and nothing else."""
    ends(program, *arguments, times=times, expected=Ended(0, out, ""))


def ends(program: str, *arguments: str, times: int = TIMES, expected: Ended) -> None:
    """A scenario ends like this each time."""
    for number, ended in enumerate(run(program, *arguments, times=times)):
        assert ended == expected, f"run {number}: {ended.status}\n{ended.out}\n{ended.err}"
