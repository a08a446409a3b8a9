"""What several tests need: threads that report back, other interpreters, live handles."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import kvreg
from kvreg import _abi, _library

WAIT = 30.0
"""Seconds after which a test that waits has failed."""

PACKAGE = Path(kvreg.__file__).resolve().parent
REPOSITORY = Path(__file__).resolve().parents[2]


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

    def result(self) -> Any:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "the thread still runs"
        if self._raised is not None:
            raise self._raised
        return self._returned


def wait(event: threading.Event) -> None:
    assert event.wait(WAIT), "the event did not come"


def live_handles() -> dict[str, int]:
    """How many handles of each kind were not freed."""
    live = _abi.Live(size=ctypes.sizeof(_abi.Live))
    assert _library.library().kvreg_live_counts(live) == kvreg.Status.OK
    kinds = ("registry", "bucket", "update", "items", "inbox")
    return {kind: getattr(live, f"{kind}_handles") for kind in kinds}


def python(code: str, **environment: str | None) -> str:
    """What another interpreter prints when it runs `code`; None unsets a variable."""
    variables: dict[str, str | None] = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    variables.update(environment)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=2 * WAIT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
