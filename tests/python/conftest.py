"""Finds the package and the library, and gives each test a registry and a bucket of its own."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY_NAME = "kvreg.dll" if sys.platform == "win32" else "libkvreg.so"
LIBRARY = REPOSITORY / "target" / "release" / LIBRARY_NAME

# An installed package is what is tested, else the one in the repository.
found = importlib.util.find_spec("kvreg")
if found is None:
    sys.path.insert(0, str(REPOSITORY / "bindings" / "python"))
    found = importlib.util.find_spec("kvreg")
assert found is not None and found.origin is not None

# So is the library that was installed with it, unless another is asked for.
beside = Path(found.origin).with_name(LIBRARY_NAME)
if not os.environ.get("KVREG_LIBRARY") and not beside.exists():
    if not LIBRARY.exists():
        pytest.exit(
            f"no library: set KVREG_LIBRARY, or build {LIBRARY} (cargo build --release)", 2
        )
    os.environ["KVREG_LIBRARY"] = str(LIBRARY)

import kvreg  # noqa: E402
from kvreg import _table  # noqa: E402
from servers_support import until_gone  # noqa: E402
from stores_support import DIR, SLOW, Disk, compiled  # noqa: E402
from support import WAIT  # noqa: E402

# A call waits for its turn as long as a test waits for anything: a busy machine is no failure.
kvreg.configure(default_timeout=WAIT)

# A shell starts what runs in the background with these ignored, and so would run what the tests
# start and interrupt.
for signal_name, handler in (
    ("SIGINT", signal.default_int_handler),
    ("SIGHUP", signal.SIG_DFL),
):
    number = getattr(signal, signal_name, None)  # Windows has no SIGHUP
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def servers_are_gone() -> Iterator[None]:
    """What a test leaves of its servers is freed by another thread, before the next begins."""
    yield
    if _table.table.specs or _table.table.cells or _table.table.monitors:
        gc.collect()
        until_gone()


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engines of dir: and slow: URLs are loaded; where the first one lies."""
    folder = tmp_path_factory.mktemp("engines")
    for name, source in (("dir", DIR), ("slow", SLOW)):
        kvreg.load_engine(compiled(source, folder / f"{name}.so"))
    return folder / "dir.so"


@pytest.fixture
def disk(engines: Path) -> Iterator[Disk]:
    """A store that does each thing when it is allowed to."""
    assert engines.exists()
    disk = Disk()
    yield disk
    disk.close()


@pytest.fixture
def registry() -> Iterator[kvreg.Registry]:
    with kvreg.Registry() as registry:
        yield registry


@pytest.fixture
def bucket(registry: kvreg.Registry) -> kvreg.Bucket:
    return registry.create("shopping")


@pytest.fixture
def inbox() -> Iterator[kvreg.Inbox]:
    with kvreg.Inbox() as inbox:
        yield inbox
