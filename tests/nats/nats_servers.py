"""Servers of a test's own, on loopback: one, or three that are a cluster; and roads to them.

They listen where the system has room, keep their data in folders of their own, and are killed
at the end, or when the test's process is.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, TypeVar

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

WAIT = 120.0
"""Seconds after which a test that waits has failed."""

PROGRAM = os.environ.get("KVREG_NATS_SERVER") or shutil.which("nats-server") or "nats-server"

_Result = TypeVar("_Result")

# The kernel kills it when this process ends, however that is; of Linux, where these tests run.
_DIES_WITH_US = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)


def until(condition: Callable[[], _Result], what: str) -> _Result:
    """What a condition gives when it is true at last."""
    end = time.monotonic() + WAIT
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Of so many different ones."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Server:
    """A server; to be started by the main thread, with which it ends."""

    def __init__(self, port: int, folder: Path, configuration: str = "") -> None:
        """Not started yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.folder, self.data = port, folder, folder / "data"
        self._configuration = folder / "conf"
        self._configuration.write_text(
            f"host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: '{self.data}' }}\n"
            f"{configuration}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For kvreg and for other clients."""
        return f"nats://{self.host}"

    def begin(self) -> bool:
        """Starts it: whether it runs."""
        command = [sys.executable, "-S", "-c", _DIES_WITH_US, PROGRAM]
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [*command, "-c", str(self._configuration)], stdout=log, stderr=log
            )
        end = time.monotonic() + WAIT
        while not self._greets():
            if process.poll() is not None:
                return False
            assert time.monotonic() < end, "the server does not begin"
            time.sleep(0.01)
        self._process = process
        return True

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), WAIT) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False

    @property
    def runs(self) -> bool:
        """Whether it was started and not killed; it may be frozen."""
        return self._process is not None

    def kill(self) -> None:
        """As by a crash: what it has stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """On the same port, with the same data."""
        self.kill()
        until(self.begin, "the server begins again")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        """It does nothing more, and its connections stay."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)


@contextmanager
def started(
    make: Callable[[list[int], Path], list[Server]], ports: int
) -> Iterator[list[Server]]:
    """Servers of these ports, which another program may take before they do: then of others."""
    with tempfile.TemporaryDirectory(
        prefix="kvreg-nats-", ignore_cleanup_errors=True
    ) as folder:
        for attempt in range(20):
            servers = make(free_ports(ports), Path(folder) / str(attempt))
            try:
                if all(server.begin() for server in servers):
                    yield servers
                    return
            finally:
                for server in servers:
                    server.kill()
    raise AssertionError("no server can be started")


@contextmanager
def one_server(configuration: str = "") -> Iterator[Server]:
    """One by itself."""
    with started(lambda ports, at: [Server(ports[0], at, configuration)], 1) as servers:
        yield servers[0]


class Road:
    """A port that leads to a server, as long as it is open."""

    def __init__(self, target: int, port: int = 0) -> None:
        """Leads to that port from this one, or from any."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._is_blocked = False
        self._passes = threading.Event()
        self._passes.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        """Where it begins."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For kvreg and for other clients."""
        return f"nats://{self.host}"

    def block(self) -> None:
        """Ends all connections, and lets no other pass."""
        with self._lock:
            self._is_blocked = True
            self._end_all()

    def _end_all(self) -> None:
        for end in self._ends:
            _shut(end)
        self._ends.clear()

    def hold(self) -> None:
        """Nothing passes any more, and nobody is told: as when a cable is cut."""
        self._passes.clear()

    def open(self) -> None:
        """All passes again, what was held too."""
        with self._lock:
            self._is_blocked = False
        self._passes.set()

    def close(self) -> None:
        """There is no road any more."""
        _shut(self._listener)
        self._listener.close()
        self.block()
        self._passes.set()

    def _accept(self) -> None:
        while True:
            try:
                come, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._lock:
                    if self._is_blocked:
                        come.close()
                        continue
                    go = socket.create_connection(("127.0.0.1", self._target), WAIT)
                    go.settimeout(None)
                    self._ends += [come, go]
            except OSError:
                come.close()
                continue
            both = _Both(come, go)
            for source, sink in ((come, go), (go, come)):
                threading.Thread(
                    target=self._pass, args=(source, sink, both), daemon=True
                ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, both: _Both) -> None:
        try:
            while True:
                data = source.recv(65536)
                self._passes.wait()
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        _shut(source)
        _shut(sink)
        with self._lock:
            self._ends = [end for end in self._ends if end is not source]
        both.left()


