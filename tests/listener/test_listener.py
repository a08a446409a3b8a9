"""The commands, limits and failures of a connection, and the end of a listener."""

# ruff: noqa: D103 -- the tests are named after what they test

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from served import ERROR, NOT_FOUND, OK, UNKNOWN, WAIT, Client, Host, StartHost, hosts

MAX_LINE = 64 << 10

SESSION = [
    (b"UNKNOWN shopping", UNKNOWN),
    (b"GET shopping eggs", NOT_FOUND),
    (b"CREATE shopping", OK),
    (b"PUT shopping eggs 3", OK),
    (b"GET shopping eggs", b"3\r\nOK\r\n"),
    (b"DELETE shopping eggs", OK),
    (b"GET shopping eggs", b"\r\nOK\r\n"),
]

# The guide's lines for its parser, in an order in which each has an answer of its own.
PARSED = [
    (b"GET shopping milk\r\n", NOT_FOUND),
    (b"CREATE shopping\r\n", OK),
    (b"CREATE  shopping  \r\n", OK),
    (b"PUT shopping milk 1\r\n", OK),
    (b"GET shopping milk\r\n", b"1\r\nOK\r\n"),
    (b"DELETE shopping eggs\r\n", OK),
    (b"UNKNOWN shopping eggs\r\n", UNKNOWN),
    (b"GET shopping\r\n", UNKNOWN),
]


@pytest.fixture
def start_host() -> Iterator[StartHost]:
    """Starts hosts with options of the listener."""
    with hosts() as start:
        yield start


@pytest.fixture
def host(start_host: StartHost) -> Host:
    """A host with the defaults."""
    return start_host()


def transcript(host: Host, requests: bytes) -> bytes:
    """All that a connection gets for these requests."""
    client = host.connect()
    client.send(requests)
    return client.finish()


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_the_session_of_the_guide(host: Host, newline: bytes) -> None:
    client = host.connect()
    for request, reply in SESSION:
        client.send(request + newline)
        for line in reply.splitlines(keepends=True):
            assert client.line() == line, request
    assert client.finish() == b""


def test_the_session_at_once_with_both_newlines(host: Host) -> None:
    newlines = [b"\n", b"\r\n"] * len(SESSION)
    requests = b"".join(request + newlines.pop() for request, _ in SESSION)
    assert transcript(host, requests) == b"".join(reply for _, reply in SESSION)


def test_the_lines_of_the_guides_parser(host: Host) -> None:
    for request, reply in PARSED:
        assert transcript(host, request) == reply, request


def test_a_line_byte_by_byte(host: Host) -> None:
    client = host.connect()
    for request, reply in PARSED:
        for byte in request[:-1]:
            client.send(bytes([byte]))
        assert not client.has_input(0)
        client.send(request[-1:])
        assert b"".join(client.line() for _ in range(reply.count(b"\n"))) == reply
    assert client.finish() == b""


@pytest.mark.parametrize(
    ("request_line", "reply"),
    [
        (b"", UNKNOWN),
        (b"   ", UNKNOWN),
        (b"create b", UNKNOWN),
        (b"CREATE", UNKNOWN),
        (b"CREATE b c", UNKNOWN),
        (b"PUT b k", UNKNOWN),
        (b"PUT b k v w", UNKNOWN),
        (b"GET b", UNKNOWN),
        (b"GET b k v", UNKNOWN),
        (b"DELETE b", UNKNOWN),
        (b"DELETE b k v", UNKNOWN),
        (b"SUBSCRIBE", UNKNOWN),
        (b"SUBSCRIBE b c", UNKNOWN),
        (b"subscribe b", UNKNOWN),
        (b"\xff\x00\xfe", UNKNOWN),
        (b"PUT none k v", NOT_FOUND),
        (b"GET none k", NOT_FOUND),
        (b"DELETE none k", NOT_FOUND),
        (b"SUBSCRIBE none", NOT_FOUND),
        (b"GET " + b"n" * 256 + b" k", NOT_FOUND),
        (b"\t GET\x0b\x0cb \r k \x0b", b"v\r\nOK\r\n"),
        (b"DELETE b none", OK),
        (b"CREATE " + b"n" * 255, OK),
        (b"CREATE Gr\xc3\xbc\xc3\x9fe", OK),
    ],
)
def test_a_line_that_leaves_the_connection_open(
    host: Host, request_line: bytes, reply: bytes
) -> None:
    client = host.connect()
    client.ask(b"CREATE b", OK)
    client.ask(b"PUT b k v", OK)
    client.ask(request_line, reply)
    client.ask(b"GET b k", b"v\r\nOK\r\n")  # still in command mode
    assert client.finish() == b""


def test_keys_and_values_are_any_bytes(host: Host) -> None:
    requests = b"CREATE b\nPUT b \xff\x00 \x00\xfe\xff\nGET b \xff\x00\n"
    assert transcript(host, requests) == OK + OK + b"\x00\xfe\xff\r\n" + OK


def test_ten_thousand_requests_without_waiting(host: Host) -> None:
    client = host.connect()
    requests, replies = [b"CREATE b\r\n"], [OK]
    for i in range(2500):
        requests.append(b"PUT b key%d value%d\r\nGET b key%d\n" % (i % 7, i, i % 7))
        replies.append(b"OK\r\nvalue%d\r\nOK\r\n" % i)
        requests.append(b"GET none %d\nGET b\r\n" % i)
        replies.append(NOT_FOUND + UNKNOWN)
    # Replies are read while requests are sent: the other end need not hold them all.
    sender = threading.Thread(target=client.send, args=(b"".join(requests),), daemon=True)
    sender.start()
    for line in b"".join(replies).splitlines(keepends=True):
        assert client.line() == line
    sender.join(WAIT)
    assert client.finish() == b""


