"""What several tests need: threads that report back, other interpreters, live handles."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, Callable, NoReturn

import kvreg
import pytest
from kvreg import _library

SCALE = int(os.environ.get("KVREG_TEST_SCALE", "1"))
"""A factor for what is repeated, being luck: 10 by `make test-often`; 0 is once."""

WAIT = 120.0
"""Seconds after which a test that waits has failed."""

PACKAGE = Path(kvreg.__file__).resolve().parent
REPOSITORY = Path(__file__).resolve().parents[2]
HEADER = REPOSITORY / "include" / "kvreg.h"

LIBRARY_NAME = _library._FILE_NAME
LIBRARY = os.environ.get("KVREG_LIBRARY") or str(PACKAGE / LIBRARY_NAME)
"""The shared library that is tested: it was asked for, or came with the package."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX, not of Windows")
"""Marks tests of forks, descriptors that can be polled, and signals from others."""


# What tells other interpreters to measure coverage. Where one forks or ends beside threads, one
# of them may have coverage's own lock: the child, or the end, would wait for it for ever.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": None, "COVERAGE_PROCESS_START": None}


class Worker:
    """A thread; `result` waits for it and gives what it returned, or raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._returned: Any = None
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._returned = self._work()
        except BaseException as error:
            self._raised = error

    def runs(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "the thread still runs"
        if self._raised is not None:
            raise self._raised
        return self._returned


class Child:
    """A fork of this process, made here: `pid` is 0 in it, as with `os.fork`.

    The child ends by `leave`, and the parent waits for it by `check`.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        with warnings.catch_warnings():
            # Later Pythons warn of other threads, which are what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        os.close(self._writer if self.pid else self._reader)

    def leave(self, problem: str = "") -> NoReturn:
        """Ends the child, with a problem or without; nothing of the parent's is run."""
        try:
            os.write(self._writer, problem.encode()[-4096:])
        finally:
            os._exit(1 if problem else 0)

    def check(self) -> None:
        """Waits for the child's end; fails with its problem, or if it hangs."""
        told, end = b"", time.monotonic() + WAIT
        while select.select([self._reader], [], [], max(0.0, end - time.monotonic()))[0]:
            part = os.read(self._reader, 4096)
            told += part
            if not part:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self._reader)
        # It has closed its end of the pipe, or was killed: this does not wait for long.
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFEXITED(status), f"the child was ended by signal {os.WTERMSIG(status)}"
        assert os.WEXITSTATUS(status) == 0, told.decode()


def forked(work: Callable[[], object]) -> Child:
    """A child that does `work` and leaves."""
    child = Child()
    if child.pid == 0:
        try:
            work()
        except BaseException:
            child.leave(traceback.format_exc())
        child.leave()
    return child


def wait(event: threading.Event) -> None:
    assert event.wait(WAIT), "the event did not come"


def live_handles() -> dict[str, int]:
    """How many handles of each kind were not freed."""
    counts = kvreg.live_counts()._asdict()
    kinds = ("registry", "bucket", "update", "items", "inbox", "listener")
    return {kind: counts[f"{kind}_handles"] for kind in kinds}


def python(code: str, **environment: str | None) -> str:
    """What another interpreter prints when it runs `code`; None unsets a variable."""
    variables: dict[str, str | None] = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    variables.update(environment)
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "error", "-c", code],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        encoding="utf-8",
        timeout=2 * WAIT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
