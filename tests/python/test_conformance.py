"""Buckets against real dicts: whatever is done to both, they agree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
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
from strategies import (
    PROFILE,
    json_values,
    keys,
    names,
    pickle_values,
    same,
    text,
    values,
)
from support import SCALE

_NOTHING = object()
_SET_OPERATIONS = [
    *("__and__", "__or__", "__sub__", "__xor__", "isdisjoint"),
    *("__le__", "__lt__", "__ge__", "__gt__", "__eq__", "__ne__"),
]

_value = st.runner().flatmap(lambda machine: machine.values)
_pairs = st.lists(st.tuples(keys, _value), max_size=5)
_named = st.dictionaries(names, _value, max_size=2)
_default = st.just(_NOTHING) | _value
_condition = st.sampled_from(["none", "absent", "as it is", "as it was", "as it will be"])


class _Spilt(Exception):
    pass


class _Pairs:
    """Neither a mapping nor an iterable, but `dict.update` takes it."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self._pairs = dict(pairs)

    def keys(self) -> Iterable[Any]:
        return self._pairs.keys()

    def __getitem__(self, key: Any) -> Any:
        return self._pairs[key]


def _outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or the built-in exception that it raises and its arguments."""
    try:
        return call()
    except KeyError as error:
        return KeyError, error.args


class BucketMachine(RuleBasedStateMachine):
    codec: kvreg.Codec | None = None
    values: st.SearchStrategy[Any] = values

    def __init__(self) -> None:
        super().__init__()
        self.bucket = kvreg.Bucket(codec=self.codec)
        self.model: dict[str, Any] = {}
        self.last = 0

    def teardown(self) -> None:
        self.agree_wholly()
        self.bucket.close()

    def _put(self, key: kvreg.Key, value: Any) -> None:
        self.model[text(key)] = value

    def _agree(self, real: Callable[[], Any], modelled: Callable[[], Any]) -> None:
        got, expected = _outcome(real), _outcome(modelled)
        assert same(got, expected), (got, expected)

    # What is there

    @invariant()
    def agree_in_number(self) -> None:
        assert len(self.bucket) == len(self.model)
        assert bool(self.bucket) == bool(self.model)

    @rule()
    def agree_wholly(self) -> None:
        for found in (
            dict(self.bucket),
            dict(self.bucket.items()),
            {**self.bucket},
            dict(zip(self.bucket, self.bucket.get_many(self.bucket))),
            self.bucket | {},
        ):
            assert same(found, self.model)
        assert sorted(self.bucket) == sorted(self.bucket.keys()) == sorted(self.model)
        assert len(list(self.bucket.values())) == len(self.model)

    @rule(key=keys)
    def get(self, key: kvreg.Key) -> None:
        self._agree(lambda: self.bucket[key], lambda: self.model_of(key))
        assert same(self.bucket.get(key), self.model.get(text(key)))
        assert self.bucket.get(key, _NOTHING) is _NOTHING or text(key) in self.model
        for place in (self.bucket, self.bucket.keys()):
            assert (key in place) == (text(key) in self.model)

    def model_of(self, key: kvreg.Key) -> Any:
        if text(key) not in self.model:
            raise KeyError(key)
        return self.model[text(key)]

    @rule(chosen=st.lists(keys, max_size=5))
    def get_many(self, chosen: list[kvreg.Key]) -> None:
        expected = [self.model.get(text(key)) for key in chosen]
        assert same(self.bucket.get_many(chosen), expected)
        assert same(self.bucket.get_many(iter(chosen)), expected)

    # One key

    @rule(key=keys, value=_value)
    def put(self, key: kvreg.Key, value: Any) -> None:
        self.bucket[key] = value
        self._put(key, value)
        assert same(self.bucket[key], self.model[text(key)])

    @rule(key=keys, value=_value)
    def put_cast(self, key: kvreg.Key, value: Any) -> None:
        self.bucket.put_cast(key, value)
        self._put(key, value)

    @rule(key=keys)
    def delete_cast(self, key: kvreg.Key) -> None:
        self.bucket.delete_cast(key)
        self.model.pop(text(key), None)

    @rule(key=keys)
    def delete(self, key: kvreg.Key) -> None:
        def modelled() -> None:
            self.model_of(key)
            del self.model[text(key)]

        self._agree(lambda: self.bucket.__delitem__(key), modelled)

    @rule(key=keys, default=_default)
    def pop(self, key: kvreg.Key, default: Any) -> None:
        def modelled() -> Any:
            if default is _NOTHING:
                self.model_of(key)
            return self.model.pop(text(key), default)

        arguments = () if default is _NOTHING else (default,)
        self._agree(lambda: self.bucket.pop(key, *arguments), modelled)

    @rule()
    def popitem(self) -> None:
        if self.model:
            key, value = self.bucket.popitem()
            assert same(value, self.model.pop(key))
        else:
            with pytest.raises(KeyError):
                self.bucket.popitem()

    @rule(key=keys, default=_default)
    def setdefault(self, key: kvreg.Key, default: Any) -> None:
        arguments = () if default is _NOTHING else (default,)
        got = self.bucket.setdefault(key, *arguments)
        assert same(got, self.model.setdefault(text(key), *arguments))

    @rule()
    def clear(self) -> None:
        self.bucket.clear()
        self.model.clear()

    # Revisions and conditions

    @invariant()
    def revisions_rise(self) -> None:
        """That of the last change is the largest; without a change it stays as it is."""
        last = self.bucket.revision()
        assert last >= self.last
        self.last = last

    @rule(key=keys, value=_value, condition=_condition)
    def put_on_a_condition(self, key: kvreg.Key, value: Any, condition: str) -> None:
        there, current = text(key) in self.model, 0
        if there:
            found, current, ttl = self.bucket.entry(key)
            assert same(found, self.model[text(key)])
            assert 0 < current <= self.last
            assert ttl is None
        else:
            with pytest.raises(KeyError) as absent:
                self.bucket.entry(key)
            assert absent.value.args == (key,)
        conditions: dict[str, dict[str, Any]] = {
            "none": {},
            "absent": {"if_absent": True},
            "as it is": {"if_revision": current},
            "as it was": {"if_revision": max(current - 1, 0)},
            "as it will be": {"if_revision": self.last + 1},
        }
        fits = {"none": True, "absent": not there, "as it is": True}.get(condition, False)
        if condition == "as it was":
            fits = current == 0  # which is no revision: the key has to be absent
        if not fits:
            with pytest.raises(kvreg.Conflict):
                self.bucket.put(key, value, **conditions[condition])
            return
        revision = self.bucket.put(key, value, **conditions[condition])
        assert revision == self.bucket.revision() > self.last
        self._put(key, value)

    @rule(key=keys, condition=st.sampled_from(["none", "as it is", "as it was"]))
    def remove(self, key: kvreg.Key, condition: str) -> None:
        if text(key) not in self.model:
            for revision in (None, 7):
                with pytest.raises(KeyError) as absent:
                    self.bucket.remove(key, if_revision=revision)
                assert absent.value.args == (key,)
            return
        current = self.bucket.entry(key).revision
        if condition == "as it was":
            with pytest.raises(kvreg.Conflict):
                self.bucket.remove(key, if_revision=current + 1)
            return
        self.bucket.remove(key, if_revision=None if condition == "none" else current)
        del self.model[text(key)]

    @rule(key=keys, expected=_default, value=_default, known=st.booleans())
    def compare_and_swap(self, key: kvreg.Key, expected: Any, value: Any, known: bool) -> None:
        current = self.model.get(text(key), _NOTHING)
        expected = current if known else expected
        given = [kvreg.ABSENT if one is _NOTHING else one for one in (expected, value)]
        if self.codec is not None:
            with pytest.raises(TypeError):
                self.bucket.compare_and_swap(key, *given)
            return
        swapped = self.bucket.compare_and_swap(key, *given)
        assert swapped == (expected is current or same(expected, current))
        if swapped and value is _NOTHING:
            self.model.pop(text(key), None)
        elif swapped:
            self._put(key, value)

    @rule(key=keys, n=st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]))
    def add(self, key: kvreg.Key, n: int) -> None:
        current = self.model.get(text(key), 0)
        if self.codec is not None:
            expected: type[Exception] | None = TypeError
        elif type(current) is not int:
            expected = kvreg.WrongType
        else:
            expected = None if -(2**63) <= current + n < 2**63 else kvreg.LimitReached
        if expected is not None:
            with pytest.raises(expected):
                self.bucket.add(key, n)
            return
        assert self.bucket.add(key, n) == current + n
        self._put(key, current + n)

    # Many keys

    @rule(
        pairs=_pairs,
        named=_named,
        form=st.sampled_from([dict, list, iter, tuple, _Pairs, lambda _: {}]),
    )
    def update(
        self, pairs: list[Any], named: dict[str, Any], form: Callable[[Any], Any]
    ) -> None:
        self.bucket.update(form(pairs), **named)
        self._put_all(form, pairs)
        self._put_all(dict, named.items())

    @rule(named=_named)
    def update_named(self, named: dict[str, Any]) -> None:
        self.bucket.update(**named)
        self._put_all(dict, named.items())

    @rule(pairs=_pairs, form=st.sampled_from([dict, list, iter]))
    def put_many(self, pairs: list[Any], form: Callable[[Any], Any]) -> None:
        self.bucket.put_many(form(pairs))
        self._put_all(form, pairs)

    @rule(pairs=_pairs, form=st.sampled_from([dict, list, iter, _Pairs]))
    def merge_in(self, pairs: list[Any], form: Callable[[Any], Any]) -> None:
        before = self.bucket
        self.bucket |= form(pairs)
        assert self.bucket is before
        self._put_all(form, pairs)

    def _put_all(self, form: Callable[[Any], Any], pairs: Iterable[tuple[Any, Any]]) -> None:
        given = form(pairs)
        if isinstance(given, _Pairs):
            given = given._pairs
        if isinstance(given, dict):
            given = given.items()
        for key, value in given:
            self._put(key, value)

    @rule(named=_named)
    def merge(self, named: dict[str, Any]) -> None:
        assert same(self.bucket | named, {**self.model, **named})
        assert same(named | self.bucket, {**named, **self.model})
        merged = dict(named)
        merged |= self.bucket
        assert same(merged, {**named, **self.model})

    # Updates by a function

    @rule(
        key=keys,
        answer=st.sampled_from([kvreg.KEEP, kvreg.REMOVE, _Spilt("milk")]) | _value,
        default=_default,
    )
    def update_by(self, key: kvreg.Key, answer: Any, default: Any) -> None:
        seen = []

        def decide(given: Any) -> Any:
            seen.append(given)
            if isinstance(answer, _Spilt):
                raise answer
            return answer

        def real() -> Any:
            if default is _NOTHING:
                return self.bucket.update(key, decide)
            return self.bucket.update(key, decide, default=default)

        if text(key) not in self.model and default is _NOTHING:
            with pytest.raises(KeyError) as absent:
                real()
            assert absent.value.args == (key,)
            assert seen == []
            return
        given = self.model.get(text(key), default)
        if isinstance(answer, _Spilt):
            with pytest.raises(_Spilt) as caught:
                real()
            assert caught.value is answer
        elif answer is kvreg.KEEP:
            assert same(real(), given)
        elif answer is kvreg.REMOVE:
            assert real() is None
            self.model.pop(text(key), None)
        else:
            assert same(real(), answer)
            self._put(key, answer)
        assert same(seen, [given])

    # What cannot be stored changes nothing

    @rule(
        key=st.sampled_from([None, 1, 1.5, (), ("a",), [], "\ud800"])
        | st.just(65537).map(lambda size: "k" * size)
        | st.just(65537).map(lambda size: b"k" * size)
    )
    def wrong_key(self, key: Any) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: self.bucket[key],
            lambda: self.bucket.get(key),
            lambda: self.bucket.__setitem__(key, 1),
            lambda: self.bucket.__setitem__(key, None),
            lambda: self.bucket.__delitem__(key),
            lambda: self.bucket.pop(key, None),
            lambda: self.bucket.setdefault(key, 1),
            lambda: self.bucket.put_cast(key, 1),
            lambda: self.bucket.delete_cast(key),
            lambda: self.bucket.update(key, lambda n: n, default=1),
            lambda: self.bucket.update([("a", 1), (key, 1)]),
            lambda: self.bucket.put_many([("a", 1), (key, 1)]),
            lambda: self.bucket.get_many([key]),
            lambda: self.bucket.entry(key),
            lambda: self.bucket.put(key, 1, if_absent=True),
            lambda: self.bucket.remove(key),
            lambda: self.bucket.remove(key, if_revision=1),
        ]
        expected = ValueError if isinstance(key, (str, bytes)) else TypeError
        for call in calls:
            with pytest.raises(expected):
                call()
        for place in (self.bucket, self.bucket.keys()):
            assert key not in place
        assert (key, 1) not in self.bucket.items()

    # Views

    @rule(chosen=st.sets(keys.map(text), max_size=4))
    def views_of_keys(self, chosen: set[str]) -> None:
        real, modelled = self.bucket.keys(), self.model.keys()
        assert real == modelled
        for operation in _SET_OPERATIONS:
            for other in (chosen, modelled, set(list(modelled)[:2])):
                got = getattr(real, operation)(other)
                assert got == getattr(set(modelled), operation)(set(other)), operation
        assert chosen & real == chosen & modelled
        assert chosen - real == chosen - modelled
        assert len(real) == len(modelled)

    @rule(value=_value)
    def views_of_values(self, value: Any) -> None:
        real, modelled = list(self.bucket.values()), list(self.model.values())
        assert len(self.bucket.values()) == len(modelled)
        for expected in modelled:
            assert any(same(expected, got) for got in real)
        if value == value:
            assert (value in self.bucket.values()) == (value in modelled)

    @rule(key=keys, value=_value)
    def views_of_items(self, key: kvreg.Key, value: Any) -> None:
        key = text(key)
        found = self.model.get(key, _NOTHING)
        for choice in (value, found):
            if choice == choice:
                expected = (key, choice) in self.model.items()
                assert ((key, choice) in self.bucket.items()) == expected
        assert same(
            sorted(self.bucket.items(), key=lambda pair: pair[0]),
            sorted(self.model.items(), key=lambda pair: pair[0]),
        )

    # Others

    @rule(key=keys, value=_value)
    def another_bucket(self, key: kvreg.Key, value: Any) -> None:
        with kvreg.Bucket(codec=self.codec) as other:
            other.update(self.bucket)
            equal = all(value == value for value in self.model.values())
            if equal and self.codec is None:
                assert other == self.bucket
                assert self.bucket == self.model == other
                assert (self.bucket != self.model) is False
            other[key] = value
            assert same(dict(other.items()), {**self.model, text(key): value})
            assert len(other) == len({*self.model, text(key)})
        pairs: object = [("a", 1)]
        assert self.bucket != pairs

    @rule(key=keys, value=_value)
    def another_handle(self, key: kvreg.Key, value: Any) -> None:
        with copy.copy(self.bucket) as other:
            assert other.codec is self.codec
            other[key] = value
        self._put(key, value)


class JSONMachine(BucketMachine):
    codec = kvreg.JSON
    values = json_values


class PickleMachine(BucketMachine):
    codec = kvreg.PICKLE
    values = pickle_values


@pytest.mark.parametrize(
    ("machine", "examples"),
    [(BucketMachine, 50), (JSONMachine, 15), (PickleMachine, 15)],
    ids=["plain", "json", "pickle"],
)
def test_a_bucket_behaves_as_a_dict(machine: type[BucketMachine], examples: int) -> None:
    steps = settings(PROFILE, max_examples=max(1, SCALE) * examples, stateful_step_count=40)
    run_state_machine_as_test(machine, settings=steps)
