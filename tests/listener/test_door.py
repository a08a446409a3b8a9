"""Who comes in at a listener: browsers do not, nor who lacks the password, nor another user."""

# ruff: noqa: D103 -- the tests are named after what they test

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import ERROR, NOT_FOUND, OK, UNKNOWN, WAIT, Client, StartHost, hosts


@pytest.fixture
def start_host() -> Iterator[StartHost]:
    """Starts hosts with options of the listener."""
    with hosts() as start:
        yield start


def left(client: Client) -> bytes:
    """What came before the end of a connection that may be reset."""
    with contextlib.suppress(ConnectionResetError):
        return client.rest()
    return b""


@pytest.mark.parametrize(
    "http",
    [
        b"POST / HTTP/1.1\r\n",
        b"post /shopping HTTP/1.1\n",
        b"POST ",  # not even a whole line
        b"PoSt x",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PUT / HTTP/1.1\nhOST:x\n",
        b"GET shopping milk\r\nHOST:",
        b"GET shopping milk\r\nGET shopping milk\nPOST / HTTP/1.1\r\nAccept: x\r\n\r\n",
    ],
)
def test_what_follows_http_is_not_carried_out(start_host: StartHost, http: bytes) -> None:
    host = start_host(log="warn")
    other = host.connect()
    other.ask(b"CREATE shopping", OK)
    client = host.connect()
    client.send(http + b"\r\nPUT shopping milk PWNED\r\n")
    told = left(client)
    assert OK not in told.replace(b"\r\n" + OK, b"")  # of a PUT, which has a line alone
    assert host.logged().startswith("kvreg warn: a connection from 127.0.0.1:")
    other.ask(b"GET shopping milk", b"\r\nOK\r\n")


def test_http_on_a_connection_that_has_subscribed(start_host: StartHost) -> None:
    host = start_host(log="warn")
    host.connect().ask(b"CREATE shopping", OK)
    (subscriber,) = host.subscribe(b"shopping")
    subscriber.send(b"Host: x\r\n")
    assert left(subscriber) == b""
    assert "speaks HTTP" in host.logged()


@pytest.mark.parametrize("line", [b"POST", b"POSTS b", b"Host", b"Host b", b" POST b k"])
def test_what_only_looks_like_http(start_host: StartHost, line: bytes) -> None:
    client = start_host().connect()
    client.ask(line, UNKNOWN)
    client.ask(b"GET none k", NOT_FOUND)


def test_the_password_opens(start_host: StartHost) -> None:
    client = start_host(password="open sesame").connect()
    client.send(b"AUTH open sesame\r\nCREATE b\nPUT b k v\n")
    assert [client.line() for _ in range(3)] == [OK, OK, OK]
    client.ask(b"AUTH open sesame", UNKNOWN)
    client.ask(b"GET b k", b"v\r\nOK\r\n")
    assert client.finish() == b""


@pytest.mark.parametrize(
    "line",
    [
        b"CREATE b",
        b"SUBSCRIBE b",
        b"",
        b"AUTH",
        b"AUTH ",
        b"AUTH wrong",
        b"AUTH open",
        b"AUTH open sesame!",
        b"AUTH  open sesame",
        b"auth open sesame",
        b"\r\nAUTH open sesame",
    ],
)
def test_without_the_password_nothing_is_done(start_host: StartHost, line: bytes) -> None:
    host = start_host(password="open sesame", log="warn")
    client = host.connect()
    client.send(line + b"\r\nAUTH open sesame\r\nCREATE b\r\n")
    assert client.rest() == ERROR
    logged = host.logged()
    assert "did not tell the password" in logged
    assert "sesame" not in logged
    client = host.connect()
    client.ask(b"AUTH open sesame", OK)
    client.ask(b"GET b k", NOT_FOUND)


def test_http_before_the_password(start_host: StartHost) -> None:
    client = start_host(password="x").connect()
    client.send(b"POST / HTTP/1.1\r\nAUTH x\r\nCREATE b\r\n")
    assert left(client) == b""


