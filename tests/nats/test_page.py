"""The programs of the page on clusters, in C and in Python, share a bucket as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import readme
from nats_servers import WAIT, Server
from support import LIBRARY, REPOSITORY

DOCS = REPOSITORY / "docs"
THEIR_SERVER = "127.0.0.1:4222"
"""Where the page's server is."""

BESIDE = Path(LIBRARY).parent
"""Where the library lies, and its engine."""


def file_of(page: str, name: str) -> str:
    """The block of a page that is this file."""
    found = [
        source
        for _, source in readme.blocks(DOCS / page)
        if source.splitlines()[0].strip("/*# ").partition(":")[0].strip() == name
    ]
    assert len(found) == 1, f"{page} has {len(found)} blocks that are {name}"
    return found[0]


def output(*command: str | Path) -> str:
    """What a program prints; it must succeed and complain of nothing."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=WAIT, cwd=REPOSITORY
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_program_in_c_and_one_in_python_share_a_bucket(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "check.h").write_text(file_of("c-guide.md", "check.h"))
    for name in ("cart.c", "cart.py"):
        source = file_of("clusters.md", name)
        assert source.count(THEIR_SERVER) == 1
        (tmp_path / name).write_text(source.replace(THEIR_SERVER, server.host))
    compiler = os.environ.get("CC", "cc").split()
    link = [f"-L{BESIDE}", "-lkvreg", f"-Wl,-rpath,{BESIDE}"]
    where = [f"-I{REPOSITORY / 'include'}", f"-I{tmp_path}"]
    program = tmp_path / "cart"
    output(
        *compiler, "-std=c11", *readme.FLAGS, *where, tmp_path / "cart.c", "-o", program, *link
    )
    assert output(program) == ""
    (said,) = [
        text for language, text in readme.blocks(DOCS / "clusters.md") if language == "text"
    ]
    assert output(sys.executable, "-W", "error", tmp_path / "cart.py") == said == "3 4\n"
    # Whoever comes later finds what they left.
    assert output(sys.executable, "-W", "error", tmp_path / "cart.py") == "4 5\n"
