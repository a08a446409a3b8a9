"""Builds the shared library with cargo, and puts it into the package.

Beside it goes the extension module `kvreg._native`, where the Python that runs this is one for
it, CPython 3.11 or newer, and there is a C compiler: then the wheel is for those Pythons, and
else for any Python 3. With KVREG_PURE=1 there is none.

The engines of stores go beside the library too, where kvreg finds them. They need a newer Rust
than the library. Where that is not there, or they cannot be built, the package is without them,
and the build says so in a line. KVREG_ENGINES names those that have to be there, as "file", or
none, if it is empty.

If the environment variable KVREG_BUILT names a library, that is packaged instead, with the
licences of what is linked in, and the extension, which lie beside it, and the engines whose
libraries KVREG_BUILT_ENGINES names, from there, with theirs. A DLL makes a wheel for
Windows, wherever this runs. Everything else about the package is in pyproject.toml. In the
repository the crate is two directories up; a source distribution carries it in its directory
`rust`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
CARRIED = "rust"
NOTICES = "THIRD-PARTY-LICENSES{}.txt"
ENGINES = ("file",)
CRATE = HERE / CARRIED if (HERE / CARRIED).is_dir() else HERE.parents[1]

BUILT = os.environ.get("KVREG_BUILT", "")
FOR_WINDOWS = BUILT.endswith(".dll") if BUILT else sys.platform == "win32"
BUILT_ENGINES = os.environ.get("KVREG_BUILT_ENGINES", "").split()
if FOR_WINDOWS:
    NAMED = "kvreg{}.dll"
elif sys.platform == "darwin":
    NAMED = "libkvreg{}.dylib"
else:
    NAMED = "libkvreg{}.so"
LIBRARY = NAMED.format("")

EXTENSION = "kvreg._native"
BUILT_EXTENSION = "_native.pyd" if FOR_WINDOWS else "_native.abi3.so"
# A build without the interpreter's lock has no stable ABI.
IS_STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")


def extensions() -> list[Extension]:
    """The library, which is treated as one, and the extension."""
    found = [Extension("kvreg.libkvreg", sources=[])]
    is_pure = os.environ.get("KVREG_PURE", "0") not in ("", "0")
    if sys.implementation.name == "cpython" and sys.version_info >= (3, 11) and not is_pure:
        sources = sorted(HERE.glob("native/*.c"))
        native = Extension(
            EXTENSION,
            sources=[str(path.relative_to(HERE)) for path in sources],
            depends=["native/native.h"],
            include_dirs=[str(CRATE / "include")],
            extra_compile_args=[] if sys.platform == "win32" else ["-fvisibility=hidden"],
            py_limited_api=IS_STABLE,
            optional=True,  # ctypes does all without it
        )
        found.append(native)
    return found


# ELF's numbers of machines, and the names that platforms' tags have for them.
MACHINES = {22: "s390x", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def machine(file: str) -> int | None:
    """What machine an executable or a library in ELF is for; None of another format."""
    with open(file, "rb") as binary:
        header = binary.read(20)
    if header[:4] != b"\x7fELF":
        return None
    return int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")


def cargo_program() -> str:
    """Where cargo is, if there is what it needs.

    A failure ends the build with one sentence: an exception would bury it in its traceback.
    """
    program = shutil.which(os.environ.get("CARGO", "cargo"))
    if program is None:
        raise SystemExit(
            "kvreg: cargo was not found, and the shared library is built from Rust sources:"
            " install Rust 1.85 or newer (https://rustup.rs) so that cargo is on the PATH,"
            " or install a wheel made for this platform"
        )
    if not (CRATE / "Cargo.toml").is_file():
        raise SystemExit(
            f"kvreg: the Rust sources are not in {CRATE}: build in the repository (pip does"
            " since version 21.3) or from a source distribution"
        )
    return program


def cargo(*arguments: str, crate: Path = CRATE) -> str:
    """Runs cargo on the crate, and returns what it prints; what it complains of is shown."""
    command = [cargo_program(), *arguments]
    done = subprocess.run(command, cwd=crate, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"kvreg: cargo {arguments[0]} failed, for the reason above")
    return done.stdout


def build(name: str, *arguments: str, crate: Path = CRATE) -> Path:
    """Has cargo build a library, and returns where cargo says it is."""
    told = cargo(
        *("build", "--release", "--locked", "--lib", *arguments),
        "--message-format=json-render-diagnostics",
        crate=crate,
    )
    messages = map(json.loads, told.splitlines())
    files = [file for message in messages for file in message.get("filenames", [])]
    return next(path for path in map(Path, files) if path.name == name)


def engine_crate(engine: str) -> Path:
    """Where an engine's sources are, in the repository and in a source distribution."""
    return CRATE / "engines" / engine


