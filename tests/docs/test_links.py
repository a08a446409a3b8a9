"""Links between the pages lead somewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from links import broken, links

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = sorted({*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md")} - {*PAGES})


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert page in OTHERS or links(page), "a page that leads nowhere"
    assert broken(page, ROOT) == []


def test_what_leads_nowhere_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (tmp_path / "outside.md").touch()
    page = root / "page.md"
    page.write_text(
        "# One `f(x)`\n[a](#one-fx) [b](page.md#one-fx) [c](https://example.org/none)\n"
        "`[code](none)`\n```c\n[](auto n) {}\n```\n"
        "[no](none.md) ![no](none.png) [no](#none) [no](../outside.md)\n[no]: none.txt\n"
    )
    wrong = ["none.md", "none.png", "#none", "../outside.md", "none.txt"]
    assert broken(page, root) == [f"page.md: {link}" for link in wrong]


def test_a_page_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("[no](none.md)\n")
    command: list[str | Path] = ["python3", ROOT / "tests" / "docs" / "links.py", tmp_path]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "page.md: none.md" in done.stderr


def test_links_of_hypertext_are_followed_too(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h1 id="there">Other</h1>')
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="other.html#there">a</a> <a name="b" href="#b">b</a> <img src="/other.html">'
        '<a href="https://example.org/none">c</a>'
        '<a href="other.html#none">no</a> <a href="none.html">no</a> <img src="/none.png">'
    )
    wrong = ["other.html#none", "none.html", "/none.png"]
    assert broken(page, tmp_path) == [f"page.html: {link}" for link in wrong]