def test_a_line_of_the_greatest_length(host: Host) -> None:
    value = b"v" * (MAX_LINE - len(b"PUT b k "))
    requests = b"CREATE b\nPUT b k " + value + b"\nGET b k\n"
    assert transcript(host, requests) == OK + OK + value + b"\r\n" + OK


@pytest.mark.parametrize("newline", [b"", b"\n", b"\nCREATE c\n"])
def test_a_longer_line_is_a_failure(host: Host, newline: bytes) -> None:
    value = b"v" * (MAX_LINE + 1 - len(b"PUT b k "))
    client = host.connect()
    client.send(b"CREATE b\nPUT b k " + value + newline)
    assert client.rest() == OK + ERROR
    client = host.connect()
    client.ask(b"GET b k", b"\r\nOK\r\n")
    client.ask(b"GET c k", NOT_FOUND)


@pytest.mark.parametrize(
    "request_line",
    [
        b"CREATE " + b"n" * 256,
        b"CREATE a\x00b",
        b"CREATE a\xff",
        b"GET b lines",
    ],
)
def test_a_failure_is_an_error_and_the_end(host: Host, request_line: bytes) -> None:
    client = host.connect()
    client.ask(b"CREATE b", OK)
    host.tell("!bytes b lines")
    client.send(request_line + b"\r\nCREATE c\r\n")
    assert client.rest() == ERROR
    host.connect().ask(b"GET c k", NOT_FOUND)  # what came after it was not carried out


def test_the_end_in_the_middle_of_a_line(host: Host) -> None:
    assert transcript(host, b"CREATE b\r\nPUT b k v") == OK
    assert transcript(host, b"GET b k\n") == b"\r\nOK\r\n"
    assert transcript(host, b"") == b""


def test_a_killed_bucket_is_not_found(host: Host) -> None:
    client = host.connect()
    client.ask(b"CREATE b", OK)
    client.ask(b"PUT b k v", OK)
    host.tell("!kill b")
    for request in [b"GET b k", b"PUT b k v", b"DELETE b k", b"SUBSCRIBE b"]:
        client.ask(request, NOT_FOUND)
    client.ask(b"CREATE b", OK)
    client.ask(b"GET b k", b"\r\nOK\r\n")
    assert client.finish() == b""


def test_one_connection_more_is_refused(start_host: StartHost) -> None:
    host = start_host(max_connections=2)
    first, second = host.connect(), host.connect()
    first.ask(b"CREATE b", OK)
    second.ask(b"CREATE b", OK)
    for _ in range(3):
        assert host.connect().rest() == ERROR
    second.ask(b"PUT b k v", OK)
    assert first.finish() == b""
    # Its place is free, if not in the same instant.
    end = time.monotonic() + WAIT
    answer = b""
    while answer != b"v\r\n":
        assert time.monotonic() < end, "the place of a closed connection stays taken"
        client = host.connect()
        with contextlib.suppress(ConnectionError):  # a refused one has an unread request
            client.send(b"GET b k\r\n")
            answer = client.line()
            assert answer in (ERROR, b"v\r\n")
    second.ask(b"GET b k", b"v\r\nOK\r\n")


def has_ended(client: Client, seconds: float) -> bool:
    """The other end has closed the connection, without a word."""
    if not client.has_input(seconds):
        return False
    with contextlib.suppress(ConnectionError):
        assert client.rest() == b""
    return True


@pytest.mark.parametrize("begun", [b"", b"CREATE b", b"CREATE b\r"])
def test_an_idle_connection_is_closed(start_host: StartHost, begun: bytes) -> None:
    client = start_host(idle_timeout_ms=200).connect()
    with contextlib.suppress(ConnectionError):  # this program may be late
        client.send(begun)
    assert has_ended(client, WAIT)


def test_requests_keep_a_connection_and_single_bytes_do_not(start_host: StartHost) -> None:
    idle = 1.0
    host = start_host(idle_timeout_ms=1000)
    # The host's clocks begin after these are taken: so what it waits is never longer than what
    # is measured here, however late this program or the host gets to run.
    begun = sent = time.monotonic()
    slow, busy = host.connect(), host.connect()
    while not has_ended(slow, 0.05):
        assert time.monotonic() < begun + WAIT, "single bytes keep a connection"
        with contextlib.suppress(ConnectionError):
            slow.send(b"x")
        before, sent = sent, time.monotonic()
        try:
            busy.ask(b"GET none k", NOT_FOUND)
        except (ConnectionError, AssertionError):
            # Right only if this program was held up for so long since the request before.
            assert time.monotonic() - before >= idle
            sent = time.monotonic()
            busy = host.connect()
    assert time.monotonic() - begun >= idle


def test_a_connection_that_does_not_read_is_closed(start_host: StartHost) -> None:
    host = start_host(idle_timeout_ms=500)
    client = host.connect()
    poll = select.poll()
    poll.register(client.socket, select.POLLERR | select.POLLHUP)
    with contextlib.suppress(ConnectionError):
        client.send(b"CREATE b\nPUT b k " + b"v" * 60000 + b"\n" + b"GET b k\n" * 100000)
    assert poll.poll(WAIT * 1000) != []


def test_after_a_stop_the_port_is_free(host: Host) -> None:
    client = host.connect()
    client.ask(b"CREATE b", OK)
    (subscriber,) = host.subscribe(b"b")
    with socket.socket() as other:
        # With it the ports of closed connections are free, that of a listener is not.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(host.address)
        host.tell("!stop")
        assert client.rest() == b""
        assert subscriber.rest() == b""
        other.bind(host.address)
        # Bound, so that it is not given to this connection as its own port.
        with pytest.raises(ConnectionRefusedError):
            host.connect()
        other.listen()
    host.tell("!stop")
