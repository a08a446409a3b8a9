"""The examples in Python do what their first lines say."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parents[2] / "bindings" / "python"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PYTHON)}
WAIT = 300


def heed_interrupts() -> None:
    """A shell has what it runs in the background ignore them, and that is passed on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """An example that runs until it is told to end, or that ends by itself."""
    # Not in development mode: there asyncio tells of what takes long on a machine that is busy.
    return subprocess.Popen(
        [sys.executable, "-W", "error", PYTHON / "examples" / program, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def run(program: str, *arguments: str) -> tuple[int, str, str]:
    """The status of an example that ends by itself, and what it says."""
    with start(program, *arguments) as process:
        out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


def test_each_job_is_done_or_given_up() -> None:
    said = "40 jobs: 36 done, 4 given up after 3 attempts\n"
    said += "9 attempts failed, 16 crashed a worker; 16 workers were started again\n"
    assert run("job_queue.py") == (0, said, "")


def test_there_may_be_no_jobs() -> None:
    said = "0 jobs: 0 done, 0 given up after 3 attempts\n"
    said += "0 attempts failed, 0 crashed a worker; 0 workers were started again\n"
    assert run("job_queue.py", "0") == (0, said, "")


def test_the_queue_is_interrupted() -> None:
    with start("job_queue.py", "100000000") as process:
        end = time.monotonic() + WAIT
        threads = Path(f"/proc/{process.pid}/task")
        while len(list(threads.iterdir())) < 5:  # those of the workers
            assert time.monotonic() < end and process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out, err) == (130, "", "job_queue.py: interrupted\n")


TRANSCRIPT = """\
ann comes in
ann: hello everybody
bob comes in
bob: hello ann
carl comes in
carl: is there any milk
ann: one bottle
carl leaves
bob: so there was
bob leaves
ann leaves
3 guests heard these 11 lines
"""


def test_three_guests_meet() -> None:
    assert run("chat_room.py") == (0, TRANSCRIPT, "")


class Guest:
    """A connection to the room, as by nc."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self.lines = self.socket.makefile("rb")

    def send(self, line: bytes) -> None:
        self.socket.sendall(line + b"\n")

    def line(self) -> str:
        return self.lines.readline().decode()

    def ask(self, line: bytes) -> str:
        self.send(line)
        return self.line()

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@contextmanager
def chat_room() -> Iterator[int]:
    """The room, open for anybody: its port. Ctrl-C closes it."""
    with start("chat_room.py", "0") as process:
        assert process.stdout is not None
        said, _, port = process.stdout.readline().rpartition(":")
        try:
            assert said == "the room is open at 127.0.0.1"
            yield int(port)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                out, err = process.communicate(timeout=WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert (process.returncode, out, err) == (0, "the room is closed\n", "")


def test_anybody_may_come() -> None:
    with chat_room() as port:
        hears, speaks = Guest(port), Guest(port)
        hears.send(b"SUBSCRIBE room")
        heard, knocks = "", 0
        while not heard:  # SUBSCRIBE has no answer
            knocks += 1
            assert speaks.ask(b"PUT room knock %d" % knocks) == "OK\r\n"
            hears.socket.settimeout(0.1)
            with suppress(socket.timeout):
                heard = hears.socket.recv(1000, socket.MSG_PEEK).decode()
        hears.socket.settimeout(WAIT)
        assert speaks.ask(b"PUT said ann hello_everybody") == "OK\r\n"
        while (line := hears.line()).startswith("knock SET TO "):
            pass
        assert line == "0 SET TO ann comes in\r\n"
        assert hears.line() == "1 SET TO ann: hello everybody\r\n"
        # What is no text is told as well as that can be.
        assert speaks.ask(b"PUT said ann gr\xfc\xdfe") == "OK\r\n"
        assert hears.line() == "2 SET TO ann: gr\N{REPLACEMENT CHARACTER}" + (
            "\N{REPLACEMENT CHARACTER}e\r\n"
        )
        assert speaks.ask(b"DELETE said ann") == "OK\r\n"
        assert hears.line() == "3 SET TO ann leaves\r\n"
        # A newcomer reads what there was; who left and comes back comes in again.
        assert speaks.ask(b"GET room 1") == "ann: hello everybody\r\n"
        assert speaks.line() == "OK\r\n"
        assert speaks.ask(b"PUT said ann I_am_back") == "OK\r\n"
        assert [hears.line(), hears.line()] == [
            "4 SET TO ann comes in\r\n",
            "5 SET TO ann: I am back\r\n",
        ]
    assert hears.line() == ""
    hears.close()
    speaks.close()


def test_a_port_that_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, out, err = run("chat_room.py", str(taken.getsockname()[1]))
    assert (status, out) == (1, "") and err.startswith("chat_room.py: ")
    assert err.endswith("Address already in use (os error 98)\n")


@pytest.mark.parametrize(
    "program, argument", [("job_queue", "JOBS"), ("chat_room", "PORT")], ids=str
)
def test_wrong_arguments(program: str, argument: str) -> None:
    usage = f"usage: {program}.py [{argument}]\n"
    for arguments in (["x"], ["-1"], [""], ["1", "2"]):
        assert run(f"{program}.py", *arguments) == (2, "", usage)
    assert argument == "JOBS" or run("chat_room.py", "65536") == (2, "", usage)
