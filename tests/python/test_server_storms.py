"""Storms of restarts, and chains: many servers that crash, and one behind the other."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections import Counter as Tally
from typing import Any

import kvreg
import pytest
from kvreg import Restart
from servers_support import until_gone
from support import SCALE, WAIT, Worker

SERVERS = 12
THREADS = 3
ROUNDS = 300 * max(SCALE, 1)
CHAIN = 256


class Place:
    """What is known of a name, whichever process has it."""

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.inits = itertools.count(1)
        self.said: Tally[str] = Tally()
        self._lock = threading.Lock()

    def note(self, what: str) -> None:
        with self._lock:
            self.said[what] += 1


class Fragile(kvreg.Server, max_restarts=2**32 - 1, restart_period=3600):
    """Crashes as it is told, and of so many beginnings one by itself."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.number = next(place.inits)
        place.note("began")
        # Not the first, whose failure is the starter's.
        if place.fails and self.number > 1 and self.number % place.fails == 0:
            place.note("failed")
            raise RuntimeError("as it begins")
        place.note("made")
        weakref.finalize(self, place.note, "dropped")

    @kvreg.call
    def n(self) -> int:
        return self.number

    @kvreg.call
    def crash(self) -> None:
        self.place.note("crashed")
        raise RuntimeError("when it is called")

    @kvreg.cast
    def crash_later(self) -> None:
        self.place.note("crashed")
        raise RuntimeError("when it was sent something")


class FragileHanding(Fragile, max_restarts=2**32 - 1, restart_period=3600, hand_over=True):
    """The same on the serving thread."""


class Few(Fragile, max_restarts=3, restart_period=3600):
    """Which is not started again so often."""


class FewHanding(Fragile, max_restarts=3, restart_period=3600, hand_over=True):
    """The same on the serving thread."""


ENDED = (kvreg.NoProcess, kvreg.ServerDown)


def look(registry: kvreg.Registry, kind: Any, name: str, number: int) -> None:
    """Has one process crash, after which the name leads to a later one, or to none."""
    try:
        found = kind.find(registry, name)
    except kvreg.ServerNotFound:
        assert issubclass(kind, (Few, FewHanding))
        return
    with found:
        known = 0
        try:
            known = found.n()
            if number % 2:
                found.crash()
            else:
                found.crash_later()
                found.n()
        except ENDED:
            pass
        else:
            raise AssertionError("it lives")
        with pytest.raises(kvreg.NoProcess):
            found.n()
        try:
            with kind.find(registry, name) as later:
                assert later.n() > known
        except kvreg.ServerNotFound:
            assert issubclass(kind, (Few, FewHanding))
        except ENDED:
            pass


def storm(kind: Any, registry: kvreg.Registry) -> dict[str, Place]:
    """Threads crash servers, which begin again."""
    places = {f"{n}": Place(fails=3 * (n % 2)) for n in range(SERVERS)}
    for name, place in places.items():
        kind.start(registry, name, place).close()

    def work(first: int) -> None:
        for number in range(ROUNDS // THREADS):
            look(registry, kind, f"{(number * 7 + first) % SERVERS}", number)

    workers = [Worker(lambda first=first: work(first)) for first in range(THREADS)]  # type: ignore[misc]
    for worker in workers:
        worker.result()
    return places


def all_are_dropped(places: dict[str, Place]) -> None:
    until_gone()
    gc.collect()  # tracebacks lead in circles
    end = time.monotonic() + WAIT
    for name, place in places.items():
        # A thread that serves may have the last of them in its hands yet.
        while place.said["made"] != place.said["dropped"]:
            assert time.monotonic() < end, (name, place.said)
            time.sleep(0.001)
        assert place.said["began"] == place.said["made"] + place.said["failed"], name


@pytest.mark.parametrize("kind", [Fragile, FragileHanding])
def test_names_stay_while_servers_begin_again(kind: Any) -> None:
    with kvreg.Registry() as registry:
        places = storm(kind, registry)
        for name, place in places.items():
            while True:  # the last one may begin, or fail to, now
                try:
                    number = registry.servers[name].call("n")
                    break
                except ENDED:
                    pass
            restarts = registry.servers[name].info().restarts
            assert restarts == place.said["crashed"] + place.said["failed"]
            assert number == restarts + 1 == place.said["began"]
    assert sum(place.said["crashed"] for place in places.values()) > ROUNDS // THREADS
    all_are_dropped(places)


@pytest.mark.parametrize("kind", [Few, FewHanding])
def test_names_are_gone_when_servers_began_too_often(kind: Any) -> None:
    with kvreg.Registry() as registry:
        places = storm(kind, registry)
        for name, place in places.items():
            while name in registry.servers:
                look(registry, kind, name, 1)
            assert place.said["began"] == 4
            assert place.said["crashed"] + place.said["failed"] == 4
        all_are_dropped(places)  # before the registry ends
        assert len(registry.servers) == 0


class Link(kvreg.Server, restart=Restart.TEMPORARY):
    """One of a chain."""

    def __init__(self, deeper: Any) -> None:
        self.deeper = deeper

    @kvreg.call
    def depth(self) -> int:
        try:
            return 1 + (0 if self.deeper is None else self.deeper.depth())
        except kvreg.LimitReached:
            return 1


def test_a_chain_of_servers_is_a_chain_of_frames(registry: kvreg.Registry) -> None:
    chain: Any = None
    for number in range(CHAIN + 1):
        chain = Link.start(registry, f"{number}", chain)
        chain.timeout = WAIT
    # The last one would be the 257th turn of this thread, and so the one before it is the end.
    assert chain.depth() == CHAIN
    assert registry.servers["0"].call("depth") == 1
