"""Buckets whose contents a store keeps, by an example of an engine, and by one that waits."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import kvreg
import pytest
from kvreg import BucketOptions, Reads
from stores_support import DIR, Disk, compiled
from support import (
    LIBRARY,
    PACKAGE,
    REPOSITORY,
    WAIT,
    Worker,
    live_handles,
    posix,
    python,
)

pytestmark = posix

CONTENTS: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": -(2**63),
    "float": 0.1,
    "str": "Grüße\0",
    "bytes": b"\xff\0",
    "empty": "",
    "long": 70_000 * "x",
    "": 1,
    "\udcff": 2,
}


@pytest.fixture
def url(engines: Path, tmp_path: Path) -> str:
    assert engines.exists()
    return f"dir:{tmp_path}"


@pytest.fixture
def slow(disk: Disk) -> Iterator[kvreg.Registry]:
    """A registry whose buckets wait for the disk."""
    with kvreg.Registry(store=disk.url) as registry:
        yield registry
        disk.allow(100)  # to close them


# What is kept


def test_contents_come_back(registry: kvreg.Registry, url: str) -> None:
    options = BucketOptions(store=url)
    bucket = registry.create("shopping", options=options)
    bucket.put_many(CONTENTS)
    revision = bucket.put("last", 1)
    del bucket["last"]
    bucket.put("timed", 1, ttl=3600)
    entries = {key: bucket.entry(key) for key in CONTENTS}
    registry.remove("shopping")
    again = registry.create("shopping", exclusive=True, options=options)
    assert {key: again.entry(key) for key in CONTENTS} == entries
    assert [type(again[key]) for key in CONTENTS] == [type(it) for it in CONTENTS.values()]
    assert len(again) == len(CONTENTS) + 1 and 0 < (again.entry("timed").ttl or 0) <= 3600
    assert again.put("next", 1) > revision


def test_a_bucket_that_crashes_has_its_keys_again(registry: kvreg.Registry, url: str) -> None:
    options = BucketOptions(store=url, restart=kvreg.Restart.PERMANENT)
    registry.create("shopping", options=options)["milk"] = 1
    registry["shopping"].exit(kvreg.Reason.CRASHED)
    assert registry["shopping"] == {"milk": 1}


def test_a_registry_has_a_store_for_all_its_buckets(url: str) -> None:
    with kvreg.Registry(store=url) as registry:
        registry.create("a")["k"] = 1
        registry.create_cast("b")
        registry["b"]["k"] = 2
        assert registry.execute("CREATE c") == registry.execute("PUT c k 3") == b"OK\r\n"
    with kvreg.Registry(bucket=BucketOptions(store=url, max_keys=5)) as registry:
        assert [registry.create(name)["k"] for name in "abc"] == [1, 2, "3"]
        # One that has options of its own has the store that these say.
        registry.create("d", options=BucketOptions())["k"] = 4
    with kvreg.Registry(store=url, bucket=BucketOptions(max_keys=1)) as registry:
        with pytest.raises(kvreg.LimitReached):
            registry.create("a")["l"] = 1
        assert len(registry.create("d")) == 0


def test_two_stores_for_one_registry(url: str) -> None:
    with pytest.raises(ValueError, match="two stores") as caught:
        kvreg.Registry(store=url, bucket=BucketOptions(store="dir:/elsewhere"))
    assert type(caught.value) is kvreg.InvalidArgument
    kvreg.Registry(store=url, bucket=BucketOptions(store=url)).stop()


def test_ways_to_read(registry: kvreg.Registry, url: str) -> None:
    options = BucketOptions(store=url, reads=Reads.COPY)
    bucket = registry.create("shopping", options=options)
    bucket["milk"] = 1
    assert bucket["milk"] == 1
    assert BucketOptions().reads is Reads.STORE
    with pytest.raises(ValueError):
        BucketOptions(reads=2)  # type: ignore[arg-type]


def test_a_codec(url: str) -> None:
    for expected in ({}, {"list": [1, {"a": None}]}):
        with kvreg.Registry(store=url, codec=kvreg.JSON) as registry:
            bucket = registry.create("shopping")
            assert bucket == expected
            bucket["list"] = [1]
            bucket.update("list", lambda it: [*it, {"a": None}])


def test_what_is_erased_does_not_come_back(registry: kvreg.Registry, url: str) -> None:
    options = BucketOptions(store=url)
    registry.create("shopping", options=options)["milk"] = 1
    registry.erase("shopping")
    assert "shopping" not in registry
    assert registry.create("shopping", options=options) == {}
    registry.create("in memory")
    registry.erase("in memory")
    with pytest.raises(KeyError) as caught:
        registry.erase("in memory")
    assert type(caught.value) is kvreg.BucketNotFound and caught.value.args == ("in memory",)
    with pytest.raises(kvreg.InvalidArgument):
        registry.erase("")


def test_what_no_bucket_has_is_erased_too(url: str) -> None:
    with kvreg.Registry(store=url) as registry:
        registry.create("shopping")["milk"] = 1
        registry.remove("shopping")
        registry.erase("shopping")
        assert registry.create("shopping") == {}
        registry.erase("shopping")
        with pytest.raises(kvreg.BucketNotFound):
            registry.erase("shopping")


# What is refused


def refused(registry: kvreg.Registry, store: str) -> kvreg.Error:
    with pytest.raises(kvreg.Error) as caught:
        registry.create("shopping", options=BucketOptions(store=store))
    assert "shopping" not in registry
    return caught.value


@pytest.mark.parametrize(
    "store", ["", "no URL", "Upper:x", "nobodys:x", "dir:", "dir:/tmp?x=1"]
)
@pytest.mark.usefixtures("engines")
def test_a_store_that_cannot_be(registry: kvreg.Registry, store: str) -> None:
    assert type(refused(registry, store)) is kvreg.InvalidArgument


def test_a_store_that_cannot_be_opened(registry: kvreg.Registry, url: str) -> None:
    assert type(refused(registry, "dir:/nowhere/at/all")) is kvreg.IOFailed
    with kvreg.Registry(store=url) as other:
        other.create("shopping")["milk"] = 1
        assert isinstance(refused(registry, url), OSError)
        assert other["shopping"] == {"milk": 1}


def test_a_bucket_without_a_name_has_no_store(url: str) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        kvreg.Bucket(BucketOptions(store=url))


@pytest.mark.parametrize("store", [1, b"dir:/tmp", Path("/tmp")])
def test_a_store_is_text(store: Any) -> None:
    for options in ({"store": store}, {"bucket": None, "store": store}):
        with pytest.raises(TypeError, match="URL"):
            kvreg.Registry(**options)
    with pytest.raises(TypeError, match="URL"):
        BucketOptions(store=store)


def test_an_engine_that_cannot_be_loaded(engines: Path) -> None:
    with pytest.raises(OSError, match="kvreg.load_engine: .*/nowhere/at_all.so"):
        kvreg.load_engine("/nowhere/at_all.so")
    with pytest.raises(NotImplementedError, match="no kvreg_engine_init") as caught:
        kvreg.load_engine(LIBRARY)
    assert type(caught.value) is kvreg.Unsupported
    with pytest.raises(kvreg.AlreadyStarted):
        kvreg.load_engine(os.fsencode(engines))
    for path in ("", "a\0b", "\udcff"):
        with pytest.raises(kvreg.InvalidArgument):
            kvreg.load_engine(path)


BESIDE = """
import kvreg
with kvreg.Registry(store={url!r}) as registry:
    try:
        bucket = registry.create("shopping")
        bucket.add("runs")
        print(dict(bucket))
    except kvreg.Unsupported as refused:
        print(str(refused).partition("install")[2])
