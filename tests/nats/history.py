"""What processes do with a bucket while its cluster fails, and what must hold of it afterwards.

Each change stores a value that no other has, and a number that `add` adds is no other's either:
so what was stored can be told from what was not. Revisions are one order of all changes. The
history is linearizable if that order agrees with when calls began and ended: what ended before
another began is not behind it.
"""

from __future__ import annotations

import logging
import pickle
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import kvreg
from kvreg import BucketOptions, Reads
from nats_servers import WAIT

LATE = 0.05
"""Seconds that a call may take beyond its time."""

TURNS = 4
"""Threads that a call needs in turn: each may wait for the machine as long as the heart."""

BEAT = 0.005
"""Seconds between two looks at what the machine loses."""

TIMEOUTS = (0.1, 0.4, 1.5, 5.0, 12.0)
"""What calls have, one of these."""

KEYS = ("a", "b", "c")
COUNTERS = ("sum", "more")

OK, CONFLICT, TIMEOUT, UNKNOWN = "OK", "CONFLICT", "TIMEOUT", "UNKNOWN"


class Op(NamedTuple):
    """A call, and how it ended."""

    process: int
    bucket: str
    kind: str
    """put, put_if, add, get or cast."""
    key: str
    value: Any
    """What was to be stored or added, or what was read."""
    expected: int
    """Of put_if."""
    timeout: float
    begin: int
    """In nanoseconds of the monotonic clock, which all processes of a machine share."""
    end: int
    outcome: str
    revision: int
    """What it was stored as or read with, 0 if the key is absent or that is not known."""
    total: int = 0
    """What add answered."""
    lost: float = 0.0
    """Seconds that the machine may have had no time for it, as the process's heart told."""


class Message(NamedTuple):
    """What a stream has of a change."""

    revision: int
    key: str
    value: Any


class Heart(threading.Thread):
    """Says how much later than it wanted a thread of this process went on."""

    def __init__(self) -> None:
        """Begins."""
        super().__init__(daemon=True)
        self._late: list[tuple[int, int]] = []
        self.start()

    def run(self) -> None:
        """Beats."""
        before = time.monotonic_ns()
        while True:
            time.sleep(BEAT)
            now = time.monotonic_ns()
            late = now - before - int(BEAT * 1e9)
            if late > 1_000_000:
                self._late.append((now, late))
            before = now

    def lost(self, begin: int, end: int) -> float:
        """Seconds that were lost between two moments."""
        time.sleep(2 * BEAT)  # what the last moment lost is told by the next beat
        beats = [late for now, late in self._late[-5000:] if now >= begin and now - late <= end]
        return TURNS * sum(beats) / 1e9


