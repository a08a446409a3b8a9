"""A thousand connections at once, four of them hostile: the others do not notice."""

# ruff: noqa: D103 -- the tests are named after what they test

from __future__ import annotations

import contextlib
import random
import socket
import threading
from typing import Callable

from served import ERROR, NOT_FOUND, OK, UNKNOWN, WAIT, Host, hosts

CROWD = 1000
ROUNDS = 3

# Sent and answered by every connection, with its own number in it.
REQUESTS = [
    (b"GET none%d key", NOT_FOUND),
    (b"CREATE bucket%d", OK),
    (b"PUT bucket%d key value%d", OK),
    (b"GET bucket%d key", b"value%d\r\nOK\r\n"),
    (b"GET everybodys key%d", b"\r\nOK\r\n"),
    (b"bucket%d", UNKNOWN),
    (b"DELETE bucket%d key", OK),
    (b"GET bucket%d key", b"\r\nOK\r\n"),
]


class Hostile:
    """A hostile connection on a thread of its own, at work until it is told to stop."""

    def __init__(self, host: Host, work: Callable[[Hostile], None]) -> None:
        self.host = host
        self.at_work = threading.Event()
        self._stop = threading.Event()
        self._work = work
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.at_work.wait(WAIT), "no hostile connection"

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as failure:
            self._failure = failure
            self.at_work.set()

    def goes_on(self) -> bool:
        """It was not told to stop."""
        return not self._stop.is_set()

    def stop(self) -> None:
        """Waits for its end, and raises what went wrong there."""
        self._stop.set()
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "a hostile connection hangs"
        if self._failure is not None:
            raise self._failure


def endless_line(hostile: Hostile) -> None:
    """Goes on and on, also after it was told that it failed, and comes back for more."""
    for _ in range(20):
        client = hostile.host.connect()
        with contextlib.suppress(ConnectionError):
            while hostile.goes_on():
                client.send(b"x" * 4096)
                hostile.at_work.set()
        with contextlib.suppress(ConnectionError):
            client.socket.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                assert client.line() in (ERROR, b"")
        client.socket.close()


def no_newline(hostile: Hostile) -> None:
    """A line that is not too long, and not ended before everything else is over."""
    client = hostile.host.connect()
    client.send(b"x" * 60_000)
    hostile.at_work.set()
    while hostile.goes_on():
        assert not client.has_input(0.02)
    client.ask(b"", UNKNOWN)


def rubbish(hostile: Hostile) -> None:
    """Bytes without a meaning, as many as are taken; what is answered is not read."""
    bytes_of = random.Random(1)
    client = hostile.host.connect()
    client.socket.settimeout(0.02)
    while hostile.goes_on():
        with contextlib.suppress(socket.timeout):
            client.send(bytes_of.randbytes(4096))
        hostile.at_work.set()


def a_byte_at_a_time(hostile: Hostile) -> None:
    """Correct requests, but a byte of one is all that is ever sent at once."""
    client = hostile.host.connect()
    client.ask(b"CREATE slowly", OK)
    while hostile.goes_on():
        for request, reply in [(b"PUT slowly k v\r", OK), (b"GET slowly k\r", b"v\r\nOK\r\n")]:
            for byte in request:
                client.send(bytes([byte]))
            hostile.at_work.set()
            client.send(b"\n")
            for line in reply.splitlines(keepends=True):
                assert client.line() == line


def numbered(text: bytes, number: int) -> bytes:
    """The text with this number for each %d."""
    return text.replace(b"%d", b"%d" % number)


def test_a_thousand_connections_of_which_four_are_hostile() -> None:
    with hosts() as start_host:
        host = start_host()
        host.connect().ask(b"CREATE everybodys", OK)
        crowd = [host.connect() for _ in range(CROWD - 4)]
        works = [endless_line, no_newline, rubbish, a_byte_at_a_time]
        hostile = [Hostile(host, work) for work in works]
        for _ in range(ROUNDS):
            for request, reply in REQUESTS:
                # All of them wait for an answer at the same time.
                for number, client in enumerate(crowd):
                    client.send(numbered(request, number) + b"\r\n")
                for number, client in enumerate(crowd):
                    for line in numbered(reply, number).splitlines(keepends=True):
                        assert client.line() == line, (number, request)
        for each in hostile:
            each.stop()
        for client in crowd:
            assert client.finish() == b""
