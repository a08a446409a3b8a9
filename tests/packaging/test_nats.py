"""The wheel of `kvreg[nats]`: the engine of nats: URLs alone, which kvreg finds by itself."""

from __future__ import annotations

import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from distributions import LICENCES, NATS_WHEEL, REPOSITORY, WHEEL, crate_version, output
from environments import Environment
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

pytestmark = pytest.mark.skipif(NATS_WHEEL is None, reason="make wheel made none")

VERSION = crate_version()
INFO = f"kvreg_nats-{VERSION}.dist-info"
PROJECT = REPOSITORY / "bindings" / "python-nats"
NOTICES = "THIRD-PARTY-LICENSES-nats.txt"
TOOLS = Path(sys.executable).parent


def wheel() -> Path:
    assert NATS_WHEEL is not None
    return NATS_WHEEL


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    with zipfile.ZipFile(wheel()) as file:
        return {name: file.read(name) for name in file.namelist() if not name.endswith("/")}


def test_it_has_these_files_and_no_other(contents: dict[str, bytes]) -> None:
    package = ("__init__.py", "py.typed", "libkvreg_nats.so", NOTICES)
    expected = {f"kvreg_nats/{name}" for name in package}
    expected |= {f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "top_level.txt")}
    assert set(contents) == expected | {f"{INFO}/licenses/{name}" for name in LICENCES}
    for name in ("__init__.py", "py.typed"):
        assert contents[f"kvreg_nats/{name}"] == (PROJECT / "kvreg_nats" / name).read_bytes()
    assert b"async-nats" in contents[f"kvreg_nats/{NOTICES}"]


def test_it_is_for_any_python_on_what_auditwheel_found(contents: dict[str, bytes]) -> None:
    tags = parse_wheel_filename(wheel().name)[3]
    assert {(tag.interpreter, tag.abi) for tag in tags} == {("py3", "none")}
    assert "manylinux_2_17_x86_64" in {tag.platform for tag in tags}
    assert message_from_bytes(contents[f"{INFO}/WHEEL"])["Root-Is-Purelib"] == "false"


def test_its_version_is_that_of_kvreg(contents: dict[str, bytes]) -> None:
    metadata = Metadata.from_email(contents[f"{INFO}/METADATA"], validate=True)
    assert metadata.name == "kvreg-nats"
    assert str(metadata.version) == VERSION
    assert list(map(str, metadata.requires_dist or ())) == [f"kvreg=={VERSION}"]
    assert metadata.license_expression == "MIT OR Apache-2.0"
    assert metadata.description == (PROJECT / "README.md").read_text()


def test_it_is_small_and_tells_not_where_it_was_built(contents: dict[str, bytes]) -> None:
    assert len(contents["kvreg_nats/libkvreg_nats.so"]) <= 5_200_000
    for name, data in contents.items():
        assert str(REPOSITORY).encode() not in data, name
        assert str(Path.home() / ".cargo").encode() not in data, name


def test_the_tools_that_check_distributions_are_content() -> None:
    output(TOOLS / "check-wheel-contents", "--toplevel", "kvreg_nats", wheel())
    output(TOOLS / "twine", "check", "--strict", wheel())


# Nobody is there: an engine says so, and without one it is `Unsupported`, which is no OSError.
VISIT = """
import kvreg
with kvreg.Registry(store="nats://127.0.0.1:1") as registry:
    registry.timeout = 0.2
    try:
        registry.create("shop")
    except (OSError, kvreg.Unsupported) as error:
        print(isinstance(error, OSError), error)
"""


def test_kvreg_has_it_as_an_extra_and_finds_it(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "fresh")
    index = ("--no-index", "--find-links", wheel().parent)
    environment.install(*index, WHEEL)
    told = environment.says(VISIT)
    assert told.startswith("False ") and "install libkvreg_nats" in told
    installed = environment.install(*index, "kvreg[nats]")
    assert {"kvreg_nats/libkvreg_nats.so", "kvreg_nats/__init__.py"} <= installed
    assert not any(name.startswith("kvreg/") for name in installed)
    told = environment.says(VISIT)
    assert told.startswith("True ") and "no server is in reach" in told
    done = environment.pip("uninstall", "--yes", "kvreg-nats")
    assert done.returncode == 0, done.stdout
    environment.uninstall()
