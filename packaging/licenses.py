"""Writes the licences of what is linked into the library: licenses.py TARGET FILE [ENGINE].

The crates are those that cargo says the library has on TARGET, and Rust's standard library.
Their licences ask that their notices go where the library goes. With an ENGINE, as "file", the
library is that engine's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CARGO = os.environ.get("CARGO", "cargo")
ROOT = Path(__file__).resolve().parents[1]
STANDARD_LIBRARY = """Rust's standard library
https://www.rust-lang.org, MIT OR Apache-2.0

Copyright (c) The Rust Project Contributors. It is used under the terms of the Apache License,
version 2.0, which is in LICENSE-APACHE."""


def cargo(*arguments: str) -> str:
    """What cargo prints."""
    command = [CARGO, *arguments, "--locked"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def linked(own: str, target: str) -> set[tuple[str, str]]:
    """Name and version of the crates in the library of the package `own` on `target`."""
    tree = cargo(
        *("tree", "--package", own, "--edges", "normal,no-proc-macro", "--target", target),
        *("--prefix", "none", "--format", "{p}"),
    )
    crates = set()
    for line in tree.splitlines():
        name, version, *_ = line.split()
        crates.add((name, version.removeprefix("v")))
    return {crate for crate in crates if crate[0] != own}


def notice(package: dict[str, str]) -> str:
    """A heading, and the licence's text: the MIT licence where there is a choice."""
    directory = Path(package["manifest_path"]).parent
    found = sorted(directory.glob("LICENSE*")) + sorted(directory.glob("COPYING*"))
    heading = f"{package['name']} {package['version']}\n"
    heading += f"{package['repository'] or ''}, {package['license']}\n\n"
    if not found and "Apache-2.0" in package["license"]:
        return heading + "It is used under the Apache License, which is in LICENSE-APACHE."
    if not found:
        raise SystemExit(f"licenses.py: {package['name']} carries no licence to be copied")
    texts = [path for path in found if "MIT" in path.name] or found
    return heading + "\n\n".join(path.read_text("utf-8").strip() for path in texts)


def main() -> None:
    """What the module's text says."""
    target, goal, *engines = sys.argv[1:]
    own = "-".join(["kvreg", *engines])
    crates = linked(own, target)
    # Of other systems' crates not even the descriptions: they may not have been fetched.
    metadata = cargo("metadata", "--format-version", "1", "--filter-platform", target)
    packages = json.loads(metadata)["packages"]
    notices = [STANDARD_LIBRARY]
    for package in sorted(packages, key=lambda package: package["name"]):
        if (package["name"], package["version"]) in crates:
            crates.remove((package["name"], package["version"]))
            notices.append(notice(package))
    assert not crates, crates
    line = "\n\n" + "-" * 79 + "\n\n"
    Path(goal).write_text(
        f"lib{own.replace('-', '_')} contains, beside kvreg itself, the following.\n\n"
        + line.join(notices)
        + "\n",
        "utf-8",
    )


if __name__ == "__main__":
    main()
