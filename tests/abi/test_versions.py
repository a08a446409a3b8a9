"""A program with a header of another version than the library's gets a clear answer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "kvreg.h"
BUILT = ROOT / "target" / "release"
CC = os.environ.get("CC", "cc")


def header(directory: Path, **parts: int) -> None:
    """The header with another version."""
    text = HEADER.read_text()
    for part, number in parts.items():
        text, found = re.subn(rf"(KVREG_VERSION_{part}) \d+", rf"\1 {number}", text, count=1)
        assert found == 1
    (directory / "kvreg.h").write_text(text)


@pytest.mark.parametrize(
    "parts, answer",
    [
        ({}, "KVREG_OK"),
        ({"PATCH": 255}, "KVREG_OK"),  # a patch adds nothing
        ({"MINOR": 255}, "KVREG_UNSUPPORTED"),
        ({"MAJOR": 255}, "KVREG_UNSUPPORTED"),
    ],
)
def test_the_header_asks_the_library(
    tmp_path: Path, parts: dict[str, int], answer: str
) -> None:
    header(tmp_path, **parts)
    (tmp_path / "asks.c").write_text(
        '#include "kvreg.h"\n#include <stdio.h>\n'
        "int main(void) { puts(kvreg_status_name(kvreg_version_check())); return 0; }\n"
    )
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-I."]
    linked = [f"-L{BUILT}", "-lkvreg", f"-Wl,-rpath,{BUILT}"]
    subprocess.run([CC, *flags, "asks.c", "-o", "asks", *linked], cwd=tmp_path, check=True)
    done = subprocess.run(["./asks"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [answer]