def test_without_a_password_there_is_no_such_command(start_host: StartHost) -> None:
    start_host().connect().ask(b"AUTH x", UNKNOWN)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Files are made with it meanwhile, by programs that are started too."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    """Of the file itself."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
@pytest.mark.parametrize("wanted", [None, 0o600, 0o660, 0o222, 0o777])
def test_a_unix_socket(
    start_host: StartHost, tmp_path: Path, mask: int, wanted: int | None
) -> None:
    path = tmp_path / "door"
    with umask(mask):
        options = {} if wanted is None else {"unix_mode": wanted}
        host = start_host(address=f"unix:{path}", **options)
    assert host.address == str(path)
    assert mode(path) == (wanted or 0o600)
    first, second = host.connect(), host.connect()
    first.ask(b"CREATE b", OK)
    second.ask(b"PUT b k v", OK)
    first.ask(b"GET b k", b"v\r\nOK\r\n")
    (subscriber,) = host.subscribe(b"b")
    host.tell("!stop")
    assert not path.exists()
    assert first.rest() == b""
    assert subscriber.rest() == b""
    host.tell("!stop")


def test_a_stale_socket_is_replaced(start_host: StartHost, tmp_path: Path) -> None:
    path = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    host = start_host(address=f"unix:{path}")
    assert mode(path) == 0o600
    host.connect().ask(b"CREATE b", OK)
    host.process.kill()  # which leaves its file
    host.process.wait(WAIT)
    host.process.returncode = 0
    again = start_host(address=f"unix:{path}")
    again.connect().ask(b"CREATE b", OK)


def test_a_live_socket_is_left_alone(start_host: StartHost, tmp_path: Path) -> None:
    path = tmp_path / "door"
    host = start_host(address=f"unix:{path}")
    identity = path.lstat().st_ino
    assert host.start_another() == "KVREG_IO"
    assert path.lstat().st_ino == identity
    host.connect().ask(b"CREATE b", OK)
    host.tell("!stop")
    assert host.start_another() == "KVREG_OK"
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "loop", "fifo", "datagram"])
def test_what_is_no_stale_socket_is_never_removed(
    start_host: StartHost, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "door"
    host = start_host(address=f"unix:{path}")
    host.tell("!stop")
    with contextlib.ExitStack() as stack:
        if kind == "file":
            path.write_text("precious")
        elif kind == "directory":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "datagram":
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(
                str(path)
            )
        else:
            stale = tmp_path / "stale"
            with socket.socket(socket.AF_UNIX) as gone:
                gone.bind(str(stale))
            path.symlink_to(stale if kind == "link" else path)
        before = path.lstat()
        assert host.start_another() == "KVREG_IO"
        assert path.lstat().st_ino == before.st_ino
        assert path.lstat().st_mode == before.st_mode


@pytest.mark.parametrize("kind", ["socket", "file"])
def test_a_file_that_is_not_its_own_any_more_stays(
    start_host: StartHost, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "door"
    host = start_host(address=f"unix:{path}")
    path.unlink()
    if kind == "file":
        path.write_text("precious")
        host.tell("!stop")
        assert path.read_text() == "precious"
    else:
        other = start_host(address=f"unix:{path}")
        host.tell("!stop")
        other.connect().ask(b"CREATE b", OK)


def test_a_directory_that_is_not_there(start_host: StartHost, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    host = start_host(address=f"unix:{place}/door")
    host.tell("!stop")
    place.rmdir()
    assert host.start_another() == "KVREG_IO"


def test_a_socket_and_a_password(start_host: StartHost, tmp_path: Path) -> None:
    host = start_host(address=f"unix:{tmp_path}/door", password="x", log="warn")
    host.connect().ask(b"AUTH x", OK)
    assert host.connect().socket.gettimeout() == WAIT
    wrong = host.connect()
    wrong.ask(b"AUTH y", ERROR)
    logged = host.logged()
    assert logged == "kvreg warn: a connection from the unix socket did not tell the password"
