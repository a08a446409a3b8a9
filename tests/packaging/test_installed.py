"""What is installed works as the checkout does, and is gone when it is uninstalled."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributions import (
    ENGINE_LIBRARIES,
    ENGINE_NOTICES,
    ENGINES,
    EXTENSION,
    HAS_EXTENSION,
    LIBRARY,
    NOTICES,
    PACKAGE,
    PROJECT,
    PURE_WHEEL,
    REPOSITORY,
    SDIST,
    WHEEL,
    crate_version,
    modules,
    output,
    readme_example,
    run,
)
from environments import Environment, without_index

SITE = {f"kvreg/{name}" for name in ENGINE_LIBRARIES | {LIBRARY, "py.typed"}}
PROOF = int(os.environ.get("KVREG_TEST_SCALE", "1")) > 1

# The modules are those of the checkout: what shows that they are all there, and find and use
# the library beside them. In the proof it is all tests.
OF_WHEELS = {
    "test_abi",
    "test_aio",
    "test_bucket",
    "test_fork",
    "test_inbox",
    "test_library",
    "test_pytest_plugin",
    "test_registry",
}

# What pip builds of sources is tried from the checkout too; from the archive takes a minute.
TESTED = {"pure wheel": PURE_WHEEL, "wheel": WHEEL}
if PROOF:
    TESTED["sdist"] = SDIST

INFO = f"kvreg-{crate_version()}.dist-info"


def copy_of_the_tests(directory: Path) -> Path:
    """The checkout without the package and the crate: tests, and the files they look into."""
    ignored = shutil.ignore_patterns("kvreg", "rust", "*.egg-info", "__pycache__", "model")
    for name in ("bindings", "include", "tests"):
        shutil.copytree(REPOSITORY / name, directory / name, ignore=ignored)
    for path in REPOSITORY.glob("*.md"):
        shutil.copy(path, directory)
    return directory


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with nothing but pip: each test leaves it as it was."""
    environment = Environment(tmp_path_factory.mktemp("plain"))
    environment.variables |= without_index()
    return environment


@pytest.fixture
def equipped(plain: Environment) -> Iterator[Environment]:
    """The same with what the tests need."""
    with plain.lent():
        yield plain


VISIT = """
import kvreg
with kvreg.Registry(store="file:visits") as registry:
    print(registry.create("shop").add("visits", 1))
"""


def keeps_files(environment: Environment) -> None:
    """What was installed keeps buckets in a file, or says what it lacks."""
    if "file" in ENGINES:
        assert [environment.says(VISIT) for _ in range(2)] == ["1\n", "2\n"]
        (environment.directory / "visits").unlink()
    else:
        done = run(environment.python, "-c", VISIT, cwd=environment.directory)
        assert "Unsupported" in done.stdout and "install libkvreg_file" in done.stdout


@pytest.mark.parametrize("distribution", TESTED.values(), ids=TESTED)
def test_the_tests_of_python_pass_against_the_installed(
    distribution: Path, equipped: Environment, tmp_path: Path
) -> None:
    checkout = copy_of_the_tests(tmp_path / "checkout")
    environment = equipped
    installed = environment.install(distribution)
    expected = SITE | modules()
    if distribution != SDIST:
        expected |= {f"kvreg/{name}" for name in ENGINE_NOTICES | {NOTICES}}
    if distribution != PURE_WHEEL and HAS_EXTENSION:
        expected.add(f"kvreg/{EXTENSION}")
    assert {name for name in installed if not name.startswith(INFO)} == expected
    package, library = environment.finds()
    assert package.is_relative_to(environment.directory)
    assert library == package / LIBRARY
    keeps_files(environment)

    results = tmp_path / "results.xml"
    asked = ["tests/python"] if PROOF else [f"tests/python/{name}.py" for name in OF_WHEELS]
    output(
        *(environment.python, "-X", "dev", "-W", "error", "-m", "pytest"),
        *("-p", "no:cacheprovider", f"--junitxml={results}", "-n", "2", *asked),
        cwd=checkout,
        # Once is enough to see that they run; how often is the checkout's affair.
        # pytest compiles what brings a plug-in for itself: pip would not know of those files.
        env={
            **environment.variables,
            "KVREG_TEST_SCALE": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Which of the two it is: one of the tests asks.
            "KVREG_TEST_NATIVE": str(int(distribution != PURE_WHEEL)),
        },
    )
    ran = {case.attrib["classname"] for case in ElementTree.parse(results).iter("testcase")}
    files = {path.stem for path in (REPOSITORY / "tests" / "python").rglob("test_*.py")}
    files = files if PROOF else OF_WHEELS
    assert {name.rpartition(".")[2] for name in ran} == files
    environment.uninstall()


@pytest.fixture
def stale() -> Iterator[None]:
    """A module that was built once and is no longer in the checkout."""
    built = list((REPOSITORY / "target" / "python").glob("lib*/kvreg"))
    assert built
    for directory in built:
        (directory / "_gone.py").touch()
    yield
    for directory in built:
        (directory / "_gone.py").unlink(missing_ok=True)


