"""What the check of histories finds, each planted in a history that holds."""

from __future__ import annotations

from typing import Any

import pytest
from history import CONFLICT, OK, TIMEOUT, UNKNOWN, Broken, Message, Op, broken

MS = 1_000_000


def op(kind: str, value: Any, begin: int, end: int, revision: int = 0, **more: Any) -> Op:
    """A call, from a millisecond to another."""
    facts: dict[str, Any] = {"expected": 0, "timeout": 1.0, "outcome": OK, "key": "k", **more}
    return Op(
        0, "b", kind, facts["key"], value, facts["expected"], facts["timeout"],
        begin * MS, end * MS, facts["outcome"], revision, facts.get("total", 0),
    )  # fmt: skip


PUT = op("put", "a", 0, 10, 1)
NEXT = op("put_if", "b", 20, 30, 2, expected=1)
READ = op("get", "b", 40, 50, 2)
MESSAGES = [Message(1, "k", "a"), Message(2, "k", "b")]


def check(*ops: Op, stream: list[Message] | None = None) -> list[Broken]:
    return broken(list(ops), stream)


def test_a_history_that_holds() -> None:
    maybe = op("put", "c", 25, 26, outcome=UNKNOWN)
    never = op("put", "d", 25, 26, outcome=TIMEOUT)
    refused = op("put_if", "e", 25, 26, outcome=CONFLICT)
    assert check(PUT, NEXT, READ, maybe, never, refused) == []
    assert check(PUT, NEXT, READ, maybe, never, refused, stream=MESSAGES) == []
    stored = [*MESSAGES, Message(3, "k", "c")]
    assert check(PUT, NEXT, READ, maybe, stream=stored) == []
    # Beside another call either may come first.
    assert check(PUT, NEXT, op("get", "a", 25, 35, 1), op("get", None, 5, 8)) == []


@pytest.mark.parametrize(
    "planted, stream",
    [
        (op("get", "a", 40, 50, 1), None),  # it is overtaken
        (op("get", None, 40, 50, 0), None),
        (op("get", "x", 40, 50, 3), None),  # nobody stored it
        (op("get", "x", 40, 50, 2), None),  # another value of that revision
        (op("put", "c", 40, 50, 2), None),  # a revision twice
        (op("put_if", "c", 40, 50, 3, expected=1), None),  # it was overtaken before
        (op("put", "c", 40, 50, outcome=TIMEOUT), Message(3, "k", "c")),
        (op("put_if", "c", 40, 50, outcome=CONFLICT), Message(3, "k", "c")),
        (op("put", "c", 40, 50, 3), [Message(3, "k", "c"), Message(4, "k", "c")]),  # twice
        (op("put", "c", 40, 50, 3), []),  # lost
        (op("put", "c", 40, 1140, outcome=TIMEOUT), None),  # late
        (op("put", "c", 40, 50, outcome=UNKNOWN), Message(1, "k", "c")),  # before it was begun
    ],
)
def test_what_does_not_hold(planted: Op, stream: Any) -> None:
    messages = None
    if stream is not None:
        added = [stream] if isinstance(stream, Message) else stream
        messages = [it for it in MESSAGES if it.revision not in {a.revision for a in added}]
        messages = sorted([*messages, *added])
    assert check(PUT, NEXT, planted, stream=messages)


def add(number: int, total: int, at: int, outcome: str = OK) -> Op:
    return op("add", number, at, at + 5, outcome=outcome, total=total, key="sum")


def sums(*totals: int) -> list[Message]:
    return [Message(i + 1, "sum", total) for i, total in enumerate(totals)]


def test_sums() -> None:
    one, two = add(11, 11, 0), add(21, 32, 10)
    lost = add(31, 0, 20, UNKNOWN)
    never = add(41, 0, 20, TIMEOUT)
    assert check(one, two, lost, never, stream=sums(11, 32)) == []
    assert check(one, two, lost, never, stream=sums(11, 32, 63)) == []
    assert check(one, two, op("get", 32, 20, 25, key="sum")) == []
    assert check(one, two, never, stream=sums(11, 32, 73))
    assert check(one, two, lost, stream=sums(11, 32, 63, 94))  # twice
    assert check(one, two, stream=sums(11, 31))
    assert check(one, two, stream=sums(11))
    assert check(one, two, op("get", 11, 20, 25, key="sum"))
    assert check(one, add(21, 11, 10))
    assert check(one, two, op("get", 99, 20, 25, key="sum"))