def numbers(text: str) -> tuple[int, ...]:
    """The first two of a version's numbers."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def lacking(engine: str) -> str:
    """What an engine needs and this machine lacks; nothing if it can be built."""
    manifest = (engine_crate(engine) / "Cargo.toml").read_text("utf-8")
    needed = re.findall(r'^rust-version = "(.+?)"', manifest, re.MULTILINE)[0]
    rustc = os.environ.get("RUSTC", "rustc")
    try:
        told = subprocess.run(
            [rustc, "--version"], cwd=CRATE, stdout=subprocess.PIPE, text=True
        ).stdout
    except OSError:
        return ""  # cargo knows where it is
    if numbers(told) >= numbers(needed):
        return ""
    return f"it needs Rust {needed}, and this is {told.strip()}"


def built_engine(engine: str, is_needed: bool) -> Path | None:
    """Builds an engine's library; None, and a line that says why, if that cannot be."""
    crate = engine_crate(engine)
    why = lacking(engine)
    if not why:
        try:
            return build(NAMED.format(f"_{engine}"), "--config", "profile.toml", crate=crate)
        except SystemExit as failed:
            why = str(failed)
    told = f"kvreg: without the engine of {engine}: URLs: {why}"
    if is_needed:
        raise SystemExit(told)
    print(told, file=sys.stderr)
    return None


def engines() -> list[Path]:
    """The libraries of the engines that are packaged."""
    if BUILT:
        return [Path(BUILT).parent / path for path in BUILT_ENGINES]
    asked = os.environ.get("KVREG_ENGINES")
    names = ENGINES if asked is None else asked.split()
    found = [built_engine(name, is_needed=asked is not None) for name in names]
    return [path for path in found if path is not None]


class BuildModules(build_py):
    """Copies the modules, which is the first step of a build."""

    def run(self) -> None:
        """Copies them to an empty directory, else modules that are gone would come along."""
        cargo_program()  # before anything is done
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, "kvreg"), ignore_errors=True)
        super().run()


class BuildLibrary(build_ext):
    """Builds the library where setuptools expects an extension module to be built.

    It is none, but is treated as one: it makes the wheel one for a platform, and goes beside
    the modules.
    """

    has_extension = False

    def get_ext_filename(self, fullname: str) -> str:
        """The file that `fullname` stands for; the library has no interpreter's tag."""
        package, name = fullname.rpartition(".")[
            ::2
        ]  # of no package where it asks for the name
        if name != EXTENSION.rpartition(".")[2]:
            name = LIBRARY
        elif BUILT:
            name = BUILT_EXTENSION
        else:
            found: str = super().get_ext_filename(fullname)  # type: ignore[no-untyped-call]
            return found
        return str(Path(*package.split("."), name))

    def build_extension(self, ext: Extension) -> None:
        """Puts the library in its place: that which KVREG_BUILT names, or cargo's."""
        if ext.name == EXTENSION:
            self.build_native(ext)
            return
        self.library = Path(BUILT) if BUILT else build(LIBRARY)
        self.engines = engines()
        beside = Path(self.get_ext_fullpath(ext.name)).parent
        beside.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.library, beside / LIBRARY)
        for engine in self.engines:
            shutil.copy(engine, beside)
        if BUILT:  # what is linked in may be passed on only with its licences
            shutil.copy(self.library.with_name(NOTICES.format("")), beside)
            for engine in self.engines:
                name = engine.stem.rpartition("_")[2]
                shutil.copy(engine.with_name(NOTICES.format(f"-{name}")), beside)

    def build_native(self, ext: Extension) -> None:
        """Compiles the extension, or takes the one beside the library that was built."""
        if BUILT:
            beside = Path(BUILT).with_name(BUILT_EXTENSION)
            if not beside.exists():
                return
            shutil.copy(beside, self.get_ext_fullpath(ext.name))
        else:
            super().build_extension(ext)
        self.has_extension = True

    def copy_extensions_to_source(self) -> None:
        """Links an editable package to cargo's libraries, so that `cargo build` renews them."""
        for library in (self.library, *self.engines):
            link = HERE / "kvreg" / library.name
            link.unlink(missing_ok=True)
            link.symlink_to(library)
        # The extension was built beside the modules.


