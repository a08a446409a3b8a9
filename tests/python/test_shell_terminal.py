"""`python -m kvreg` at a terminal."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pexpect
import pytest
from support import WAIT
from test_shell import COMMAND

# A shell whose bucket is busy until the shell ends, and that tells when it begins a line.
BUSY = """
import threading
import kvreg
from kvreg import _shell, _signals, _streams, _terminal

class Shell(_shell.Shell):
    def execute(self, line):
        self.print(b"begins\\n")
        return super().execute(line)

def hold(value):
    began.set()
    end.wait()
    return 1

began, end = threading.Event(), threading.Event()
with kvreg.Registry() as registry:
    registry.timeout = None
    bucket = registry.create("busy")
    thread = threading.Thread(target=lambda: bucket.update("k", hold, default=0))
    thread.start()
    began.wait()
    with _signals.Signals() as signals:
        _terminal.Terminal(Shell(registry, _streams.standard(), signals)).run()
    end.set()
    thread.join()
    print(dict(bucket))
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "inputrc").write_text("set enable-bracketed-paste off\n")
    return {
        **os.environ,
        "XDG_STATE_HOME": str(tmp_path),
        "INPUTRC": str(tmp_path / "inputrc"),
        "TERM": "dumb",
        "PYTHONIOENCODING": "utf-8:strict",
    }


def start(
    environment: dict[str, str],
    *arguments: str,
    command: list[str] = COMMAND,
    echo: bool = False,
) -> pexpect.spawn[bytes]:
    return pexpect.spawn(
        command[0], [*command[1:], *arguments], env=environment, timeout=WAIT, echo=echo
    )


def terminal(environment: dict[str, str], *arguments: str) -> pexpect.spawn[bytes]:
    child = start(environment, *arguments)
    child.expect_exact("\r\n> ")
    return child


def port_of(child: pexpect.spawn[bytes]) -> int:
    child.expect(rb"listening at 127\.0\.0\.1:(\d+)\r\n")
    assert child.match is not None
    return int(child.match.group(1))  # type: ignore[union-attr]


def say(child: pexpect.spawn[bytes], line: str | bytes, reply: str) -> None:
    child.send(line)
    child.send("\r")
    child.expect_exact(reply + "\r\n")
    child.expect_exact("> ")


def gone(child: pexpect.spawn[bytes]) -> None:
    child.expect(pexpect.EOF)
    child.close()


def leave(child: pexpect.spawn[bytes]) -> None:
    child.sendeof()
    gone(child)
    assert (child.exitstatus, child.signalstatus) == (0, None)


def test_it_prompts_and_completes(home: dict[str, str]) -> None:
    child = terminal(home)
    say(child, "CREATE shopping", "OK")
    say(child, "PUT shopping milk 1", "OK")
    child.send("ge\tsho\tmi\t\r")
    child.expect_exact("1\r\nOK\r\n> ")
    say(child, ".buckets", "shopping")
    say(child, ".keys shopping", "milk")
    child.send(".help\r")
    child.expect_exact("Ctrl-C drops a line")
    child.expect_exact("> ")
    say(child, "help", "UNKNOWN COMMAND")
    child.send("\r")  # nothing
    child.expect_exact("> ")
    child.send(".quit\r")
    gone(child)
    assert child.exitstatus == 0


def test_what_others_create_is_completed(home: dict[str, str]) -> None:
    child = start(home, "--listen=0")
    port = port_of(child)
    child.expect_exact("> ")
    with socket.create_connection(("127.0.0.1", port), WAIT) as client:
        client.sendall(b"CREATE far\r\n")
        assert client.recv(100) == b"OK\r\n"
        client.sendall(b"PUT far away 1\r\n")
        assert client.recv(100) == b"OK\r\n"
    child.send("GET f\ta\t\r")
    child.expect_exact("1\r\nOK\r\n> ")
    leave(child)


def test_the_history_is_kept(home: dict[str, str], tmp_path: Path) -> None:
    history = tmp_path / "kvreg" / "history"
    child = terminal(home)
    say(child, "CREATE once", "OK")
    leave(child)
    assert history.read_text() == "CREATE once\n"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    child = terminal(home)
    child.send("\x10\r")  # Ctrl-P: the line before
    child.expect_exact("OK\r\n> ")
    say(child, ".buckets", "once")
    leave(child)


