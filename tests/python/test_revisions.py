"""Revisions, conditions and sums (G15, G16)."""

from __future__ import annotations

import pickle
import threading
from typing import Any, Callable

import kvreg
import pytest
from kvreg._server import Server
from strategies import SIZES
from support import WAIT, Worker, wait

VALUES: list[Any] = [None, True, 1, 1.0, "milk", b"milk"]


# Revisions


def test_an_entry_is_a_value_with_its_revision(bucket: kvreg.Bucket) -> None:
    revision = bucket.put("milk", 1)
    entry = bucket.entry("milk")
    assert entry == kvreg.Entry(1, revision)
    assert (entry.value, entry.revision, entry.ttl) == (1, revision, None)
    value, number, ttl = entry
    assert (value, number, ttl) == tuple(entry)
    assert repr(entry) == f"Entry(value=1, revision={revision}, ttl=None)"
    assert bucket.entry(b"milk") == entry
    with pytest.raises(kvreg.KeyNotFound) as caught:
        bucket.entry("cheese")
    assert caught.value.args == ("cheese",)
    assert bucket.entry("milk") == entry


@pytest.mark.parametrize("size", SIZES)
def test_entries_of_texts_of_every_size(bucket: kvreg.Bucket, size: int) -> None:
    for value in ("s" * size, b"b" * size):
        revision = bucket.put("text", value)
        assert bucket["text"] == value
        assert bucket.entry("text") == (value, revision, None)
        again = bucket.put("text", value, if_revision=revision)
        assert bucket.entry("text") == (value, again, None)
        assert bucket.compare_and_swap("text", value, value)
        assert bucket.compare_and_swap("text", value, kvreg.ABSENT)


def test_each_change_has_a_larger_revision(bucket: kvreg.Bucket) -> None:
    assert bucket.revision() == 0
    bucket["milk"] = 1
    changes: list[Callable[[], object]] = [
        *(lambda value=value: bucket.put("milk", value) for value in VALUES),
        lambda: bucket.__setitem__("milk", 1),
        lambda: bucket.put("milk", 1),  # the same again
        lambda: bucket.add("milk"),
        lambda: bucket.update("milk", lambda n: n + 1),
        lambda: bucket.put_cast("milk", 1),
        lambda: bucket.put_many({"milk": 1}),
        lambda: bucket.compare_and_swap("milk", 1, 2),
    ]
    for change in changes:
        before = bucket.entry("milk").revision
        change()
        assert bucket.entry("milk").revision == bucket.revision() > before
    for change in (lambda: bucket.remove("milk"), bucket.clear):
        before = bucket.revision()
        change()
        assert bucket.revision() > before


def test_what_changes_nothing_has_no_revision(bucket: kvreg.Bucket) -> None:
    revision = bucket.put("milk", 1)
    bucket.update("milk", lambda _: kvreg.KEEP)
    with pytest.raises(kvreg.Conflict):
        bucket.put("milk", 2, if_absent=True)
    assert not bucket.compare_and_swap("milk", 2, 3)
    assert bucket.compare_and_swap("cheese", kvreg.ABSENT, kvreg.ABSENT)
    with pytest.raises(KeyError):
        bucket.remove("cheese")
    assert bucket.revision() == revision == bucket.entry("milk").revision


def test_the_pairs_of_a_batch_have_revisions_in_their_order(bucket: kvreg.Bucket) -> None:
    bucket.put_many({name: 1 for name in "cab"})
    c, a, b = (bucket.entry(name).revision for name in "cab")
    assert c < a < b == bucket.revision()


