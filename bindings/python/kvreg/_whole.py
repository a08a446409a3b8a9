"""Mappings that others read as a whole: `dict(bucket)` is one instant, and never raises.

`dict(mapping)` and its kin (`{**mapping}`, `f(**mapping)`, `dict.update`, `|=`, `OrderedDict`)
call `keys()`, iterate what it gives, and look each key up. Between the two another thread may
take a key out or write it, so that the one would raise, and the other tear. All of it is done
by one instruction of the frame that asked, as no loop in Python is: there `keys()`, the
iteration and each look-up are instructions of their own. So where the iteration begins in the
instruction that called `keys()`, what is iterated is a snapshot with its values, and look-ups
from that very instruction are answered from it, each key once. All others see the bucket as it
is.

`MutableMapping.update`, by which `UserDict` and others read, is Python, and is known by its
code.

The frame is held until the last key was looked up, so that no other frame can be mistaken for
it meanwhile. A reading that ended early, by an exception, is thrown away when its thread looks
up a key from elsewhere.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, KeysView, MutableMapping
from types import CodeType, FrameType
from typing import Any, Protocol

from ._accelerated import know

ELSEWHERE = object()
"""The key is looked up in the mapping itself: nobody reads the whole."""

_BY_LOOP: CodeType = vars(MutableMapping)["update"].__code__

know(by_loop=_BY_LOOP)


class Site:
    """Where a call comes from: a thread, a frame, and its instruction."""

    __slots__ = ("frame", "instruction", "thread")

    def __init__(self, method: str) -> None:
        """The site of the call of `method`, in which this is."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_name != method:
            frame = frame.f_back
        # Subclasses and wrappers hand on what they were asked.
        while frame is not None and frame.f_code.co_name == method:
            frame = frame.f_back
        self.thread = threading.get_ident()
        self.frame = frame
        self.instruction = _instruction(frame)

    def is_same(self, other: Site) -> bool:
        """Whether the two calls come from one instruction."""
        return (
            self.frame is other.frame
            and self.instruction == other.instruction
            and self.thread == other.thread
        )

    def is_within(self, other: Site) -> bool:
        """Whether the other instruction still runs, and this is what it called."""
        frame = self.frame
        while frame is not None and frame is not other.frame:
            frame = frame.f_back
        return frame is other.frame and _instruction(frame) == other.instruction


def _instruction(frame: FrameType | None) -> int:
    return -1 if frame is None or frame.f_code is _BY_LOOP else frame.f_lasti


class Reading:
    """A snapshot that somebody reads key by key."""

    __slots__ = ("left", "site")

    def __init__(self, site: Site, pairs: list[tuple[str, Any]]) -> None:
        self.site = site
        self.left: dict[object, Any] = dict(pairs)


class Readable(Protocol):
    """A mapping that can be read as a whole."""

    _readings: list[Reading]

    def _names(self) -> list[str]: ...

    def _snapshot(self) -> list[tuple[str, Any]]: ...


def names(mapping: Readable) -> Iterator[str]:
    """The keys, for `__iter__`."""
    site = Site("__iter__")
    if site.frame is not None and site.frame.f_code is _BY_LOOP:
        return _begin(mapping, site)
    return iter(mapping._names())


def _begin(mapping: Readable, site: Site) -> Iterator[str]:
    pairs = mapping._snapshot()
    readings = mapping._readings
    for other in readings[:]:
        if other.site.is_same(site):  # it ended early, and is tried again
            _forget(readings, other)
    if pairs:
        readings.append(Reading(site, pairs))
    return iter([key for key, _ in pairs])


def looked_up(mapping: Readable, key: object) -> Any:
    """For `__getitem__`: the value in the reading that asks, or ELSEWHERE."""
    site, readings = Site("__getitem__"), mapping._readings
    for reading in readings[:]:
        if reading.site.is_same(site):
            value = reading.left.pop(key, ELSEWHERE)
            if not reading.left:
                _forget(readings, reading)
            return value
        if reading.site.thread == site.thread and not site.is_within(reading.site):
            _forget(readings, reading)
    return ELSEWHERE


def _forget(readings: list[Reading], reading: Reading) -> None:
    with contextlib.suppress(ValueError):  # another thread was faster
        readings.remove(reading)


class WholeKeys(KeysView[str]):
    """Keys as they are at the instant at which an iteration begins."""

    __slots__ = ("_called",)

    _mapping: Any

    def __init__(self, mapping: Readable) -> None:
        super().__init__(mapping)  # type: ignore[arg-type]
        site = Site("keys")
        # Not the frame itself, which may have the view among its variables.
        self._called = id(site.frame), site.instruction

    def __iter__(self) -> Iterator[str]:
        site = Site("__iter__")
        if (id(site.frame), site.instruction) == self._called:
            return _begin(self._mapping, site)
        return iter(self._mapping._names())
