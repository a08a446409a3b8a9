"""Listeners: the text protocol of a registry over TCP, or a unix socket."""

from __future__ import annotations

import math
from typing import Any

from . import _abi
from ._constants import Status
from ._handle import Handle, obtain
from ._logging import follow
from ._options import count, count_32, span
from ._registry import Registry
from ._values import take_bytes

# To the end of a block these are as good as its own stop; after a fork it is the parent's.
_ENDED = (Status.FORKED, Status.SHUT_DOWN)


class Listener(Handle):
    r"""A listener: serves the text protocol of a registry, on the library's threads.

    `address` is like "127.0.0.1:4040" or "[::1]:4040"; a port alone is on loopback, and port
    0 is any that is free: see the property `address`. "unix:PATH" is a unix socket: the file
    of one that nobody listens at is replaced, and it is removed when the listener stops. As a
    context manager it is stopped at the end of the block. It stops too when it is closed, and
    with its registry, which it keeps running. Who can connect can change everything, unless
    there is a password.

    `max_connections` is 1,024: one more gets `ERROR` and is closed. `max_line` is the bytes
    of a request: 65,536; a longer one is a failure. `max_backlog` is the bytes that wait for
    a subscriber who does not read, before it is cut off: 1,048,576. `idle_timeout` is the
    seconds from one request to the end of the next, after which a connection is closed: 300;
    `math.inf` is for ever. `password` is text or bytes, without a line break: a connection is
    closed unless its first line is `AUTH` and the password. `unix_mode` is that of the file of
    a unix socket, who may connect: 0o600, the owner alone.

    >>> import kvreg, socket
    >>> with kvreg.Registry() as registry, kvreg.Listener(registry, "127.0.0.1:0") as listener:
    ...     with socket.create_connection(listener.address) as connection:
    ...         connection.sendall(b"CREATE shopping\r\n")
    ...         print(connection.recv(64), list(registry))
    b'OK\r\n' ['shopping']

    Threads: any thread may use a listener; connections are served by the library's own.

    Errors: `IOFailed` when the system refuses the address or somebody listens there,
    `InvalidArgument` for what is none, `Unsupported` for a unix socket on Windows, `Closed`
    after `close`.
    """

    __slots__ = ()

    _kind = "listener"

    def __init__(
        self,
        registry: Registry,
        address: str = "127.0.0.1:4040",
        *,
        max_connections: int | None = None,
        max_line: int | None = None,
        max_backlog: int | None = None,
        idle_timeout: float | None = None,
        password: str | bytes | None = None,
        unix_mode: int | None = None,
    ) -> None:
        """Listens from here on.

        Blocks for half a second at most, and only if another process has the lock of the
        directory of a unix socket.
        """
        if not isinstance(registry, Registry):
            raise TypeError(f"expected a Registry, not {type(registry).__name__}")
        if not isinstance(address, str):
            raise TypeError(f"an address is a str, not {type(address).__name__}")
        where = address.encode("utf-8")
        if b"\0" in where:
            raise ValueError("an address has no NUL")
        if isinstance(password, str):
            password = password.encode("utf-8")
        if password is not None and not isinstance(password, bytes):
            raise TypeError(f"a password is a str or bytes, not {type(password).__name__}")
        if password is not None and not password:
            raise ValueError("a password is not empty")
        options = _abi.ListenerOptions(
            max_connections=count_32("max_connections", max_connections),
            max_line=count("max_line", max_line),
            max_backlog=count("max_backlog", max_backlog),
            idle_timeout_ms=(
                -1 if idle_timeout == math.inf else span("idle_timeout", idle_timeout)
            ),
            unix_mode=count("unix_mode", unix_mode, 0o777),
            password=password,
            password_len=len(password or b""),
        )
        super().__init__(*obtain("kvreg_listener_start", registry._handle, where, options))
        follow(asynchronous=True)  # its connections are logged whenever they come

    @property
    def address(self) -> tuple[str, int] | Any:
        """Where it listens, as `socket` takes it. Never blocks.

        It is the host and the port, or the path of a unix socket: a `str`.
        """
        text = _abi.Value()
        self._call("kvreg_listener_address", text)
        address = take_bytes(self._library, text).decode()
        if address.startswith("unix:"):
            return address[len("unix:") :]
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)

    def stop(self) -> None:
        """Stops listening and closes all connections; when it returns the address is free.

        Stopping again is fine. Waits for the library's threads, which wait for nobody.
        """
        self._call_blocking("kvreg_listener_stop")

    def __del__(self) -> None:
        self._warn_if_open()
        super().__del__()

    def __exit__(self, *exception: object) -> None:
        try:
            if not self.closed:
                status = self._library.kvreg_listener_stop(self._handle)
                if status not in _ENDED:
                    self._check(status)
        finally:
            self.close()
