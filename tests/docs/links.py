"""Follows the links in pages of Markdown: links.py DIRECTORY says which lead to nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(
    r"\]\(([^)#\s]*)#?([^)\s]*)[^)]*\)|^\[[^\]]+\]: *([^#\s]*)#?(\S*)", re.MULTILINE
)
ELSEWHERE = ("https:", "http:", "mailto:")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[str, str]]:
    """Paths and anchors of the links to other pages, or in the page."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    # The text of a link may be code; its goal is none.
    found = LINK.findall(CODE.sub("", text))
    both = [(path or other, anchor or part) for path, anchor, other, part in found]
    return [(path, anchor) for path, anchor in both if not path.startswith(ELSEWHERE)]


def broken(page: Path, root: Path) -> list[str]:
    """The links of a page that lead to nothing beneath `root`."""
    wrong = []
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page.resolve()
        beneath = target.is_relative_to(root.resolve())
        if not (beneath and target.exists()) or (anchor and anchor not in anchors(target)):
            wrong.append(f"{page.relative_to(root)}: {path}#{anchor}".rstrip("#"))
    return wrong


def main() -> None:
    """What the module's text says."""
    root = Path(sys.argv[1])
    pages = sorted(root.rglob("*.md"))
    wrong = [link for page in pages for link in broken(page, root)]
    if wrong or not pages:
        raise SystemExit("links lead to what is not there:\n" + "\n".join(wrong or ["no page"]))


if __name__ == "__main__":
    main()
