"""The pictures in the pages are those that the scripts draw, and lie where pages show them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
SHOWN = {
    (page.parent / image).resolve()
    for page in PAGES
    for image in re.findall(r"!\[[^\]]+\]\((\S+\.svg)\)", page.read_text(encoding="utf-8"))
}


def test_each_picture_is_shown_and_described() -> None:
    assert set(IMAGES.glob("*.svg")) == SHOWN


@pytest.mark.parametrize("picture", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_fetches_nothing(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    text = picture.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text and "href" not in text


@pytest.mark.parametrize("script", ["drawings.py", "plots.py"])
def test_the_committed_pictures_are_fresh(script: str, tmp_path: Path) -> None:
    copy = tmp_path / "docs" / "images"
    copy.mkdir(parents=True)
    for file in IMAGES.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    page = ROOT / "docs" / "performance.md"
    (copy.parent / page.name).write_bytes(page.read_bytes())
    subprocess.run([sys.executable, copy / script], check=True)
    drawn = sorted(copy.glob("*.svg"))
    assert drawn
    for picture in drawn:
        committed = IMAGES / picture.name
        assert picture.read_bytes() == committed.read_bytes(), "run `make images`"
