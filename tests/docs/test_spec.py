"""The contract names what the header has."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
HEADER = (ROOT / "include" / "kvreg.h").read_text(encoding="utf-8")


def test_the_statuses_are_those_of_the_header() -> None:
    enumeration = HEADER.partition("typedef int32_t kvreg_status;")[2].partition("};")[0]
    names = re.findall(r"^\s+(KVREG_[A-Z_]+)", enumeration, re.MULTILINE)
    rows = re.findall(r"^\| (\d+) \| `(KVREG_[A-Z_]+)` \|", CONTRACT, re.MULTILINE)
    assert len(names) >= 22
    assert rows == [(str(number), name) for number, name in enumerate(names)]


def test_every_guarantee_is_told_once() -> None:
    told = re.findall(r"^\*\*G(\d+)\.", CONTRACT, re.MULTILINE)
    assert [int(number) for number in told] == [*range(1, 17), 18]


def test_the_commands_are_those_of_the_protocol() -> None:
    section = CONTRACT.partition("\n## The text protocol\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `([A-Z]+) ", section, re.MULTILINE))
    source = (ROOT / "src" / "protocol.rs").read_text(encoding="utf-8")
    known = set(re.findall(r'Some\(b"([A-Z]+)"\)', source))
    assert told == known | {"AUTH"}