class Worker:
    """What one process does."""

    def __init__(self, number: int, urls: tuple[str, str], seed: int) -> None:
        """Opens `plain`, as kvreg makes it, and `whole`, whose stream forgets nothing."""
        self.number, self.random = number, random.Random(seed)
        self.ops: list[Op] = []
        self.problems: list[str] = []
        self.failures = 0
        """Casts that failed, as the log says."""
        self.mismatches = 0
        self.heart = Heart()
        self.count = 0
        self._counting = threading.Lock()
        self.seen: dict[tuple[str, str], int] = {}
        logger = logging.getLogger("kvreg")
        logger.propagate = False
        logger.addHandler(_Told(self))
        self.registry = kvreg.Registry(store=urls[0])
        self.others = kvreg.Registry(store=urls[1])
        self.buckets = {
            "plain": self.registry.create("plain"),
            "whole": self.registry.create("whole"),
        }

    def unique(self) -> str:
        """What no other stores."""
        with self._counting:
            self.count += 1
            return f"{self.number}:{self.count}"

    def step(self) -> None:
        """One call, of whatever kind."""
        name = self.random.choice(("plain", "whole"))
        casts = threading.current_thread() is not threading.main_thread()
        kinds = {"put_if": 5, "put": 1, "add": 3, "get": 5, "cast": int(casts)}
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        if kind == "cast":
            self.casts(name)
            return
        key = self.random.choice(COUNTERS if kind == "add" else KEYS)
        if kind == "get":
            key = self.random.choice(KEYS + COUNTERS)
        self.call(self.buckets[name], name, kind, key)

    def call(self, bucket: kvreg.Bucket, name: str, kind: str, key: str) -> Op:
        """Does it, and notes it."""
        timeout = bucket.timeout = self.random.choice(TIMEOUTS)
        value: Any = None if kind == "get" else self.unique()
        expected = self.seen.get((name, key), 0)
        revision = total = 0
        if kind == "add":
            # Of counts of ones `plain` has the sum; of these each is no other's.
            value = 1 if name == "plain" else self.number + 10 * int(value.split(":")[1])
        outcome = OK
        begin = time.monotonic_ns()
        try:
            if kind == "put_if":
                revision = bucket.put(key, value, if_revision=expected)
            elif kind == "put":
                revision = bucket.put(key, value)
            elif kind == "add":
                total = bucket.add(key, value)
            else:
                found = bucket.entry(key)
                value, revision = found.value, found.revision
        except kvreg.KeyNotFound:
            pass
        except kvreg.Conflict:
            outcome = CONFLICT
        except kvreg.OutcomeUnknown:
            outcome = UNKNOWN
        except kvreg.CallTimeout:
            outcome = TIMEOUT
        end = time.monotonic_ns()
        lost = 0.0
        if (end - begin) / 1e9 > timeout + LATE:
            lost = self.heart.lost(begin, end)
        if outcome == OK and revision:
            self.seen[name, key] = revision
        elif kind == "put_if" and outcome == CONFLICT:
            self.seen.pop((name, key), None)  # it may be that of a change of its own
        op = Op(
            self.number, name, kind, key, value, expected, timeout, begin, end, outcome,
            revision, total, lost,
        )  # fmt: skip
        self.ops.append(op)
        if kind == "put_if" and outcome != OK:
            self.call(bucket, name, "get", key)
        return op

    def casts(self, name: str) -> None:
        """G3: a call sees what this thread cast before, but for casts that failed."""
        bucket, key = self.buckets[name], f"cast{self.number}"
        value = ""
        for _ in range(3):
            value = self.unique()
            begin = time.monotonic_ns()
            bucket.put_cast(key, value)
            end = time.monotonic_ns()
            self.ops.append(
                Op(self.number, name, "cast", key, value, 0, 0.0, begin, end, UNKNOWN, 0)
            )
            if (end - begin) / 1e9 > LATE and self.heart.lost(begin, end) < LATE:
                self.problems.append(f"a cast took {(end - begin) / 1e9:.3f} s")
        read = self.call(bucket, name, "get", key)
        if read.outcome == OK and read.value != value:
            self.mismatches += 1


