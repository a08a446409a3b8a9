"""The history of the shell: lines that outlive it, in a file of the user's.

The shell works without one: what is wrong with the file is told, and that is all.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Callable

LENGTH = 1000
"""Lines that are kept."""


def history_path() -> str | None:
    """Where it is kept, by the XDG base directories; None if there is no home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # then it does not count, says XDG
        state = os.path.expanduser(os.path.join("~", ".local", "state"))
    return os.path.join(state, "kvreg", "history") if os.path.isabs(state) else None


class History:
    """The lines of `readline` and those of the file."""

    def __init__(
        self, readline: ModuleType, complain: Callable[[str, BaseException], None]
    ) -> None:
        self._readline = readline
        self._complain = complain
        self._path = history_path()
        self._known = 0
        self._understood = True

    def load(self) -> None:
        """Reads the file, if it is there."""
        if self._path is None:
            return
        # A pipe would wait for somebody to write; /dev/null is for those who want no history.
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            self._path = None
            return
        self._readline.set_history_length(LENGTH)
        try:
            self._readline.read_history_file(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._understood = False
            self._complain(f"reading {self._path}", error)
        self._known = self._readline.get_current_history_length()

    def save(self) -> None:
        """Adds what was typed since `load`: another shell may have added its own meanwhile."""
        typed = self._readline.get_current_history_length() - self._known
        if self._path is None or typed <= 0:
            return
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            # Values may be nobody else's business.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            if hasattr(self._readline, "append_history_file"):
                self._readline.append_history_file(typed, self._path)
            elif self._understood:  # some builds with libedit can only write all
                self._readline.write_history_file(self._path)
        except OSError as error:
            self._complain(f"writing {self._path}", error)