def test_two_shells_keep_both_histories(home: dict[str, str], tmp_path: Path) -> None:
    first, second = terminal(home), terminal(home)
    say(first, "CREATE a", "OK")
    say(second, "CREATE b", "OK")
    leave(first)
    leave(second)
    assert (tmp_path / "kvreg" / "history").read_text() == "CREATE a\nCREATE b\n"


def test_no_place_for_the_history(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    child = terminal({**home, "XDG_STATE_HOME": str(tmp_path / "file")})
    say(child, "CREATE a", "OK")
    child.sendeof()
    child.expect_exact("kvreg: writing ")
    gone(child)
    assert child.exitstatus == 0


def test_no_home(home: dict[str, str]) -> None:
    child = terminal({**home, "XDG_STATE_HOME": "", "HOME": "~nobody"})
    say(child, "CREATE a", "OK")
    leave(child)


def test_a_history_that_is_a_pipe(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "kvreg").mkdir()
    os.mkfifo(tmp_path / "kvreg" / "history")
    child = terminal(home)
    say(child, "CREATE a", "OK")
    leave(child)


def test_an_interrupt_drops_the_line(home: dict[str, str]) -> None:
    child = start(home, echo=True)
    child.expect_exact("\r\n> ")
    for _ in range(3):
        child.send("CREATE wrong")
        child.expect_exact("CREATE wrong")  # it is in the line, and the shell waits for more
        child.sendintr()
        child.expect_exact("\r\n> ")
    say(child, "CREATE right", "OK")
    say(child, ".buckets", ".buckets\r\nright")
    leave(child)


def test_an_interrupt_ends_a_wait(home: dict[str, str]) -> None:
    child = start(home, BUSY, command=[*COMMAND[:-2], "-c"])
    child.expect_exact("> ")
    child.send("PUT busy milk 1\r")
    child.expect_exact("begins\r\n")  # nobody but the interrupt can end it
    child.sendintr()
    child.expect_exact("\r\n> ")
    say(child, "CREATE other", "OK")
    child.send(".quit\r")
    child.expect_exact("{'k': 1}\r\n")  # nor is it done later
    gone(child)
    assert child.exitstatus == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_history(
    end: signal.Signals, home: dict[str, str], tmp_path: Path
) -> None:
    child = terminal(home)
    say(child, "CREATE a", "OK")
    child.kill(end)
    gone(child)
    assert child.signalstatus == end
    assert (tmp_path / "kvreg" / "history").read_text() == "CREATE a\n"


def test_bytes_that_are_no_text(home: dict[str, str]) -> None:
    child = terminal(home)
    say(child, "CREATE a", "OK")
    say(child, b"PUT a k \xff", "OK")
    say(child, "GET a k", "\\xff\r\nOK")
    leave(child)


def test_values_do_not_control_the_terminal(home: dict[str, str]) -> None:
    child = start(home, "--listen=0")
    port = port_of(child)
    child.expect_exact("> ")
    with socket.create_connection(("127.0.0.1", port), WAIT) as client:
        client.sendall(b"CREATE a\r\n")
        assert client.recv(100) == b"OK\r\n"
        client.sendall(b"PUT a k \x1b]0;title\x07\r\n")
        assert client.recv(100) == b"OK\r\n"
    say(child, "GET a k", "\\x1b]0;title\\x07\r\nOK")
    leave(child)


def test_lines_that_are_pasted_at_once(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "inputrc").write_text("set enable-bracketed-paste on\n")
    child = start({**home, "TERM": "xterm"})
    child.expect_exact("> ")
    child.send(b"\x1b[200~CREATE a\nPUT a k 1\nGET a k\x1b[201~\r")
    child.expect_exact("OK\r\nOK\r\n1\r\nOK\r\n")
    child.expect_exact("> ")
    leave(child)


def test_a_file_before_the_terminal(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "session").write_bytes(b"CREATE a\nPUT a k 1\n")
    child = terminal(home, str(tmp_path / "session"), "-")
    say(child, "GET a k", "1\r\nOK")
    leave(child)


def test_without_readline(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "readline.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    child = terminal({**home, "PYTHONPATH": path})
    say(child, "CREATE a", "OK")
    child.sendintr()
    child.expect_exact("\r\n> ")
    leave(child)
    assert not (tmp_path / "kvreg").exists()
