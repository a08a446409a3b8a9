"""Shapes what mkdocstrings reads from the sources."""

from __future__ import annotations

import re
from typing import Any

import griffe

SESSION = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


class Sources(griffe.Extension):  # type: ignore[misc] # griffe is in target/docs-tools
    """Makes sessions blocks of Markdown, and names the type of `self` as users know it."""

    def on_instance(self, *, obj: griffe.Object, **_others: Any) -> None:
        """Is called for each object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = SESSION.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)

    def on_function_instance(self, *, func: griffe.Function, **_others: Any) -> None:
        """Is called for each function that was read."""
        if str(func.returns) == "_Self":
            func.returns = "Self"
