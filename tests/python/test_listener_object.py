"""Listeners: a registry served over TCP."""

from __future__ import annotations

import errno
import gc
import math
import pickle
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import kvreg
import pytest
from support import WAIT, live_handles, posix


class Client:
    """A connection whose replies are read line by line."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(WAIT)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection(address, timeout=WAIT)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        """The next line, or nothing at the end."""
        try:
            return self._lines.readline()
        except ConnectionResetError:
            return b""

    def ask(self, request: bytes, lines: int = 1) -> bytes:
        self.send(request + b"\r\n")
        return b"".join(self.line() for _ in range(lines))


def test_a_session(registry: kvreg.Registry) -> None:
    with (
        kvreg.Listener(registry, "127.0.0.1:0") as listener,
        Client(listener.address) as client,
    ):
        assert client.ask(b"CREATE shopping") == b"OK\r\n"
        assert client.ask(b"PUT shopping milk 1") == b"OK\r\n"
        assert client.ask(b"GET shopping milk", 2) == b"1\r\nOK\r\n"
        assert client.ask(b"DELETE shopping milk") == b"OK\r\n"
        assert client.ask(b"GET shopping milk", 2) == b"\r\nOK\r\n"
        assert client.ask(b"GET garage hammer") == b"NOT FOUND\r\n"
        assert client.ask(b"HELLO") == b"UNKNOWN COMMAND\r\n"
        client.send(b"PUT shopping a 1\nPUT shopping b 2\nGET shop")
        client.send(b"ping b\n")
        assert [client.line() for _ in range(4)] == [b"OK\r\n", b"OK\r\n", b"2\r\n", b"OK\r\n"]
        assert registry["shopping"] == {"a": "1", "b": "2"}
        registry["shopping"]["a"] = 7
        assert client.ask(b"GET shopping a", 2) == b"7\r\nOK\r\n"


def test_a_subscriber_hears_of_changes(registry: kvreg.Registry, bucket: kvreg.Bucket) -> None:
    with kvreg.Listener(registry, "0") as listener, Client(listener.address) as client:
        # The reply of what is sent before it tells that the request was read.
        client.send(b"SUBSCRIBE garage\r\nGET shopping milk\r\nSUBSCRIBE shopping\r\n")
        assert [client.line() for _ in range(3)] == [b"NOT FOUND\r\n", b"\r\n", b"OK\r\n"]
        # When it has subscribed is not told: so this is said until it is heard.
        heard = threading.Event()

        def say() -> None:
            while not heard.wait(0.01):
                bucket["milk"] = 0

        speaker = threading.Thread(target=say)
        speaker.start()
        assert client.line() == b"milk SET TO 0\r\n"
        heard.set()
        speaker.join(WAIT)
        bucket["milk"] = 1
        del bucket["milk"]
        line = client.line()
        while line == b"milk SET TO 0\r\n":
            line = client.line()
        assert line == b"milk SET TO 1\r\n"
        assert client.line() == b"milk DELETED\r\n"
        bucket.stop()
        assert client.line() == b""


def test_the_address(registry: kvreg.Registry) -> None:
    with kvreg.Listener(registry, "0") as listener:
        host, port = listener.address
        assert host == "127.0.0.1"
        assert 0 < port < 65536
        with pytest.raises(kvreg.IOFailed) as caught:
            kvreg.Listener(registry, f"127.0.0.1:{port}")
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.EADDRINUSE
        assert str(caught.value).startswith("Listener: ")
        assert str(caught.value) == caught.value.strerror
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (copied.errno, str(copied)) == (errno.EADDRINUSE, str(caught.value))
        listener.stop()
        listener.stop()
        assert listener.address == (host, port)
        # The port is free when `stop` returns.
        with kvreg.Listener(registry, str(port)) as again:
            assert again.address == (host, port)
    with pytest.raises(kvreg.Closed):
        _ = listener.address


def test_an_address_of_version_6(registry: kvreg.Registry) -> None:
    try:
        listener = kvreg.Listener(registry, "[::1]:0")
    except kvreg.IOFailed:
        pytest.skip("no loopback of IPv6")
    with listener, Client(listener.address) as client:
        assert listener.address[0] == "::1"
        assert client.ask(b"CREATE shopping") == b"OK\r\n"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1",
        "example.org:80",
        "65536",
        "1:2:3",
        "+5",
        " 5",
        "05",
        "\u0665",
        "[::1]:+5",
    ],
)
def test_what_is_no_address(registry: kvreg.Registry, address: str) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Listener(registry, address)


@posix
def test_a_unix_socket(registry: kvreg.Registry, tmp_path: Path) -> None:
    path = tmp_path / "door"
    with kvreg.Listener(registry, f"unix:{path}") as listener:
        assert listener.address == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Client(listener.address) as client:
            assert client.ask(b"CREATE shopping") == b"OK\r\n"
        with pytest.raises(kvreg.IOFailed):
            kvreg.Listener(registry, f"unix:{path}")
    assert not path.exists()
    with kvreg.Listener(registry, f"unix:{path}", unix_mode=0o666):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


@posix
@pytest.mark.parametrize("path", ["", "/" + "x" * 107, "x" * 5000])
def test_what_is_no_path(registry: kvreg.Registry, path: str) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Listener(registry, f"unix:{path}")


@posix
def test_of_many_that_listen_at_a_stale_socket_one_does(
    registry: kvreg.Registry, tmp_path: Path
) -> None:
    many = 4
    path = tmp_path / "door"
    start = threading.Barrier(many)

    def try_it() -> None:
        start.wait(WAIT)
        try:
            started.append(kvreg.Listener(registry, f"unix:{path}"))
        except kvreg.IOFailed:
            refused.append(1)

    for _ in range(30):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        started: list[kvreg.Listener] = []
        refused: list[int] = []
        threads = [threading.Thread(target=try_it) for _ in range(many)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert (len(started), len(refused)) == (1, many - 1)
        with started[0] as listener, Client(listener.address) as client:
            assert client.ask(b"GET none k") == b"NOT FOUND\r\n"
        assert not path.exists()


@pytest.mark.parametrize("password", ["open sesame", b"\xff\x01"])
def test_a_password(registry: kvreg.Registry, password: str | bytes) -> None:
    told = password.encode() if isinstance(password, str) else password
    with kvreg.Listener(registry, "0", password=password) as listener:
        with Client(listener.address) as client:
            assert client.ask(b"AUTH " + told) == b"OK\r\n"
            assert client.ask(b"CREATE shopping") == b"OK\r\n"
        with Client(listener.address) as client:
            assert client.ask(b"AUTH " + told[:-1]) == b"ERROR\r\n"
            assert client.line() == b""


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "a\nb"},
        {"password": b"\0"},
        {"password": "x" * 1025},
        {"password": "x" * 100, "max_line": 100},
        {"unix_mode": 0o600},
    ],
)
def test_options_that_the_library_refuses(
    registry: kvreg.Registry, wrong: dict[str, Any]
) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Listener(registry, "0", **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "0\0"},
        {"max_connections": 0},
        {"max_connections": 2**32},
        {"max_line": -1},
        {"max_backlog": 2**64},
        {"idle_timeout": 0},
        {"idle_timeout": math.nan},
        {"password": ""},
        {"unix_mode": 0},
        {"unix_mode": 0o1000},
    ],
)
def test_options_that_cannot_be(registry: kvreg.Registry, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        kvreg.Listener(registry, **{"address": "0", **wrong})


def test_arguments_of_another_type(registry: kvreg.Registry, bucket: kvreg.Bucket) -> None:
    with pytest.raises(TypeError, match="expected a Registry, not Bucket"):
        kvreg.Listener(bucket)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an address is a str"):
        kvreg.Listener(registry, 4040)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a password is a str or bytes"):
        kvreg.Listener(registry, "0", password=4040)  # type: ignore[arg-type]


def test_stopping_closes_the_connections(registry: kvreg.Registry) -> None:
    with kvreg.Listener(registry, "0", idle_timeout=math.inf) as listener:
        with Client(listener.address) as client:
            assert client.ask(b"CREATE shopping") == b"OK\r\n"
            listener.stop()
            assert client.line() == b""
        with pytest.raises(ConnectionRefusedError):
            Client(listener.address)
    # The registry goes on.
    assert "shopping" in registry


def test_a_registry_that_stops_stops_its_listener() -> None:
    with kvreg.Registry() as registry:
        listener = kvreg.Listener(registry, "0")
        with Client(listener.address) as client:
            assert client.ask(b"CREATE shopping") == b"OK\r\n"
            registry.stop()
            assert client.line() == b""
            with pytest.raises(kvreg.NoProcess):
                kvreg.Listener(registry, "0")
        listener.stop()
        listener.close()


def test_a_listener_keeps_its_registry_running() -> None:
    registry = kvreg.Registry()
    with kvreg.Listener(registry, "0") as listener, Client(listener.address) as client:
        registry.close()
        assert client.ask(b"CREATE shopping") == b"OK\r\n"
        assert client.ask(b"PUT shopping milk 1") == b"OK\r\n"


def test_a_registry_that_comes_back_is_served_on(registry: kvreg.Registry) -> None:
    with kvreg.Listener(registry, "0") as listener, Client(listener.address) as client:
        assert client.ask(b"CREATE shopping") == b"OK\r\n"
        registry.exit(kvreg.Reason.CRASHED)
        assert client.ask(b"GET shopping milk") == b"NOT FOUND\r\n"
        assert client.ask(b"CREATE shopping") == b"OK\r\n"


def test_too_many_connections(registry: kvreg.Registry) -> None:
    listener = kvreg.Listener(registry, "0", max_connections=1)
    with listener, Client(listener.address) as first:
        assert first.ask(b"CREATE shopping") == b"OK\r\n"
        with Client(listener.address) as second:
            assert second.line() == b"ERROR\r\n"
            assert second.line() == b""
        assert first.ask(b"PUT shopping milk 1") == b"OK\r\n"


def test_a_line_that_is_too_long(registry: kvreg.Registry) -> None:
    with kvreg.Listener(registry, "0", max_line=20, max_backlog=100) as listener:
        with Client(listener.address) as client:
            assert client.ask(b"CREATE shopping") == b"OK\r\n"
            assert client.ask(b"PUT shopping milk 123456") == b"ERROR\r\n"
            assert client.line() == b""
        with Client(listener.address) as client:
            assert client.ask(b"GET shopping milk", 2) == b"\r\nOK\r\n"


def test_an_idle_connection_is_closed(registry: kvreg.Registry) -> None:
    listener = kvreg.Listener(registry, "0", idle_timeout=0.01)
    with listener, Client(listener.address) as client:
        assert client.line() == b""


def test_handles_are_freed(registry: kvreg.Registry) -> None:
    gc.collect()
    before = live_handles()
    listener = kvreg.Listener(registry, "0")
    assert live_handles()["listener"] == before["listener"] + 1
    with Client(listener.address) as client:
        with pytest.warns(ResourceWarning, match="unclosed <kvreg.Listener"):
            del listener
            gc.collect()
        assert live_handles() == before
        # Nobody has it any more: it stops.
        assert client.line() == b""


def test_it_describes_itself(registry: kvreg.Registry) -> None:
    with kvreg.Listener(registry, "0") as listener:
        assert repr(listener).startswith("<kvreg.Listener at ")
    assert repr(listener).startswith("<kvreg.Listener (closed) at ")
