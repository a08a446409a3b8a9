"""What the tests of the listener share: the host program, and connections to it.

KVREG_LISTENER_HOST names the program that host.c becomes. Nothing waits for time to pass: each
wait ends with an event, and only a test that fails waits as long as WAIT.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Callable

WAIT = 120.0
OK = b"OK\r\n"
ERROR = b"ERROR\r\n"
NOT_FOUND = b"NOT FOUND\r\n"
UNKNOWN = b"UNKNOWN COMMAND\r\n"


class Client:
    """A connection."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(WAIT)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, WAIT)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        self.socket.sendall(data)

    def _more(self) -> bool:
        data = self.socket.recv(1 << 16)
        self._read += data
        return data != b""

    def line(self) -> bytes:
        """The next line; what there is if the connection ends before."""
        while b"\n" not in self._read and self._more():
            pass
        line, newline, self._read = self._read.partition(b"\n")
        return line + newline

    def ask(self, request: bytes, reply: bytes) -> None:
        """Sends a request, whose reply must be this."""
        self.send(request + b"\r\n")
        for line in reply.splitlines(keepends=True):
            assert self.line() == line, request

    def rest(self) -> bytes:
        """Everything until the other end closes."""
        chunks = [self._read]
        self._read = b""
        while data := self.socket.recv(1 << 20):
            chunks.append(data)
        return b"".join(chunks)

    def has_input(self, seconds: float) -> bool:
        """Something came, or the connection has ended."""
        return self._read != b"" or select.select([self.socket], [], [], seconds)[0] != []

    def finish(self) -> bytes:
        """Says that there are no more requests; what comes until the end."""
        self.socket.shutdown(socket.SHUT_WR)
        return self.rest()


class Host:
    """The host program."""

    def __init__(self, stack: ExitStack, options: dict[str, int | str]) -> None:
        self._stack = stack
        environment = {**os.environ, "KVREG_LOG": str(options.pop("log", ""))}
        self.process = stack.enter_context(
            subprocess.Popen(
                [os.environ["KVREG_LISTENER_HOST"]] + [f"{k}={v}" for k, v in options.items()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment,
            )
        )
        stack.callback(self.process.kill)
        self.address: tuple[str, int] | str
        host, port = self._line().split(":")
        self.address = port if host == "unix" else (host, int(port))

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self._line_from(self.process.stdout)

    def logged(self) -> str:
        """The next line of the log; what is not asked for must not be there."""
        assert self.process.stderr is not None
        return self._line_from(self.process.stderr)

    @staticmethod
    def _line_from(stream: IO[bytes]) -> str:
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([stream], [], [], WAIT)[0], "the host hangs"
            byte = stream.read(1)
            assert byte, "the host has ended"
            line += byte
        return line.decode().strip()

    def tell(self, command: str) -> None:
        """Has the host carry out a command, and waits for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        if command == "!stop":
            assert self._line() == "stopped"
        assert self._line() == "done"

    def start_another(self) -> str:
        """The status of another listener at the same address, which is stopped again."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"!start\n")
        status = self._line()
        assert self._line() == "done"
        return status

    def threads(self) -> int:
        """How many there are now."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def connect(self) -> Client:
        """A connection, open until the test is over."""
        client = Client(self.address)
        self._stack.callback(client.socket.close)
        return client

    def subscribe(self, bucket: bytes, count: int = 1) -> list[Client]:
        """Connections that have subscribed.

        SUBSCRIBE has no answer: a key is set until each of them has heard of it. What they hear
        from here on is what the caller does.
        """
        clients = [self.connect() for _ in range(count)]
        for client in clients:
            client.send(b"SUBSCRIBE " + bucket + b"\r\n")
        end = time.monotonic() + WAIT
        for client in clients:
            while not client.has_input(0.02):
                assert time.monotonic() < end, "no line for a subscriber"
                self.tell(f"!put {bucket.decode()} subscribed {time.monotonic()}")
        self.tell(f"!put {bucket.decode()} subscribed all")
        for client in clients:
            while (line := client.line()) != b"subscribed SET TO all\r\n":
                assert line.startswith(b"subscribed SET TO "), line
        return clients

    def end(self) -> None:
        """The end of its input: it must exit in good order."""
        _, errors = self.process.communicate(timeout=WAIT)
        assert errors == b""
        assert self.process.returncode == 0


StartHost = Callable[..., Host]


def _allow_descriptors() -> None:
    """A thousand connections take a thousand descriptors, here and in the host."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 4096:
        most = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def hosts() -> Iterator[StartHost]:
    """Starts hosts; each must end well when the test is over, with its connections open."""
    _allow_descriptors()
    started = []
    with ExitStack() as stack:

        def start(**options: int | str) -> Host:
            started.append(Host(stack, options))
            return started[-1]

        yield start
        for host in started:
            host.end()