def test_an_old_revision_never_fits_a_new_bucket_of_the_name(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(restart=kvreg.Restart.PERMANENT)
    bucket = registry.create("shopping", options=options)
    old = bucket.put("milk", 1)
    bucket.stop()
    bucket = registry["shopping"]
    assert bucket.revision() == 0
    assert bucket.put("milk", 1) > old
    registry.remove("shopping")
    again = registry.create("shopping")
    again["milk"] = 1
    with pytest.raises(kvreg.Conflict):
        again.put("milk", 2, if_revision=old)
    assert again["milk"] == 1


def test_reads_see_the_casts_of_their_thread(bucket: kvreg.Bucket) -> None:
    for n in range(100):
        before = bucket.revision()
        bucket.put_cast("milk", n)
        assert bucket.entry("milk").value == n
        bucket.put_cast("milk", n)
        assert bucket.revision() > before


# Conditions


def test_put_if_the_revision_is_as_expected(bucket: kvreg.Bucket) -> None:
    first = bucket.put("milk", 1)
    second = bucket.put("milk", 2, if_revision=first)
    assert second > first
    for expected in (first, 0, second + 1, 2**64 - 1):
        with pytest.raises(kvreg.Conflict) as caught:
            bucket.put("milk", 3, if_revision=expected)
        assert caught.value.status is kvreg.Status.CONFLICT
        assert str(caught.value).startswith("Bucket.put of 'shopping': ")
    assert bucket.entry("milk") == (2, second, None)
    with pytest.raises(RuntimeError):
        bucket.put("cheese", 1, if_revision=second)
    assert "cheese" not in bucket


def test_put_if_the_key_is_absent(bucket: kvreg.Bucket) -> None:
    assert bucket.put("milk", 1, if_absent=True) == bucket.entry("milk").revision
    with pytest.raises(kvreg.Conflict):
        bucket.put("milk", 2, if_absent=True)
    bucket.remove("milk")
    assert bucket.put("milk", None, if_revision=0) == bucket.revision()
    with pytest.raises(kvreg.Conflict):
        bucket.put("milk", 2, if_absent=True)
    assert bucket["milk"] is None


def test_remove(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 1
    bucket.remove("milk")
    for condition in ({}, {"if_revision": 7}):
        with pytest.raises(kvreg.KeyNotFound) as caught:
            bucket.remove("milk", **condition)
        assert caught.value.args == ("milk",)
    first = bucket.put("milk", 1)
    second = bucket.put("milk", 1)
    with pytest.raises(kvreg.Conflict, match=r"Bucket\.remove"):
        bucket.remove("milk", if_revision=first)
    assert "milk" in bucket
    bucket.remove(b"milk", if_revision=second)
    assert "milk" not in bucket


def test_conditions_that_cannot_be(bucket: kvreg.Bucket) -> None:
    revision = bucket.put("milk", 1)
    with pytest.raises(ValueError, match="exclude each other"):
        bucket.put("milk", 2, if_revision=revision, if_absent=True)
    for number in (-1, 2**64):
        with pytest.raises(ValueError, match="a revision is an int"):
            bucket.put("milk", 2, if_revision=number)
    for number in (-1, 0, 2**64):
        with pytest.raises(ValueError):
            bucket.remove("milk", if_revision=number)
    wrong: Any
    for wrong in ("7", 7.0, bucket.entry("milk")):
        with pytest.raises(TypeError):
            bucket.put("milk", 2, if_revision=wrong)
        with pytest.raises(TypeError):
            bucket.remove("milk", if_revision=wrong)
    assert bucket.entry("milk") == (1, revision, None)


def test_compare_and_swap(bucket: kvreg.Bucket) -> None:
    for old in VALUES:
        bucket["state"] = old
        for other in VALUES:
            if other is not old:  # True, 1 and 1.0 are three values, and so are "" and b""
                assert not bucket.compare_and_swap("state", other, "closed")
        assert not bucket.compare_and_swap("state", kvreg.ABSENT, "closed")
        assert bucket["state"] is old or bucket["state"] == old
        assert bucket.compare_and_swap("state", old, "closed")
        assert bucket["state"] == "closed"
    nan = float("nan")
    bucket["state"] = nan
    assert bucket.compare_and_swap("state", nan, 0.0)
    assert not bucket.compare_and_swap("state", -0.0, 1.0)


def test_compare_and_swap_with_no_value(bucket: kvreg.Bucket) -> None:
    absent = kvreg.ABSENT
    assert bucket.compare_and_swap("state", absent, None)
    assert not bucket.compare_and_swap("state", absent, "open")
    assert bucket["state"] is None
    assert not bucket.compare_and_swap("state", "open", absent)
    assert bucket.compare_and_swap("state", None, absent)
    assert not bucket.compare_and_swap("state", None, absent)
    assert bucket.compare_and_swap("state", absent, absent)
    assert bucket == {}


def test_no_value_is_none_and_may_be_a_default(bucket: kvreg.Bucket) -> None:
    absent = kvreg.ABSENT
    assert repr(absent) == "kvreg.ABSENT"
    assert pickle.loads(pickle.dumps(absent)) is absent
    assert bucket.get("milk", absent) is absent
    assert bucket.pop("milk", absent) is absent
    assert bucket.get_many(["milk"], absent) == [absent]
    for value in (absent, kvreg.KEEP):
        with pytest.raises(TypeError):
            bucket["milk"] = value
        with pytest.raises(TypeError):
            bucket.put("milk", value)
    with pytest.raises(TypeError):
        bucket.compare_and_swap("milk", absent, kvreg.REMOVE)
    assert bucket == {}


# Sums


def test_add(bucket: kvreg.Bucket) -> None:
    assert bucket.add("visits") == 1
    assert bucket.add("visits", 41) == 42
    assert bucket.add(b"visits", -50) == -8
    assert bucket.add("visits", 0) == -8
    for n in (2**63 - 1, -(2**63)):
        assert bucket.add(f"{n}", n) == n == bucket[f"{n}"]


def test_sums_that_cannot_be(bucket: kvreg.Bucket) -> None:
    bucket.update(most=2**63 - 1, least=-(2**63), text="1", real=1.0, truth=True, nothing=None)
    before, revision = bucket.copy(), bucket.revision()
    for key, n in (("most", 1), ("least", -1)):
        with pytest.raises(kvreg.LimitReached, match=r"Bucket\.add"):
            bucket.add(key, n)
    for key in ("text", "real", "truth", "nothing"):
        with pytest.raises(kvreg.WrongType):
            bucket.add(key)
    for n in (2**63, -(2**63) - 1):
        with pytest.raises(OverflowError):
            bucket.add("new", n)
    wrong: Any
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            bucket.add("new", wrong)
    assert bucket.copy() == before
    assert bucket.revision() == revision


# Codecs, limits, ends


def test_a_codec_applies_to_entries() -> None:
    with kvreg.Bucket(codec=kvreg.JSON) as bucket:
        revision = bucket.put("list", ["milk"], if_absent=True)
        assert bucket.entry("list") == (["milk"], revision, None)
        bucket.put("list", ["milk", "eggs"], if_revision=revision)
        assert bucket["list"] == ["milk", "eggs"]
        calls: list[Callable[[], object]] = [
            lambda: bucket.add("n"),
            lambda: bucket.compare_and_swap("list", ["milk"], []),
            lambda: bucket.compare_and_swap("list", kvreg.ABSENT, kvreg.ABSENT),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"kvreg\.JSON"):
                call()
        with pytest.raises(TypeError):
            bucket.put("list", object())
        bucket.remove("list")
        assert bucket == {}


def test_what_was_stored_without_the_codec() -> None:
    with kvreg.Registry(codec=kvreg.JSON) as coded:
        coded.execute("CREATE shopping")
        coded.execute("PUT shopping milk 1")
        with pytest.raises(kvreg.WrongType):
            coded["shopping"].entry("milk")


def test_limits(registry: kvreg.Registry) -> None:
    options = kvreg.BucketOptions(max_keys=1, max_value=10)
    bucket = registry.create("small", options=options)
    revision = bucket.put("a", 1)
    calls: list[Callable[[], object]] = [
        lambda: bucket.put("b", 1),
        lambda: bucket.put("b", 1, if_absent=True),
        lambda: bucket.put("a", "x" * 11, if_revision=revision),
        lambda: bucket.add("b"),
        lambda: bucket.compare_and_swap("b", kvreg.ABSENT, 1),
    ]
    for call in calls:
        with pytest.raises(kvreg.LimitReached):
            call()
    assert bucket.entry("a") == (1, revision, None)


CALLS: dict[str, Callable[[kvreg.Bucket, Any], object]] = {
    "entry": lambda bucket, key: bucket.entry(key),
    "put": lambda bucket, key: bucket.put(key, 1),
    "put if": lambda bucket, key: bucket.put(key, 1, if_absent=True),
    "put if text": lambda bucket, key: bucket.put(key, "x" * 70_000, if_revision=1),
    "remove": lambda bucket, key: bucket.remove(key),
    "remove if": lambda bucket, key: bucket.remove(key, if_revision=1),
    "add": lambda bucket, key: bucket.add(key),
    "compare_and_swap": lambda bucket, key: bucket.compare_and_swap(key, 1, 1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_keys_that_cannot_be(
    bucket: kvreg.Bucket, call: Callable[[kvreg.Bucket, Any], object]
) -> None:
    for key in (1, None, ("milk",)):
        with pytest.raises(TypeError, match="a key is"):
            call(bucket, key)
    for long in ("k" * 65537, b"k" * 65537):
        with pytest.raises(kvreg.InvalidArgument, match="65536|65,536"):
            call(bucket, long)


@pytest.mark.parametrize(("name", "call"), CALLS.items())
def test_after_the_end(
    bucket: kvreg.Bucket, name: str, call: Callable[[kvreg.Bucket, Any], object]
) -> None:
    bucket.stop()
    method = "__delitem__" if name == "remove" else name.split()[0]
    with pytest.raises(kvreg.NoProcess, match=rf"Bucket\.{method} of 'shopping'"):
        call(bucket, "milk")
    with pytest.raises(kvreg.NoProcess, match=r"Bucket\.revision of"):
        bucket.revision()
    bucket.close()
    with pytest.raises(kvreg.Closed):
        call(bucket, "milk")


def test_from_inside_an_update(bucket: kvreg.Bucket) -> None:
    revision = bucket.put("milk", 1)

    def inside(n: int) -> int:
        assert bucket.entry("milk") == (1, revision, None)
        assert bucket.revision() == revision
        for name in ("put", "put if", "put if text", "remove if", "add", "compare_and_swap"):
            with pytest.raises(kvreg.CallingSelf):
                CALLS[name](bucket, "milk")
        return n + 1

    assert bucket.update("milk", inside) == 2


# Threads


def test_writes_wait_for_their_turn_and_reads_do_not(bucket: kvreg.Bucket) -> None:
    bucket["milk"] = 1
    hasty = bucket.clone()
    hasty.timeout = 0
    texts = ["y" * 70_000, "x" * 70_000]

    def waits() -> None:
        assert hasty.entry("milk").value == 1
        assert hasty.revision() == hasty.entry("milk").revision
        for name, call in CALLS.items():
            if name != "entry":
                with pytest.raises(kvreg.CallTimeout):
                    call(hasty, "milk")
        with pytest.raises(kvreg.CallTimeout):
            hasty.compare_and_swap("milk", *texts)

    def hold(_: object) -> kvreg.Verdict:
        Worker(waits).result()
        return kvreg.KEEP

    bucket.update("held", hold, default=None)
    assert bucket == {"milk": 1}


def test_who_waited_has_its_turn(bucket: kvreg.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, waiting, wait_there = threading.Event(), threading.Semaphore(0), Server._wait

    def wait_here(server: Server, *arguments: Any) -> int:
        waiting.release()
        return wait_there(server, *arguments)

    monkeypatch.setattr(Server, "_wait", wait_here)
    milk, tea = bucket.put("milk", 1), bucket.put("tea", 1)
    calls: list[Callable[[], object]] = [
        lambda: bucket.put("bread", "rye"),
        lambda: bucket.put("milk", 2, if_revision=milk),
        lambda: bucket.remove("tea", if_revision=tea),
        lambda: bucket.add("visits", 3),
        lambda: bucket.compare_and_swap("state", kvreg.ABSENT, "open"),
    ]

    def hold(_: object) -> kvreg.Verdict:
        begun.set()
        for _ in calls:
            assert waiting.acquire(timeout=WAIT)
        return kvreg.KEEP

    holder = Worker(lambda: bucket.update("held", hold, default=None))
    wait(begun)
    bread, milk, gone, sum_, swapped = (
        worker.result() for worker in [Worker(call) for call in calls]
    )
    holder.result()
    assert (gone, sum_, swapped) == (None, 3, True)
    assert bucket.entry("bread") == ("rye", bread, None)
    assert bucket.entry("milk") == (2, milk, None)
    assert bucket == {"bread": "rye", "milk": 2, "visits": 3, "state": "open"}


def test_none_is_lost_between_threads(bucket: kvreg.Bucket) -> None:
    barrier, rounds = threading.Barrier(3), 300

    def by_revision() -> None:
        while True:
            try:
                try:
                    value, revision, _ = bucket.entry("revisions")
                except KeyError:
                    bucket.put("revisions", 1, if_absent=True)
                else:
                    bucket.put("revisions", value + 1, if_revision=revision)
                return
            except kvreg.Conflict:
                pass

    def by_value() -> None:
        while True:
            old = bucket.get("values", kvreg.ABSENT)
            new = 1 if old is kvreg.ABSENT else old + 1
            if bucket.compare_and_swap("values", old, new):
                return

    def work() -> None:
        barrier.wait(WAIT)
        for _ in range(rounds):
            by_revision()
            by_value()
            bucket.add("sums")

    for worker in [Worker(work) for _ in range(3)]:
        worker.result()
    assert bucket == {name: 3 * rounds for name in ("revisions", "values", "sums")}
