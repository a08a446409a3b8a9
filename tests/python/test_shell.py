"""`python -m kvreg`: in a pipe, from a file, at a terminal, and as a server."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kvreg
import pexpect
import pytest
from kvreg import _shell, _terminal
from kvreg._terminal import Terminal
from support import WAIT

COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "kvreg"]

SESSION = b"CREATE shopping\nPUT shopping milk 1\r\nGET shopping milk\n\nGET shopping"
REPLIES = b"OK\r\nOK\r\n1\r\nOK\r\nUNKNOWN COMMAND\r\nUNKNOWN COMMAND\r\n"


def shell(
    *arguments: str, given: bytes = b"", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [*COMMAND, *arguments], input=given, stderr=subprocess.PIPE, timeout=WAIT, **options
    )


def test_a_pipe() -> None:
    done = shell(given=SESSION)
    assert (done.returncode, done.stdout, done.stderr) == (0, REPLIES, b"")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "session").write_bytes(SESSION)
    done = shell(str(tmp_path / "session"))
    assert (done.returncode, done.stdout, done.stderr) == (0, REPLIES, b"")


def test_no_line_at_all() -> None:
    done = shell()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_failure_is_an_error_and_the_shell_goes_on() -> None:
    done = shell(given=b"CREATE \xff\nCREATE " + b"n" * 300 + b"\nCREATE a\n.help\n")
    assert done.stdout == b"ERROR\r\nERROR\r\nOK\r\nUNKNOWN COMMAND\r\n"
    assert done.stderr.count(b"kvreg: ERROR: ") == 2
    assert done.returncode == 0


def test_the_replies_are_those_of_execute() -> None:
    lines = [
        b"CREATE a b\n", b"GET none k\n", b"create a\n", b"CREATE a\n", b"  GET   a  k  \r\n",
        b"PUT a k " + b"x" * 100_000 + b"\n", b"GET a k\n", b"DELETE a k\n", b"GET a k\n",
        b"PUT a \xff 1\n", b"GET a \xff\n", b"\0\n", b"\n", b"GET a k",
    ]  # fmt: skip
    with kvreg.Registry() as registry:
        replies = b"".join(registry.execute(line) for line in lines)
    done = shell(given=b"".join(lines))
    assert (done.returncode, done.stdout) == (0, replies)


def test_a_conversation() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for line, reply in ((b"CREATE a\n", b"OK\r\n"), (b"PUT a b c\n", b"OK\r\n")):
            child.stdin.write(line)
            child.stdin.flush()
            assert child.stdout.readline() == reply
        child.stdin.close()
        assert child.wait(WAIT) == 0


def test_who_reads_no_more_is_no_failure_to_tell() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = shell(given=b"CREATE a\n" * 1000, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        done = shell(given=b"CREATE a\n", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"kvreg: writing: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    done = shell(str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr == f"kvreg: {tmp_path / 'none'}: No such file or directory\n".encode()
    done = shell(str(tmp_path))
    assert done.returncode == 1
    assert b"Is a directory" in done.stderr


def test_the_command_line() -> None:
    done = shell("--help")
    assert done.returncode == 0
    for text in (b"usage: python -m kvreg", b"--listen", b"CREATE bucket", b"examples:"):
        assert text in done.stdout
    done = shell("--version")
    version = f"kvreg {kvreg.__version__} (library {kvreg.library_version()})\n"
    assert (done.returncode, done.stdout) == (0, version.encode())
    assert shell("--unknown").returncode == 2
    assert shell("one", "two").returncode == 2


def test_a_library_that_is_not_there() -> None:
    environment = {**os.environ, "KVREG_LIBRARY": "/nothing/here"}
    done = shell(given=SESSION, env=environment)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"kvreg: loading: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_interrupt_in_a_pipe() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"CREATE a\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"OK\r\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(WAIT) == 130


def listening(
    *arguments: str, **options: Any
) -> tuple[subprocess.Popen[bytes], tuple[str, int]]:
    child: subprocess.Popen[bytes] = subprocess.Popen(  # pyright: ignore[reportAssignmentType]
        [*COMMAND, "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    assert child.stderr is not None
    told = child.stderr.readline().decode()
    assert told.startswith("kvreg: listening at 127.0.0.1:"), told
    return child, ("127.0.0.1", int(told.rpartition(":")[2]))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(end: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "session").write_bytes(b"CREATE shopping\nPUT shopping milk 1\n")
    child, address = listening(str(tmp_path / "session"), stdin=subprocess.DEVNULL)
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() + child.stdout.readline() == b"OK\r\nOK\r\n"
        with socket.create_connection(address, WAIT) as client:
            client.sendall(b"GET shopping milk\r\n")
            assert client.recv(100) == b"1\r\nOK\r\n"
        child.send_signal(end)
        assert child.wait(WAIT) == 0
        assert child.stdout.read() == b""
        assert child.stderr.read() == b""


def test_lines_are_taken_while_it_serves() -> None:
    child, address = listening(stdin=subprocess.PIPE)
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"CREATE a\nPUT a k 1\n")
        child.stdin.flush()
        assert child.stdout.readline() + child.stdout.readline() == b"OK\r\nOK\r\n"
        with socket.create_connection(address, WAIT) as client:
            client.sendall(b"PUT a k 2\r\n")
            assert client.recv(100) == b"OK\r\n"
        child.stdin.write(b"GET a k\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"2\r\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(WAIT) == 0


def test_an_address_that_is_taken_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = shell("--listen", f"127.0.0.1:{server.getsockname()[1]}")
    assert done.returncode == 1
    assert done.stderr.startswith(b"kvreg: listening at 127.0.0.1:")
    assert shell("--listen", "nowhere").returncode == 1


# At a terminal


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    return environment


def terminal(environment: dict[str, str], *arguments: str) -> pexpect.spawn[bytes]:
    child: pexpect.spawn[bytes] = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], *arguments], env=environment, timeout=WAIT, echo=False
    )
    child.expect_exact("> ")
    return child


def say(child: pexpect.spawn[bytes], line: str, reply: str) -> None:
    child.sendline(line)
    child.expect_exact(reply)
    child.expect_exact("> ")


def leave(child: pexpect.spawn[bytes]) -> None:
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_terminal_prompts_and_completes(home: dict[str, str]) -> None:
    child = terminal(home)
    say(child, "CREATE shopping", "OK")
    say(child, "PUT shopping milk 1", "OK")
    child.send("ge\tsho\tmi\t\r")
    child.expect_exact("1\r\r\n")  # the terminal adds one
    child.expect_exact("OK")
    child.expect_exact("> ")
    say(child, ".buckets", "shopping")
    say(child, ".keys shopping", "milk")
    say(child, ".help", "Tab completes")
    child.sendline(".quit")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_the_history_is_kept(home: dict[str, str], tmp_path: Path) -> None:
    child = terminal(home)
    say(child, "CREATE once", "OK")
    leave(child)
    assert (tmp_path / "kvreg" / "history").read_text() == "CREATE once\n"
    child = terminal(home)
    child.send("\x10\r")  # Ctrl-P: the line before
    child.expect_exact("OK")
    child.expect_exact("> ")
    say(child, ".buckets", "once")
    leave(child)


def test_without_a_place_for_the_history(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    child = terminal({**home, "XDG_STATE_HOME": str(tmp_path / "file")})
    say(child, "CREATE a", "OK")
    leave(child)


def test_an_interrupt_drops_the_line(home: dict[str, str]) -> None:
    child: pexpect.spawn[bytes] = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=home, timeout=WAIT, echo=True
    )
    child.expect_exact("> ")
    child.send("CREATE wrong")
    child.expect_exact("CREATE wrong")  # it is in the line, and the shell waits for more
    child.sendintr()
    child.expect_exact("> ")
    say(child, "CREATE right", "OK")
    child.sendline(".buckets")
    child.expect_exact(".buckets\r\nright\r\n")
    child.expect_exact("> ")
    leave(child)


def test_a_terminal_may_listen(home: dict[str, str]) -> None:
    child: pexpect.spawn[bytes] = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "--listen", "0"], env=home, timeout=WAIT, echo=False
    )
    child.expect(rb"listening at 127\.0\.0\.1:(\d+)")
    assert child.match is not None
    port = int(child.match.group(1))  # type: ignore[union-attr]
    child.expect_exact("> ")
    with socket.create_connection(("127.0.0.1", port), WAIT) as client:
        client.sendall(b"CREATE far\r\n")
        assert client.recv(100) == b"OK\r\n"
    say(child, ".buckets", "far")
    leave(child)


# Its parts


@pytest.fixture
def session(registry: kvreg.Registry) -> Iterator[Terminal]:
    registry.create("dairy").update({"milk": 1, "mint tea": 2, "mustard": 3})
    registry.create("drinks")
    yield Terminal(registry)


@pytest.mark.parametrize(
    "before, word, candidates",
    [
        ([], "", [f"{name} " for name in (*_terminal.COMMANDS, *_terminal.DOT_COMMANDS)]),
        ([], "pu", ["PUT "]),
        ([], ".k", [".keys "]),
        (["GET"], "d", ["dairy ", "drinks "]),
        ([".keys"], "da", ["dairy "]),
        (["CREATE"], "d", []),
        (["GET", "dairy"], "m", ["milk ", "mustard "]),
        (["GET", "none"], "", []),
        (["PUT", "dairy", "milk"], "", []),
        ([".help"], "", []),
    ],
)
def test_candidates(
    session: Terminal, before: list[str], word: str, candidates: list[str]
) -> None:
    assert session.candidates(before, word) == candidates


@pytest.mark.parametrize(
    "line, told",
    [
        ("", ""),
        (".buckets", "dairy\ndrinks\n"),
        (".keys dairy", "milk\nmint tea\nmustard\n"),
        (".keys none", "NOT FOUND\n"),
        (".keys", "unknown: .keys; .help lists the commands\n"),
        (".nonsense", "unknown: .nonsense; .help lists the commands\n"),
        (".help", _terminal.HELP),
    ],
)
def test_dot_commands(
    session: Terminal, line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session.take(line)
    assert capsys.readouterr().out == told


def test_keys_that_are_no_text(session: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    session._registry["drinks"][b"\xff"] = 1
    assert session.take(".keys drinks")
    assert capsys.readouterr().out == "\\xff\n"
    session._registry.stop()
    assert session.take(".keys drinks")
    assert "ERROR" in capsys.readouterr().err


def test_quit(session: Terminal) -> None:
    assert not session.take(".quit")


def test_where_the_history_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert _terminal.history_path() == Path("/state/kvreg/history")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert _terminal.history_path() == Path("/home/somebody/.local/state/kvreg/history")


def test_without_readline(session: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: Iterator[str | BaseException] = iter([".buckets", KeyboardInterrupt(), EOFError()])

    def answer(_prompt: str) -> str:
        line = next(lines)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr(_terminal, "_readline", None)
    monkeypatch.setattr("builtins.input", answer)
    session.run()
    assert next(lines, None) is None


def test_run_in_process(registry: kvreg.Registry, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.BytesIO()
    _shell.run(registry, SESSION.splitlines(keepends=True), out)
    assert out.getvalue() == REPLIES
    _shell.run(registry, [b"CREATE \xff\n"], out)
    assert out.getvalue() == REPLIES + b"ERROR\r\n"
    assert "kvreg: ERROR: " in capsys.readouterr().err
    assert _shell.main(["--version"]) == 0
    assert _shell.main(["/nothing/here"]) == 1
