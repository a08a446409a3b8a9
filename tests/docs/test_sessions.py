"""The sessions in the guide and in docstrings give what stands below them."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import kvreg
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = DOCS / "python-guide.md"
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


def test_every_block_of_the_guide_is_a_session() -> None:
    blocks = FENCE.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(blocks) >= 30
    for language, text in blocks:
        assert language == "pycon" and text.startswith(">>> "), text


def test_the_guide_runs_from_top_to_bottom() -> None:
    # The fences go: one that follows an output would be taken for a part of it.
    text = re.sub(r"^```.*$", "", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    page = doctest.DocTestParser().get_doctest(text, {}, GUIDE.name, str(GUIDE), 0)
    assert run(page) >= 100


@pytest.mark.parametrize("name", [name for name in MODULES if name != "kvreg.__main__"])
def test_the_sessions_in_docstrings_run(name: str) -> None:
    for session in doctest.DocTestFinder().find(importlib.import_module(name)):
        run(session)


@pytest.mark.parametrize("item", [kvreg.Registry, kvreg.Bucket, kvreg.Inbox, kvreg.Listener])
def test_the_main_classes_show_a_session(item: type) -> None:
    assert ">>> " in (item.__doc__ or "")
