"""The host in C and its plug-in in Python, with the shared library of each Python there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(os.environ["EXAMPLES"]) / "python_host"
BINDINGS = Path(__file__).resolve().parents[2] / "bindings"
PLUGINS = BINDINGS / "c" / "plugins"
SAID = """\
4 threads paid 47600 for 400 bottles
KVREG_ABORTED: kvreg_registry_call: the request was refused: 0 of milk cannot be bought
KVREG_SERVER_DOWN
shop is down: KeyError: 'unicorns'
a new one has sold 0; restarts: 1
"""


def libraries() -> list[str]:
    """Those of the Python that runs this and of the system's, which may have none."""
    found: list[str] = []
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python):
            command = [python, "-B", str(PLUGINS / "libpython.py")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            library = os.path.realpath(done.stdout.rstrip("\n"))
            if done.returncode == 0 and library not in found:
                found.append(library)
    return found


def run(*arguments: str, path: Path = PLUGINS, **variables: str) -> tuple[int, str, str]:
    """What becomes of a host, with plug-ins in that directory."""
    where = os.pathsep.join(map(str, (path, BINDINGS / "python")))
    environment = {**os.environ, "PYTHONPATH": where, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [PROGRAM, *arguments],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_there_is_a_library() -> None:
    assert libraries(), "no Python here has a shared library: install libpython3.x"


@pytest.mark.parametrize("library", libraries())
def test_a_plugin_is_called_crashes_and_is_there_again(library: str) -> None:
    for _ in range(5):  # each ends Python beside a thread of it that serves
        assert run(library, "shop") == (0, SAID, "")


@pytest.mark.parametrize("library", libraries()[:1])
def test_both_have_one_copy_of_kvreg(library: str) -> None:
    # Whatever Python would load if it were alone.
    assert run(library, "shop", KVREG_LIBRARY="/no/such/libkvreg.so") == (0, SAID, "")


@pytest.mark.parametrize("library", libraries()[:1])
def test_a_plugin_that_cannot_be_used(library: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('on purpose')\n")
    for module, said in (
        ("broken", "RuntimeError: on purpose"),
        ("missing", "ModuleNotFoundError: No module named 'missing'"),
    ):
        status, out, err = run(library, module, path=tmp_path)
        assert (status, out) == (1, "")
        assert err.endswith(f"{said}\npython_host: cannot use the plug-in {module}\n")


def test_no_python() -> None:
    status, out, err = run("/no/such/libpython3.so", "shop")
    assert (status, out) == (1, "")
    assert err.startswith("python_host: /no/such/libpython3.so: cannot open shared object file")
    status, out, err = run("libm.so.6", "shop")
    assert (status, out) == (1, "") and "undefined symbol: Py_InitializeEx" in err


def test_wrong_arguments() -> None:
    usage = "usage: python_host LIBPYTHON MODULE\n"
    for arguments in ([], ["libpython.so"], ["libpython.so", "shop", "x"]):
        assert run(*arguments) == (2, "", usage)


def test_a_python_without_a_library_is_told(tmp_path: Path) -> None:
    # As one that was built without --enable-shared says.
    (tmp_path / "sysconfig.py").write_text(
        "def get_config_var(name):\n    return {'INSTSONAME': 'libpython3.11.a'}.get(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", PLUGINS / "libpython.py"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no shared library" in done.stderr and "libpython3." in done.stderr
