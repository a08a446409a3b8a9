"""The shell at a terminal: a prompt, history, completion, and commands of its own.

Those begin with a dot, as no command of the text protocol does. An empty line does nothing
here. Of what is printed, characters that would control the terminal are shown escaped: values
may be somebody else's.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Callable

from . import __version__
from ._completion import Completer
from ._errors import BucketNotFound, Error
from ._history import History
from ._shell import Shell
from ._signals import Signalled

PROMPT = "> "

HELP = """\
CREATE bucket          starts a bucket, if there is none of that name
PUT bucket key value   stores a value
GET bucket key         prints a value
DELETE bucket key      deletes a key
.buckets               prints the names of the buckets
.keys bucket           prints the keys of a bucket
.help                  prints this
.quit                  leaves, as Ctrl-D does
Words are split on spaces; there is no quoting. Tab completes commands, buckets and keys.
Ctrl-C drops a line, or a command that waits.
"""


def shown(text: str) -> str:
    """Text that leaves the terminal as it is."""
    return "".join(
        letter
        if letter.isprintable() or letter in "\n\t"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


class Terminal:
    """Reads lines at a terminal until its end."""

    def __init__(self, shell: Shell, read: Callable[[str], str] = input) -> None:
        self._shell = shell
        self._read = read
        self._encoding = shell.streams.encoding

    def run(self) -> None:
        """Reads and carries out lines until Ctrl-D or `.quit`."""
        dropped = False
        with self._editing():
            self._say(f"kvreg {__version__}: .help lists the commands, Ctrl-D leaves\n")
            while True:
                try:
                    if dropped:
                        dropped = False
                        self._say("\n")
                    text = self._shell.signals.during(lambda: self._read(PROMPT))
                    # A terminal hands over as one what was pasted at once.
                    for line in text.split("\n"):
                        if not self.take(line):
                            return
                except EOFError:
                    self._say("\n")
                    return
                except Signalled as signalled:
                    if signalled.number != signal.SIGINT:
                        raise
                    dropped = True

    def take(self, line: str) -> bool:
        """Carries out a line; False if it says to leave."""
        words = line.split()
        if not words:
            return True
        if not words[0].startswith("."):
            self._say(self._reply(line))
        elif words == [".quit"]:
            return False
        elif words == [".help"]:
            self._say(HELP)
        elif words == [".buckets"]:
            self._list(sorted(self._shell.registry))
        elif words[0] == ".keys" and len(words) == 2:
            self._keys(words[1])
        else:
            self._say(f"unknown: {line.strip()}; .help lists the commands\n")
        return True

    def _reply(self, line: str) -> str:
        data = line.encode(self._encoding, "surrogateescape")
        reply = self._shell.execute(data + b"\n").replace(b"\r\n", b"\n")
        return reply.decode(self._encoding, "backslashreplace")

    def _keys(self, name: str) -> None:
        try:
            self._list(sorted(self._shell.registry[name]))
        except (BucketNotFound, UnicodeEncodeError):  # what is no text is no bucket's name
            self._say("NOT FOUND\n")
        except Error as error:
            self._shell.streams.complain("ERROR", error)

    def _list(self, names: list[str]) -> None:
        for name in names:
            # Keys that are no text show the bytes they are.
            data = name.encode("utf-8", "surrogateescape").replace(b"\n", b"\\n")
            self._say(data.decode("utf-8", "backslashreplace") + "\n")

    def _say(self, text: str) -> None:
        self._shell.print(shown(text).encode(self._encoding, "backslashreplace"))

    @contextlib.contextmanager
    def _editing(self) -> Iterator[None]:
        """History and completion, where Python can."""
        try:
            import readline
        except ImportError:
            yield
            return
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        readline.set_completer_delims(" \t\n")
        complete = Completer(self._shell.registry, readline)
        readline.set_completer(self._shell.signals.apart(complete))
        history = History(readline, self._shell.streams.complain)
        history.load()
        try:
            yield
        finally:
            history.save()
            readline.set_completer(None)