class _Both:
    """The two ends of a road's connection, closed when neither direction needs them."""

    def __init__(self, *ends: socket.socket) -> None:
        self._ends, self._lock, self._count = ends, threading.Lock(), 2

    def left(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                for end in self._ends:
                    end.close()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Cluster:
    """Three servers, and a road to each, by which its clients come."""

    def __init__(self, servers: list[Server], roads: list[Road]) -> None:
        """Of servers that run."""
        self.servers, self.roads = servers, roads

    @property
    def direct(self) -> str:
        """A URL of all servers."""
        return "nats://" + ",".join(server.host for server in self.servers)

    @property
    def url(self) -> str:
        """The same by the roads."""
        return "nats://" + ",".join(road.host for road in self.roads)

    def leader_of(self, stream: str) -> int | None:
        """Which server leads a stream, if one does and tells."""
        for server in self.servers:
            if server.runs:
                try:
                    info = asked(server.url, lambda js: js.stream_info(stream), 2)
                except Exception:
                    continue
                if info.cluster is not None and info.cluster.leader:
                    return int(info.cluster.leader.removeprefix("s"))
        return None

    def await_leader(self, stream: str) -> int:
        """Which one leads, when one does."""
        return until(lambda: (self.leader_of(stream) or 0) + 1, f"{stream} has no leader") - 1

    def mend(self) -> None:
        """All run, and all roads are open."""
        for server, road in zip(self.servers, self.roads):
            road.open()
            if server.runs:
                server.thaw()
            else:
                server.restart()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """One of three servers, which can store something."""

    def make(ports: list[int], folder: Path) -> list[Server]:
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[3:])
        return [
            Server(
                ports[i],
                folder / str(i),
                # Clients that come by the roads are not told of other ways.
                f"server_name: s{i}\ncluster {{ name: test, no_advertise: true, "
                f"listen: '127.0.0.1:{ports[3 + i]}', routes: [{routes}] }}",
            )
            for i in range(3)
        ]

    with started(make, 6) as servers:
        roads = [Road(server.port) for server in servers]
        try:
            whole = Cluster(servers, roads)
            until(lambda: _can_store(whole), "the cluster has no leader")
            yield whole
        finally:
            for road in roads:
                road.close()


def _can_store(whole: Cluster) -> bool:
    async def store(js: JetStreamContext) -> bool:
        await js.create_key_value(bucket="probe", replicas=3)
        return bool(await js.delete_key_value("probe"))

    try:
        return asked(whole.servers[0].url, store, 5)
    except Exception:
        return False


def asked(
    url: str, ask: Callable[[JetStreamContext], Awaitable[_Result]], timeout: float = WAIT
) -> _Result:
    """What another client, nats-py, is answered."""

    async def run() -> _Result:
        async with connected(url) as client:
            return await ask(client.jetstream(timeout=timeout))

    return asyncio.run(asyncio.wait_for(run(), timeout))


class connected:
    """A client of nats-py, for as long as the block."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Client:
        async def silent(error: Exception) -> None:
            pass

        options: dict[str, Any] = {"allow_reconnect": False, "error_cb": silent}
        self._client = await nats.connect(self._url.split(","), **options)
        return self._client

    async def __aexit__(self, *exception: object) -> None:
        await self._client.close()


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with closing(socket.socket()) as probe:
        probe.settimeout(WAIT)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def readable(descriptor: int, timeout: float = WAIT) -> bool:
    """Whether there is something to be read, or soon."""
    return bool(select.select([descriptor], [], [], timeout)[0])
