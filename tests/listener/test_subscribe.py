"""SUBSCRIBE: who hears what, in which order, and until when."""

# ruff: noqa: D103 -- the tests are named after what they test

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import ERROR, NOT_FOUND, OK, WAIT, Client, Host, StartHost, hosts

VALUE = b"v" * (32 << 10)

# What "!every" of the host does to a bucket with the key "subscribed".
EVERY_CHANGE = [
    b"subscribed DELETED",
    b"put SET TO true",
    b"int SET TO -7",
    b"float SET TO 1.0",
    b"bytes SET TO \xff",
    b"cast SET TO ",
    b"many SET TO 4",
    b"more SET TO 5",
    b"update SET TO 6",
    b"later SET TO 6",
    b"begun SET TO 8",
    b"put DELETED",
    b"int DELETED",
    b"float DELETED",
]


def fill(writer: Client, reader: Client | None = None) -> list[bytes]:
    """Changes "shopping", by more lines than the system keeps for who does not read them.

    `reader` hears each of them before the next is made.
    """
    kept = 0
    for way in ("rmem", "wmem"):
        kept += int(Path(f"/proc/sys/net/ipv4/tcp_{way}").read_text().split()[2])
    lines = []
    for i in range(2 * kept // len(VALUE)):
        writer.ask(b"PUT shopping key%d %s" % (i, VALUE), OK)
        lines.append(b"key%d SET TO %s\r\n" % (i, VALUE))
        if reader is not None:
            assert reader.line() == lines[-1]
    return lines


@pytest.fixture
def start_host() -> Iterator[StartHost]:
    """Starts hosts with options of the listener."""
    with hosts() as start:
        yield start


@pytest.fixture
def host(start_host: StartHost) -> Host:
    """A host with the defaults and the bucket "shopping"."""
    host = start_host()
    host.connect().ask(b"CREATE shopping", OK)
    return host


def test_the_subscription_of_the_guide(host: Host) -> None:
    (subscriber,) = host.subscribe(b"shopping")
    other = host.connect()
    other.ask(b"PUT shopping milk 3", OK)
    assert subscriber.line() == b"milk SET TO 3\r\n"
    other.ask(b"DELETE shopping milk", OK)
    assert subscriber.line() == b"milk DELETED\r\n"
    host.tell("!kill shopping")
    assert subscriber.rest() == b""


def test_changes_from_everywhere_in_order(host: Host) -> None:
    (subscriber,) = host.subscribe(b"shopping")
    other = host.connect()
    lines = []
    for i in range(100):
        other.ask(b"PUT shopping milk %d" % i, OK)
        host.tell(f"!put shopping eggs {i}")
        other.ask(b"DELETE shopping milk", OK)
        lines.append(b"milk SET TO %d\r\neggs SET TO %d\r\nmilk DELETED\r\n" % (i, i))
    host.tell("!kill shopping")
    assert subscriber.rest() == b"".join(lines)


def test_each_way_to_change_a_bucket_is_told(host: Host) -> None:
    (subscriber,) = host.subscribe(b"shopping")
    host.tell("!every shopping")
    for line in EVERY_CHANGE:
        assert subscriber.line() == line + b"\r\n"
    host.tell("!kill shopping")
    assert subscriber.rest() == b""


def test_other_buckets_are_not_heard(host: Host) -> None:
    other = host.connect()
    other.ask(b"CREATE garage", OK)
    first, second = host.subscribe(b"shopping", 2)
    (third,) = host.subscribe(b"garage")
    other.ask(b"PUT garage hammer 1", OK)
    other.ask(b"PUT shopping milk 1", OK)
    host.tell("!kill shopping")
    assert first.rest() == b"milk SET TO 1\r\n"
    assert second.rest() == b"milk SET TO 1\r\n"
    other.ask(b"PUT garage hammer 2", OK)  # the end of one bucket is not that of another
    host.tell("!kill garage")
    assert third.rest() == b"hammer SET TO 1\r\nhammer SET TO 2\r\n"


def test_a_missing_bucket_leaves_the_command_mode(host: Host) -> None:
    client = host.connect()
    client.ask(b"SUBSCRIBE garage", NOT_FOUND)
    client.ask(b"CREATE garage", OK)
    client.ask(b"PUT garage hammer 1", OK)
    client.ask(b"GET garage hammer", b"1\r\nOK\r\n")
    assert client.finish() == b""


@pytest.mark.parametrize(
    "line",
    [b"GET shopping milk", b"PUT shopping milk 1", b"CREATE garage", b"rubbish", b"", b"\r"],
)
def test_a_subscriber_that_says_something_gets_an_error(host: Host, line: bytes) -> None:
    (subscriber,) = host.subscribe(b"shopping")
    subscriber.send(line[:3])
    host.tell("!put shopping eggs 1")  # half a line is none yet
    assert subscriber.line() == b"eggs SET TO 1\r\n"
    subscriber.send(line[3:] + b"\nCREATE garage\n")
    assert subscriber.rest() == ERROR
    other = host.connect()
    other.ask(b"SUBSCRIBE shopping\r\n" + line, ERROR)  # in the same packet
    assert other.rest() == b""
    other = host.connect()
    other.ask(b"GET shopping milk", b"\r\nOK\r\n")
    other.ask(b"GET garage hammer", NOT_FOUND)


def test_a_subscriber_that_says_no_end_of_a_line_gets_an_error(start_host: StartHost) -> None:
    host = start_host(max_line=1000)
    host.connect().ask(b"CREATE shopping", OK)
    (subscriber,) = host.subscribe(b"shopping")
    subscriber.send(b"x" * 1000)
    host.tell("!put shopping eggs 1")
    assert subscriber.line() == b"eggs SET TO 1\r\n"
    subscriber.send(b"x")
    assert subscriber.rest() == ERROR


def test_requests_before_it_are_answered(host: Host) -> None:
    client = host.connect()
    client.send(b"PUT shopping milk 1\r\nGET shopping milk\nSUBSCRIBE shopping\n")
    assert [client.line() for _ in range(3)] == [OK, b"1\r\n", OK]
    while not client.has_input(0.02):
        host.tell("!put shopping eggs 1")
    assert client.line() == b"eggs SET TO 1\r\n"


def test_a_subscriber_is_not_idle(start_host: StartHost) -> None:
    host = start_host(idle_timeout_ms=300)
    end = time.monotonic() + WAIT
    while True:
        # A connection is closed before it says a word if this program is held up for so long.
        try:
            host.connect().ask(b"CREATE shopping", OK)
            (subscriber,) = host.subscribe(b"shopping")
            break
        except (ConnectionError, AssertionError):
            assert time.monotonic() < end, "every connection is closed"
    assert host.connect().rest() == b""  # came later, and was idle for too long
    host.tell("!put shopping milk 1")
    assert subscriber.line() == b"milk SET TO 1\r\n"


def test_a_value_that_no_line_can_tell_has_changed(host: Host) -> None:
    subscribers = host.subscribe(b"shopping", 3)
    host.tell("!put shopping milk 1")
    host.tell("!bytes shopping lines")
    host.tell("!put shopping milk 2")
    for subscriber in subscribers:
        assert subscriber.line() == b"milk SET TO 1\r\n"
        assert subscriber.line() == b"lines CHANGED\r\n"
        assert subscriber.line() == b"milk SET TO 2\r\n"


def test_a_key_that_no_line_can_tell_has_changed(host: Host) -> None:
    (subscriber,) = host.subscribe(b"shopping")
    host.tell("!key shopping")  # stored, and deleted
    host.tell("!put shopping milk 2")
    assert subscriber.line() == b"a\\r\\nb CHANGED\r\n"
    assert subscriber.line() == b"a\\r\\nb CHANGED\r\n"
    assert subscriber.line() == b"milk SET TO 2\r\n"


def test_all_that_was_before_the_end_is_told_after_many_lines(start_host: StartHost) -> None:
    host = start_host(max_backlog=1 << 32)
    writer = host.connect()
    writer.ask(b"CREATE shopping", OK)
    (subscriber,) = host.subscribe(b"shopping")
    lines = fill(writer)
    for i in range(100):
        writer.ask(b"PUT shopping milk %d" % i, OK)
        lines.append(b"milk SET TO %d\r\n" % i)
    host.tell("!bytes shopping lines")
    lines.append(b"lines CHANGED\r\n")
    host.tell("!kill shopping")
    told = subscriber.rest()
    # The end first: a difference of all that would be of no use to anybody.
    assert told[-200:] == b"".join(lines[-20:])[-200:]
    is_all = told == b"".join(lines)
    assert is_all


def test_a_subscriber_may_read_late(host: Host) -> None:
    (subscriber,) = host.subscribe(b"shopping")
    writer = host.connect()
    for i in range(1000):
        writer.ask(b"PUT shopping milk %d" % i, OK)
    lines = b"".join(b"milk SET TO %d\r\n" % i for i in range(1000))
    assert b"".join(subscriber.line() for _ in range(1000)) == lines


def test_what_was_before_the_end_of_the_bucket_is_told(start_host: StartHost) -> None:
    host = start_host(max_backlog=1 << 32)
    writer = host.connect()
    writer.ask(b"CREATE shopping", OK)
    (subscriber,) = host.subscribe(b"shopping")
    lines = b"".join(fill(writer))
    host.tell("!kill shopping")
    told = subscriber.rest()
    assert told[-100:] == lines[-100:]
    is_all = told == lines
    assert is_all


def test_a_listener_stops_with_a_subscriber_that_does_not_read(start_host: StartHost) -> None:
    host = start_host(max_backlog=1 << 32)
    writer = host.connect()
    writer.ask(b"CREATE shopping", OK)
    (subscriber,) = host.subscribe(b"shopping")
    lines = fill(writer)
    host.tell("!stop")
    assert len(subscriber.rest()) < len(b"".join(lines))


def test_a_subscriber_that_does_not_read_is_cut_off(start_host: StartHost) -> None:
    host = start_host(max_backlog=2 * len(VALUE))
    writer = host.connect()
    writer.ask(b"CREATE shopping", OK)
    slow, quick = host.subscribe(b"shopping", 2)
    # In step, so that the backlog of the quick one is never more than a line.
    told = b"".join(fill(writer, quick))
    got = slow.rest()
    assert len(got) < len(told)
    assert told.startswith(got)
    writer.ask(b"PUT shopping milk 1", OK)
    assert quick.line() == b"milk SET TO 1\r\n"
