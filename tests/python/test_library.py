"""Loading the library: lazily, from where it was said, and with the reason if it fails."""

from __future__ import annotations

import ctypes.util
import re
import shutil
import sys
import zipapp
from pathlib import Path

import kvreg
import pytest
from support import LIBRARY, LIBRARY_NAME, PACKAGE, SCALE, UNMEASURED, python

FIRST_USE = """
import kvreg
try:
    kvreg.Bucket()
except kvreg.LibraryError as error:
    print(error)
"""


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A directory with a copy of the package that has no library beside it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.dylib", "*.dll")
    directory = tmp_path / "Einkäufe 買物"
    shutil.copytree(PACKAGE, directory / "kvreg", ignore=ignored)
    return directory


def test_importing_loads_and_starts_nothing() -> None:
    code = """
import os
from pathlib import Path
maps = Path("/proc/self/maps")
before = set(os.environ.items())
import kvreg
assert "kvreg.so" not in maps.read_text()
assert len(os.listdir("/proc/self/task")) == 1
assert set(os.environ.items()) == before
kvreg.Bucket()
assert "kvreg.so" in maps.read_text()
assert len(os.listdir("/proc/self/task")) == 1
print("done")
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("looks into /proc")
    assert python(code) == "done\n"


def test_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", kvreg.library_version())
    assert kvreg.library_version().split(".")[:2] == kvreg.__version__.split(".")[:2]


def test_a_wrong_variable_is_told_with_its_path() -> None:
    told = python(FIRST_USE, KVREG_LIBRARY="/nowhere/libkvreg.so")
    assert "/nowhere/libkvreg.so" in told
    assert "KVREG_LIBRARY" in told


def test_all_that_was_tried_is_told(alone: Path) -> None:
    told = python(FIRST_USE, KVREG_LIBRARY=None, PYTHONPATH=str(alone))
    assert "KVREG_LIBRARY: not set" in told
    assert "has loaded: none" in told
    assert str(alone / "kvreg" / LIBRARY_NAME) in told
    assert "kvreg.load(path)" in told


def test_a_failure_is_not_remembered(alone: Path) -> None:
    code = f"{FIRST_USE}\nkvreg.load({LIBRARY!r})\nprint(len(kvreg.Bucket()))"
    told = python(code, KVREG_LIBRARY=None, PYTHONPATH=str(alone))
    assert told.endswith("\n0\n")


def test_the_library_beside_the_package_is_found(alone: Path) -> None:
    shutil.copy(LIBRARY, alone / "kvreg" / LIBRARY_NAME)
    code = "import kvreg; from kvreg import _library; print(_library.library()._name)"
    told = python(code, KVREG_LIBRARY=None, PYTHONPATH=str(alone))
    assert told == f"{alone / 'kvreg' / LIBRARY_NAME}\n"


def test_a_copy_that_is_loaded_already_is_shared(alone: Path) -> None:
    # The one beside the package is not a library at all: it must not be touched.
    (alone / "kvreg" / LIBRARY_NAME).write_bytes(b"")
    code = f"""
import ctypes
host = ctypes.CDLL({LIBRARY!r}, mode=ctypes.RTLD_GLOBAL)
import kvreg
from kvreg import _abi, _library
mine = kvreg.Bucket()
live = _abi.Live(size=ctypes.sizeof(_abi.Live))
assert host.kvreg_live_counts(ctypes.byref(live)) == 0
print(live.bucket_handles)
"""
    assert python(code, KVREG_LIBRARY=None, PYTHONPATH=str(alone)) == "1\n"


def test_load_overrides_the_variable() -> None:
    code = f"import kvreg; kvreg.load({LIBRARY!r}); print(len(kvreg.Bucket()))"
    assert python(code, KVREG_LIBRARY="/nowhere/libkvreg.so") == "0\n"


def test_load_takes_a_path_object_and_may_be_repeated() -> None:
    kvreg.Bucket().close()
    kvreg.load(Path(LIBRARY))
    kvreg.load(LIBRARY)


def test_another_library_after_the_first_use_is_refused(tmp_path: Path) -> None:
    kvreg.Bucket().close()
    other = tmp_path / LIBRARY_NAME
    shutil.copy(LIBRARY, other)
    with pytest.raises(RuntimeError, match="in use already"):
        kvreg.load(other)


def test_what_is_no_kvreg_library_is_refused(tmp_path: Path) -> None:
    name = "kernel32" if sys.platform == "win32" else ctypes.util.find_library("m")
    if name is None:
        pytest.skip("no other library to try")
    with pytest.raises(kvreg.LibraryError, match="not a kvreg library"):
        kvreg.load(name)
    with pytest.raises(kvreg.LibraryError, match="nothing here"):
        kvreg.load(tmp_path / "nothing here")


OF_VERSION = """
import kvreg
from kvreg import _library
_library._VERSION = ({})
try:
    print(len(kvreg.Bucket()))
