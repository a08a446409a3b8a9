"""Makes the header, and what is made of it.

    generate.py            writes the files that are not what they should be
    generate.py --check    fails if there is one

The header is made of `src/capi` by the crate beside this file. Of the header are made Python's
`_abi.py`, the version script, and the list of functions of the misuse test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import misuse
import outline
import python
import version_script

ROOT = Path(__file__).resolve().parents[2]
GOAL = ROOT
RECORD = ROOT / "packaging" / "abi" / "interface.txt"
CONFIG = ROOT / "bindings" / "python" / "pyproject.toml"


def run(*command: str | Path, text: str | None = None, **variables: str) -> str:
    """What a command prints. It must succeed."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | variables,
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def header(crate: Path = ROOT) -> str:
    """The header of a crate, which is that of the repository or a copy of it."""
    cargo = os.environ.get("CARGO", "cargo")
    command = (cargo, "run", "--quiet", "--locked", "--package", "kvreg-header")
    # In a directory of its own, that it waits for no other build. Nobody debugs it.
    where = ("--target-dir", "target/header")
    return run(*command, *where, "--", crate, CARGO_PROFILE_DEV_DEBUG="0")


def formatted(module: str) -> str:
    """A module of Python as ruff lays it out."""
    ruff = Path(sys.executable).with_name("ruff")
    return run(ruff, "format", "--no-cache", "--config", CONFIG, "-", text=module)


FILES = (
    "include/kvreg.h",
    "bindings/python/kvreg/_abi.py",
    "packaging/abi/kvreg.map",
    "tests/c/misuse/names.h",
)


def made() -> dict[str, str]:
    """The files with their texts."""
    text = header()
    of = outline.read(text)
    functions = list(of.functions)
    texts = (
        text,
        formatted(python.module(of)),
        version_script.script(functions, of.version, RECORD.read_text()),
        misuse.names(functions),
    )
    return dict(zip(FILES, texts))


def main() -> None:
    """What the module's text says."""
    check = sys.argv[1:] == ["--check"]
    files = made()
    stale = [name for name, text in files.items() if current(GOAL / name) != text]
    for name in stale:
        if not check:
            (GOAL / name).write_text(files[name])
            print(f"{name} is written")
    if check and stale:
        sys.exit(f"{', '.join(stale)}: not what src/capi says now; run `make header`")
    if check:
        print(f"{', '.join(files)}: as src/capi says")


def current(path: Path) -> str:
    """What a file says; nothing if it is not there."""
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    main()
