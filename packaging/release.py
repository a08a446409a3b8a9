"""Tags a version: release.py [DIRECTORY], where all that belongs to it is committed.

The version is that of Cargo.toml. It is tagged, as v and the version, if the changelog has an
entry of it with a date that is not to come, and nothing that is unreleased; if the header, the
Python package and the record of the interface are of it too; if nothing is uncommitted; and if
the Rust interface keeps what the last version promised, as cargo-semver-checks sees it. What is
missing is said.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path

ENTRY = re.compile(r"^## (.*)$", re.MULTILINE)
DATED = re.compile(r"(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})")


def git(root: Path, *arguments: str) -> str:
    """What git prints."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs what may fail."""
    return subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def found(root: Path, file: str, pattern: str) -> str:
    """What a file says, in the pattern's groups joined by points."""
    match = re.search(pattern, (root / file).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return ".".join(match.groups()) if match else "no version"


def version(root: Path) -> str:
    """The version in Cargo.toml."""
    return found(root, "Cargo.toml", r'^\[package\]$.*?^version = "([^"]+)"$')


def other_versions(root: Path) -> list[str]:
    """Where another version stands than in Cargo.toml."""
    of_crate = version(root)
    define = r"^#define KVREG_VERSION_{} (\d+)$"
    parts = ".*?".join(define.format(part) for part in ("MAJOR", "MINOR", "PATCH"))
    minor = of_crate.rpartition(".")[0]
    places = [
        ("include/kvreg.h", parts, of_crate),
        ("bindings/python/kvreg/__init__.py", r'^__version__ = "([^"]+)"$', of_crate),
        ("packaging/abi/interface.txt", r"^version (\S+)$", minor),
    ]
    seen = [(file, found(root, file, pattern), right) for file, pattern, right in places]
    return [f"{file} has {said}, not {right}" for file, said, right in seen if said != right]


def changelog(root: Path, today: datetime.date) -> list[str]:
    """What the changelog lacks for this version."""
    of_crate = version(root)
    text = (root / "CHANGELOG.md").read_text("utf-8")
    _, *parts = ENTRY.split(text)
    entries = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    wrong = []
    if entries.pop("Unreleased", ""):
        wrong.append("CHANGELOG.md has what is unreleased")
    dates = {}
    for heading, body in entries.items():
        match = DATED.fullmatch(heading)
        if match is None:
            wrong.append(
                f"CHANGELOG.md: {heading!r} is not a version and a date, 1.2.3 - 2030-01-31"
            )
            continue
        dates[match[1]] = datetime.date.fromisoformat(match[2])
        if not body:
            wrong.append(f"CHANGELOG.md says nothing of {match[1]}")
    if of_crate not in dates:
        wrong.append(f"CHANGELOG.md has no entry of {of_crate}")
    elif dates[of_crate] > today:
        wrong.append(f"CHANGELOG.md has a date to come for {of_crate}")
    return wrong


def repository(root: Path) -> list[str]:
    """What stands in the way of a tag."""
    wrong = []
    if git(root, "status", "--porcelain"):
        wrong.append("something is uncommitted")
    if git(root, "tag", "--list", f"v{version(root)}"):
        wrong.append(f"v{version(root)} is tagged already")
    return wrong


def rust_interface(root: Path) -> list[str]:
    """What the last version's Rust interface had and this one breaks, in so small a step."""
    tags = git(root, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname")
    if not tags:
        return []  # nothing is released yet
    last = tags.split()[0]
    command = ["cargo", "semver-checks"]
    if run(root, *command, "--version").returncode:
        return [
            f"the Rust interface is not compared with {last}: cargo install cargo-semver-checks"
        ]
    command += ["--package", "kvreg", "--all-features", "--baseline-rev", last]
    done = run(root, *command)
    if done.returncode == 0:
        return []
    return [f"the Rust interface does not keep what {last} promised:", done.stdout.rstrip()]


def main() -> None:
    """What the module's text says."""
    root = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().parents[1]
    wrong = other_versions(root) + changelog(root, datetime.date.today()) + repository(root)
    wrong = wrong or rust_interface(root)  # it takes long
    if wrong:
        raise SystemExit("\n".join(["This is no release yet:", *wrong]))
    tag = f"v{version(root)}"
    git(root, "tag", "--annotate", "--message", f"kvreg {version(root)}", tag)
    print(f"{tag} is tagged: make dist and make wheel next, then push the tag")


if __name__ == "__main__":
    main()
