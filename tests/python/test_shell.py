"""`python -m kvreg` in a pipe, from files, and as a server.

What it has in common with the shell in C is in tests/c/shell.sh, which runs both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kvreg
import pytest
from support import WAIT

COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "kvreg"]

SESSION = b"CREATE shopping\nPUT shopping milk 1\r\nGET shopping milk\n\nGET shopping"
REPLIES = b"OK\r\nOK\r\n1\r\nOK\r\nUNKNOWN COMMAND\r\nUNKNOWN COMMAND\r\n"


def shell(
    *arguments: str | bytes, given: bytes = b"", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [*COMMAND, *arguments], input=given, stderr=subprocess.PIPE, timeout=WAIT, **options
    )


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child that does not outlive the test, nor keep it waiting for ever."""
    child: subprocess.Popen[bytes] = subprocess.Popen(  # pyright: ignore[reportAssignmentType]
        command, **options
    )
    with child:
        watch = threading.Timer(WAIT, child.kill)
        watch.start()
        try:
            yield child
        finally:
            watch.cancel()
            watch.join()
            child.kill()


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
    with running(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
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
    # As a program in C: its default is to end so.
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]])
def test_a_full_disk(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = shell(*arguments, given=b"CREATE a\n", stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"kvreg: writing: No space left on device\n"


def test_a_full_disk_for_complaints() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            COMMAND,
            input=b"CREATE \xff\n",
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=WAIT,
        )
    assert (done.returncode, done.stdout) == (0, b"ERROR\r\n")


@pytest.mark.parametrize(
    "closed, status, output, errors",
    [
        ("0<&-", 1, b"", b"kvreg: reading: Bad file descriptor\n"),
        ("1>&-", 1, b"", b"kvreg: writing: Bad file descriptor\n"),
        ("2>&-", 0, b"OK\r\nERROR\r\n", b""),
    ],
)
def test_closed_streams(closed: str, status: int, output: bytes, errors: bytes) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND],
        input=b"CREATE a\nCREATE \xff\n",
        capture_output=True,
        timeout=WAIT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, output, errors)


def test_input_that_must_not_be_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    done = subprocess.run(COMMAND, stdin=reader, capture_output=True, timeout=WAIT)
    os.close(reader)
    os.close(writer)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"kvreg: reading: Resource temporarily unavailable\n"


def test_it_imports_what_it_needs() -> None:
    # Names that a terminal or others need, and those that make every start slower.
    code = """
import sys
from kvreg import _shell
assert _shell.main(["/dev/null"]) == 0
heavy = "readline", "kvreg._terminal", "kvreg.aio", "asyncio", "socket", "subprocess", "json"
print([name for name in heavy if name in sys.modules])
"""
    # An interpreter of its own, without what measures it.
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in os.environ.items() if "COV" not in name},
        capture_output=True,
        timeout=WAIT,
    )
    assert (done.stdout, done.stderr) == (b"[]\n", b"")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    done = shell(str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr == f"kvreg: {tmp_path / 'none'}: No such file or directory\n".encode()
    done = shell(str(tmp_path))
    assert done.returncode == 1
    assert b"Is a directory" in done.stderr


def test_several_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"CREATE a\nPUT a k 1")  # its last line ends with it
    second.write_bytes(b"GET a k\n")
    done = shell(str(first), "-", str(second), given=b"PUT a k 2\n")
    assert (done.returncode, done.stdout) == (0, b"OK\r\nOK\r\nOK\r\n2\r\nOK\r\n")
    done = shell(str(first), str(tmp_path / "none"), str(second))
    assert (done.returncode, done.stdout) == (1, b"OK\r\nOK\r\n")


def test_the_command_line() -> None:
    done = shell("--help")
    assert done.returncode == 0
    for text in (b"usage: python -m kvreg", b"--listen", b"CREATE bucket", b"examples:"):
        assert text in done.stdout
    done = shell("--version")
    version = f"kvreg {kvreg.__version__} (library {kvreg.library_version()})\n"
    assert (done.returncode, done.stdout) == (0, version.encode())
    assert shell("--unknown").returncode == 2
    done = shell("--vers")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"usage: python -m kvreg")


def test_a_library_that_is_not_there() -> None:
    environment = {**os.environ, "KVREG_LIBRARY": "/nothing/here"}
    done = shell(given=SESSION, env=environment)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"kvreg: loading: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_interrupt_in_a_pipe() -> None:
    with running(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"CREATE a\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"OK\r\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(WAIT) == -signal.SIGINT


def test_a_file_without_a_writer_may_be_interrupted(tmp_path: Path) -> None:
    session, fifo = tmp_path / "session", tmp_path / "fifo"
    session.write_bytes(b"CREATE a\n")
    os.mkfifo(fifo)
    with running(
        [*COMMAND, str(session), str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"OK\r\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(WAIT) == -signal.SIGTERM
        assert child.stderr.read() == b""


def test_a_signal_that_was_ignored_stays_so() -> None:
    with running(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for _ in range(2):
            child.stdin.write(b"CREATE a\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"OK\r\n"
            child.send_signal(signal.SIGINT)
        child.stdin.close()
        assert child.wait(WAIT) == 0


@contextlib.contextmanager
def listening(
    *arguments: str, **options: Any
) -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    with running(
        [*COMMAND, "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    ) as child:
        assert child.stderr is not None
        told = child.stderr.readline().decode()
        assert told.startswith("kvreg: listening at 127.0.0.1:"), told
        yield child, ("127.0.0.1", int(told.rpartition(":")[2]))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(end: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "session").write_bytes(b"CREATE shopping\nPUT shopping milk 1\n")
    session = str(tmp_path / "session")
    with listening(session, stdin=subprocess.DEVNULL) as (child, address):
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


def test_it_serves_at_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with running(
        [*COMMAND, f"--listen=unix:{path}"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        assert child.stderr.readline().decode() == f"kvreg: listening at unix:{path}\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WAIT)
            client.connect(str(path))
            client.sendall(b"CREATE b\r\n")
            assert client.recv(100) == b"OK\r\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(WAIT) == 0
    assert not path.exists()


def test_it_serves_with_standard_input_closed() -> None:
    # Started by way of a shell, which closes it.
    with running(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "--listen=0"], stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        port = int(child.stderr.readline().rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            client.sendall(b"CREATE a\r\n")
            assert client.recv(100) == b"OK\r\n"
        # No connection got the number of standard input.
        if sys.platform == "linux":
            assert os.readlink(f"/proc/{child.pid}/fd/0") == os.devnull
        child.terminate()
        assert child.wait(WAIT) == 0
        assert child.stderr.read() == b""


def test_it_does_not_serve_what_was_set_up_by_half(tmp_path: Path) -> None:
    done = shell("--listen=0", str(tmp_path / "none"))
    assert done.returncode == 1
    assert b"No such file" in done.stderr


def test_lines_are_taken_while_it_serves() -> None:
    with listening(stdin=subprocess.PIPE) as (child, address):
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
    for address in ("nowhere", "", b"\xff"):
        done = shell("--listen", address)
        assert done.returncode == 1
        assert done.stderr.startswith(b"kvreg: listening at ")
        assert b"Traceback" not in done.stderr


def test_an_address_of_version_6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        # Without it the listener says why.
        assert shell("--listen=[::1]:0").returncode == 1
        return
    with running(
        [*COMMAND, "--listen=[::1]:0"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        told = child.stderr.readline()
        child.terminate()
        assert child.wait(WAIT) == 0
    assert told.startswith(b"kvreg: listening at [::1]:")
