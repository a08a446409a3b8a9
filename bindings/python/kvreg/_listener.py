"""Listeners: the text protocol of a registry over TCP."""

from __future__ import annotations

import math

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
    r"""A listener: serves the text protocol of a registry over TCP, on the library's threads.

    `address` is like "127.0.0.1:4040" or "[::1]:4040"; a port alone is on loopback, and port
    0 is any that is free: see the property `address`. As a context manager it is stopped at
    the end of the block. It stops too when it is closed, and with its registry, which it
    keeps running. There is no password: who can connect can change everything.

    `max_connections` is 1,024: one more gets `ERROR` and is closed. `max_line` is the bytes
    of a request: 65,536; a longer one is a failure. `max_backlog` is the bytes that wait for
    a subscriber who does not read, before it is cut off: 1,048,576. `idle_timeout` is the
    seconds from one request to the end of the next, after which a connection is closed: 300;
    `math.inf` is for ever.

    >>> import kvreg, socket
    >>> with kvreg.Registry() as registry, kvreg.Listener(registry, "127.0.0.1:0") as listener:
    ...     with socket.create_connection(listener.address) as connection:
    ...         connection.sendall(b"CREATE shopping\r\n")
    ...         print(connection.recv(64), list(registry))
    b'OK\r\n' ['shopping']

    Threads: any thread may use a listener; connections are served by the library's own.

    Errors: `IOFailed` when the system refuses the address, `InvalidArgument` for what is none,
    `Closed` after `close`.
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
    ) -> None:
        """Listens from here on. Never blocks."""
        if not isinstance(registry, Registry):
            raise TypeError(f"expected a Registry, not {type(registry).__name__}")
        if not isinstance(address, str):
            raise TypeError(f"an address is a str, not {type(address).__name__}")
        where = address.encode("utf-8")
        if b"\0" in where:
            raise ValueError("an address has no NUL")
        options = _abi.ListenerOptions(
            max_connections=count_32("max_connections", max_connections),
            max_line=count("max_line", max_line),
            max_backlog=count("max_backlog", max_backlog),
            idle_timeout_ms=(
                -1 if idle_timeout == math.inf else span("idle_timeout", idle_timeout)
            ),
        )
        super().__init__(*obtain("kvreg_listener_start", registry._handle, where, options))
        follow(asynchronous=True)  # its connections are logged whenever they come

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port it listens on, as `socket` takes them. Never blocks."""
        text = _abi.Value()
        self._call("kvreg_listener_address", text)
        host, _, port = take_bytes(self._library, text).decode().rpartition(":")
        return host.strip("[]"), int(port)

    def stop(self) -> None:
        """Stops listening and closes all connections; when it returns the port is free.

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
