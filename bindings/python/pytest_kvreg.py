"""A plug-in of pytest that comes with kvreg: a registry for each test, and nothing left.

pytest finds it by itself. It is a module of its own, so that loading it imports nothing of
kvreg: that comes with the first test that asks for one of the fixtures.

    def test_shopping(registry):
        shopping = registry.create("shopping")

    @pytest.mark.usefixtures("kvreg_leaks")
    def test_that_nothing_is_left(): ...
"""

from __future__ import annotations

import contextlib
import gc
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import kvreg

_SECONDS = 10.0
"""For what ends in threads of the library's, or in daemon threads of the test's own."""

_failed: weakref.WeakSet[pytest.Item] = weakref.WeakSet()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Remembers what did not pass: its traceback keeps what it used."""
    if call.when == "call" and call.excinfo is not None:
        _failed.add(item)


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[kvreg.Registry]:
    """A registry that was started for this test, and is stopped after it with its buckets."""
    if "kvreg_leaks" in request.fixturenames:
        request.getfixturevalue("kvreg_leaks")  # which looks when this has stopped
    import kvreg

    with kvreg.Registry() as started:
        yield started


@pytest.fixture
def kvreg_leaks(request: pytest.FixtureRequest) -> Iterator[contextlib.ExitStack]:
    """Fails a test that leaves servers or handles behind which were not there before it.

    It is a `contextlib.ExitStack`: what the test enters there, as in
    `kvreg_leaks.enter_context(kvreg.Registry("kitchen"))`, is stopped or closed first. A test
    that failed is not failed again.
    """
    import kvreg

    before = kvreg.live_counts()
    with contextlib.ExitStack() as started:
        yield started
    if request.node in _failed:
        return
    end = time.monotonic() + _SECONDS
    while left := _left(before, kvreg.live_counts()):
        if time.monotonic() >= end:
            pytest.fail(f"the test has left behind in kvreg: {left}", pytrace=False)
        gc.collect()
        time.sleep(0.001)


def _left(before: kvreg.LiveCounts, after: kvreg.LiveCounts) -> str:
    more = {name: now - then for name, then, now in zip(after._fields, before, after)}
    return ", ".join(f"{more[name]} {_words(name)}" for name in more if more[name] > 0)


def _words(name: str) -> str:
    kind = name.removesuffix("_handles")
    return name if kind == name else f"handles of kind {kind}"
