"""The shell: command lines in, replies out; in a pipe, from a file, or at a terminal.

In a pipe and from a file it does what the shell in C does: a reply is printed as a connection
would get it, CRLF included; a failure prints ERROR, says why on standard error, and the shell
goes on. What a terminal has beside is in `_terminal`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType
from typing import BinaryIO, NoReturn

from . import __version__
from ._errors import Error
from ._library import LibraryError, library_version
from ._listener import Listener
from ._registry import Registry

PROGRAM = "python -m kvreg"
ADDRESS = "127.0.0.1:4040"

EXAMPLES = """\
commands:
  CREATE bucket           start a bucket, if there is none of that name
  PUT bucket key value    store a value
  GET bucket key          print a value
  DELETE bucket key       delete a key

examples:
  python -m kvreg
  printf 'CREATE shopping\\nPUT shopping milk 1\\n' | python -m kvreg
  python -m kvreg --listen 127.0.0.1:4040 session.txt
"""


class WritingFailed(Exception):
    """Standard output takes no more."""


def complain(what: str, error: BaseException | str) -> None:
    """Says on standard error what went wrong."""
    print(f"kvreg: {what}: {error}", file=sys.stderr)


def carry_out(registry: Registry, line: bytes, out: BinaryIO) -> None:
    """Carries out a line and prints the reply."""
    try:
        reply = registry.execute(line)
    except Error as error:
        complain("ERROR", error)
        reply = b"ERROR\r\n"
    try:
        out.write(reply)
        out.flush()
    except OSError as error:
        raise WritingFailed from error


def run(registry: Registry, lines: Iterable[bytes], out: BinaryIO) -> None:
    """Carries out lines, each before the next one is read."""
    for line in lines:
        carry_out(registry, line, out)


def arguments() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Carries out command lines from a file or standard input.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", nargs="?", default="-", help="command lines; - is standard input"
    )
    parser.add_argument(
        "-l",
        "--listen",
        nargs="?",
        const=ADDRESS,
        metavar="ADDRESS",
        help=f"serve the registry over TCP meanwhile, at {ADDRESS} or another address; without"
        " a terminal it goes on after the last line, until SIGINT or SIGTERM",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the versions")
    return parser


def main(given: list[str] | None = None) -> int:
    """The whole program; gives its exit status."""
    options = arguments().parse_args(given)
    try:
        if options.version:
            print(f"kvreg {__version__} (library {library_version()})")
            return 0
        return _session(options)
    except LibraryError as error:
        complain("loading", error)
    except WritingFailed as failed:
        _forget_output()
        if not isinstance(failed.__cause__, BrokenPipeError):  # else the reader has enough
            complain("writing", failed.__cause__ or failed)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 1


def _session(options: argparse.Namespace) -> int:
    if options.file == "-":
        return _serve(options, sys.stdin.buffer)
    try:
        source = open(options.file, "rb")  # noqa: SIM115  # what fails later is something else
    except OSError as error:
        complain(options.file, error.strerror or str(error))
        return 1
    with source:
        return _serve(options, source)


def _serve(options: argparse.Namespace, source: BinaryIO) -> int:
    at_terminal = source.isatty() and sys.stdout.isatty()
    with Registry() as registry:
        if options.listen is None:
            return _read(registry, source, at_terminal)
        signal.signal(signal.SIGTERM, _end)
        try:
            listener = Listener(registry, options.listen)
        except Error as error:
            complain(f"listening at {options.listen}", error)
            return 1
        with listener:
            host, port = listener.address
            print(f"kvreg: listening at {host}:{port}", file=sys.stderr, flush=True)
            try:
                status = _read(registry, source, at_terminal)
                if not at_terminal and status == 0:
                    threading.Event().wait()
            except (KeyboardInterrupt, _Ended):
                return 0
        return status


def _read(registry: Registry, source: BinaryIO, at_terminal: bool) -> int:
    if at_terminal:
        from ._terminal import Terminal  # with modules that a pipe does not need

        Terminal(registry).run()
        return 0
    try:
        run(registry, source, sys.stdout.buffer)
    except OSError as error:
        complain("reading", error.strerror or str(error))
        return 1
    return 0


class _Ended(Exception):
    """SIGTERM."""


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Ended


def _forget_output() -> None:
    # Else the interpreter tries once more when it ends, and complains.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
