"""What ARCHITECTURE.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PATHS = sorted(
    set(re.findall(r"`((?:src|tests|include|packaging|benches)(?:/[\w./*]+)?)`", PAGE))
)
ROOMS = re.findall(r"^\| (\d) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
GUARANTEES = re.findall(r"^\| \[?G(\d+)\b.* \| (.*) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_each_file_of_a_room_exists() -> None:
    assert len(ROOMS) >= 10
    for _, rooms, text in ROOMS:
        folder = ROOT / re.findall(r"`([^`]+)`", rooms)[0]
        for name in re.findall(r"`(\w+\.rs)`", text):
            assert (folder / name).exists(), f"{folder.name}/{name}"


def test_the_floors_are_those_that_the_core_is_held_to() -> None:
    text = (ROOT / "tests" / "floors.rs").read_text(encoding="utf-8")
    floors = re.findall(r"&\[([^\]]+)\],", text.partition("FLOORS")[2].partition("];\n")[0])
    held = [re.findall(r'"(\w+)"', rooms) for rooms in floors]
    told: list[list[str]] = [[] for _ in held]
    for floor, rooms, _ in ROOMS:
        told[int(floor)] += re.findall(r"`src/(\w+)(?:\.rs)?`", rooms)
    assert [sorted(rooms) for rooms in told] == [sorted(rooms) for rooms in held]
    script = (ROOT / "docs" / "images" / "drawings.py").read_text(encoding="utf-8")
    drawn = re.findall(r"Floor\(\s*\d,\s*\[([^\]]+)\]", script)
    assert [re.findall(r'"(\w+)"', rooms) for rooms in reversed(drawn)] == held


def test_all_guarantees_are_there() -> None:
    assert [int(number) for number, _ in GUARANTEES] == [*range(1, 17), 18]


@pytest.mark.parametrize(("number", "tested"), GUARANTEES)
def test_a_guarantee_is_tested_under_its_number(number: str, tested: str) -> None:
    # Behind a semicolon stand tests that have other names.
    files = re.findall(r"`(tests/[\w./]+)`", tested.partition(";")[0])
    assert files
    for file in files:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"\bg{number}_\w+", text), file