"""


def test_engines_of_its_own_lie_beside_the_library(tmp_path: Path) -> None:
    (tmp_path / "buckets").mkdir()
    code = BESIDE.format(url=f"file:{tmp_path / 'buckets'}")
    library = str(shutil.copy(LIBRARY, tmp_path))
    assert "libkvreg_file" in python(code, KVREG_LIBRARY=library)
    engine_of("file", tmp_path)
    for runs in (1, 2):
        assert python(code, KVREG_LIBRARY=library) == f"{{'runs': {runs}}}\n"


def engine_of(scheme: str, directory: Path) -> Path:
    """The engine of directories, for another scheme, as one of the library's own."""
    source = DIR.read_text()
    for around in ('"{}:"', 'add("{}"'):
        source = source.replace(around.format("dir"), around.format(scheme))
    (directory / f"{scheme}.c").write_text(source)
    return compiled(directory / f"{scheme}.c", directory / f"libkvreg_{scheme}.so")


@pytest.fixture
def packaged(tmp_path: Path) -> dict[str, str]:
    """Variables with which there is a package that has the engine of nats: URLs."""
    package = tmp_path / "packages" / "kvreg_nats"
    package.mkdir(parents=True)
    shutil.copy(REPOSITORY / "bindings" / "python-nats" / "kvreg_nats" / "__init__.py", package)
    engine_of("nats", package)
    (tmp_path / "buckets").mkdir()
    (tmp_path / "library").mkdir()
    return {
        "KVREG_LIBRARY": str(shutil.copy(LIBRARY, tmp_path / "library")),
        "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), str(package.parent)]),
    }


