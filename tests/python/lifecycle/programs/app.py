"""A web application whose workers each start a registry when they first need one.

Gunicorn loads it in its master, which uses kvreg at once: as an application does whose modules
keep something of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any, Callable

import kvreg

kvreg.configure(default_timeout=None)  # a busy machine is no failure
preloaded = kvreg.Registry("preloaded")
preloaded.create("counts")["requests"] = 0
# The library has threads, before the workers are forked.
preloaded["counts"].update("cast", lambda _: preloaded["counts"].put_cast("tea", 1), default=0)
assert preloaded["counts"]["tea"] == 1

_lock = threading.Lock()


def counts() -> kvreg.Bucket:
    """This process's own."""
    with _lock:
        try:
            registry = kvreg.Registry.whereis("web")
        except kvreg.RegistryNotFound:
            registry = kvreg.Registry("web")
        try:
            return registry.create("counts")
        finally:
            registry.close()  # it has a name, and runs on


def inherited() -> str:
    try:
        return str(preloaded["counts"]["requests"])
    except kvreg.Error as error:
        return type(error).__name__


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    with counts() as bucket:
        number = bucket.update("requests", lambda n: n + 1, default=0)
        bucket.put_cast("last", environ["PATH_INFO"])
        assert bucket["requests"] >= number
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {number} {inherited()}".encode()]
