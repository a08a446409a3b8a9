"""Has pykka's own tests run on kvreg: each that asks for a runtime, once by each of kvreg's.

`pytest -p pykka_plugin` in the directory of pykka's sources.
"""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

import pytest
from kvreg_pykka import Future, HandingActor, TurnsActor


class Runtime(NamedTuple):
    """As pykka's tests know it."""

    name: str
    actor_class: Any
    event_class: Any = threading.Event
    future_class: Any = Future
    sleep_func: Any = time.sleep


RUNTIMES = (Runtime("turns", TurnsActor), Runtime("handover", HandingActor))

# What cannot pass, and why. If one does it fails, and so it does if there is none of the name.
LEFT_OUT = {
    "tests/test_ref.py::test_ask_can_timeout_if_blocked_too_long[turns]": (
        "by turns the handler runs on the thread that asks, and so cannot be left by it: who"
        " needs that hands over"
    ),
}

_counts: dict[str, dict[str, int]] = {runtime.name: {} for runtime in RUNTIMES}


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Puts kvreg's runtimes in the place of pykka's own."""
    if "runtime" in metafunc.fixturenames:
        runtimes = [pytest.param(runtime, id=runtime.name) for runtime in RUNTIMES]
        own = pytest.mark.parametrize("runtime", runtimes, indirect=True, scope="session")
        metafunc.definition.add_marker(own)


def _runtime_of(item: pytest.Item) -> str | None:
    chosen = getattr(item, "callspec", None)
    runtime = None if chosen is None else chosen.params.get("runtime")
    return None if runtime is None else str(runtime.name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves those that need no runtime to pykka, and marks those that cannot pass."""
    others = [item for item in items if _runtime_of(item) is None]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _runtime_of(item) is not None]
    by_name = {item.nodeid: item for item in items}
    for name, reason in LEFT_OUT.items():
        if name not in by_name:
            raise pytest.UsageError(f"there is no test {name}, which is left out")
        by_name[name].add_marker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Counts how each test of a runtime ended."""
    report = yield
    runtime = _runtime_of(item)
    if runtime is not None and report.when == "call":
        counts = _counts[runtime]
        counts[report.outcome] = counts.get(report.outcome, 0) + 1
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says how many passed, and names those that were left out."""
    for name, reason in LEFT_OUT.items():
        terminalreporter.write_line(f"left out: {name}: {reason}")
    for runtime, counts in _counts.items():
        passed, all_of_them = counts.get("passed", 0), sum(counts.values())
        terminalreporter.write_line(
            f"{config.rootpath.name} on kvreg, {runtime}: {passed} of {all_of_them} passed"
        )
