"""A web application whose workers each start a server when they first need one.

As `app`, with a server that is written in Python in the place of a bucket: the master has one
too, at work, and the thread that serves it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any, Callable

import kvreg

kvreg.configure(default_timeout=None)  # a busy machine is no failure


class Counts(kvreg.Server):
    """Counts requests, and what was sent for each."""

    def __init__(self) -> None:
        self.requests = 0
        self.sent = 0
        self.ticks = threading.Event()
        self.send_after(0, "tick")

    @kvreg.call
    def request(self) -> int:
        self.requests += 1
        return self.requests

    @kvreg.cast
    def note(self) -> None:
        self.sent += 1

    @kvreg.call
    def sums(self) -> tuple[int, int]:
        return self.requests, self.sent

    @kvreg.call
    def event(self) -> threading.Event:
        return self.ticks

    def on_info(self, tag: str, *values: Any) -> None:
        self.ticks.set()
        self.send_after(0.001, tag)


class Handed(Counts, hand_over=True):
    """The same on the serving thread."""


preloaded = kvreg.Registry("preloaded")
masters = Counts.start(preloaded, "counts")
masters.note()
assert masters.sums() == (0, 1)
# It is served, and goes on to be, before the workers are forked.
assert masters.event().wait(300)

_lock = threading.Lock()


def own() -> tuple[Counts, Handed]:
    """This process's own."""
    with _lock:
        try:
            registry = kvreg.Registry.whereis("web")
        except kvreg.RegistryNotFound:
            registry = kvreg.Registry("web")
        try:
            return Counts.start(registry, "counts"), Handed.start(registry, "handed")
        finally:
            registry.close()  # it has a name, and runs on


def inherited() -> str:
    try:
        return str(masters.request())
    except kvreg.Error as error:
        return type(error).__name__


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    counts, handed = own()
    with counts, handed:
        handed.note()
        number = handed.request()
        assert counts.request() > 0
        requests, sent = handed.sums()
        assert number <= requests <= sent
        assert handed.event().wait(300)  # there is a thread that serves here
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {number} {inherited()}".encode()]