def project_files() -> set[Path]:
    """All that is beside the sources, but for notes that setuptools always keeps there.

    And what Python compiles: any other program that uses the checkout does so meanwhile.
    """
    noted = {"kvreg.egg-info", "__pycache__"}
    return {path for path in PROJECT.rglob("*") if not noted & {*path.parts}}


@pytest.mark.usefixtures("stale")
def test_a_checkout_is_installed_as_it_is(plain: Environment) -> None:
    before = project_files()
    installed = plain.install(PROJECT)
    expected = SITE | modules() | ({f"kvreg/{EXTENSION}"} if HAS_EXTENSION else set())
    assert {name for name in installed if not name.startswith(INFO)} == expected
    package, library = plain.finds()
    assert package.is_relative_to(plain.directory)
    assert library == package / LIBRARY
    code, printed = readme_example()
    assert plain.says(code) == printed
    keeps_files(plain)
    plain.uninstall()
    assert project_files() == before


@pytest.fixture
def links() -> Iterator[list[Path]]:
    """The links to the libraries that an editable package has; those that were not there go."""
    links = [PACKAGE / name for name in [LIBRARY, *ENGINE_LIBRARIES]]
    new = [link for link in links if not link.is_symlink()]
    yield links
    for link in new:
        link.unlink(missing_ok=True)


def test_an_editable_package_is_that_of_the_checkout(
    plain: Environment, links: list[Path]
) -> None:
    installed = plain.install("--editable", PROJECT)
    assert not any(name.startswith("kvreg/") for name in installed)
    assert plain.finds() == (PACKAGE, links[0])
    # What cargo builds next is what is loaded next.
    for link in links:
        assert link.is_symlink()
        assert link.samefile(REPOSITORY / "target" / "release" / link.name)
    code, printed = readme_example()
    assert plain.says(code) == printed
    keeps_files(plain)
    plain.uninstall()
    for link in links:
        assert link.exists(), "what is in the checkout is not pip's to remove"


def refused(environment: Environment, *arguments: str | Path, **variables: str) -> str:
    """What pip says when it fails to install something: no traceback, and nothing is left."""
    before = environment.files()
    done = environment.pip("install", *arguments, **variables)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert environment.files() == before
    return done.stdout


@pytest.mark.parametrize(
    "what",
    [(SDIST,), (PROJECT,), ("--editable", PROJECT)],
    ids=["sdist", "checkout", "editable"],
)
def test_without_cargo_it_says_what_to_install(
    what: tuple[str | Path, ...], plain: Environment, tmp_path: Path
) -> None:
    told = refused(plain, *what, PATH=str(tmp_path), CARGO="cargo")
    assert told.count("kvreg: cargo was not found") == 1
    assert "install Rust 1.85 or newer (https://rustup.rs)" in told
    assert "copying" not in told, "it fails before anything is done"


def test_when_cargo_fails_it_says_so(plain: Environment, tmp_path: Path) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text("#!/bin/sh\necho error: no linker >&2\nexit 101\n")
    cargo.chmod(0o755)
    told = refused(plain, SDIST, CARGO=str(cargo))
    assert "error: no linker" in told
    assert told.count("kvreg: cargo build failed, for the reason above") == 1


@pytest.fixture
def old_rust(tmp_path: Path) -> dict[str, str]:
    """Variables with which the build has a Rust that is too old for engines.

    Its cargo builds nothing: the library is the wheel's.
    """
    with zipfile.ZipFile(WHEEL) as wheel:
        library = wheel.extract(f"kvreg/{LIBRARY}", tmp_path)
    programs = {
        "cargo": f"""echo '{{"filenames": ["{library}"]}}'""",
        "rustc": "echo 'rustc 1.85.0 (4d91de4e4 2025-02-17)'",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    return {name.upper(): str(tmp_path / name) for name in programs}


TOO_OLD = "kvreg: without the engine of file: URLs: it needs Rust 1.90, and this is rustc 1.85"


def test_where_rust_is_too_old_for_an_engine_it_is_left_out(
    plain: Environment, old_rust: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(plain.variables, "KVREG_ENGINES")
    done = plain.pip("install", "--verbose", PROJECT, **old_rust)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(TOO_OLD) == 1
    assert not any("libkvreg_" in name for name in plain.files())
    code, printed = readme_example()
    assert plain.says(code) == printed
    plain.uninstall()


def test_an_engine_that_is_asked_for_is_not_left_out(
    plain: Environment, old_rust: dict[str, str]
) -> None:
    assert TOO_OLD in refused(plain, PROJECT, KVREG_ENGINES="file", **old_rust)


def test_away_from_the_sources_it_says_what_is_missing(
    plain: Environment, tmp_path: Path
) -> None:
    alone = tmp_path / "a" / "b" / "python"
    shutil.copytree(PROJECT, alone, ignore=shutil.ignore_patterns(LIBRARY, "*.egg-info"))
    told = refused(plain, alone)
    assert told.count("kvreg: the Rust sources are not in") == 1
