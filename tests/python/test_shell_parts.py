"""The parts of the shell: streams, signals, completion, history, commands of a terminal."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn, cast

import kvreg
import pytest
from kvreg import __main__, _completion, _history, _shell, _streams, _terminal
from kvreg._completion import COMMANDS, DOT_COMMANDS, Completer, candidates
from kvreg._history import History, history_path
from kvreg._shell import Shell
from kvreg._signals import Signalled, Signals
from kvreg._streams import Output, Streams, WritingFailed
from kvreg._terminal import Terminal
from support import Worker, posix

SESSION = b"CREATE shopping\nPUT shopping milk 1\r\nGET shopping milk\n\nGET shopping"
REPLIES = b"OK\r\nOK\r\n1\r\nOK\r\nUNKNOWN COMMAND\r\nUNKNOWN COMMAND\r\n"


class Console:
    """A shell in this process: what it is given, and what it printed."""

    def __init__(self, registry: kvreg.Registry, given: bytes = b"") -> None:
        self.output, self.errors = io.BytesIO(), io.BytesIO()
        self.streams = Streams(io.BytesIO(given), Output(self.output), Output(self.errors))
        self.shell = Shell(registry, self.streams, Signals())

    def printed(self) -> str:
        return self.output.getvalue().decode()


@pytest.fixture
def console(registry: kvreg.Registry) -> Console:
    registry.create("dairy").update({"milk": 1, "mint tea": 2, "mustard": 3, "m\x1b": 4})
    registry.create("drinks")
    return Console(registry)


def main(
    *arguments: str, given: bytes | None = b"", sink: Any = None, **fields: Any
) -> tuple[int, bytes, bytes]:
    output, errors = io.BytesIO(), io.BytesIO()
    lines = None if given is None else io.BytesIO(given)
    streams = Streams(lines, Output(sink or output), Output(errors), **fields)
    status = _shell.main(arguments, streams)
    return status, output.getvalue(), errors.getvalue()


class Failing:
    """Takes a few bytes, and then fails."""

    def __init__(self, error: OSError, takes: int = 0) -> None:
        self._error = error
        self._takes = takes

    def write(self, data: Any, /) -> int:
        taken = min(self._takes, len(data))
        self._takes -= taken
        if taken == 0:
            raise self._error
        return taken


class Interrupting(io.BytesIO):
    """Lines that a signal interrupts at the end."""

    def __init__(self, lines: bytes, number: int) -> None:
        super().__init__(lines)
        self._number = number

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            os.kill(os.getpid(), self._number)
        return line


# The whole, in this process


def test_main() -> None:
    assert main(given=SESSION) == (0, REPLIES, b"")
    status, output, errors = main(given=b"CREATE \xff\nCREATE a\n")
    assert (status, output) == (0, b"ERROR\r\nOK\r\n")
    assert errors.startswith(b"kvreg: ERROR: ")
    version = f"kvreg {kvreg.__version__} (library {kvreg.library_version()})\n"
    assert main("--version") == (0, version.encode(), b"")
    assert main("--help")[1].startswith(b"usage: python -m kvreg")


def test_main_fails() -> None:
    full = OSError(28, "No space left on device")
    assert main(given=SESSION, sink=Failing(full)) == (
        1, b"", b"kvreg: writing: No space left on device\n",
    )  # fmt: skip
    assert main(given=SESSION, sink=Failing(BrokenPipeError(32, "Broken pipe"), 5)) == (
        -signal.SIGPIPE, b"", b"",
    )  # fmt: skip
    assert main(given=None) == (1, b"", b"kvreg: reading: Bad file descriptor\n")
    status, _, errors = main("/nothing/here")
    assert (status, errors) == (1, b"kvreg: /nothing/here: No such file or directory\n")
    status, output, errors = main("--store", "none:", given=b"CREATE a\nGET a k\n")
    assert (status, output) == (0, b"ERROR\r\nNOT FOUND\r\n") and b"no engine" in errors
    status, _, errors = main("--listen=nowhere")
    assert (status, errors[:20]) == (1, b"kvreg: listening at ")


def test_main_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise kvreg.LibraryError("nowhere")

    monkeypatch.setattr(_shell, "library_version", missing)
    assert main("--version") == (1, b"", b"kvreg: loading: nowhere\n")


def test_main_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for arguments, listens in (((), False), (("--listen=0",), True)):
            output, errors = io.BytesIO(), io.BytesIO()
            lines = Interrupting(b"CREATE a\n", number)
            streams = Streams(lines, Output(output), Output(errors))
            ordinary = listens and number != signal.SIGHUP
            assert _shell.main(arguments, streams) == (0 if ordinary else -number)
            assert output.getvalue() == b"OK\r\n"


@pytest.mark.parametrize("given", [b"", SESSION, None])
def test_main_serves(given: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(signals: Signals) -> NoReturn:
        signals.during(lambda: os.kill(os.getpid(), signal.SIGTERM))
        pytest.fail("it was signalled")

    monkeypatch.setattr(Signals, "wait", waits)
    status, output, errors = main("--listen=0", given=given)
    assert (status, output) == (0, REPLIES if given else b"")
    assert errors.startswith(b"kvreg: listening at 127.0.0.1:")
    # Who typed its lines has left it by ending them, even if its output is no terminal.
    assert main("--listen=0", given=SESSION, reads_terminal=True)[:2] == (0, REPLIES)


def test_main_at_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = iter(["CREATE a", ".quit"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(_terminal.Terminal.__init__, "__defaults__", (lambda _: next(lines),))
    status, output, errors = main(reads_terminal=True, at_terminal=True)
    assert (status, errors) == (0, b"")
    assert output.endswith(b"Ctrl-D leaves\nOK\n")


def test_how_an_address_is_written() -> None:
    assert _shell._written(("127.0.0.1", 1)) == "127.0.0.1:1"
    assert _shell._written(("::1", 1)) == "[::1]:1"
    assert _shell._written("/run/kvreg") == "unix:/run/kvreg"


def test_no_memory(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        yield b"CREATE a\n"
        raise MemoryError

    assert console.shell.run(endless()) == 1
    assert console.errors.getvalue() == b"kvreg: reading: MemoryError()\n"


def test_the_end_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (0, 1):
        with pytest.raises(SystemExit) as ended:
            __main__.end(status)
        assert ended.value.code == status
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(SystemExit) as ended:
        __main__.end(-2)
    assert ended.value.code == 130


def test_the_program_ends_by_a_signal() -> None:
    code = "from kvreg.__main__ import end; end(-15)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -15


# Streams


def test_output_in_pieces() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return super().write(data[:3])

    slow = Slow()
    Output(slow).write(SESSION)
    assert slow.getvalue() == SESSION
    with pytest.raises(WritingFailed, match="Bad file descriptor"):
        Output(None).write(b"OK")
    with pytest.raises(WritingFailed) as caught:
        Output(Failing(BlockingIOError(11, "busy"), 1)).write(b"OK")
    assert isinstance(caught.value.error, BlockingIOError)


def test_descriptors_that_must_not_wait() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    with _streams.Descriptor(reader, "rb") as source, pytest.raises(BlockingIOError):
        source.readinto(bytearray(1))
    with pytest.raises(BlockingIOError), _streams.Descriptor(writer, "wb") as sink:
        while True:
            sink.write(b"x" * 65_536)
    os.close(reader)
    os.close(writer)


def test_complaints_that_nobody_hears() -> None:
    streams = Streams(None, Output(None), Output(None))
    streams.complain("ERROR", "why")


def test_the_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    with (
        open(follower, encoding="latin-1", closefd=False) as given,
        open(follower, "w", closefd=False) as output,
    ):
        monkeypatch.setattr(sys, "stdin", given)
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", None)
        streams = _streams.standard()
        assert given.errors == "surrogateescape"
    assert (streams.reads_terminal, streams.at_terminal) == (True, True)
    assert streams.encoding == "latin-1"
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    streams = _streams.standard()
    assert streams.lines is None
    assert not streams.at_terminal
    os.close(leader)
    os.close(follower)


def test_missing_descriptors_are_occupied() -> None:
    code = """
