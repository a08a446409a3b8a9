"""The source distribution: it carries the crate, complete and on its own."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributions import LICENCES, PROJECT, REPOSITORY, SDIST, crate_version, modules, output
from environments import without_index

ROOT = f"kvreg-{crate_version()}"
CRATE = (
    "Cargo.lock",
    "Cargo.toml",
    "build.rs",
    "include/kvreg.h",
    "include/kvreg.hpp",
    "include/kvreg_engine.h",
)
ENGINE = "engines/file"
# Which cargo packs in its own way.
PACKED = {f"{at}{name}" for at in ("", f"{ENGINE}/") for name in ("Cargo.lock", "Cargo.toml")}


def sources() -> set[str]:
    found = [*(REPOSITORY / "src").rglob("*"), *(REPOSITORY / ENGINE).rglob("*")]
    found += (REPOSITORY / "examples").glob("*.rs")
    return {str(path.relative_to(REPOSITORY)) for path in found if path.is_file()}


def documents() -> set[str]:
    """The pages with their pictures, and the examples but for Python's."""
    examples = {
        str(path.relative_to(REPOSITORY))
        for pattern in ("c/**/*.[ch]", "csharp/*.cs", "go/go.mod", "go/*.go", "java/*.java")
        + ("luajit/*.lua", "node/*.js*", "ruby/*.rb")
        for path in (REPOSITORY / "bindings").glob(pattern)
    }
    examples |= {"engines/dir/dir.c"}
    pages = {*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")}
    pages |= {*REPOSITORY.glob("docs/images/*.svg")}
    return examples | {str(page.relative_to(REPOSITORY)) for page in pages}


def contents(distribution: Path) -> dict[str, bytes]:
    with tarfile.open(distribution) as archive:
        found = {
            member.name: archive.extractfile(member) for member in archive if member.isfile()
        }
        return {name: file.read() for name, file in found.items() if file is not None}


def test_it_has_these_files_and_no_other() -> None:
    informed = (
        *("PKG-INFO", "SOURCES.txt", "dependency_links.txt"),
        *("entry_points.txt", "requires.txt", "top_level.txt"),
    )
    expected = (
        modules()
        | {f"native/{path.name}" for path in (PROJECT / "native").iterdir()}
        | {"kvreg/py.typed", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg", "setup.py"}
        | {f"kvreg.egg-info/{name}" for name in informed}
        | {f"rust/{name}" for name in sources() | documents() | {*CRATE} | PACKED}
        | {f"{directory}{name}" for directory in ("", "rust/") for name in LICENCES}
    )
    assert set(contents(SDIST)) == {f"{ROOT}/{name}" for name in expected}


def test_the_files_are_those_of_the_checkout() -> None:
    found = contents(SDIST)
    native = {f"native/{path.name}" for path in (PROJECT / "native").iterdir()}
    for name in modules() | native | {"README.md", "pyproject.toml", "setup.py"}:
        assert found[f"{ROOT}/{name}"] == (PROJECT / name).read_bytes(), name
    for name in (sources() | {*CRATE}) - PACKED:
        assert found[f"{ROOT}/rust/{name}"] == (REPOSITORY / name).read_bytes(), name


@pytest.mark.parametrize(
    ("file", "own"), [("Cargo.lock", "kvreg"), (f"{ENGINE}/Cargo.lock", "kvreg-file")]
)
def test_the_lock_file_has_the_versions_of_the_checkout_without_other_members(
    file: str, own: str
) -> None:
    def packages(lock: str) -> set[str]:
        return {
            "".join(part.split("\ndependencies")[:1]) for part in lock.split("[[package]]")[1:]
        }

    carried = packages(contents(SDIST)[f"{ROOT}/rust/{file}"].decode())
    assert {part.strip() for part in carried} < {
        part.strip() for part in packages((REPOSITORY / "Cargo.lock").read_text())
    }
    ours = [part.split('"')[1] for part in carried if '"kvreg' in part]
    assert ours == [own]


@pytest.fixture
def unpacked() -> Iterator[Path]:
    """Its directory, where cargo would take it for a part of the checkout's workspace."""
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "target") as directory:
        shutil.unpack_archive(SDIST, directory)
        yield Path(directory, ROOT)


def test_it_may_lie_in_the_tree_of_another_workspace(unpacked: Path) -> None:
    output(
        "cargo",
        "metadata",
        "--no-deps",
        "--locked",
        "--format-version=1",
        cwd=unpacked / "rust",
    )


def test_its_pages_are_whole(unpacked: Path) -> None:
    output(sys.executable, REPOSITORY / "tests" / "docs" / "links.py", unpacked)


def test_cargo_would_publish_the_crate_without_a_warning(tmp_path: Path) -> None:
    told = output(
        *("cargo", "package", "--locked", "--allow-dirty", "--no-verify", "--package", "kvreg"),
        *("--target-dir", tmp_path),
        cwd=REPOSITORY,
    )
    assert "Packaged" in told
    assert "warning" not in told


def test_it_makes_itself_again(unpacked: Path, tmp_path: Path) -> None:
    # What is built there is not the crate, and is not to come along.
    (unpacked / "rust" / "target").mkdir()
    (unpacked / "rust" / "target" / "README.md").touch()
    output(
        *(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, unpacked),
        env={**os.environ, **without_index()},
    )
    again = contents(tmp_path / SDIST.name)
    assert set(again) == set(contents(SDIST))
    for name, data in contents(SDIST).items():
        if "egg-info" not in name:
            assert again[name] == data, name
