"""The shell: command lines in, replies out; in a pipe, from files, or at a terminal.

In a pipe and from a file it does what the shell in C does: a reply is printed as a connection
would get it, CRLF included; a failure prints ERROR, says why on standard error, and the shell
goes on. What a terminal has beside is in `_terminal`.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from . import __version__
from ._errors import Error
from ._library import LibraryError, library_version
from ._listener import Listener
from ._registry import Registry
from ._signals import Signalled, Signals
from ._streams import Streams, WritingFailed, standard

PROGRAM = "python -m kvreg"
ADDRESS = "127.0.0.1:4040"

EXAMPLES = f"""\
commands:
  CREATE bucket           start a bucket, if there is none of that name
  PUT bucket key value    store a value
  GET bucket key          print a value
  DELETE bucket key       delete a key

examples:
  {PROGRAM}
  printf 'CREATE shopping\\nPUT shopping milk 1\\n' | {PROGRAM}
  {PROGRAM} session.txt -                     first the file, then the terminal
  {PROGRAM} --listen={ADDRESS} session.txt
  {PROGRAM} --listen </dev/null &             serve in the background
  {PROGRAM} --store=file:shop.db              what it stores is there the next time
"""


class Shell:
    """Carries out lines on a registry, and prints the replies."""

    def __init__(self, registry: Registry, streams: Streams, signals: Signals) -> None:
        self.registry = registry
        self.streams = streams
        self.signals = signals

    def execute(self, line: bytes) -> bytes:
        """The reply to a line; ERROR for a failure, which is told."""
        try:
            return self.signals.during(lambda: self.registry.execute(line))
        except (Error, MemoryError) as error:
            self.streams.complain("ERROR", error)
            return b"ERROR\r\n"

    def print(self, data: bytes) -> None:
        """Writes to standard output, at once."""
        self.signals.during(lambda: self.streams.output.write(data))

    def run(self, lines: Iterable[bytes] | None) -> int:
        """Carries out lines, each before the next one is read; gives the exit status."""
        try:
            if lines is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            source = iter(lines)
            while line := self.signals.during(lambda: next(source, b"")):
                self.print(self.execute(line))
        except (OSError, MemoryError) as error:
            self.streams.complain("reading", error)
            return 1
        return 0


def arguments() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Carries out command lines from files or standard input.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="command lines; - is standard input"
    )
    parser.add_argument(
        "-l",
        "--listen",
        nargs="?",
        const=ADDRESS,
        metavar="ADDRESS",
        help=f"serve the registry meanwhile, at {ADDRESS} or another address (port 0: any;"
        " unix:PATH: a unix socket), which is printed on standard error; unless lines come from"
        " a terminal, go on after the last one, until SIGINT or SIGTERM",
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        help="keep the buckets in a store, file:PATH for one: they are there again in the next"
        " session that creates them",
    )
    parser.add_argument("-h", "--help", action="store_true", help="print this")
    parser.add_argument("-V", "--version", action="store_true", help="print the versions")
    return parser


def main(given: Sequence[str] | None = None, streams: Streams | None = None) -> int:
    """The whole program.

    Gives its exit status, below 0 for the signal it should end by, as `subprocess` has it:
    a shell that is interrupted, or whose reader has enough, ends as a program in C does.
    """
    parser = arguments()
    options = parser.parse_intermixed_args(given)
    streams = streams or standard()
    try:
        if options.help:
            streams.output.write(parser.format_help().encode())
            return 0
        if options.version:
            version = f"kvreg {__version__} (library {library_version()})\n"
            streams.output.write(version.encode())
            return 0
        with Signals() as signals:
            return _session(options, streams, signals)
    except LibraryError as error:
        streams.complain("loading", str(error))
    except WritingFailed as failed:
        if isinstance(failed.error, BrokenPipeError) and hasattr(signal, "SIGPIPE"):
            return -signal.SIGPIPE
        streams.complain("writing", failed.error)
    except Signalled as signalled:
        ordinary = (signal.SIGINT, signal.SIGTERM) if options.listen is not None else ()
        return 0 if signalled.number in ordinary else -signalled.number
    return 1


def _session(options: argparse.Namespace, streams: Streams, signals: Signals) -> int:
    names: list[str] = options.files or ["-"]
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(store=options.store))
        shell = Shell(registry, streams, signals)
        if options.listen is not None:
            try:
                listener = stack.enter_context(Listener(registry, options.listen))
            except (Error, ValueError) as error:
                streams.complain(f"listening at {options.listen}", str(error))
                return 1
            streams.tell(f"listening at {_written(listener.address)}")
            if streams.lines is None:  # as services are started
                names = [name for name in names if name != "-"]
        for name in names:
            status = _read(shell, name)
            if status != 0:
                return status
        if options.listen is not None and not (streams.reads_terminal and "-" in names):
            signals.wait()
        return 0


def _read(shell: Shell, name: str) -> int:
    streams = shell.streams
    if name == "-" and streams.at_terminal:
        from ._terminal import Terminal  # with modules that a pipe does not need

        Terminal(shell).run()
        return 0
    if name == "-":
        return shell.run(streams.lines)
    try:
        # A pipe with a name waits for who writes into it.
        source = shell.signals.during(lambda: open(name, "rb"))  # noqa: SIM115
    except OSError as error:
        streams.complain(name, error)
        return 1
    with source:
        return shell.run(source)


def _written(address: tuple[str, int] | str) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
