"""Completion at a terminal: commands, buckets, and keys of the registry as it is now."""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType

from ._errors import Error
from ._registry import Registry

COMMANDS = {"CREATE": 1, "PUT": 3, "GET": 2, "DELETE": 2}
"""Those of the text protocol, and how many words follow."""

DOT_COMMANDS = {".help": 0, ".buckets": 0, ".keys": 1, ".quit": 0}
"""Those of the shell at a terminal."""

MOST = 100_000
"""Of more names nobody picks one by Tab, and to copy them takes a while."""


def candidates(registry: Registry, before: list[str], word: str) -> list[str]:
    """What `word` may become after these words, with the space that comes next."""
    found: list[str] = []
    more = True
    try:
        if not before:
            found = [*COMMANDS, *DOT_COMMANDS]
            # The protocol knows capitals only; who types is spared them.
            word = word if word.startswith(".") else word.upper()
        else:
            command = before[0]
            words = COMMANDS.get(command, 0) + DOT_COMMANDS.get(command, 0)
            more = len(before) < words
            if len(before) == 1 and words and command != "CREATE":
                found = _few(registry)
            elif len(before) == 2 and words >= 2:
                found = _few(registry[before[1]])
    except (Error, ValueError):  # no such bucket, or no name for one
        pass
    end = " " if more else ""
    return [name + end for name in found if name.startswith(word) and _can_be_typed(name)]


def _few(names: Collection[str]) -> list[str]:
    return sorted(names) if len(names) <= MOST else []


def _can_be_typed(name: str) -> bool:
    # A space ends a word, and what is not printable may do anything to the terminal.
    return name.isprintable() and " " not in name and name != ""


class Completer:
    """Asked by `readline`, for one candidate after the other."""

    def __init__(self, registry: Registry, readline: ModuleType) -> None:
        self._registry = registry
        self._readline = readline
        self._found: list[str] = []

    def __call__(self, word: str, state: int) -> str | None:
        """Candidate number `state`; None after the last."""
        if state == 0:
            line: str = self._readline.get_line_buffer()
            before = line[: self._readline.get_begidx()].split()
            self._found = candidates(self._registry, before, word)
        return self._found[state] if state < len(self._found) else None
