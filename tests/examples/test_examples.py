"""The examples in C and C++ do what their first lines say, plainly and under valgrind.

EXAMPLES is the directory of the programs.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
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
        command, cwd=PROGRAMS, capture_output=True, text=True, timeout=3000, check=False
    )
    return done.returncode, done.stdout, done.stderr


@plainly_and_under_valgrind
def test_the_pool_loses_no_job(under: list[str]) -> None:
    said = "100 jobs, 0 not done once; 10 workers crashed, 14 were started\n"
    assert run(*under, PROGRAMS / "worker_pool") == (0, said, "")


@plainly_and_under_valgrind
def test_the_limiter_gives_what_there_is(under: list[str]) -> None:
    said = "".join(f"{name}: 10 of 200 at once, 20 of 20 in line\n" for name in ("Ann", "Bob"))
    assert run(*under, PROGRAMS / "rate_limiter") == (0, said, "")


@plainly_and_under_valgrind
def test_the_pool_of_connections_loses_none(under: list[str]) -> None:
    said = "376 answered, 24 met a connection that broke, 40 sessions died\n"
    said += "24 connections were started again, 3 of 3 are free\n"
    assert run(*under, PROGRAMS / "connection_pool") == (0, said, "")


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
    # What the host looks for when they are done, and does not have what it looks for.
    (tmp_path / "counts.c").write_text(
        '#include "plugin.h"\nstatic int run(void) { return 0; }\n'
        "const plugin *plugin_get(void) {\n"
        '    static const plugin counts = {PLUGIN_VERSION, "counts", run};\n'
        "    return &counts;\n}\n"
    )
    command = ["cc", "-shared", "-fPIC", "counts.c", "-o", "counts.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert run(PROGRAMS / "host", tmp_path / "counts.so") == (0, "counts: KVREG_OK\n", "")
    (tmp_path / "nameless.c").write_text(
        '#include "plugin.h"\nconst plugin *plugin_get(void) {\n'
        '    static const plugin nameless = {PLUGIN_VERSION, "", 0};\n'
        "    return &nameless;\n}\n"
    )
    command = ["cc", "-shared", "-fPIC", "nameless.c", "-o", "nameless.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    status, out, err = run(PROGRAMS / "host", tmp_path / "nameless.so", "./counter.so")
    assert (status, out) == (1, "counter: KVREG_OK\ncounted: 1\n")
    assert err == f"host: {tmp_path}/nameless.so: its name: invalid argument\n"
    status, out, err = run(PROGRAMS / "host", "./missing.so")
    assert (status, out) == (1, "") and "./missing.so: cannot open" in err
    assert run(PROGRAMS / "host") == (1, "", "host: which plug-ins?\n")


@pytest.mark.parametrize("program", ["worker_pool", "host ./counter.so", "event_loop"])
def test_what_cannot_be_printed_is_told(program: str) -> None:
    reasons = {">/dev/full": "No space left on device", ">&-": "Bad file descriptor"}
    for where, reason in reasons.items():
        status, _, err = run("sh", "-c", f"exec ./{program} {where}")
        assert (status, err) == (1, f"{program.split()[0]}: writing: {reason}\n")


def test_too_many_arguments() -> None:
    assert run(PROGRAMS / "worker_pool", "x") == (2, "", "usage: worker_pool\n")
    assert run(PROGRAMS / "event_loop", "0", "x") == (2, "", "usage: event_loop [PORT]\n")


class Client:
    """A connection to the event loop."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
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
def event_loop(
    *under: str, ends: int = signal.SIGTERM, prepare: Callable[[], None] | None = None
) -> Iterator[int]:
    """Runs it, gives its port, and ends it by a signal, which it must take well."""
    program = PROGRAMS / "event_loop"
    process = subprocess.Popen(
        [*under, program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        address, _, port = process.stdout.readline().partition(":")
        try:
            assert address == "127.0.0.1"
            yield int(port)
        finally:
            process.send_signal(ends)
            try:
                status = process.wait(300)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
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
        # Any byte is part of a word.
        assert client.ask("CREATE b\0c") == "ERROR\r\n"
        assert client.ask("WATCH b\0c") == "NOT FOUND\r\n"
        assert client.ask("KILL b\0c") == "NOT FOUND\r\n"
        assert client.ask("GET b k") == "1\r\n" and client.line() == "OK\r\n"
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


def test_it_ends_however_busy_its_clients_are() -> None:
    started = threading.Barrier(5)

    def ask(port: int) -> None:
        client = Client(port)
        assert client.ask("CREATE b") == "OK\r\n"
        started.wait()
        try:
            while client.ask("CREATE b\nCREATE b") != "" and client.line() != "":
                pass
        except OSError:  # cut off, with something on its way
            pass
        client.close()

    with event_loop() as port:
        busy = [threading.Thread(target=ask, args=[port]) for _ in range(4)]
        for thread in busy:
            thread.start()
        started.wait()
    for thread in busy:
        thread.join()


def test_out_of_descriptors_it_serves_who_is_there() -> None:
    few = (68, 68)  # it polls 67: one less, and the system refuses to
    with event_loop(prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few)) as port:
        clients = [Client(port) for _ in range(70)]  # the system takes all; it cannot
        assert clients[0].ask("CREATE b") == "OK\r\n"
        clients[-1].send(b"CREATE b\n")
        assert clients[0].ask("CREATE b") == "OK\r\n"
        for client in clients[:-1]:
            client.close()
        assert clients[-1].line() == "OK\r\n"
        waiting = [Client(port) for _ in range(70)]
        assert clients[-1].ask("CREATE b") == "OK\r\n"
    # It ended with some that it had never taken in.
    for client in [clients[-1], *waiting]:
        client.close()


def test_where_so_few_descriptors_are_allowed_that_it_cannot_wait() -> None:
    program = PROGRAMS / "event_loop"
    status, _, err = run("sh", "-c", f"ulimit -n 12; exec {program}")
    assert (status, err) == (1, "event_loop: poll: Invalid argument\n")


def test_a_port_that_cannot_be_had() -> None:
    for port in ("", "x", "65536", "-1", "80x"):
        status, out, err = run(PROGRAMS / "event_loop", port)
        assert (status, out, err) == (2, "", f"event_loop: no port: {port}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, out, err = run(PROGRAMS / "event_loop", str(taken.getsockname()[1]))
        assert (status, out, err) == (1, "", "event_loop: Address already in use\n")