def test_an_engine_is_imported_that_is_a_package_of_its_own(
    packaged: dict[str, str], tmp_path: Path
) -> None:
    code = BESIDE.format(url=f"nats:{tmp_path / 'buckets'}")
    assert "libkvreg_nats" in python(code, **{**packaged, "PYTHONPATH": str(PACKAGE.parent)})
    assert python(code, **packaged) == "{'runs': 1}\n"
    again = "import sys\n" + code + "assert 'kvreg_nats' in sys.modules\n"
    assert python(again + code, **packaged) == "{'runs': 2}\n{'runs': 3}\n"
    options = f"""
import kvreg
with kvreg.Registry() as registry:
    options = kvreg.BucketOptions(store="nats:{tmp_path / "buckets"}")
    print(dict(registry.create("shopping", options=options)))
"""
    assert python(options, **packaged) == "{'runs': 3}\n"


def test_an_engine_is_not_imported_where_there_is_one(
    packaged: dict[str, str], tmp_path: Path
) -> None:
    code = "import sys\n" + BESIDE.format(url=f"nats:{tmp_path / 'buckets'}")
    engine = tmp_path / "packages" / "kvreg_nats" / "libkvreg_nats.so"
    loaded = f"import kvreg\nkvreg.load_engine({str(engine)!r})\n"
    assert python(loaded + code, **packaged) == "{'runs': 1}\n"
    shutil.copy(engine, tmp_path / "library")
    code += "assert 'kvreg_nats' not in sys.modules\n"
    assert python(code, **packaged) == "{'runs': 2}\n"


def test_an_engine_that_is_imported_in_vain_says_why(
    packaged: dict[str, str], tmp_path: Path
) -> None:
    package = tmp_path / "packages" / "kvreg_nats"
    code = f"""
import kvreg
try:
    kvreg.Registry(store="nats:{tmp_path / "buckets"}")
except (OSError, ModuleNotFoundError) as error:
    print(type(error).__name__, error)
"""
    (package / "libkvreg_nats.so").unlink()
    assert "libkvreg_nats.so" in python(code, **packaged)
    (package / "__init__.py").write_text("import nothing_of_this_name")
    assert python(code, **packaged).startswith("ModuleNotFoundError")


# While the disk works