import os
from kvreg._streams import occupy
before = os.dup(2)
occupy()
assert os.dup(2) == before + 1  # nothing is left open
os.close(0)
os.close(1)
occupy()
print(os.fstat(0).st_rdev == os.fstat(1).st_rdev == os.stat(os.devnull).st_rdev,
    file=os.fdopen(2, "w"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.stderr == b"True\n"


# Signals


def test_signals_are_raised_where_it_waits() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Signals() as signals:
        with pytest.raises(Signalled) as caught:
            signals.during(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert caught.value.number == signal.SIGTERM
        # Elsewhere they are kept, and SIGTERM rather than SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        with pytest.raises(Signalled) as caught:
            signals.during(lambda: pytest.fail("it waits"))
        assert caught.value.number == signal.SIGTERM
        assert signals.during(lambda: 7) == 7
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_waits_for_its_turn() -> None:
    def twice() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    with Signals() as signals:
        with pytest.raises(Signalled) as caught:
            signals.during(twice)
        assert caught.value.__context__ is None  # it raised nothing on the way out
        with pytest.raises(Signalled):
            signals.during(lambda: pytest.fail("it waits"))


@posix
@pytest.mark.parametrize("wait", ["pipe", "wait"])
def test_a_signal_that_the_main_thread_does_not_see(wait: str) -> None:
    """Python's part runs in another thread, while the main one is in the system already."""
    looked, main = signal.set_wakeup_fd(-1), threading.get_native_id()

    def sends() -> None:
        state = Path(f"/proc/self/task/{main}/stat")
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    read, write = os.pipe()
    with Signals() as signals:
        sender = Worker(sends)
        with pytest.raises(Signalled) as caught:
            if wait == "wait":
                signals.wait()
            signals.during(lambda: os.read(read, 1))
        sender.result()
    assert caught.value.number == signal.SIGTERM
    assert signal.set_wakeup_fd(-1) == looked
    os.close(read)
    os.close(write)


@posix
def test_a_signal_where_what_is_raised_is_dropped() -> None:
    read, write = os.pipe()
    with Signals() as signals:
        complete = signals.apart(lambda: os.kill(os.getpid(), signal.SIGTERM))

        def reads() -> None:
            complete()  # as readline asks for completions
            os.read(read, 1)

        with pytest.raises(Signalled) as caught:
            signals.during(reads)
        assert caught.value.number == signal.SIGTERM
    os.close(read)
    os.close(write)


def test_signals_in_another_thread() -> None:
    def enter() -> object:
        with Signals() as signals:
            return signals.during(lambda: signal.getsignal(signal.SIGINT))

    assert Worker(enter).result() is signal.getsignal(signal.SIGINT)


# Completion


@pytest.mark.parametrize(
    "before, word, found",
    [
        ([], "", [f"{name} " for name in (*COMMANDS, *DOT_COMMANDS)]),
        ([], "pu", ["PUT "]),
        ([], ".k", [".keys "]),
        (["GET"], "d", ["dairy ", "drinks "]),
        ([".keys"], "da", ["dairy"]),
        (["CREATE"], "d", []),
        (["GET", "dairy"], "m", ["milk", "mustard"]),
        (["PUT", "dairy"], "mi", ["milk "]),
        (["GET", "none"], "", []),
        (["GET", "\udcff"], "", []),
        (["PUT", "dairy", "milk"], "", []),
        (["GET", "dairy", "milk"], "", []),
        ([".keys", "dairy"], "", []),
        ([".help"], "", []),
        (["HELLO"], "", []),
    ],
)
def test_candidates(console: Console, before: list[str], word: str, found: list[str]) -> None:
    assert candidates(console.shell.registry, before, word) == found


def test_too_many_candidates(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_completion, "MOST", 2)
    assert candidates(console.shell.registry, ["GET"], "") == ["dairy ", "drinks "]
    assert candidates(console.shell.registry, ["GET", "dairy"], "") == []


def test_the_completer(console: Console) -> None:
    line = SimpleNamespace(get_line_buffer=lambda: "GET d", get_begidx=lambda: 4)
    completer = Completer(console.shell.registry, cast(ModuleType, line))
    assert [completer("d", state) for state in range(3)] == ["dairy ", "drinks ", None]


# At a terminal


@pytest.mark.parametrize(
    "line, told",
    [
        ("", ""),
        ("GET dairy milk", "1\nOK\n"),
        (".buckets", "dairy\ndrinks\n"),
        (".keys dairy", "m\\x1b\nmilk\nmint tea\nmustard\n"),
        (".keys none", "NOT FOUND\n"),
        (".keys \udcff", "NOT FOUND\n"),
        (".keys", "unknown: .keys; .help lists the commands\n"),
        (".nonsense", "unknown: .nonsense; .help lists the commands\n"),
        (".help", _terminal.HELP),
    ],
)
def test_what_a_terminal_takes(console: Console, line: str, told: str) -> None:
    assert Terminal(console.shell).take(line)
    assert console.printed() == told


def test_keys_that_are_no_text(console: Console) -> None:
    terminal = Terminal(console.shell)
    console.shell.registry["drinks"].update({b"\xff": 1, "two\nlines": 2})
    assert terminal.take(".keys drinks")
    assert console.printed() == "two\\nlines\n\\xff\n"
    console.shell.registry.stop()
    assert terminal.take(".keys drinks")
    assert console.errors.getvalue().startswith(b"kvreg: ERROR: ")


@pytest.mark.parametrize("end", [EOFError, None])
def test_a_terminal_from_start_to_end(
    console: Console, end: type[EOFError] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Any] = [
        "CREATE a\nGET a k", Signalled(signal.SIGINT), ".buckets", end or "CREATE b\n.quit\n",
    ]  # fmt: skip

    def read(prompt: str) -> str:
        assert prompt == "> "
        line = lines.pop(0)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setitem(sys.modules, "readline", None)
    Terminal(console.shell, read).run()
    _, told = console.printed().split("leaves\n")
    assert told == "OK\n\nOK\n\na\ndairy\ndrinks\n" + ("\n" if end else "OK\n")


def test_another_signal_ends_a_terminal(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_prompt: str) -> str:
        raise Signalled(signal.SIGTERM)

    monkeypatch.setitem(sys.modules, "readline", None)
    with pytest.raises(Signalled):
        Terminal(console.shell, read).run()


# History


class Readline:
    """As much of `readline` as a history needs; `typed` is what it has."""

    def __init__(self, error: OSError | None = None) -> None:
        self.typed: list[str] = []
        self.error = error

    def set_history_length(self, length: int) -> None:
        assert length == _history.LENGTH

    def read_history_file(self, path: str) -> None:
        if self.error:
            raise self.error
        self.typed += Path(path).read_text().splitlines()

    def get_current_history_length(self) -> int:
        return len(self.typed)

    def write_history_file(self, path: str) -> None:
        Path(path).write_text("".join(f"{line}\n" for line in self.typed))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "kvreg" / "history"


def test_where_the_history_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert history_path() == "/state/kvreg/history"
    monkeypatch.setenv("HOME", "/home/somebody")
    for relative in ("", "state"):
        monkeypatch.setenv("XDG_STATE_HOME", relative)
        assert history_path() == "/home/somebody/.local/state/kvreg/history"
    monkeypatch.setenv("HOME", "~nobody")
    assert history_path() is None


@pytest.mark.parametrize("understood", [True, False])
def test_a_readline_that_cannot_append(state: Path, understood: bool) -> None:
    told: list[str] = []
    readline = Readline(None if understood else OSError(22, "Invalid argument"))
    state.parent.mkdir()
    state.write_text("CREATE a\n")
    history = History(cast(ModuleType, readline), lambda what, _: told.append(what))
    history.load()
    history.save()
    readline.typed.append("CREATE b")
    history.save()
    # What it could not read is not overwritten.
    assert state.read_text() == ("CREATE a\nCREATE b\n" if understood else "CREATE a\n")
    assert told == ([] if understood else [f"reading {state}"])


def test_a_history_that_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_history, "history_path", lambda: None)
    readline = Readline()
    history = History(cast(ModuleType, readline), lambda what, why: pytest.fail(what))
    history.load()
    readline.typed.append("CREATE a")
    history.save()


def test_a_history_that_is_no_file(state: Path) -> None:
    state.parent.mkdir()
    state.symlink_to(os.devnull)
    readline = Readline()
    history = History(cast(ModuleType, readline), lambda what, why: pytest.fail(what))
    history.load()
    readline.typed.append("CREATE a")
    history.save()


def test_a_history_that_cannot_be_written(state: Path) -> None:
    told: list[str] = []
    state.parent.write_text("")
    readline = Readline()
    history = History(cast(ModuleType, readline), lambda what, _: told.append(what))
    readline.typed.append("before")
    history.load()
    readline.typed.append("CREATE a")
    history.save()
    assert told[-1] == f"writing {state}"
