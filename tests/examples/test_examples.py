"""The examples in C do what their first lines say, plainly and under valgrind.

EXAMPLES is the directory of the programs.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(os.environ["EXAMPLES"])
SOURCES = Path(__file__).resolve().parents[2] / "bindings" / "c"
VALGRIND = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"]
VALGRIND += ["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]

plainly_and_under_valgrind = pytest.mark.parametrize(
    "under", [[], VALGRIND], ids=["plainly", "valgrind"]
)


def run(*command: str | Path) -> tuple[int, str, str]:
    """The status of a program that ends by itself, and what it says."""
    done = subprocess.run(
        command, cwd=PROGRAMS, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


@plainly_and_under_valgrind
def test_the_pool_loses_no_job(under: list[str]) -> None:
    said = "100 jobs, 0 not done once; 10 workers crashed, 14 were started\n"
    assert run(*under, PROGRAMS / "worker_pool") == (0, said, "")


@plainly_and_under_valgrind
def test_plugins_meet_and_one_crashes(under: list[str]) -> None:
    plugins = ["./counter.so", "./faulty.so", "./counter.so"]
    assert run(*under, PROGRAMS / "host", *plugins) == (
        0,
        "counter: KVREG_OK\n"
        "faulty: KVREG_SERVER_DOWN\n"
        "the bucket of faulty is down: crashed\n"
        "counter: KVREG_OK\n"
        "counted: 2\n",
        "",
    )


def test_a_plugin_that_cannot_be_used(tmp_path: Path) -> None:
    shutil.copy(SOURCES / "plugins" / "plugin.h", tmp_path)
    (tmp_path / "old.c").write_text(
        '#include "plugin.h"\nconst plugin *plugin_get(void) {\n'
        '    static const plugin old = {0, "old", 0};\n    return &old;\n}\n'
    )
    (tmp_path / "none.c").write_text("int nothing;\n")
    for name in ("old", "none"):
        command = ["cc", "-shared", "-fPIC", f"{name}.c", "-o", f"{name}.so"]
        subprocess.run(command, cwd=tmp_path, check=True)
        status, out, err = run(PROGRAMS / "host", tmp_path / f"{name}.so", "./counter.so")
        assert (status, out) == (1, "counter: KVREG_OK\ncounted: 1\n")
        assert err == f"host: {tmp_path}/{name}.so: not a plug-in of version 1\n"
    status, out, err = run(PROGRAMS / "host", "./missing.so")
    assert (status, out) == (1, "") and "./missing.so: cannot open" in err
    assert run(PROGRAMS / "host") == (1, "", "host: which plug-ins?\n")


class Client:
    """A connection to the event loop."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.replies = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> str:
        return self.replies.readline().decode()

    def ask(self, line: str) -> str:
        self.send(line.encode() + b"\n")
        return self.line()

    def is_cut_off(self) -> bool:
        try:
            return self.line() == ""
        except ConnectionResetError:  # it had not read all
            return True

    def close(self) -> None:
        self.replies.close()
        self.socket.close()


@contextmanager
def event_loop(*under: str, ends: int = signal.SIGTERM) -> Iterator[int]:
    """Runs it, gives its port, and ends it by a signal, which it must take well."""
    program = PROGRAMS / "event_loop"
    process = subprocess.Popen(
        [*under, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        address, _, port = process.stdout.readline().partition(":")
        try:
            assert address == "127.0.0.1"
            yield int(port)
        finally:
            process.send_signal(ends)
            status = process.wait(60)
        assert (status, process.stdout.read(), process.stderr.read()) == (0, "", "")


@plainly_and_under_valgrind
def test_who_watches_is_told(under: list[str]) -> None:
    with event_loop(*under) as port:
        one, other, gone = Client(port), Client(port), Client(port)
        assert one.ask("CREATE b") == "OK\r\n"
        assert [it.ask("WATCH b") for it in (one, other, gone)] == ["OK\r\n"] * 3
        assert one.ask("WATCH c") == "NOT FOUND\r\n"
        gone.close()
        assert one.ask("PUT b k v") == "OK\r\n"
        assert [one.ask("GET b k"), one.line()] == ["v\r\n", "OK\r\n"]
        assert other.ask("KILL b") == "OK\r\n"
        assert [one.line(), other.line()] == ["b IS DOWN\r\n"] * 2
        assert one.ask("KILL b") == "NOT FOUND\r\n"
        # A new one of the name is not watched until somebody says so.
        assert [one.ask(f"{word} b") for word in ("CREATE", "KILL")] == ["OK\r\n"] * 2
        assert one.ask("nonsense") == "UNKNOWN COMMAND\r\n"
        one.close()
        other.close()


def test_lines_come_as_they_like() -> None:
    with event_loop() as port:
        client = Client(port)
        for part in (b"CRE", b"ATE b\r", b"\nPUT b k 1\nGET b", b" k\r\n"):
            client.send(part)
        assert [client.line() for _ in range(4)] == ["OK\r\n", "OK\r\n", "1\r\n", "OK\r\n"]
        assert client.ask("CREATE " + "x" * 300) == "ERROR\r\n"
        client.send(b"x" * 2000)  # a line without an end
        assert client.is_cut_off()
        client.close()
        for _ in range(100):  # more than it has places for, one after the other
            client = Client(port)
            assert client.ask("WATCH b") == "OK\r\n"
            client.close()


def test_it_ends_with_clients_connected() -> None:
    with event_loop(ends=signal.SIGINT) as port:
        client = Client(port)
        assert client.ask("CREATE b") == "OK\r\n"
    assert client.is_cut_off()
    client.close()


def test_a_port_that_cannot_be_had() -> None:
    for port in ("", "x", "65536", "-1", "80x"):
        status, out, err = run(PROGRAMS / "event_loop", port)
        assert (status, out, err) == (2, "", f"event_loop: no port: {port}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, out, err = run(PROGRAMS / "event_loop", str(taken.getsockname()[1]))
        assert (status, out, err) == (1, "", "event_loop: Address already in use\n")
