"""Puts the engine's shared library into the package.

It is the one that the environment variable KVREG_BUILT names, with the licences of what is
linked in, which lie beside it; or it is built with cargo, in the repository. The version is
that of kvreg.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT = os.environ.get("KVREG_BUILT", "")
NAMES = ("libkvreg_nats.so", "libkvreg_nats.dylib", "kvreg_nats.dll")
NOTICES = "THIRD-PARTY-LICENSES-nats.txt"
# ELF's numbers of machines, and the platforms that wheels are made for across.
PLATFORMS = {62: "linux_x86_64", 183: "linux_aarch64"}


def version() -> str:
    """The version of kvreg."""
    path = REPOSITORY / "bindings" / "python" / "kvreg" / "__init__.py"
    if not path.is_file():
        raise SystemExit("kvreg-nats: it is built in the repository, as a wheel")
    found = re.search(r'^__version__ = "(.+)"$', path.read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def built() -> Path:
    """Has cargo build the library, and returns where cargo says it is."""
    program = shutil.which(os.environ.get("CARGO", "cargo"))
    if program is None:
        raise SystemExit(
            "kvreg-nats: cargo was not found, and the engine is built from Rust sources:"
            " install Rust 1.89 or newer (https://rustup.rs) so that cargo is on the PATH"
        )
    command = (
        *(program, "build", "--release", "--locked", "--lib", "--package", "kvreg-nats"),
        *("--config", "engines/nats/profile.toml"),
        "--message-format=json-render-diagnostics",
    )
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("kvreg-nats: cargo build failed, for the reason above")
    messages = map(json.loads, done.stdout.splitlines())
    files = [file for message in messages for file in message.get("filenames", [])]
    return next(path for path in map(Path, files) if path.name in NAMES)


class BuildModules(build_py):
    """Copies the module, which is the first step of a build."""

    def run(self) -> None:
        """Copies it to an empty directory, else an older library would come along."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, "kvreg_nats"), ignore_errors=True)
        super().run()


class BuildLibrary(build_ext):
    """Puts the library where setuptools expects an extension module.

    It is none, but is treated as one: it makes the wheel one for a platform.
    """

    def build_extension(self, ext: Extension) -> None:
        """Copies the library that KVREG_BUILT names, or cargo's."""
        library = Path(BUILT) if BUILT else built()
        package = Path(self.get_ext_fullpath(ext.name)).parent
        package.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, package)
        if BUILT:  # what is linked in may be passed on only with its licences
            shutil.copy(library.with_name(NOTICES), package)


class Wheel(bdist_wheel):
    """A wheel for one platform and every Python 3, which only gives the library's path."""

    def get_tag(self) -> tuple[str, str, str]:
        """The library's platform, where it was built for another machine too."""
        platform = super().get_tag()[2]
        if BUILT:
            header = Path(BUILT).read_bytes()[:20]
            if header[:4] == b"\x7fELF":
                platform = PLATFORMS[int.from_bytes(header[18:20], "little")]
            else:
                platform = "win_amd64"
        return "py3", "none", platform


class NoSources(sdist):
    """It has none of its own: the engine is a part of the repository."""

    def run(self) -> None:
        """Says so."""
        raise SystemExit("kvreg-nats: it is built in the repository, as a wheel")


setup(
    version=version(),
    install_requires=[f"kvreg=={version()}"],
    ext_modules=[Extension("kvreg_nats.library", sources=[])],
    cmdclass={
        "bdist_wheel": Wheel,
        "build_ext": BuildLibrary,
        "build_py": BuildModules,
        "sdist": NoSources,
    },
    # Copies of the package among the sources would confuse what looks at these.
    options={"build": {"build_base": str(REPOSITORY / "target" / "python-nats")}},
)
