"""The plug-in of pytest that comes with the package, in runs of pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import kvreg
import pytest
from support import PACKAGE, WAIT, python

HEAD = """
import kvreg, pytest
leaks = pytest.mark.usefixtures("kvreg_leaks")
"""


def run(directory: Path, tests: str, *arguments: str, expected: int = 0) -> str:
    """What pytest says of a file of tests."""
    (directory / "test_it.py").write_text(HEAD + tests)
    variables = {name: os.environ[name] for name in os.environ if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-p", "pytest_kvreg"]
        + ["-p", "no:cacheprovider", "--rootdir", str(directory), *arguments, "test_it.py"],
        env={**variables, "PYTHONPATH": str(PACKAGE.parent)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=2 * WAIT,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def counted(told: str, **expected: int) -> None:
    last = told.splitlines()[-1].partition(" in ")[0]
    assert {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", last)} == expected, told


def test_to_load_it_imports_nothing_of_kvreg() -> None:
    code = """
import sys
import pytest
before = set(sys.modules)
import pytest_kvreg
assert not {name for name in sys.modules if name.split(".")[0] == "kvreg"}
assert {name for name in set(sys.modules) - before if "ctypes" in name} == set()
print("done")
"""
    assert python(code) == "done\n"


def test_a_test_without_its_fixtures_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("")
    test = """
import sys
def test_nothing():
    assert "kvreg" not in sys.modules
"""
    (tmp_path / "test_it.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_kvreg", "-p", "no:cacheprovider"]
        + ["--rootdir", str(tmp_path), "test_it.py"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * WAIT,
    )
    assert done.returncode == 0, done.stdout


def test_a_registry_for_each_test_that_is_stopped_after_it(tmp_path: Path) -> None:
    tests = """
kept = []

@pytest.mark.parametrize("_", range(2))
def test_each_has_its_own(registry, _):
    assert len(registry) == 0
    registry.create("shopping")["milk"] = 1
    kept.append(registry["shopping"])

def test_that_they_were_stopped():
    for bucket in kept:
        with pytest.raises(kvreg.NoProcess):
            bucket["milk"]
    assert kvreg.live_counts().registries == kvreg.live_counts().buckets == 0
"""
    counted(run(tmp_path, tests), passed=3)


def test_what_was_cleaned_up_is_no_leak_whatever_the_order(tmp_path: Path) -> None:
    tests = """
def test_after(registry, kvreg_leaks):
    registry.create("shopping")["milk"] = 1

def test_before(kvreg_leaks, registry):
    registry.create("shopping")["milk"] = 1

@leaks
def test_marked(registry):
    registry.create("shopping")["milk"] = 1

def test_entered(kvreg_leaks):
    kitchen = kvreg_leaks.enter_context(kvreg.Registry("kitchen"))
    kvreg_leaks.enter_context(kvreg.Listener(kitchen, "127.0.0.1:0"))
    kvreg_leaks.enter_context(kvreg.Inbox()).monitor(kitchen)
    kitchen.create("shopping")["milk"] = 1

@leaks
def test_that_a_cycle_is_collected():
    class Both:
        pass
    one, other = Both(), Both()
    one.other, other.one, one.bucket = other, one, kvreg.Bucket()

@leaks
def test_that_a_caught_exception_keeps_nothing():
    bucket = kvreg.Bucket()
    with pytest.raises(KeyError) as caught:
        bucket["milk"]

import logging
@leaks
def test_that_what_the_package_has_for_itself_is_left_out(caplog):
    caplog.set_level(logging.DEBUG)
    with kvreg.Registry() as registry:
        registry.create("shopping").exit(kvreg.Reason.KILLED)
"""
    counted(run(tmp_path, tests), passed=7)


def test_what_is_left_fails_the_test_that_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conftest.py").write_text("import pytest_kvreg; pytest_kvreg._SECONDS = 0.1")
    tests = """
kept = []

@leaks
def test_a_bucket():
    kept.append(kvreg.Bucket())

@leaks
def test_a_named_registry():
    kvreg.Registry("kitchen").close()

@leaks
def test_nothing():
    with kvreg.Registry.whereis("kitchen") as kitchen:
        kitchen.stop()

@leaks
def test_an_inbox(registry):
    kept.append(kvreg.Inbox())

@leaks
def test_that_fails():
    bucket = kvreg.Bucket()
    assert bucket == {"milk": 1}

@leaks
@pytest.mark.xfail
def test_that_is_expected_to_fail():
    bucket = kvreg.Bucket()
    assert bucket == {"milk": 1}
"""
    told = run(tmp_path, tests, expected=1)
    assert "left behind in kvreg: 1 buckets, 1 handles of kind bucket\n" in told
    assert "left behind in kvreg: 1 registries\n" in told
    assert "left behind in kvreg: 1 handles of kind inbox\n" in told
    counted(told, failed=1, passed=4, xfailed=1, errors=3)


def test_what_lives_is_counted() -> None:
    before = kvreg.live_counts()
    with kvreg.Registry() as registry, kvreg.Inbox() as inbox:
        bucket = registry.create("shopping")
        inbox.monitor(bucket)
        now = kvreg.live_counts()
        assert now.registries == before.registries + 1
        assert now.buckets == before.buckets + 1
        assert now.bucket_handles == before.bucket_handles + 1
        assert now.inbox_handles == before.inbox_handles + 1
        assert now.registry_handles > before.registry_handles
        bucket.update("milk", lambda _: kvreg.live_counts().update_handles, default=0)
        assert bucket["milk"] == before.update_handles + 1
        bucket.close()
    assert kvreg.live_counts() == before


def test_what_lives_is_not_known_after_the_shutdown() -> None:
    code = """
import kvreg
kvreg.shutdown()
try:
    kvreg.live_counts()
except kvreg.ShutDown:
    print("done")
"""
    assert python(code) == "done\n"
