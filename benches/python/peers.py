"""What else there is for Python, as mappings; and a dict with a lock, as the yardstick."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import diskcache
import lmdb
import redis

_MAP = 1 << 28
"""Bytes that lmdb may map."""


class Locked:
    """A dict with a lock, as one shares it between threads."""

    def __init__(self) -> None:
        self._items: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> Any:
        with self._lock:
            return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        with self._lock:
            self._items[key] = value

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._items

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._items))

    def update(self, key: str, fn: Callable[[Any], Any]) -> Any:
        """As `kvreg.Bucket.update`."""
        with self._lock:
            value = self._items[key] = fn(self._items[key])
            return value

    def add(self, key: str, n: int = 1) -> int:
        """As `kvreg.Bucket.add`."""
        with self._lock:
            total: int = self._items.get(key, 0) + n
            self._items[key] = total
            return total

    def get_many(self, keys: list[str]) -> list[Any]:
        """As `kvreg.Bucket.get_many`."""
        with self._lock:
            return [self._items.get(key) for key in keys]

    def put_many(self, pairs: dict[str, Any]) -> None:
        """As `kvreg.Bucket.put_many`."""
        with self._lock:
            self._items.update(pairs)

    def items(self) -> list[tuple[str, Any]]:
        """As `kvreg.Bucket.items`, at one instant."""
        with self._lock:
            return list(self._items.items())


class Lmdb:
    """A transaction for each call: what is read is copied out of it."""

    def __init__(self, directory: str) -> None:
        # What is not on the disk yet may be lost: kvreg has no disk.
        self._environment = lmdb.open(directory, map_size=_MAP, sync=False)

    def __getitem__(self, key: str) -> bytes | None:
        with self._environment.begin() as transaction:
            found: bytes | None = transaction.get(key.encode())
            return found

    def __setitem__(self, key: str, value: bytes) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.put(key.encode(), value)

    def close(self) -> None:
        """Closes it."""
        self._environment.close()


class Redis:
    """A server of its own, by a socket of this machine."""

    def __init__(self, directory: str) -> None:
        socket = f"{directory}/redis.sock"
        program = shutil.which("redis-server")
        if program is None:
            raise SystemExit(
                "redis-server was not found: tests/requirements.sh bench installs it"
            )
        command = [
            program,
            "--port",
            "0",
            "--unixsocket",
            socket,
            "--save",
            "",
            "--dir",
            directory,
        ]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._client = redis.Redis(unix_socket_path=socket)
        for _ in range(500):
            with contextlib.suppress(redis.ConnectionError):
                self._client.ping()
                return
            time.sleep(0.01)
        raise SystemExit("redis-server does not answer")

    def __getitem__(self, key: str) -> Any:
        return self._client.get(key)

    def __setitem__(self, key: str, value: bytes) -> None:
        self._client.set(key, value)

    def close(self) -> None:
        """Ends the server."""
        self._client.close()
        self._server.terminate()
        self._server.wait()


@contextlib.contextmanager
def peers() -> Iterator[dict[str, Any]]:
    """By their names; all are gone at the end."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as closed:
        places = {}
        for name in ("lmdb", "diskcache", "redis"):
            places[name] = str(Path(directory, name))
            Path(places[name]).mkdir()
        yield {
            "lmdb": closed.enter_context(contextlib.closing(Lmdb(places["lmdb"]))),
            "diskcache": closed.enter_context(diskcache.Cache(places["diskcache"])),
            "redis-py": closed.enter_context(contextlib.closing(Redis(places["redis"]))),
            "Manager().dict()": closed.enter_context(multiprocessing.Manager()).dict(),
        }


def actor(path: Path, value: bytes) -> Callable[[], bytes]:
    """A get from the plain tokio actor, by ctypes."""
    library = ctypes.CDLL(str(path / "libkvreg_bench_actor.so"))
    texts: list[Any] = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.actor_put.argtypes = texts
    library.actor_get.argtypes = texts
    library.actor_get.restype = ctypes.c_int64
    library.actor_put(b"k", 1, value, len(value))
    buffer = ctypes.create_string_buffer(64)

    def get() -> bytes:
        length: int = library.actor_get(b"k", 1, buffer, 64)
        return buffer.raw[:length]

    assert get() == value
    return get
