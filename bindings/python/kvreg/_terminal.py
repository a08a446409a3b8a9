"""The shell at a terminal: a prompt, history, completion, and commands of its own.

Those begin with a dot, as no command of the text protocol does.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Callable

from ._errors import BucketNotFound, Error
from ._registry import Registry
from ._shell import EXAMPLES, carry_out, complain

_readline: ModuleType | None
try:
    import readline as _readline
except ImportError:  # not everywhere; then there is neither history nor completion
    _readline = None

PROMPT = "> "
HISTORY_LENGTH = 1000

COMMANDS = ("CREATE", "PUT", "GET", "DELETE")
DOT_COMMANDS = (".help", ".buckets", ".keys", ".quit")

HELP = f"""\
{EXAMPLES.split("examples:")[0]}
  .buckets                print the names of the buckets
  .keys bucket            print the keys of a bucket
  .help                   print this
  .quit                   leave, as Ctrl-D does

Tab completes commands, buckets and keys. Ctrl-C drops a line, or a command that waits.
"""


class Terminal:
    """Reads lines at a terminal until its end."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._found: list[str] = []

    def run(self) -> None:
        """Reads and carries out lines until Ctrl-D or `.quit`."""
        with _history(self.complete):
            while True:
                try:
                    line = input(PROMPT)
                    if not self.take(line):
                        return
                except EOFError:
                    print()
                    return
                except KeyboardInterrupt:
                    print("^C" if _readline is None else "")

    def take(self, line: str) -> bool:
        """Carries out a line; False if it says to leave."""
        words = line.split()
        if not words:
            return True
        if not words[0].startswith("."):
            sys.stdout.flush()
            carry_out(
                self._registry,
                line.encode("utf-8", "surrogateescape") + b"\n",
                sys.stdout.buffer,
            )
        elif words == [".quit"]:
            return False
        elif words == [".help"]:
            print(HELP, end="")
        elif words == [".buckets"]:
            self._list(sorted(self._registry))
        elif words[0] == ".keys" and len(words) == 2:
            try:
                self._list(sorted(self._registry[words[1]]))
            except BucketNotFound:
                print("NOT FOUND")
            except Error as error:
                complain("ERROR", error)
        else:
            print(f"unknown: {line.strip()}; .help lists the commands")
        return True

    def _list(self, names: list[str]) -> None:
        for name in names:
            # What is no text cannot be printed as it is.
            print(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))

    def candidates(self, before: list[str], word: str) -> list[str]:
        """What `word` may become, after these words."""
        names: list[str] = []
        try:
            if not before:
                names = [*COMMANDS, *DOT_COMMANDS]
                # The protocol knows capitals only; who types is spared them.
                word = word if word.startswith(".") else word.upper()
            elif len(before) == 1 and before[0] in (*COMMANDS[1:], ".keys"):
                names = sorted(self._registry)
            elif len(before) == 2 and before[0] in COMMANDS[1:]:
                names = sorted(self._registry[before[1]])
        except Error:
            pass
        # What has a space cannot be written in a line.
        return [f"{name} " for name in names if name.startswith(word) and " " not in name]

    def complete(self, word: str, state: int) -> str | None:
        """As `readline` asks: number `state` of what `word` may become."""
        if state == 0:
            assert _readline is not None
            before = _readline.get_line_buffer()[: _readline.get_begidx()].split()
            self._found = self.candidates(before, word)
        return self._found[state] if state < len(self._found) else None


def history_path() -> Path:
    """Where the history is kept, by the XDG base directories."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "kvreg" / "history"


@contextlib.contextmanager
def _history(complete: Callable[[str, int], str | None]) -> Iterator[None]:
    """History and completion. A shell whose history cannot be kept works without one."""
    if _readline is None:
        yield
        return
    path = history_path()
    libedit = "libedit" in (_readline.__doc__ or "")
    _readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    _readline.set_completer_delims(" \t\n")
    _readline.set_completer(complete)
    _readline.set_history_length(HISTORY_LENGTH)
    with contextlib.suppress(OSError):
        _readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _readline.write_history_file(path)
