"""The extension: no difference but speed, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from typing import Any, Callable

import kvreg
import pytest
from kvreg import _accelerated, _stores
from kvreg._remote import Remote
from native_support import Counter, everything, forget, started_in_c
from support import WAIT, Worker, wait

native = _accelerated.native

CAN_BE = sys.implementation.name == "cpython" and sys.version_info >= (3, 11)
IS_PURE = os.environ.get("KVREG_PURE", "0") not in ("", "0")
IS_WANTED = os.environ.get("KVREG_TEST_NATIVE", "1") == "1" and not IS_PURE

with_native = pytest.mark.skipif(native is None, reason="the other of two runs has it")

CLASSES = (kvreg.Bucket, kvreg.Registry, kvreg.Inbox, Remote, kvreg.Watch)


def covered(owner: type) -> list[str]:
    """The methods of a class for which there is a short way."""
    return [name[len("_pure_") :] for name in vars(owner) if name.startswith("_pure_")]


def test_it_is_used_where_it_is_wanted_and_can_be() -> None:
    assert (native is not None) == (CAN_BE and IS_WANTED)


@with_native
def test_the_short_ways() -> None:
    assert {owner.__name__: sorted(covered(owner)) for owner in CLASSES} == {
        "Bucket": [
            *("__contains__", "__del__", "__delitem__", "__getitem__", "__iter__", "__len__"),
            *("__setitem__", "add", "get", "get_many", "pop", "put_many"),
            *("setdefault", "update"),
        ],
        "Registry": ["__contains__", "__getitem__"],
        "Inbox": ["receive"],
        "Remote": ["call"],
        "Watch": ["receive"],
    }


@with_native
@pytest.mark.parametrize("owner", CLASSES)
def test_they_look_like_those_in_python(owner: type) -> None:
    assert (owner.__name__, owner.__qualname__) == (owner.__name__,) * 2
    assert owner.__module__.startswith("kvreg")
    assert inspect.getdoc(owner) == inspect.getdoc(owner.__mro__[2])
    for name in covered(owner):
        short, pure = getattr(owner, name), vars(owner)[f"_pure_{name}"]
        if name.startswith("__"):
            continue  # Python itself documents what stands for a symbol
        assert inspect.getdoc(short) == inspect.getdoc(pure), name
        parameters = list(inspect.signature(short).parameters.values())[1:]
        expected = list(inspect.signature(pure).parameters.values())[1:]
        assert [(it.name, it.kind) for it in parameters] == [
            (it.name, it.kind) for it in expected
        ], name


class Text(str):
    """What is a str, and not of that type."""


class Number(int):
    """What is an int, and not of that type."""


KEYS: tuple[Any, ...] = (
    *("k", b"k", "\u00fc", b"\xff", "\udcff", "", "x" * 65_536, "x" * 65_537, b"x" * 65_537),
    *(Text("k"), 1, None, (), "\ud800"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63 - 1, -(2**63), 2**63, 10**40, 1.5, float("inf"), "", "text"),
    *("\u00fc", "\U0001f600", "x" * 1_024, "x" * 1_025, "x" * 70_000, "\udcff", b"", b"bytes"),
    *(b"x" * 1_024, b"x" * 1_025, b"x" * 70_000, bytearray(b"b"), Text("t"), Number(5)),
    *([], object, kvreg.KEEP, kvreg.REMOVE, kvreg.ABSENT),
)


def outcome(call: Callable[[], Any]) -> object:
    """What comes of a call: a value with its type, or an exception with what it says."""
    try:
        value = call()
    except Exception as raised:
        return type(raised), str(raised)
    return type(value), value


def calls(bucket: kvreg.Bucket, form: str) -> Iterator[Callable[[], Any]]:
    """Everything that has a short way, with all that can be asked of it."""

    def ask(name: str, *arguments: Any, **named: Any) -> Callable[[], Any]:
        return partial(getattr(bucket, form.format(name)), *arguments, **named)

    for key in KEYS:
        for name in ("__getitem__", "__contains__", "get", "__delitem__"):
            yield ask(name, key)
        yield ask("get", key, default=7)
        yield ask("pop", key, 7)
        for value in VALUES:
            gives = partial(_second, value)
            yield ask("__setitem__", key, value)
            yield ask("__getitem__", key)
            yield ask("get", key, value)
            yield ask("setdefault", key, value)
            yield ask("add", key, value)
            yield ask("update", key, gives)
            yield ask("update", key, gives, default=0)
            yield ask("pop", key)
            yield ask("update", key, gives)
            yield ask("setdefault", key, value)
            yield ask("__len__")
            yield ask("put_many", {"first": 1, key: value})
            yield ask("get_many", [key, "first", "none"], value)
            yield ask("update", {key: value})
        yield ask("get_many", [key])
    yield lambda: list(getattr(bucket, form.format("__iter__"))())
    many: tuple[Any, ...] = ((), "none", iter(["first", "none"]), {"first": 1}.keys(), 5, [[]])
    for keys in many:
        yield ask("get_many", keys)
    many = ({}, [("a", 1)], iter([(b"a", 2)]), 5, None, [5], kvreg.Bucket())
    for pairs in many:
        yield ask("put_many", pairs)
    for arguments in ((), ("k", 1, 2), ("k", abs, 3), (1,), ("k", abs)):
        for name in ("get", "pop", "setdefault", "add", "update", "get_many", "put_many"):
            yield ask(name, *arguments)
            yield ask(name, *arguments, default=1)
            yield ask(name, *arguments, n=1)
            yield ask(name, *arguments, other=1)
    yield ask("update", {"a": 1}, b=2)
    yield ask("update", a=1, b=2)
    yield ask("update", "k", lambda _: 1 // 0, default=1)
    yield ask("update", "k", lambda: 1, default=1)


def _second(second: object, _: object) -> object:
    return second


@with_native
def test_all_comes_out_the_same() -> None:
    options = kvreg.BucketOptions(max_keys=1000, evict=True)  # which counts what was read
    with kvreg.Bucket(options) as short, kvreg.Bucket(options) as pure:
        short["n"] = pure["n"] = 1
        assert short["n"] == pure["n"] == 1  # from here on the short ways are there
        for number, (one, other) in enumerate(zip(calls(short, "{}"), calls(pure, "_pure_{}"))):
            assert same(outcome(one), outcome(other)), number
            assert short.copy() == pure.copy(), number
            assert short.info() == pure.info(), number


def same(one: Any, other: Any) -> bool:
    """What methods are called is not what is compared; nor is a NaN."""
    if isinstance(one[1], str) and isinstance(other[1], str) and issubclass(one[0], TypeError):
        return bool(one[0] is other[0])
    return bool(one == other)


def test_a_put_many_of_a_class_of_its_own_is_called() -> None:
    class Noting(kvreg.Bucket):
        """Notes what is put."""

        noted: list[Any] = []

        def put_many(self, other: Any) -> None:
            self.noted.append(other)
            super().put_many(other)

    with Noting() as bucket:
        bucket["k"] = 1
        bucket.update({"k": 2})
        bucket |= {"k": 3}
        bucket.update(k=4)
        assert bucket["k"] == 4 and Noting.noted == [{"k": 2}, {"k": 3}, [("k", 4)]]


@with_native
def test_of_what_has_ended_too(registry: kvreg.Registry) -> None:
    for end in (kvreg.Bucket.stop, kvreg.Bucket.close):
        for form in ("{}", "_pure_{}"):
            bucket = registry.create("ends")
            bucket["k"] = 1
            assert bucket["k"] == 1
            end(bucket)
            expected = kvreg.Closed if bucket.closed else kvreg.NoProcess
            for name, *arguments in (
                ("__getitem__", "k"),
                ("__setitem__", "k", 1),
                ("__delitem__", "k"),
                ("__contains__", "k"),
                ("__len__",),
                ("get", "k"),
                ("pop", "k", 1),
                ("setdefault", "k", 1),
                ("add", "k"),
                ("update", "k", abs),
            ):
                with pytest.raises(expected) as caught:
                    getattr(bucket, form.format(name))(*arguments)
                assert "'ends'" in str(caught.value), (form, name)


@with_native
@pytest.mark.parametrize("name", [None, "with a name"])
@pytest.mark.parametrize("codec", [None, kvreg.JSON])
def test_a_bucket_that_is_looked_up_is_as_python_makes_it(name: Any, codec: Any) -> None:
    fields = [
        field for field, it in vars(native.Object).items() if inspect.ismemberdescriptor(it)
    ]
    with kvreg.Registry(name, codec=codec) as registry:
        registry.create("a").timeout = 7
        pure: Any = registry["a"]  # the first is made by Python, and keeps the registry
        short: Any = registry["a"]
        own = {"_frees", "_handle", "_owned"}
        for field in set(fields) - own:
            assert getattr(short, field) == getattr(pure, field), field
        for field in ("_called", "_codec", "_free", "_hot", "_keeper", "_library"):
            assert getattr(short, field) is getattr(pure, field), field
        assert type(short) is kvreg.Bucket and short._owned == [short._handle]
        assert short._handle != pure._handle and short._readings is not pure._readings


@with_native
def test_a_bucket_that_is_looked_up_lives_and_is_freed(registry: kvreg.Registry) -> None:
    registry.create("a")["k"] = 1
    for _ in range(3):
        assert registry["a"]["k"] == 1
    gc.collect()
    before = kvreg.live_counts()
    for _ in range(100):
        bucket = registry["a"]
        assert bucket["k"] == 1 and bucket.timeout == registry.timeout
        bucket.close()
        with pytest.raises(kvreg.Closed):
            bucket["k"]
        assert registry["a"]["k"] == 1
    gc.collect()
    assert kvreg.live_counts() == before


@with_native
def test_a_store_that_is_named_later_is_seen() -> None:
    with kvreg.Registry() as registry:
        registry.create("a")
        for _ in range(3):
            looked_up: Any = registry["a"]
            assert not looked_up._stored
        _stores.note(registry, "a")
        looked_up = registry["a"]
        assert looked_up._stored


@with_native
def test_a_codec_goes_the_long_way() -> None:
    with kvreg.Bucket(codec=kvreg.JSON) as bucket:
        for _ in range(3):
            bucket["k"] = {"a": [1, None]}
            assert bucket["k"] == {"a": [1, None]}
            assert bucket.update("k", lambda value: value["a"]) == [1, None]
            assert bucket.get_many(["k", "none"], 5) == [[1, None], 5]
            bucket.put_many({"k": "text"})
            assert bucket.pop("k") == "text"
            assert bucket.setdefault("k", (1,)) == (1,)
            assert dict(bucket.items()) == {"k": [1]}


@with_native
def test_a_function_may_do_what_it_likes(bucket: kvreg.Bucket) -> None:
    bucket["n"] = 1

    def recurs(value: int) -> int:
        with pytest.raises(kvreg.CallingSelf):
            bucket["n"] = 5
        with kvreg.Bucket() as other:
            other["n"] = value
            assert other.update("n", lambda n: n + 1) == value + 1
        gc.collect()
        return value + int(bucket["n"])

    assert bucket.update("n", recurs) == 2
    with pytest.raises(GeneratorExit):
        bucket.update("n", lambda _: (_ for _ in ()).throw(GeneratorExit))
    assert bucket.update("n", lambda value: value) == 2
    assert kvreg.live_counts().update_handles == 0


@with_native
def test_who_waits_lets_others_run(bucket: kvreg.Bucket) -> None:
    """A turn of another thread's: each call waits for it, without the interpreter's lock."""
    bucket["n"] = 1
    for call in (
        lambda: bucket.update("n", lambda value: value),
        lambda: bucket.add("n", 0),
        lambda: bucket.pop("other", None),
        lambda: bucket.setdefault("m", 2),
        lambda: bucket.__setitem__("m", 2),
        lambda: bucket.put_many({"m": 2}),
    ):
        began, go_on = threading.Event(), threading.Event()

        def hold(value: object, began: Any = began, go_on: Any = go_on) -> object:
            began.set()
            wait(go_on)
            return value

        holder = Worker(partial(bucket.update, "n", hold))
        wait(began)
        # If it came too early there would be nothing to wait for: that proves less, and passes.
        soon = threading.Timer(0.01, go_on.set)
        soon.start()
        call()  # with the lock it would wait for ever
        holder.result()
        soon.join()


@with_native
def test_what_may_be_long_lets_others_run(
    bucket: kvreg.Bucket, registry: kvreg.Registry
) -> None:
    pairs = {f"key {number}": "value" for number in range(5_000)}
    long = {f"long {number}": b"v" * 60_000 for number in range(64)}
    keys, over, ran = list(pairs), threading.Event(), 0
    in_c = started_in_c(registry)  # whose handler does not ask for the lock
    assert in_c.call("anything") is None

    def run() -> None:
        nonlocal ran
        while not over.is_set():
            ran += 1
            time.sleep(0)  # gives the lock up, and asks for it again

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # nobody is made to give it up
    try:
        runner = Worker(run)
        while not ran:
            time.sleep(0)
        for most, call in (
            (1_000, lambda: bucket.put_many(pairs)),
            (1_000, lambda: bucket.put_many(long)),
            (1_000, lambda: list(bucket)),
            (1_000, lambda: bucket.get_many(keys)),
            (1_000_000, lambda: in_c.call("anything")),
        ):
            before, calls = ran, 0
            # A machine may be too busy to run it meanwhile; but not so often.
            while ran == before and calls < most:
                call()
                calls += 1
            assert ran > before
    finally:
        over.set()
        sys.setswitchinterval(interval)
    runner.result()


@with_native
def test_nothing_is_left_in_memory(registry: kvreg.Registry) -> None:
    step, steps = everything(registry), 300
    step()
    tracemalloc.start()
    try:
        step()
        forget()
        before = tracemalloc.take_snapshot()
        for _ in range(steps):
            step()
        forget()
        grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    finally:
        tracemalloc.stop()
    # One object that is lost each time would be as many.
    assert [str(it) for it in grown if it.count_diff >= 0.9 * steps] == []


@with_native
def test_references_are_kept_count_of(registry: kvreg.Registry) -> None:
    """Of objects that live long, none is counted once too often, or too seldom."""
    step = everything(registry)
    for _ in range(20):
        step()
    lasting: tuple[Any, ...] = (None, True, "key 1", "everything", registry, Counter)
    lasting += (kvreg.KEEP, kvreg.REMOVE, *kvreg.Reason, kvreg.Down, kvreg.Put)
    lasting += (kvreg.Bucket, kvreg.Inbox, kvreg.KeyNotFound)
    forget()
    before = [sys.getrefcount(it) for it in lasting]
    for _ in range(200):
        step()
    forget()
    after = [sys.getrefcount(it) for it in lasting]
    for thing, one, other in zip(lasting, before, after):
        assert abs(other - one) < 100, thing


@with_native
def test_a_call_keeps_nothing_of_its_server(registry: kvreg.Registry) -> None:
    server = Counter.start(registry, "counter")
    owner = server.itself()
    before = sys.getrefcount(owner)
    for _ in range(100):
        server.add(1)
        with contextlib.suppress(ValueError):
            server.add(-1)
    forget()
    assert sys.getrefcount(owner) == before


@with_native
def test_an_extension_of_another_version_is_refused() -> None:
    code = (
        "import importlib, types, sys\n"
        "found = importlib.import_module\n"
        "def other(name):\n"
        "    module = found(name)\n"
        "    fake = types.SimpleNamespace(VERSION=9 << 16, __file__=module.__file__)\n"
        "    return fake if name.endswith('_native') else module\n"
        "importlib.import_module = other\n"
        "import kvreg\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 1
    assert "is of another version than the package, 0.1: build it again" in done.stderr


def test_it_is_not_used_where_that_is_wanted() -> None:
    code = "import kvreg; from kvreg import _accelerated; print(_accelerated.native)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KVREG_PURE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "None\n"


def test_without_docstrings() -> None:
    """As `-OO` has it: what help says is taken from them."""
    code = "import kvreg; print(dict(kvreg.Bucket()))"
    command = [sys.executable, "-OO", "-c", code]
    assert (
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "{}\n"
    )


def test_an_object_that_begins_anew() -> None:
    bucket, inbox = kvreg.Bucket(), kvreg.Inbox()
    bucket["n"], first = 1, bucket.clone()
    assert bucket["n"] == 1
    kvreg.Bucket.__init__(bucket)
    assert "n" not in bucket
    bucket["n"] = 2
    assert (dict(bucket), dict(first)) == ({"n": 2}, {"n": 1})
    inbox.monitor(first)
    first.stop()
    assert isinstance(inbox.receive(), kvreg.Down)
    kvreg.Inbox.__init__(inbox)
    inbox.monitor(bucket)
    bucket.stop()
    assert isinstance(inbox.receive(timeout=WAIT), kvreg.Down)
    inbox.close()


class Recalls(kvreg.Server):
    """Fails, and tells what it sees of that."""

    seen: list[Any] = []

    @kvreg.call
    def fails(self) -> None:
        raise LookupError("this")

    @kvreg.call
    def counts(self) -> int:
        return len(self.seen)

    @kvreg.cast
    def notes(self) -> None:
        self.seen.append(1)

    def on_terminate(self, reason: kvreg.Reason) -> None:
        self.seen.append(sys.exc_info()[0])


def test_what_was_raised_is_being_handled(registry: kvreg.Registry) -> None:
    Recalls.seen.clear()
    server = Recalls.start(registry, "recalls")
    assert server.counts() == 0
    with pytest.raises(kvreg.ServerDown) as caught:
        server.fails()
    assert repr(caught.value.__cause__) == "LookupError('this')"
    assert caught.value.__context__ is caught.value.__cause__
    assert Recalls.seen == [LookupError]


def test_messages_before_a_call_are_one_turn_with_it(registry: kvreg.Registry) -> None:
    server = Recalls.start(registry, "recalls")
    assert server.counts() >= 0
    # The serving thread may come first, whose turn is one more; not each of a thousand times.
    for _ in range(1_000):
        Recalls.seen.clear()
        before = server.info().handled
        for _ in range(3):
            server.notes()
        assert server.counts() == 3
        if server.info().handled == before + 4:
            return
    pytest.fail("the call begins a turn of its own")


def test_a_method_is_not_for_other_objects(registry: kvreg.Registry) -> None:
    server = Counter.start(registry, "counter")
    assert server.add(1) == 1
    add: Any = type(server).add
    with pytest.raises(AttributeError):
        add(object(), 1)


INTERPRETERS = """
import _xxsubinterpreters as interpreters
import kvreg
mine = kvreg.Registry("shared")
mine.create("a")["n"] = 1
assert mine["a"]["n"] == 1
other = interpreters.create()
interpreters.run_string(other, {!r})
bucket = mine["a"]
assert bucket.add("n", 1) == 3 and bucket["n"] == 3
interpreters.destroy(other)
print("done")
"""

IN_THE_OTHER = """
import kvreg
bucket = kvreg.Registry.whereis("shared")["a"]
assert bucket["n"] == 1 and bucket.add("n") == 2 and bucket["n"] == 2
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="ctypes refuses there")
def test_another_interpreter_shares_the_library() -> None:
    path = f"import sys\nsys.path[:] = {sys.path!r}\n"
    code = path + INTERPRETERS.format(path + IN_THE_OTHER)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "done\n"


@with_native
def test_it_calls_one_library_in_a_process(bucket: kvreg.Bucket) -> None:
    others = tuple(range(1, len(native.FUNCTIONS) + 1))
    assert native.bind(others) is False
    bucket["k"] = 1
    assert bucket["k"] == 1 and bucket.add("k") == 2


def test_popitem_goes_on_where_another_was_faster() -> None:
    class Late(kvreg.Bucket):
        """Sees a key that is gone by then."""

        def __iter__(self) -> Iterator[str]:
            return iter(["gone", *super().__iter__()])

    with Late() as bucket:
        bucket["k"] = 1
        assert bucket.popitem() == ("k", 1)


def test_what_is_absent_is_told_by_its_name(registry: kvreg.Registry) -> None:
    bucket = registry.create("a")
    for _ in range(3):
        for absent, mapping, kind in (
            ("none", registry, kvreg.BucketNotFound),
            ("none", bucket, kvreg.KeyNotFound),
            (b"none", bucket, kvreg.KeyNotFound),
        ):
            try:
                raise LookupError
            except LookupError as before:
                with pytest.raises(kind) as caught:
                    mapping[absent]  # type: ignore[index]
                assert type(caught.value) is kind and caught.value.args == (absent,)
                assert caught.value.__context__ is before
