"""The reference has every public name, and docstrings say what a caller must know."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import kvreg
import pytest
from docstrings import members, variables
from kvreg import aio

PAGE = Path(__file__).resolve().parents[2] / "docs" / "site" / "python.md"

MAIN = [kvreg.Registry, kvreg.Bucket, kvreg.Inbox, kvreg.Listener, kvreg.Server]
FUNCTIONS = [
    kvreg.configure,
    kvreg.shutdown,
    kvreg.live_counts,
    kvreg.load,
    kvreg.library_version,
    kvreg.serve,
    kvreg.serve_once,
    kvreg.call,
    kvreg.cast,
]
CLASSES = [
    item
    for package in (kvreg, aio)
    for item in (getattr(package, name) for name in package.__all__)
    if inspect.isclass(item)
]


def documents(item: type) -> dict[str, str]:
    """What is said about all that users find in a class."""
    return {member.name: member.doc or "" for member in members(item)}


def test_every_public_name_is_in_the_reference() -> None:
    public = {f"kvreg.{name}" for name in kvreg.__all__}
    public |= {f"kvreg.aio.{name}" for name in aio.__all__}
    shown = re.findall(r"^::: (\S+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted({"kvreg", "kvreg.aio", *public})


def test_every_public_name_is_documented() -> None:
    found = variables(kvreg)
    for name in kvreg.__all__:
        item = getattr(kvreg, name)
        if inspect.isclass(item) or inspect.isfunction(item):
            assert item.__doc__, name
        else:
            assert found[name].doc, name


@pytest.mark.parametrize("item", CLASSES)
def test_every_member_is_documented(item: type) -> None:
    # A dataclass or an enumeration inherits a docstring that says nothing.
    assert item.__doc__ and not item.__doc__.startswith(f"{item.__name__}("), item
    if not issubclass(item, kvreg.Error):  # whose one field is its own
        for name, doc in documents(item).items():
            assert doc, f"{item.__name__}.{name}"


@pytest.mark.parametrize("item", MAIN)
def test_every_method_says_whether_it_blocks(item: type) -> None:
    for name, doc in documents(item).items():
        assert re.search(r"\b(blocks?|waits?)\b", doc, re.IGNORECASE), f"{item.__name__}.{name}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_says_whether_it_blocks(function: Any) -> None:
    assert re.search(r"\bblocks\b", function.__doc__, re.IGNORECASE), function.__name__


@pytest.mark.parametrize("item", MAIN)
def test_every_main_class_says_its_threads_and_errors(item: type) -> None:
    doc = item.__doc__ or ""
    assert "Threads: " in doc and re.search(r"\bErrors(:| of)", doc)
    for error in re.findall(r"`([A-Z]+[a-z]\w+)`", doc):
        assert hasattr(kvreg, error), f"{error} is no name of kvreg"


SPAN = re.compile(r"timeout|period")


@pytest.mark.parametrize("item", [*CLASSES, *FUNCTIONS])
def test_every_span_of_time_has_a_unit(item: Any) -> None:
    if inspect.isclass(item):
        for member in members(item):
            names = [member.name]
            for function in member.functions:
                arguments = function.args
                names += [one.arg for one in [*arguments.args, *arguments.kwonlyargs]]
            if any(map(SPAN.search, names)):
                said = f"{member.doc} {item.__doc__ if member.name == '__init__' else ''}"
                assert "second" in said, f"{item.__name__}.{member.name}"
    elif any(map(SPAN.search, inspect.signature(item).parameters)):
        assert "second" in item.__doc__, item.__name__
