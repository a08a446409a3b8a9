"""Forks and pools of processes, while threads are at work in the parent."""

from __future__ import annotations

import os

import pytest
from runs import FEWER, ends_well

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@pytest.mark.parametrize("scenario", ["use_and_leave", "from_thread", "exits", "logged"])
def test_a_child(scenario: str) -> None:
    ends_well("forks", scenario)


# Half of them by each: most of what they take is the start of other interpreters.
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("pool", ["pool", "executor"])
def test_a_pool_of_processes(pool: str, method: str) -> None:
    ends_well("pools", f"{pool}-{method}", times=FEWER)
