"""The sessions in the guides and in docstrings give what stands below them."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import kvreg
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDES = {"python-guide.md": (30, 100), "coming-from.md": (10, 30)}
"""The pages of sessions: how many blocks and how many examples each has at least."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A traceback names the exception and the rest is for people; but that it is raised is tested.
FLAGS = doctest.IGNORE_EXCEPTION_DETAIL

MODULES = ["kvreg", *(found.name for found in pkgutil.walk_packages(kvreg.__path__, "kvreg."))]


def run(session: doctest.DocTest) -> int:
    """Runs a session, prints what differs, and says how many examples it has."""
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    results = runner.run(session)
    assert results.failed == 0, f"{results.failed} of {results.attempted} in {session.name}"
    return results.attempted


def read(guide: str) -> str:
    return (DOCS / guide).read_text(encoding="utf-8")


def test_the_guides_are_those_with_sessions() -> None:
    assert {page.name for page in DOCS.glob("*.md") if "```pycon" in read(page.name)} == set(
        GUIDES
    )


@pytest.mark.parametrize("guide", GUIDES)
def test_every_block_of_a_guide_is_a_session(guide: str) -> None:
    blocks = FENCE.findall(read(guide))
    assert len(blocks) >= GUIDES[guide][0]
    for language, text in blocks:
        assert language == "pycon" and text.startswith(">>> "), text


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_runs_from_top_to_bottom(guide: str) -> None:
    # The fences go: one that follows an output would be taken for a part of it.
    text = re.sub(r"^```.*$", "", read(guide), flags=re.MULTILINE)
    page = doctest.DocTestParser().get_doctest(text, {}, guide, str(DOCS / guide), 0)
    assert run(page) >= GUIDES[guide][1]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "kvreg.__main__"])
def test_the_sessions_in_docstrings_run(name: str) -> None:
    for session in doctest.DocTestFinder().find(importlib.import_module(name)):
        run(session)


@pytest.mark.parametrize("item", [kvreg.Registry, kvreg.Bucket, kvreg.Inbox, kvreg.Listener])
def test_the_main_classes_show_a_session(item: type) -> None:
    assert ">>> " in (item.__doc__ or "")
