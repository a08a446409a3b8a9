"""Follows the links in pages of Markdown and HTML.

links.py DIRECTORY says which links in its pages lead to nothing.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(
    r"\]\(([^)#\s]*)#?([^)\s]*)[^)]*\)|^\[[^\]]+\]: *([^#\s]*)#?(\S*)", re.MULTILINE
)
ELSEWHERE = ("https:", "http:", "mailto:", "data:", "javascript:")
HTML = (".html", ".htm")


class Hypertext(HTMLParser):
    """What is in a page of HTML: its links and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value and not value.startswith(ELSEWHERE):
                self.links.append(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)


@cache
def hypertext(page: Path) -> Hypertext:
    """A page of HTML."""
    return Hypertext(page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page; of Markdown those that GitHub gives its headings."""
    if page.suffix in HTML:
        return hypertext(page).anchors
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[str, str]]:
    """Paths and anchors of the links to other pages, or in the page."""
    if page.suffix in HTML:
        parts = [link.partition("#") for link in hypertext(page).links]
        return [(unquote(path.partition("?")[0]), unquote(part)) for path, _, part in parts]
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    # The text of a link may be code; its goal is none.
    found = LINK.findall(CODE.sub("", text))
    both = [(path or other, anchor or part) for path, anchor, other, part in found]
    return [(path, anchor) for path, anchor in both if not path.startswith(ELSEWHERE)]


def broken(page: Path, root: Path) -> list[str]:
    """The links of a page that lead to nothing beneath `root`."""
    wrong = []
    for path, anchor in links(page):
        start = root if path.startswith("/") else page.parent
        target = (start / path.lstrip("/")).resolve() if path else page.resolve()
        beneath = target.is_relative_to(root.resolve())
        if not (beneath and target.exists()) or (anchor and anchor not in anchors(target)):
            wrong.append(f"{page.relative_to(root)}: {path}#{anchor}".rstrip("#"))
    return wrong


def main() -> None:
    """What the module's text says."""
    root = Path(sys.argv[1])
    pages = sorted(page for page in root.rglob("*.*") if page.suffix in (".md", *HTML))
    wrong = [link for page in pages for link in broken(page, root)]
    if wrong or not pages:
        raise SystemExit("links lead to what is not there:\n" + "\n".join(wrong or ["no page"]))


if __name__ == "__main__":
    main()
