"""A C plug-in in the same process: it meets Python in a registry, by name alone."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import kvreg
import pytest
from kvreg import _library
from support import REPOSITORY, WAIT, Worker

# Where the header is, for tests of a package that is installed.
INCLUDE = Path(os.environ.get("KVREG_INCLUDE") or REPOSITORY / "include")
SOURCE = Path(__file__).with_name("plugin.c")
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
ADDITIONS = 2000


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The plug-in, linked to the file that kvreg has loaded."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    assert compiler is not None, "there is no C compiler"
    loaded = Path(_library.library()._name).resolve()
    built = tmp_path_factory.mktemp("plugin") / "plugin.so"
    subprocess.run(
        [*compiler.split(), *WARNINGS, "-shared", "-fPIC", f"-I{INCLUDE}"]
        + [str(SOURCE), "-o", str(built), str(loaded), f"-Wl,-rpath,{loaded.parent}"],
        check=True,
        timeout=WAIT,
    )
    plugin = ctypes.CDLL(str(built))
    names = [ctypes.c_char_p] * 3
    plugin.plugin_put.argtypes = [*names, ctypes.c_int64]
    plugin.plugin_get.argtypes = [*names, ctypes.POINTER(ctypes.c_int64)]
    plugin.plugin_add.argtypes = [*names, ctypes.c_uint32]
    plugin.plugin_start.argtypes = names[:2]
    plugin.plugin_library.restype = ctypes.c_void_p
    return plugin


@pytest.fixture
def host() -> Iterator[kvreg.Registry]:
    with kvreg.Registry("host") as registry:
        yield registry


def test_both_have_one_library(plugin: ctypes.CDLL) -> None:
    version = _library.library().kvreg_version_string
    prototype = ctypes.CFUNCTYPE(ctypes.c_void_p)
    address = ctypes.cast(version, ctypes.c_void_p).value
    assert address is not None
    assert plugin.plugin_library() == prototype(address)()


def test_the_plugin_changes_what_python_has_started(
    plugin: ctypes.CDLL, host: kvreg.Registry
) -> None:
    dairy = host.create("dairy")
    assert plugin.plugin_put(b"host", b"dairy", b"milk", 7) == kvreg.Status.OK
    assert dairy["milk"] == 7
    dairy["milk"] = 8
    milk = ctypes.c_int64()
    assert plugin.plugin_get(b"host", b"dairy", b"milk", milk) == kvreg.Status.OK
    assert milk.value == 8


def test_the_plugin_hears_what_is_not_there(plugin: ctypes.CDLL, host: kvreg.Registry) -> None:
    milk = ctypes.c_int64()
    assert plugin.plugin_get(b"nobody", b"dairy", b"milk", milk) == kvreg.Status.NOT_FOUND
    assert plugin.plugin_get(b"host", b"dairy", b"milk", milk) == kvreg.Status.NOT_FOUND
    dairy = host.create("dairy")
    assert plugin.plugin_get(b"host", b"dairy", b"milk", milk) == kvreg.Status.NOT_FOUND
    dairy["milk"] = "text"
    assert plugin.plugin_get(b"host", b"dairy", b"milk", milk) == kvreg.Status.WRONG_TYPE
    dairy.stop()
    assert plugin.plugin_put(b"host", b"dairy", b"milk", 1) == kvreg.Status.NOT_FOUND


def test_python_finds_what_the_plugin_has_started(plugin: ctypes.CDLL) -> None:
    with pytest.raises(kvreg.RegistryNotFound):
        kvreg.Registry.whereis("plugin")
    assert plugin.plugin_start(b"plugin", b"dairy") == kvreg.Status.OK
    with kvreg.Registry.whereis("plugin") as found, kvreg.Inbox() as inbox:
        assert list(found) == ["dairy"]
        found["dairy"]["milk"] = 1
        assert plugin.plugin_put(b"plugin", b"dairy", b"tea", 2) == kvreg.Status.OK
        assert found["dairy"] == {"milk": 1, "tea": 2}
        with pytest.raises(kvreg.AlreadyStarted):
            kvreg.Registry("plugin")
        reference = inbox.monitor(found["dairy"])
        assert plugin.plugin_stop() == kvreg.Status.OK
        down = inbox.receive(timeout=WAIT)
        assert down == kvreg.Down(reference, kvreg.Reason.SHUTDOWN, "dairy", "")
        with pytest.raises(kvreg.NoProcess):
            found.create("bakery")
    with pytest.raises(kvreg.RegistryNotFound):
        kvreg.Registry.whereis("plugin")


def test_updates_of_both_add_up(plugin: ctypes.CDLL, host: kvreg.Registry) -> None:
    dairy = host.create("dairy")

    def from_python() -> None:
        mine = host["dairy"]
        for _ in range(ADDITIONS):
            mine.update("milk", lambda n: n + 1, default=0)

    def from_plugin() -> None:
        added = plugin.plugin_add(b"host", b"dairy", b"milk", ADDITIONS)
        assert added == kvreg.Status.OK

    workers = [Worker(work) for work in 2 * [from_python, from_plugin]]
    for worker in workers:
        worker.result()
    assert dairy["milk"] == 4 * ADDITIONS


def test_the_plugin_waits_for_an_update_of_python(
    plugin: ctypes.CDLL, host: kvreg.Registry
) -> None:
    dairy = host.create("dairy")
    added = []

    def fn(n: int) -> int:
        # In this thread it would wait for itself; another one waits for this.
        status = plugin.plugin_add(b"host", b"dairy", b"milk", 1)
        assert status == kvreg.Status.CALLING_SELF
        added.append(Worker(lambda: plugin.plugin_add(b"host", b"dairy", b"milk", 1)))
        milk = ctypes.c_int64()
        assert plugin.plugin_get(b"host", b"dairy", b"milk", milk) == kvreg.Status.OK
        assert milk.value == 1
        return n + 10

    dairy["milk"] = 1
    assert dairy.update("milk", fn) == 11
    assert added[0].result() == kvreg.Status.OK
    assert dairy["milk"] == 12
