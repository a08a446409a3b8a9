"""Registries against real dicts: whatever is done to both, they agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kvreg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from strategies import PROFILE
from support import SCALE

_bucket_names = st.sampled_from(["a", "b", "shopping", "Grüße", "🥛", "n" * 255])


class RegistryMachine(RuleBasedStateMachine):
    """Each bucket has a number in it, by which the model knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = kvreg.Registry()
        self.model: dict[str, int] = {}
        self.count = 0

    def teardown(self) -> None:
        self.agree()
        self.registry.stop()
        self.registry.close()

    def _began(self, name: str, bucket: kvreg.Bucket) -> None:
        self.count += 1
        assert bucket.setdefault("number", self.count) == self.model.setdefault(
            name, self.count
        )
        assert bucket.name == name

    @invariant()
    def agree(self) -> None:
        assert len(self.registry) == len(self.model)
        assert bool(self.registry) == bool(self.model)
        assert sorted(self.registry) == sorted(self.registry.keys()) == sorted(self.model)
        assert self.registry.keys() == self.model.keys()
        for found in (dict(self.registry), dict(self.registry.items()), {**self.registry}):
            assert {name: bucket["number"] for name, bucket in found.items()} == self.model
        numbers = sorted(bucket["number"] for bucket in self.registry.values())
        assert numbers == sorted(self.model.values())

    @rule(name=_bucket_names)
    def create(self, name: str) -> None:
        self._began(name, self.registry.create(name))

    @rule(name=_bucket_names)
    def create_exclusively(self, name: str) -> None:
        if name in self.model:
            with pytest.raises(kvreg.AlreadyStarted):
                self.registry.create(name, exclusive=True)
        else:
            self._began(name, self.registry.create(name, exclusive=True))

    @rule(name=_bucket_names)
    def create_cast(self, name: str) -> None:
        self.registry.create_cast(name)
        self._began(name, self.registry[name])

    @rule(name=_bucket_names)
    def look_up(self, name: str) -> None:
        assert (name in self.registry) == (name in self.model)
        found = self.registry.get(name)
        assert (found is None) == (name not in self.model)
        if found is not None:
            assert found["number"] == self.model[name]
            assert found in self.registry.values()
            assert (name, found) in self.registry.items()
        else:
            with pytest.raises(KeyError) as caught:
                self.registry[name]
            assert caught.value.args == (name,)
            assert self.registry.get(name, 7) == 7
            pair: Any = (name, None)
            assert pair not in self.registry.items()

    @rule(name=_bucket_names)
    def remove(self, name: str) -> None:
        if name in self.model:
            self.registry.remove(name)
            del self.model[name]
        else:
            with pytest.raises(KeyError) as caught:
                self.registry.remove(name)
            assert caught.value.args == (name,)

    @rule(name=_bucket_names, end=st.sampled_from(["stop", "exit", "close", "clone"]))
    def end(self, name: str, end: str) -> None:
        bucket = self.registry.get(name)
        if bucket is None:
            return
        if end == "close":
            bucket.close()  # the handle, and nothing else
            return
        if end == "clone":
            bucket = bucket.clone()
            end = "stop"
        if end == "stop":
            bucket.stop()
        else:
            bucket.exit(kvreg.Reason.KILLED)
        del self.model[name]
        with pytest.raises(kvreg.NoProcess):
            bucket["number"]

    @rule(
        name=st.sampled_from(["", "a\0b", "\ud800", None, 1, b"a"])
        | st.sampled_from([256, 70_000]).map(lambda size: "n" * size)
    )
    def wrong_name(self, name: Any) -> None:
        for place in (self.registry, self.registry.keys()):
            assert name not in place
        pair: Any = (name, None)
        assert pair not in self.registry.items()
        calls: list[Callable[[], Any]] = [
            lambda: self.registry[name],
            lambda: self.registry.get(name),
            lambda: self.registry.create(name),
            lambda: self.registry.create_cast(name),
            lambda: self.registry.remove(name),
        ]
        for call in calls:
            with pytest.raises(ValueError if isinstance(name, str) else TypeError):
                call()


def test_a_registry_behaves_as_a_dict() -> None:
    steps = settings(PROFILE, max_examples=max(1, SCALE) * 15, stateful_step_count=30)
    run_state_machine_as_test(RegistryMachine, settings=steps)
