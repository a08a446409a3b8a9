"""What `make wheel` made, and what the checkout says that should be in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = REPOSITORY / "bindings" / "python"
PACKAGE = PROJECT / "kvreg"

LIBRARY = "libkvreg.so"
EXTENSION = "_native.abi3.so"
LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")
# Of what is linked into the library, where the wheel has one that was built before.
NOTICES = "THIRD-PARTY-LICENSES.txt"
# Those that make wheel was told to put in, and whoever builds from sources; that of nats: URLs
# has a wheel of its own.
MADE = os.environ.get("KVREG_ENGINES", "file").split()
ENGINES = [engine for engine in MADE if engine != "nats"]
ENGINE_LIBRARIES = {f"libkvreg_{engine}.so" for engine in ENGINES}
ENGINE_NOTICES = {f"THIRD-PARTY-LICENSES-{engine}.txt" for engine in ENGINES}


def only(pattern: str) -> Path:
    """The one file that `make wheel` made of this kind."""
    made = Path(os.environ.get("KVREG_WHEELS", REPOSITORY / "target" / "wheels"))
    found = list(made.glob(pattern))
    assert len(found) == 1, f"make wheel makes one {pattern}: {found}"
    return found[0]


# That for any Python, and that for this one: an older one can have no extension.
PURE_WHEEL = only("kvreg-*-py3-none-*.whl")
HAS_EXTENSION = sys.implementation.name == "cpython" and sys.version_info >= (3, 11)
WHEEL = only("*-cp311-abi3-*.whl") if HAS_EXTENSION else PURE_WHEEL
SDIST = only("*.tar.gz")
NATS_WHEEL = only("kvreg_nats-*.whl") if "nats" in MADE else None


def crate_version() -> str:
    """The version in Cargo.toml."""
    package = (REPOSITORY / "Cargo.toml").read_text().partition("[package]")[2]
    found = re.search(r'^version = "(.+)"$', package, re.MULTILINE)
    assert found
    return found[1]


def modules() -> set[str]:
    """The modules in the checkout, as paths: the package's, and the plug-in of pytest."""
    found = [PROJECT / "pytest_kvreg.py", *PACKAGE.rglob("*.py")]
    return {str(path.relative_to(PROJECT)) for path in found}


def readme_example() -> tuple[str, str]:
    """The program in the package's README, and what it prints."""
    text = (PROJECT / "README.md").read_text()
    found = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1], found[2]


def run(
    *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, which comes in minutes unless it hangs; keeps what it says."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
    )


def output(
    *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> str:
    """What a command says; it must succeed."""
    done = run(*command, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout
    return done.stdout