WRITES: dict[str, Callable[[kvreg.Bucket], object]] = {
    "str": lambda bucket: bucket.__setitem__("k", "v"),
    "bytes": lambda bucket: bucket.__setitem__("k", b"v"),
    "int": lambda bucket: bucket.__setitem__("k", 1),
    "float": lambda bucket: bucket.__setitem__("k", 1.0),
    "none": lambda bucket: bucket.__setitem__("k", None),
    "long": lambda bucket: bucket.__setitem__("k", 70_000 * "v"),
    "put": lambda bucket: bucket.put("k", 1),
    "put with a ttl": lambda bucket: bucket.put("k", 1, ttl=60),
    "put_if": lambda bucket: bucket.put("k", 1, if_revision=bucket.entry("k").revision),
    "expire": lambda bucket: bucket.expire("k", 60),
    "add": lambda bucket: bucket.add("n"),
    "compare_and_swap": lambda bucket: bucket.compare_and_swap("k", "old", "v"),
    "update": lambda bucket: bucket.update("k", lambda _: 1),
    "update to a float": lambda bucket: bucket.update("k", lambda _: 1.0),
    "update to a list": lambda bucket: bucket.update("k", lambda _: bytearray(b"v")),
    "update that removes": lambda bucket: bucket.update("k", lambda _: kvreg.REMOVE),
    "setdefault": lambda bucket: bucket.setdefault("new", 1),
    "del": lambda bucket: bucket.__delitem__("k"),
    "pop": lambda bucket: bucket.pop("k"),
    "popitem": lambda bucket: bucket.popitem(),
    "remove": lambda bucket: bucket.remove("k"),
    "remove_if": lambda bucket: bucket.remove("k", if_revision=bucket.entry("k").revision),
    "put_many": lambda bucket: bucket.put_many({"k": 1, "l": 2}),
    "many of several types": lambda bucket: bucket.put_many([("k", 1), ("l", "v")]),
    "clear": lambda bucket: bucket.clear(),
    "|=": lambda bucket: bucket.__ior__({"k": 1}),
}


def written(bucket: kvreg.Bucket, disk: Disk, write: Callable[[kvreg.Bucket], object]) -> None:
    """Other threads run while a write waits for the disk, and see what was before it."""
    before = dict(bucket)
    worker = Worker(lambda: write(bucket))
    # Here this thread has the interpreter's lock, or the disk would fail by and by.
    assert disk.begun() == "w"
    assert dict(bucket) == before and bucket.get("k") == before["k"]
    assert worker.runs()
    disk.allow()
    worker.result()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_others_run_while_a_write_waits(
    slow: kvreg.Registry, disk: Disk, write: Callable[[kvreg.Bucket], object]
) -> None:
    disk.allow()
    bucket = slow.create("shopping")
    assert disk.begun() == "o"
    # At first by the package, then by the extension, if there is one; and by others like it.
    for one in (bucket, bucket, slow["shopping"], bucket.clone(), slow.clone()["shopping"]):
        disk.allow(2)
        bucket.put_many({"k": "old", "n": 1})
        bucket.pop("new", None)
        while len(bucket) > 2:
            disk.allow()
            bucket.pop("l", None)
        disk.forget()
        written(one, disk, write)


def test_a_batch_and_a_file(slow: kvreg.Registry, disk: Disk, tmp_path: Path) -> None:
    disk.allow(2)
    bucket = slow.create("shopping")
    bucket["k"] = "old"
    disk.forget()

    def batch(bucket: kvreg.Bucket) -> None:
        with bucket.batch() as changes:
            changes["k"] = "v"
            del changes["k"]

    bucket.save(tmp_path / "saved")
    written(bucket, disk, batch)
    assert bucket == {}
    worker = Worker(lambda: bucket.restore(tmp_path / "saved"))
    assert disk.begun() == "w"
    assert bucket == {}
    disk.allow()
    worker.result()
    assert bucket == {"k": "old"}


