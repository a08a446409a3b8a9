"""The wheels: for the platforms that auditwheel says, and with nothing left over."""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from distributions import (
    ENGINE_LIBRARIES,
    ENGINE_NOTICES,
    EXTENSION,
    HAS_EXTENSION,
    LIBRARY,
    LICENCES,
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
)
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

VERSION = crate_version()
INFO = f"kvreg-{VERSION}.dist-info"
TOOLS = Path(sys.executable).parent


EACH = pytest.mark.parametrize(
    "wheel", {WHEEL, PURE_WHEEL}, ids=lambda it: it.name.split("-")[2]
)


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}


@EACH
def test_the_versions_agree(wheel: Path) -> None:
    assert f'\n__version__ = "{VERSION}"\n' in (PACKAGE / "__init__.py").read_text()
    assert str(parse_wheel_filename(wheel.name)[1]) == VERSION
    assert SDIST.name == f"kvreg-{VERSION}.tar.gz"


@EACH
def test_the_tag_is_that_of_these_pythons_on_what_auditwheel_found(wheel: Path) -> None:
    _, _, build, tags = parse_wheel_filename(wheel.name)
    assert build == ()
    pythons = ("py3", "none") if wheel == PURE_WHEEL else ("cp311", "abi3")
    assert {(tag.interpreter, tag.abi) for tag in tags} == {pythons}
    platforms = {tag.platform for tag in tags}
    assert "manylinux_2_17_x86_64" in platforms  # as far back as the release archive goes
    told = " ".join(output(TOOLS / "auditwheel", "show", wheel).split())
    consistent = told.partition("is consistent with the following platform tag: ")[2]
    assert consistent.split('"')[1] in platforms

    said = message_from_bytes(contents(wheel)[f"{INFO}/WHEEL"])
    assert said["Root-Is-Purelib"] == "false"
    assert set(said.get_all("Tag", [])) == {str(tag) for tag in tags}


@EACH
def test_it_has_these_files_and_no_other(wheel: Path) -> None:
    assert set(contents(wheel)) == (
        modules()
        | ({f"kvreg/{EXTENSION}"} if wheel != PURE_WHEEL else set())
        | {f"kvreg/{name}" for name in (LIBRARY, NOTICES, "py.typed")}
        | {f"kvreg/{name}" for name in ENGINE_LIBRARIES | ENGINE_NOTICES}
        | {f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL")}
        | {f"{INFO}/{name}" for name in ("entry_points.txt", "top_level.txt")}
        | {f"{INFO}/licenses/{name}" for name in LICENCES}
    )


@EACH
def test_the_files_are_those_of_the_checkout(wheel: Path) -> None:
    found = contents(wheel)
    for name in modules():
        assert found[name] == (PROJECT / name).read_bytes(), name
    for name in LICENCES:
        assert found[f"{INFO}/licenses/{name}"] == (REPOSITORY / name).read_bytes()
    assert b"tokio" in found[f"kvreg/{NOTICES}"]
    for name in ENGINE_NOTICES:
        assert b"redb" in found[f"kvreg/{name}"]


@EACH
def test_its_record_is_true(wheel: Path) -> None:
    found = contents(wheel)
    record = {
        row[0]: row[1] for row in csv.reader(found[f"{INFO}/RECORD"].decode().splitlines())
    }
    assert record.pop(f"{INFO}/RECORD") == ""
    sums = {
        name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        for name, data in found.items()
        if name != f"{INFO}/RECORD"
    }
    assert record == {name: f"sha256={digest}" for name, digest in sums.items()}


@EACH
def test_the_metadata(wheel: Path) -> None:
    metadata = Metadata.from_email(contents(wheel)[f"{INFO}/METADATA"], validate=True)
    assert metadata.name == "kvreg"
    assert str(metadata.version) == VERSION
    assert str(metadata.requires_python) == ">=3.9"
    assert list(map(str, metadata.requires_dist or ())) == [
        f'kvreg-nats=={VERSION}; extra == "nats"'
    ]
    assert metadata.provides_extra == ["nats"]
    assert metadata.license_expression == "MIT OR Apache-2.0"
    assert sorted(metadata.license_files or ()) == sorted(LICENCES)
    assert "Typing :: Typed" in (metadata.classifiers or ())
    assert "registry" in (metadata.keywords or ())
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == (PROJECT / "README.md").read_text()
    assert metadata.summary


def test_the_tools_that_check_distributions_are_content() -> None:
    # The plug-in of pytest is not in the package, and PyInstaller's hooks are named so.
    expected = ("--toplevel", "kvreg,pytest_kvreg.py", "--ignore", "W004")
    output(TOOLS / "check-wheel-contents", *expected, WHEEL, PURE_WHEEL)
    output(TOOLS / "twine", "check", "--strict", WHEEL, PURE_WHEEL, SDIST)


@EACH
def test_nothing_tells_where_it_was_built(wheel: Path) -> None:
    for name, data in contents(wheel).items():
        assert str(REPOSITORY).encode() not in data, name
        assert str(Path.home() / ".cargo").encode() not in data, name


def test_they_are_small() -> None:
    # A quarter of the library is what keys can do beside being read and written, and an eighth
    # are the servers that programs write. A third of a wheel is the engine of files.
    found = contents(WHEEL)
    assert len(found[f"kvreg/{LIBRARY}"]) < 2_450_000
    for name in ENGINE_LIBRARIES:
        assert len(found[f"kvreg/{name}"]) <= 1_400_000
    assert WHEEL.stat().st_size < 1_400_000 + 650_000 * len(ENGINE_LIBRARIES)
    assert SDIST.stat().st_size < 900_000


def test_the_library_still_exports_what_the_header_declares(tmp_path: Path) -> None:
    library = tmp_path / LIBRARY
    library.write_bytes(contents(WHEEL)[f"kvreg/{LIBRARY}"])
    output(REPOSITORY / "tests" / "c" / "symbols.sh", library)


def test_both_have_the_same_library() -> None:
    assert contents(WHEEL)[f"kvreg/{LIBRARY}"] == contents(PURE_WHEEL)[f"kvreg/{LIBRARY}"]


@pytest.mark.skipif(not HAS_EXTENSION, reason="an older Python has none")
def test_the_extension_keeps_to_the_stable_abi(tmp_path: Path) -> None:
    extension = tmp_path / EXTENSION
    extension.write_bytes(contents(WHEEL)[f"kvreg/{EXTENSION}"])
    output(TOOLS / "abi3audit", "--strict", "--assume-minimum-abi3", "3.11", extension)
    assert extension.stat().st_size < 150_000
    exported = output("nm", "--dynamic", "--defined-only", "--format=posix", extension)
    assert [line.split()[0] for line in exported.splitlines()] == ["PyInit__native"]