class Wheel(bdist_wheel):
    """A wheel for one platform: for every Python 3, or for those that the extension is for."""

    def get_tag(self) -> tuple[str, str, str]:
        """The library's platform, and which Pythons: ctypes needs no interpreter's ABI."""
        python, abi, platform = super().get_tag()
        if not getattr(self.get_finalized_command("build_ext"), "has_extension", False):
            python, abi = "py3", "none"
        elif IS_STABLE:
            python, abi = "cp311", "abi3"
        return python, abi, self.crossed() or platform

    def crossed(self) -> str | None:
        """The platform's tag, if the library is for another one than this Python."""
        if FOR_WINDOWS:
            return None if sys.platform == "win32" else "win_amd64"
        library = BUILT or getattr(self.get_finalized_command("build_ext"), "library", None)
        number = machine(str(library)) if library else None
        if number is None or number == machine(sys.executable):
            return None
        if number not in MACHINES:
            raise SystemExit(f"kvreg: {library} is for a machine whose name is not known here")
        return f"linux_{MACHINES[number]}"


class SourceDistribution(sdist):
    """A source distribution that carries the crate."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Adds the crates as cargo packs them: on their own, without other members."""
        super().make_release_tree(base_dir, files)
        goal = Path(base_dir, CARRIED)
        packed("kvreg", CRATE, goal)
        for engine in ENGINES:
            crate = engine_crate(engine)
            packed(f"kvreg-{engine}", crate, goal / crate.relative_to(CRATE))


def packed(package: str, crate: Path, goal: Path) -> None:
    """Puts a crate there as cargo packs it, with a lock file of its own."""
    with tempfile.TemporaryDirectory() as work:
        cargo(
            *("package", "--quiet", "--locked", "--allow-dirty", "--no-verify"),
            *("--package", package, "--target-dir", work),
            crate=crate,
        )
        (archive,) = Path(work, "package").glob("*.crate")
        shutil.unpack_archive(archive, work, "gztar")
        unpacked = Path(work, archive.stem)
        # They tell of the workspace and the commit, which do not matter here.
        for name in ("Cargo.toml.orig", ".cargo_vcs_info.json"):
            (unpacked / name).unlink(missing_ok=True)
        # It is for building: its tests are the checkout's.
        shutil.rmtree(unpacked / "tests", ignore_errors=True)
        manifest_path = unpacked / "Cargo.toml"
        tables = re.split(r"\n(?=\[)", manifest_path.read_text(encoding="utf-8"))
        kept = [table for table in tables if not table.startswith("[[test]]")]
        manifest_path.write_text("\n".join(kept), encoding="utf-8")
        # It is a workspace of its own, wherever it is unpacked.
        with manifest_path.open("a") as manifest:
            manifest.write("\n[workspace]\n")
        shutil.copytree(unpacked, goal, dirs_exist_ok=True)


def version() -> str:
    """The package's, which is that of what is optional too."""
    text = (HERE / "kvreg" / "__init__.py").read_text("utf-8")
    found: list[str] = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return found[0]


setup(
    extras_require={"nats": [f"kvreg-nats=={version()}"]},
    ext_modules=extensions(),
    cmdclass={
        "bdist_wheel": Wheel,
        "build_ext": BuildLibrary,
        "build_py": BuildModules,
        "sdist": SourceDistribution,
    },
    # Copies of the package among the sources would confuse what looks at these.
    options={"build": {"build_base": str(CRATE / "target" / "python")}},
)