class _Told(logging.Handler):
    """Counts the casts that the log says to have failed."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "cast" in record.getMessage():
            self._worker.failures += 1


class Watching(threading.Thread):
    """Follows a bucket by a watch."""

    def __init__(self, bucket: kvreg.Bucket, problems: list[str]) -> None:
        """Begins."""
        super().__init__(daemon=True)
        self.known: dict[str, tuple[Any, int]] = {}
        self.told: Counter[str] = Counter()
        self._problems = problems
        self._watch = bucket.watch()
        self.start()

    def run(self) -> None:
        """Until the watch is closed."""
        for change in self._watch:
            self.told[type(change).__name__] += 1
            if isinstance(change, kvreg.Reset):
                self.known = {}
            elif isinstance(change, kvreg.Put):
                before = self.known.get(change.key, (None, 0))[1]
                if change.revision <= before:
                    self._problems.append(f"a watch went back: {change} after {before}")
                self.known[change.key] = change.value, change.revision

    def close(self) -> None:
        """Ends it."""
        self._watch.close()
        self.join(WAIT)


class Copying(threading.Thread):
    """Reads a copy, which never goes back, and has what its own thread stored."""

    def __init__(self, worker: Worker, bucket: kvreg.Bucket, name: str) -> None:
        """Begins."""
        super().__init__(daemon=True)
        self.bucket, self.reads = bucket, 0
        self._worker, self._name = worker, name
        self._is_over = threading.Event()
        self.start()

    def run(self) -> None:
        """Until it is to end."""
        newest: dict[str, int] = {}
        key = f"copied{self._worker.number}"
        while not self._is_over.wait(0.01):
            for one in (*KEYS, *COUNTERS, key):
                try:
                    revision = self.bucket.entry(one).revision
                except KeyError:
                    revision = 0
                except kvreg.CallTimeout:  # it waits for what this thread has stored
                    continue
                self.reads += 1
                if revision < newest.get(one, 0):
                    self._worker.problems.append(f"a copy went back: {one} to {revision}")
                newest[one] = revision
            if self.reads % 20 < 6:
                op = self._worker.call(self.bucket, self._name, "put", key)
                newest[key] = max(newest[key], op.revision)

    def close(self) -> None:
        """Ends it."""
        self._is_over.set()
        self.join(WAIT)


def work(
    number: int, urls: tuple[str, str], seed: int, begin: Any, stop: Any, file: str
) -> None:
    """A process: leaves what it did in a file."""
    worker = Worker(number, urls, seed)
    watching, copying = [], []
    if number == 0:
        watching = [Watching(it, worker.problems) for it in worker.buckets.values()]
    if number == 1:
        options = BucketOptions(store=urls[1], reads=Reads.COPY)
        for name in worker.buckets:
            copying.append(Copying(worker, worker.others.create(name, options=options), name))

    def steps() -> None:
        begin.wait(WAIT)
        while not stop.is_set():
            worker.step()
            time.sleep(worker.random.random() * 0.004)

    if number == 2:  # where Python waits in another way: in the main thread
        steps()
    else:
        thread = threading.Thread(target=steps)
        thread.start()
        thread.join()
    for copy in copying:
        copy.close()
    for bucket in worker.buckets.values():
        bucket.timeout = WAIT
    begin.wait(WAIT)  # all have stopped
    for bucket, watch in zip(worker.buckets.values(), watching):
        _converges(worker, bucket, lambda watch=watch: dict(watch.known), "a watch")
        watch.close()
    for bucket, copy in zip(worker.buckets.values(), copying):
        copy.bucket.timeout = WAIT
        _converges(worker, bucket, lambda copy=copy: contents(copy.bucket), "a copy")
    told: Counter[str] = Counter()
    for watch in watching:
        told += watch.told
    facts = {
        "ops": worker.ops,
        "problems": worker.problems,
        "failures": worker.failures,
        "mismatches": worker.mismatches,
        "told": told,
        "copied": sum(copy.reads for copy in copying),
    }
    Path(file).write_bytes(pickle.dumps(facts))
    worker.registry.close()
    worker.others.close()


def contents(bucket: kvreg.Bucket) -> dict[str, tuple[Any, int]]:
    """All keys, with values and revisions; not of one instant."""
    found = {}
    for key in sorted(bucket):
        try:
            entry = bucket.entry(key)
        except KeyError:
            continue
        found[key] = entry.value, entry.revision
    return found


def _converges(worker: Worker, bucket: kvreg.Bucket, follower: Any, what: str) -> None:
    end = time.monotonic() + WAIT
    while True:
        last, known = contents(bucket), follower()
        if last == known:
            return
        if time.monotonic() > end:
            worker.problems.append(f"{what} did not converge: {known} and not {last}")
            return
        time.sleep(0.05)


# What must hold.


def late(op: Op) -> float:
    """Seconds that a call took beyond its time."""
    return (op.end - op.begin) / 1e9 - op.timeout


class Broken(NamedTuple):
    """What does not hold."""

    what: str
    op: Op
    is_read: bool = False
    """It has read what was overtaken before it began."""


def broken(ops: list[Op], stream: list[Message] | None) -> list[Broken]:
    """What does not hold of a bucket's calls; of its stream all messages are known, or none."""
    found = [it for it in map(_late, ops) if it is not None]
    for key in sorted({op.key for op in ops}):
        own = [op for op in ops if op.key == key]
        of_key = None if stream is None else [it for it in stream if it.key == key]
        check = _of_counter if any(op.kind == "add" for op in own) else _of_key
        found += check(own, of_key)
    return found


def _late(op: Op) -> Broken | None:
    if op.kind == "cast" or late(op) - op.lost <= LATE:
        return None
    return Broken(f"it was {late(op):.3f} s late, of which the machine lost {op.lost:.3f}", op)