except kvreg.LibraryError as error:
    print(error)
"""


@pytest.mark.parametrize("version", ["9, 1", "0, 255"])
def test_a_library_of_another_version_is_refused(alone: Path, version: str) -> None:
    code = OF_VERSION.format(version)
    told = python(code, KVREG_LIBRARY=LIBRARY, PYTHONPATH=str(alone))
    assert "version 0.1" in told
    assert "needs " + version.replace(", ", ".") in told
    assert LIBRARY in told
    assert str(alone) in told


def test_a_later_library_of_the_same_major_is_taken(alone: Path) -> None:
    code = OF_VERSION.format("0, 0")
    assert python(code, KVREG_LIBRARY=LIBRARY, PYTHONPATH=str(alone)) == "0\n"


def test_threads_may_share_the_first_use() -> None:
    code = """
import threading, kvreg
barrier = threading.Barrier(8)
made = []
def use():
    barrier.wait()
    made.append(kvreg.Registry())
threads = [threading.Thread(target=use) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(made))
"""
    assert python(code) == "8\n"


def test_an_interpreter_may_just_exit() -> None:
    code = """
import threading, kvreg
kvreg.configure(default_timeout=None)
registry, inbox, barrier = kvreg.Registry(), kvreg.Inbox(), threading.Barrier(4)
buckets = [registry.create(str(n)) for n in range(100)]
for bucket in buckets:
    inbox.monitor(bucket)
    bucket.put_cast("milk", 1)
def receive():
    barrier.wait()
    kvreg.Inbox().receive()
def write():
    barrier.wait()
    while True:
        bucket.update("milk", lambda n: n + 1)
for work in (receive, write, write):
    threading.Thread(target=work, daemon=True).start()
barrier.wait()
print("done")
"""
    for _ in range(max(1, 2 * SCALE)):
        assert python(code, **UNMEASURED) == "done\n"


def test_everything_public_is_documented() -> None:
    assert len(set(kvreg.__all__)) == len(kvreg.__all__)
    for name in kvreg.__all__:
        public = getattr(kvreg, name)
        if isinstance(public, type):
            assert public.__doc__, name
            for attribute, found in vars(public).items():
                if callable(found) and not attribute.startswith("_"):
                    assert found.__doc__, f"{name}.{attribute}"
    assert (PACKAGE / "py.typed").exists()


def test_inside_an_archive_it_says_what_to_do(alone: Path, tmp_path: Path) -> None:
    shutil.copy(LIBRARY, alone / "kvreg" / LIBRARY_NAME)
    (alone / "__main__.py").write_text(FIRST_USE)
    archive = tmp_path / "app.pyz"
    zipapp.create_archive(alone, archive)
    start = f"import runpy; runpy.run_path({str(archive)!r}, run_name='__main__')"
    told = python(start, KVREG_LIBRARY=None, PYTHONPATH=None)
    assert f"The package is inside {archive}," in told
    assert "pip install --target" in told
    # What it says helps.
    load = f"import kvreg; kvreg.load({LIBRARY!r}); print(len(kvreg.Bucket()))"
    assert python(load, KVREG_LIBRARY=None, PYTHONPATH=str(archive)) == "0\n"
    use = "import kvreg; print(len(kvreg.Bucket()))"
    assert python(use, KVREG_LIBRARY=LIBRARY, PYTHONPATH=str(archive)) == "0\n"


def test_without_pydll_it_works_as_well() -> None:
    session = Path(__file__).with_name("without_pydll.py").read_text()
    assert python("import ctypes\ndel ctypes.PyDLL\n" + session) == "done\n"
