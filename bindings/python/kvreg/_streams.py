"""What the shell reads and writes: the standard streams, without Python's buffers.

What a buffer still has when a write failed is written once more when the interpreter ends, with
a message and a status of its own. Any of the three may be closed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol


class WritingFailed(Exception):
    """Standard output takes no more; `error` says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def reason(error: BaseException) -> str:
    """Why, as C programs say it."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or repr(error)


class Sink(Protocol):
    """What takes bytes, perhaps some of them only."""

    def write(self, data: Any, /) -> int | None:
        """How many it took."""


class Descriptor(io.FileIO):
    """A descriptor that others own. Where it would have to wait and must not, it fails."""

    def __init__(self, number: int, mode: str) -> None:
        super().__init__(number, mode, closefd=False)

    def readinto(self, buffer: Any, /) -> int:
        """Reads; never answers None."""
        return _some(super().readinto(buffer))

    def write(self, data: Any, /) -> int:
        """Writes; never answers None."""
        return _some(super().write(data))


def _some(count: int | None) -> int:
    if count is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return count


class Output:
    """Standard output or standard error; None if it is closed."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink

    def write(self, data: bytes) -> None:
        """Writes all of it, or raises `WritingFailed`."""
        try:
            if self._sink is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            rest = memoryview(data)
            while rest:
                rest = rest[self._sink.write(rest) :]
        except OSError as error:
            raise WritingFailed(error) from error


class Streams(NamedTuple):
    """Where lines come from and replies go to."""

    lines: Iterable[bytes] | None
    """Standard input; None if it is closed."""
    output: Output
    errors: Output
    reads_terminal: bool = False
    """Whether standard input is a terminal."""
    at_terminal: bool = False
    """Whether standard input and output are: then there is a prompt."""
    encoding: str = "utf-8"
    """How the terminal writes text."""

    def complain(self, what: str, why: BaseException | str) -> None:
        """Says on standard error what went wrong; if that goes wrong too, nothing helps."""
        self.tell(f"{what}: {why if isinstance(why, str) else reason(why)}")

    def tell(self, text: str) -> None:
        """A line on standard error."""
        with contextlib.suppress(WritingFailed):
            self.errors.write(f"kvreg: {text}\n".encode(self.encoding, "backslashreplace"))


def standard() -> Streams:
    """Those of the process."""
    # Python has None for one that was closed when it started.
    given, output, errors = sys.stdin, sys.stdout, sys.stderr
    reads_terminal = given is not None and given.isatty()
    at_terminal = reads_terminal and output is not None and output.isatty()
    encoding = "utf-8"
    if given is not None and at_terminal:
        # What `input` reads can so be turned back into the very bytes.
        if isinstance(given, io.TextIOWrapper):
            given.reconfigure(errors="surrogateescape")
        encoding = given.encoding
    return Streams(
        None if given is None else io.BufferedReader(Descriptor(given.fileno(), "rb")),
        Output(None if output is None else Descriptor(output.fileno(), "wb")),
        Output(None if errors is None else Descriptor(errors.fileno(), "wb")),
        reads_terminal,
        at_terminal,
        encoding,
    )


def occupy() -> None:
    """Opens what is closed of the descriptors 0 to 2, so that no connection gets its number.

    Whatever a library prints would go to that connection.
    """
    with contextlib.suppress(OSError):  # without /dev/null it is as it was
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
