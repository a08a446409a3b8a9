"""A version is tagged when all that belongs to it is there, and not before."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "Cargo.toml",
    "CHANGELOG.md",
    "include/kvreg.h",
    "bindings/python/kvreg/__init__.py",
    "packaging/abi/interface.txt",
)
TODAY = datetime.date.today().isoformat()
TOMORROW = (datetime.date.today() + datetime.timedelta(days=2)).isoformat()
VERSION = re.findall(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[0]


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def replace(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of a release of today, committed."""
    root = tmp_path / "checkout"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n## {VERSION} - {TODAY}\n\n### Added\n\n- All.\n"
    )
    git(root, "init", "--quiet")
    git(root, "config", "user.name", "nobody")
    git(root, "config", "user.email", "nobody@example.org")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "All")
    return root


def release(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "packaging" / "release.py", root],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_is_tagged_once(checkout: Path) -> None:
    done = release(checkout)
    assert done.returncode == 0, done.stdout
    assert git(checkout, "tag", "--list") == f"v{VERSION}\n"
    assert git(checkout, "cat-file", "-t", f"v{VERSION}") == "tag\n"  # an annotated one
    again = release(checkout)
    assert again.returncode == 1
    assert f"v{VERSION} is tagged already" in again.stdout


Spoil = Callable[[Path], None]
LATER = "99.8.7"
SPOILT: dict[str, tuple[Spoil, str]] = {
    "dirty": (lambda root: (root / "new").touch(), "something is uncommitted"),
    "undated": (
        lambda root: replace(root, "CHANGELOG.md", "All.\n", "All.\n\n## 0.0.9\n\n- Old.\n"),
        "'0.0.9' is not a version and a date",
    ),
    "to come": (
        lambda root: replace(root, "CHANGELOG.md", TODAY, TOMORROW),
        f"a date to come for {VERSION}",
    ),
    "unreleased": (
        lambda root: replace(root, "CHANGELOG.md", "eased\n", "eased\n\n- New.\n"),
        "has what is unreleased",
    ),
    "no entry": (
        lambda root: replace(root, "CHANGELOG.md", f"## {VERSION} - ", "## 0.0.0 - "),
        f"has no entry of {VERSION}",
    ),
    "empty entry": (
        lambda root: replace(root, "CHANGELOG.md", "### Added\n\n- All.\n", ""),
        f"says nothing of {VERSION}",
    ),
    "header": (
        lambda root: replace(root, "include/kvreg.h", "#define KVREG_VERSION_MAJOR ", "// "),
        "include/kvreg.h has no version",
    ),
    "package": (
        lambda root: replace(root, FILES[3], f'"{VERSION}"', f'"{LATER}"'),
        f"__init__.py has {LATER}, not {VERSION}",
    ),
    "interface": (
        lambda root: replace(root, FILES[4], "version ", "version 99."),
        "interface.txt has 99.",
    ),
}


@pytest.mark.parametrize("spoil, told", SPOILT.values(), ids=SPOILT)
def test_what_is_missing_is_said(checkout: Path, spoil: Spoil, told: str) -> None:
    spoil(checkout)
    if "uncommitted" not in told:
        git(checkout, "commit", "--quiet", "--all", "--message", "Spoilt")
    done = release(checkout)
    assert done.returncode == 1
    assert told in done.stdout
    assert len(done.stdout.splitlines()) == 2, done.stdout
    assert git(checkout, "tag", "--list") == ""


def with_an_older_version(root: Path) -> None:
    git(root, "tag", "--annotate", "--message", "Old", "v0.0.1")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "New")


def cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A cargo that does what the script says, and notes what it is asked."""
    directory = tmp_path / "bin"
    directory.mkdir()
    asked = tmp_path / "asked"
    program = directory / "cargo"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    return asked


def test_the_rust_interface_is_compared_with_the_last_version(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_an_older_version(checkout)
    asked = cargo(tmp_path, monkeypatch, "exit 0")
    done = release(checkout)
    assert done.returncode == 0, done.stdout
    assert asked.read_text().splitlines() == [
        "semver-checks --version",
        "semver-checks --package kvreg --all-features --baseline-rev v0.0.1",
    ]


def test_what_the_rust_interface_breaks_is_said(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_an_older_version(checkout)
    cargo(tmp_path, monkeypatch, "[ $2 = --version ] || { echo function_missing; exit 100; }")
    done = release(checkout)
    assert done.returncode == 1
    assert "does not keep what v0.0.1 promised:\nfunction_missing\n" in done.stdout
    assert git(checkout, "tag", "--list") == "v0.0.1\n"


def test_a_tool_that_is_missing_is_said_in_a_line(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_an_older_version(checkout)
    cargo(tmp_path, monkeypatch, "echo no such command >&2; exit 101")
    done = release(checkout)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "the Rust interface is not compared with v0.0.1: cargo install cargo-semver-checks"
    ]
