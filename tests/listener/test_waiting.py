"""Requests that wait for a bucket: they take few threads, and hold up no other bucket."""

# ruff: noqa: D103 -- the tests are named after what they test

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import ERROR, NOT_FOUND, OK, Client, Host, StartHost, hosts

# As it is documented.
THREADS = 16

# Far more than this test takes: requests that wait must not time out before they are let go.
LONG = 600_000


@pytest.fixture
def start_host() -> Iterator[StartHost]:
    """Starts hosts with options of the listener."""
    with hosts() as start:
        yield start


def wait_at(host: Host, bucket: bytes) -> Client:
    """A connection whose request waits: what was answered before is sent when it begins to."""
    client = host.connect()
    client.send(b"GET %s k\r\nPUT %s k v\r\n" % (bucket, bucket))
    assert [client.line(), client.line()] == [b"\r\n", OK]
    return client


def test_six_hundred_requests_that_wait_take_few_threads(start_host: StartHost) -> None:
    host = start_host(default_timeout_ms=LONG)
    other = host.connect()
    other.ask(b"CREATE busy", OK)
    other.ask(b"CREATE free", OK)
    host.tell("!hold busy")
    before = host.threads()
    clients = [wait_at(host, b"busy") for _ in range(600)]
    assert host.threads() <= before + 2  # the runtime keeps one for what is to come
    for i in range(100):
        other.ask(b"PUT free k %d" % i, OK)
    host.tell("!release busy")
    for client in clients:
        assert client.line() == OK
    other.ask(b"GET busy k", b"v\r\nOK\r\n")


def test_requests_for_many_buckets_take_few_threads(start_host: StartHost) -> None:
    host = start_host(default_timeout_ms=LONG)
    other = host.connect()
    names = [b"busy%d" % i for i in range(2 * THREADS)]
    for name in names:
        other.ask(b"CREATE " + name, OK)
        host.tell("!hold " + name.decode())
    before = host.threads()
    clients = [wait_at(host, name) for name in names for _ in range(5)]
    assert host.threads() <= before + THREADS + 1
    # The last ones have no thread, and look for themselves.
    for name in reversed(names):
        host.tell("!release " + name.decode())
        for _ in range(5):
            assert clients.pop().line() == OK
    assert host.threads() <= before + THREADS + 1


def test_a_request_that_waits_too_long_is_an_error(start_host: StartHost) -> None:
    host = start_host(default_timeout_ms=100)
    host.connect().ask(b"CREATE busy", OK)
    host.tell("!hold busy")
    clients = [host.connect() for _ in range(5)]
    for client in clients:
        client.send(b"PUT busy k v\r\nCREATE other\r\n")
    for client in clients:
        assert client.rest() == ERROR
    host.tell("!release busy")
    host.connect().ask(b"GET busy k", b"\r\nOK\r\n")  # what timed out is never done


def test_a_listener_stops_while_requests_wait(start_host: StartHost) -> None:
    host = start_host(default_timeout_ms=LONG)
    host.connect().ask(b"CREATE busy", OK)
    host.tell("!hold busy")
    clients = [wait_at(host, b"busy") for _ in range(5)]
    host.tell("!stop")
    for client in clients:
        assert client.rest() == b""
    host.tell("!release busy")


def test_a_bucket_that_ends_while_requests_wait(start_host: StartHost) -> None:
    host = start_host(default_timeout_ms=LONG)
    host.connect().ask(b"CREATE busy", OK)
    host.tell("!hold busy")
    clients = [wait_at(host, b"busy") for _ in range(5)]
    host.tell("!kill busy")
    for client in clients:
        assert client.line() == NOT_FOUND
    host.connect().ask(b"CREATE busy", OK)
    host.tell("!release busy")