def test_a_store_of_a_bucket_alone(registry: kvreg.Registry, disk: Disk) -> None:
    disk.allow(2)
    registry.create("shopping", options=BucketOptions(store=disk.url))["k"] = "old"
    disk.forget()
    with kvreg.Registry("host") as host:
        disk.allow(2)
        options = BucketOptions(store=disk.url)
        host.create("shopping", options=options)["k"] = "old"
        disk.forget()
        with kvreg.Registry.whereis("host") as found:
            for one in (registry, registry.clone(), host, found):
                for bucket in (one["shopping"], one.create("shopping")):
                    written(bucket, disk, lambda bucket: bucket.put("k", 1))
                    written(bucket, disk, lambda bucket: bucket.__setitem__("k", 1))
        disk.allow(100)


def test_others_keep_the_short_ways(registry: kvreg.Registry, url: str) -> None:
    registry.create("shopping", options=BucketOptions(store=url))
    assert registry["shopping"]._stored and registry.create("shopping")._stored
    assert not registry.create("in memory")._stored
    registry.remove("shopping")
    assert not registry.create("shopping")._stored


def test_no_time_to_wait_is_no_time_for_the_turn(slow: kvreg.Registry, disk: Disk) -> None:
    disk.allow()
    bucket = slow.create("shopping")
    assert disk.begun() == "o"
    bucket.timeout = 0
    for write in (bucket.put, bucket.__setitem__, bucket.__setitem__):
        worker = Worker(lambda write=write: write("k", 1))  # type: ignore[misc]
        assert disk.begun() == "w"
        with pytest.raises(kvreg.CallTimeout):
            bucket["k"] = 2
        disk.allow()
        worker.result()


def test_a_write_that_fails_ends_the_bucket(slow: kvreg.Registry, disk: Disk) -> None:
    disk.allow()
    bucket = slow.create("shopping")
    with kvreg.Inbox() as inbox:
        inbox.monitor(bucket)
        disk.fail()
        disk.allow()
        with pytest.raises(kvreg.ServerDown):
            bucket["k"] = 1
        down = inbox.receive(timeout=WAIT)
        assert isinstance(down, kvreg.Down) and down.reason is kvreg.Reason.CRASHED


def test_others_run_while_a_store_opens(slow: kvreg.Registry, disk: Disk) -> None:
    for create in (slow.create, slow.clone().create):
        worker = Worker(lambda create=create: create("shopping"))  # type: ignore[misc]
        assert disk.begun() == "o"
        # Who finds the name waits.
        with slow.clone() as hasty:
            hasty.timeout = 0
            with pytest.raises(kvreg.CallTimeout):
                hasty["shopping"]
        finder = Worker(lambda: slow["shopping"]["k"])
        disk.allow()
        worker.result()
        with pytest.raises(KeyError):
            finder.result()
        eraser = Worker(lambda: slow.erase("shopping"))
        assert disk.begun() == "c"
        disk.allow()
        assert disk.begun() == "d"
        disk.allow()
        eraser.result()
        assert "shopping" not in slow


def test_a_line_that_creates_a_bucket(slow: kvreg.Registry, disk: Disk) -> None:
    worker = Worker(lambda: slow.execute("CREATE shopping"))
    assert disk.begun() == "o"
    disk.allow()
    assert worker.result() == b"OK\r\n"


def test_ctrl_c_interrupts_who_waits_for_a_store(slow: kvreg.Registry, disk: Disk) -> None:
    gc.collect()
    before = live_handles()["bucket"]
    main = threading.get_ident()

    def interrupt() -> None:
        assert disk.begun() == "o"
        signal.pthread_kill(main, signal.SIGINT)

    worker = Worker(interrupt)
    with pytest.raises(KeyboardInterrupt):
        slow.create("shopping")
    worker.result()
    disk.allow()
    # It goes on: whoever asks finds the bucket. What it gave is nobody's.
    slow["shopping"].close()
    for thread in threading.enumerate():
        if thread.name == "kvreg-store":
            thread.join(WAIT)
    gc.collect()  # the frames of what was interrupted
    assert live_handles()["bucket"] == before