def _of_key(ops: list[Op], stream: list[Message] | None) -> list[Broken]:
    """The values of a key are one chain, in which each change has its place."""
    found = []
    chain: dict[int, Any] = {}
    for message in stream or ():
        chain[message.revision] = message.value
    seen_by: dict[int, Op] = {}
    for op in ops:
        if op.outcome == OK and op.revision:
            known = chain.setdefault(op.revision, op.value)
            seen_by[op.revision] = op
            if known != op.value:
                found.append(Broken(f"revision {op.revision} is {known!r} too", op))
    if stream is not None:
        stored = {it.revision for it in stream}
        found += [
            Broken("the stream has it not", op)
            for revision, op in seen_by.items()
            if revision not in stored
        ]
    places: dict[Any, list[int]] = {}
    for revision, value in chain.items():
        places.setdefault(value, []).append(revision)
    order = sorted(chain)
    before = dict(zip(order, [0, *order]))
    timed: list[tuple[Op, int, bool]] = []
    writers: dict[int, Op] = {}
    for op in ops:
        if op.kind == "get":
            continue
        own = places.get(op.value, [])
        if len(own) > 1:
            found.append(Broken(f"it was stored more than once: {own}", op))
        if op.outcome == OK and own != [op.revision]:
            found.append(Broken(f"it was stored as {own}", op))
        if op.outcome in (TIMEOUT, CONFLICT) and own:
            found.append(Broken(f"it was stored as {own} nevertheless", op))
        for revision in own:
            writers[revision] = op
            if op.kind == "put_if" and before[revision] != op.expected:
                found.append(Broken(f"it came behind {before[revision]}", op))
            timed.append((op, revision, True))
    for op in ops:
        if op.kind == "get" and op.outcome == OK:
            timed.append((op, op.revision, False))
            writer = writers.get(op.revision)
            if op.revision and writer is None:
                found.append(Broken("nobody has stored what it read", op))
            elif writer is not None and writer.begin > op.end:
                found.append(Broken("it was read before it was stored", op))
    return found + _out_of_order(timed)


def _of_counter(ops: list[Op], stream: list[Message] | None) -> list[Broken]:
    """Sums of positive numbers: each is larger than the one before."""
    found = []
    timed: list[tuple[Op, int, bool]] = []
    adds = [op for op in ops if op.kind == "add"]
    totals = Counter(op.total for op in adds if op.outcome == OK)
    found += [
        Broken("its sum is another's too", op)
        for op in adds
        if op.outcome == OK and totals[op.total] > 1
    ]
    timed += [(op, op.total, True) for op in adds if op.outcome == OK]
    timed += [(op, op.value or 0, False) for op in ops if op.kind == "get" and op.outcome == OK]
    if stream is not None:
        by_number = {op.value: op for op in adds}
        taken: set[int] = set()
        before = 0
        for message in stream:
            number = message.value - before
            before = message.value
            op = by_number.get(number)
            if op is None:
                found.append(Broken(f"{number} was added by nobody", adds[0]))
                continue
            if number in taken:
                found.append(Broken("it was added more than once", op))
            taken.add(number)
            if op.outcome in (TIMEOUT, CONFLICT):
                found.append(Broken("it was added nevertheless", op))
            elif op.outcome == OK and op.total != message.value:
                found.append(Broken(f"its sum was {message.value}", op))
            elif op.outcome == UNKNOWN:
                timed.append((op, message.value, True))
        missing = [op for op in adds if op.outcome == OK and op.value not in taken]
        found += [Broken("it was not added", op) for op in missing]
    else:
        sure = sum(op.value for op in adds if op.outcome == OK)
        unsure = sum(op.value for op in adds if op.outcome == UNKNOWN)
        most = max((version for _, version, _ in timed), default=0)
        if adds and not most <= sure + unsure:
            found.append(Broken(f"the sum is {most} of {sure} and {unsure}", adds[-1]))
        last = max(ops, key=lambda op: op.begin)
        if last.kind == "get" and last.outcome == OK and (last.value or 0) < sure:
            found.append(Broken(f"the sum is below {sure}", last))
    return found + _out_of_order(timed)


def _out_of_order(timed: Iterable[tuple[Op, int, bool]]) -> list[Broken]:
    """What has an older version than what had ended before it began."""
    timed = sorted(timed, key=lambda it: it[0].begin)
    ended = sorted(
        ((op.end, version, op) for op, version, _ in timed if op.outcome == OK),
        key=lambda it: it[0],
    )
    found, at, newest = [], 0, (0, 0)
    for op, version, is_change in timed:
        while at < len(ended) and ended[at][0] < op.begin:
            newest = max(newest, (ended[at][1], ended[at][0]))
            at += 1
        if version < newest[0] or (is_change and version == newest[0] != 0):
            ago = (op.begin - newest[1]) / 1e9
            what = f"version {version}, behind {newest[0]}, which ended {ago:.4f} s before"
            found.append(Broken(what, op, is_read=not is_change))
    return found
