"""The end of the interpreter, while threads are in the middle of anything."""

from __future__ import annotations

import pytest
from runs import FEWER, Ended, ends, ends_well, run


@pytest.mark.parametrize("scenario", ["finite", "daemons", "block", "shutdown", "blocked"])
def test_a_script_ends(scenario: str) -> None:
    ends_well("exits", scenario)


def test_what_ends_a_thread_ends_nothing_else() -> None:
    for ended in run("exits", "in_thread"):
        assert (ended.status, ended.out) == (0, "done\n"), ended.err
        is_one_error(ended.err, "Exception in thread failing:")


@pytest.mark.parametrize("scenario", ["exit_in_main", "exit_in_update"])
def test_exit_has_its_status(scenario: str) -> None:
    ends("exits", scenario, times=FEWER, expected=Ended(3, "done\n", ""))


@pytest.mark.parametrize("scenario", ["error_in_main", "error_in_update"])
def test_an_exception_is_told_once(scenario: str) -> None:
    for ended in run("exits", scenario, times=FEWER):
        assert (ended.status, ended.out) == (1, "done\n"), ended.err
        is_one_error(ended.err, "Traceback (most recent call last):")


def is_one_error(err: str, first_line: str) -> None:
    first, *_, last = err.splitlines()
    assert first == first_line
    assert last.startswith("ZeroDivisionError: ")
    assert err.count("Traceback") == err.count("Error: ") == 1, err


def test_handlers_at_exit_use_kvreg() -> None:
    ends_well("exits", "late", out="done\n" + 3 * "used\n")


def test_finalizers_at_exit_use_kvreg() -> None:
    for ended in run("exits", "finalizers"):
        assert ended.status == 0
        assert sorted(ended.out.split()) == ["builtins", "circle", "module", "weakref"]
        assert ended.err == ""


def test_an_executor_has_jobs_at_exit() -> None:
    ends_well("exits", "executor", out="100\n")
