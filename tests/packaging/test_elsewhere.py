"""The wheels beyond a CPython that has installed it: with PyPy, pytest and PyInstaller."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from distributions import (
    ENGINE_LIBRARIES,
    ENGINE_NOTICES,
    EXTENSION,
    HAS_EXTENSION,
    LIBRARY,
    NATS_WHEEL,
    NOTICES,
    PURE_WHEEL,
    REPOSITORY,
    WHEEL,
    output,
    readme_example,
)
from environments import Environment
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename

SESSION = REPOSITORY / "tests" / "python" / "without_pydll.py"


def test_pypy_takes_the_wheel_and_works(tmp_path: Path) -> None:
    pypy = shutil.which("pypy3")
    assert pypy is not None, "tests/requirements.sh installs it"
    # PyPy 3.9's own tags are pp39-… and, as every Python's, py3-none-…
    tags = parse_wheel_filename(PURE_WHEEL.name)[3]
    assert {str(tag).rpartition("-")[0] for tag in tags} == {
        str(tag).rpartition("-")[0] for tag in parse_tag("py3-none-any")
    }
    with zipfile.ZipFile(PURE_WHEEL) as wheel:
        wheel.extractall(tmp_path)
    path = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    assert output(pypy, SESSION, cwd=tmp_path, env=path) == "done\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, and with those that look for its entry points."""
    environment = Environment(tmp_path_factory.mktemp("elsewhere"))
    beside = [] if NATS_WHEEL is None else [NATS_WHEEL]
    environment.install(WHEEL, *beside, "pytest", "pyinstaller")
    return environment


def test_pytest_finds_the_plug_in(environment: Environment, tmp_path: Path) -> None:
    test = "def test_it(registry, kvreg_leaks): registry.create('a')"
    (tmp_path / "test_it.py").write_text(test)
    told = output(
        *(environment.python, "-m", "pytest", "-p", "no:cacheprovider", tmp_path),
        cwd=environment.directory,
        env=environment.variables,
    )
    assert "1 passed" in told


# A store on a cluster, of which only the engine is there.
NOBODY_THERE = """
with kvreg.Registry(store="nats://127.0.0.1:1") as registry:
    registry.timeout = 0.2
    try:
        registry.create("shop")
    except OSError as error:
        print("no server is in reach" if "in reach" in str(error) else error)
"""


@pytest.mark.parametrize("form", ["--onedir", "--onefile"])
def test_pyinstaller_finds_what_to_put_in(
    form: str, environment: Environment, tmp_path: Path
) -> None:
    code, printed = readme_example()
    if NATS_WHEEL is not None:
        code, printed = code + NOBODY_THERE, printed + "no server is in reach\n"
    (tmp_path / "shop.py").write_text(code)
    said = output(
        *(environment.python, "-m", "PyInstaller", form, "--noconfirm", "shop.py"),
        cwd=tmp_path,
        env={**environment.variables, "PYINSTALLER_CONFIG_DIR": str(tmp_path / "config")},
    )
    program = tmp_path / "dist" / "shop"
    if form == "--onedir":
        inside = {path.name for path in program.rglob("kvreg/*")}
        assert {LIBRARY, NOTICES} | ENGINE_LIBRARIES | ENGINE_NOTICES <= inside, said
        assert not HAS_EXTENSION or EXTENSION in inside, said
        if NATS_WHEEL is not None:
            inside = {path.name for path in program.rglob("kvreg_nats/*")}
            assert {"libkvreg_nats.so", "THIRD-PARTY-LICENSES-nats.txt"} <= inside, said
        program = program / "shop"
    # Where neither Python nor the environment can be found.
    moved = shutil.move(program.parent if form == "--onedir" else program, tmp_path / "moved")
    start = Path(moved, "shop") if form == "--onedir" else Path(moved)
    shutil.rmtree(tmp_path / "build")
    assert output(start, cwd=tmp_path, env={"PATH": "/nowhere"}) == printed
