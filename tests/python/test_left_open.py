"""A ResourceWarning for what has more than memory and was left open; and for nothing else."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any, Callable

import kvreg
import pytest
from support import python


def warned(make: Callable[[], Any]) -> list[str]:
    """What is said when the object that is made goes away."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thing = make()
        assert caught == []
        del thing
    assert all(one.category is ResourceWarning for one in caught)
    return [str(one.message) for one in caught]


def listener() -> kvreg.Listener:
    return kvreg.Listener(_served, "127.0.0.1:0")


_served: kvreg.Registry


@pytest.fixture(autouse=True, scope="module")
def only_what_is_made_here_goes_away() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def served(registry: kvreg.Registry) -> None:
    global _served
    _served = registry


KINDS: list[Callable[[], Any]] = [kvreg.Inbox, listener, kvreg.Registry]


@pytest.mark.parametrize("make", KINDS)
def test_what_is_left_open_is_told(make: Callable[[], Any]) -> None:
    [message] = warned(make)
    kind = "Listener" if make is listener else make.__name__
    assert message.startswith(f"unclosed <kvreg.{kind}")


@pytest.mark.parametrize("make", KINDS)
def test_not_after_close_or_a_block(make: Callable[[], Any]) -> None:
    def closed() -> Any:
        thing = make()
        thing.close()
        return thing

    def block() -> Any:
        with make() as thing:
            pass
        return thing

    assert warned(closed) == []
    assert warned(block) == []


def test_not_after_the_stop_of_a_registry() -> None:
    def stopped() -> kvreg.Registry:
        registry = kvreg.Registry()
        registry.stop()
        return registry

    assert warned(stopped) == []


def test_not_for_a_bucket_or_another_handle_or_a_name() -> None:
    registry = kvreg.Registry("left open")
    registry.create("shopping")
    makes: list[Callable[[], Any]] = [
        kvreg.Bucket,
        lambda: registry.create("shopping"),
        lambda: registry["shopping"],
        lambda: registry.clone(),
        lambda: kvreg.Registry.whereis("left open"),
        lambda: kvreg.Registry("left open too"),
    ]
    for make in makes:
        assert warned(make) == []
    kvreg.Registry.whereis("left open too").stop()
    registry.stop()


def test_not_for_what_could_not_be_made() -> None:
    def fail() -> None:
        with pytest.raises(kvreg.AlreadyStarted):
            kvreg.Registry("taken")
        with pytest.raises((kvreg.InvalidArgument, kvreg.IOFailed)):
            kvreg.Listener(_served, "nonsense")
        with pytest.raises(TypeError):
            kvreg.Listener(None)  # type: ignore[arg-type]

    with kvreg.Registry("taken"):
        assert warned(fail) == []


def test_not_at_the_end_of_the_interpreter() -> None:
    code = """
import kvreg
registry, inbox = kvreg.Registry(), kvreg.Inbox()
listener = kvreg.Listener(registry, "127.0.0.1:0")
kept = [kvreg.Registry(), kvreg.Inbox()]
kept.append(kept)
print("done")
"""
    assert python(code) == "done\n"  # and nothing at stderr
