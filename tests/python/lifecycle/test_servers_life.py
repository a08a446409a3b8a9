"""The end of the interpreter, and forks, while servers in Python are at work."""

from __future__ import annotations

import pytest
from runs import FEWER, Ended, ends, ends_well, run
from support import posix


@pytest.mark.parametrize("scenario", ["finite", "stopped", "shutdown", "interrupted", "loop"])
def test_a_script_ends(scenario: str) -> None:
    ends_well("servers", scenario)


@posix
@pytest.mark.parametrize("scenario", ["forks", "pools"])
def test_forks(scenario: str) -> None:
    ends_well("servers", scenario, times=FEWER)


def test_exit_in_a_handler_has_its_status() -> None:
    ends("servers", "exits", times=FEWER, expected=Ended(3, "done\n", ""))
    ends("servers", "ends_at_once", times=FEWER, expected=Ended(0, "done\n", ""))


def test_an_exception_in_a_handler_is_told_once() -> None:
    for ended in run("servers", "fails", times=FEWER):
        assert (ended.status, ended.out) == (1, "done\n"), ended.err
        last = ended.err.splitlines()[-1]
        assert last.startswith("kvreg._errors.ServerDown: ") and "ZeroDivisionError" in last
        assert ended.err.count("direct cause") == 1, ended.err
