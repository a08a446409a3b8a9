"""Compiles the Python package's extension: native.py FILE COMPILER [ARGUMENT...].

With the headers of the Python that this runs in, which is CPython 3.11 or newer. What they say
of the machine is right for every Linux of 64 bits; of Windows, which has other headers, it is
said here. Its functions are those of the stable ABI, which there python3.dll has.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "bindings" / "python" / "native"

FLAGS = (
    *("-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wpedantic", "-Werror"),
    "-Wno-deprecated-declarations",  # what 3.11 has and later ones deprecate
)

WINDOWS = """
#define MS_WINDOWS
#define MS_WIN32
#define MS_WIN64
#define Py_ENABLE_SHARED
#define HAVE_DECLSPEC_DLL
#define PLATLIBDIR "DLLs"
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_WCHAR_T 2
#define ALIGNOF_MAX_ALIGN_T 8
#define HAVE_STDDEF_H 1
#define HAVE_WCHAR_H 1
"""


def headers(directory: Path, is_windows: bool) -> None:
    """Puts Python's headers there, with what they say of the machine."""
    shutil.copytree(sysconfig.get_path("include"), directory)
    said = directory / "pyconfig.h"
    if is_windows:
        said.write_text(WINDOWS)
    else:  # a system for several machines has it elsewhere
        shutil.copy(sysconfig.get_config_h_filename(), said)


def imports(compiler: str, objects: list[Path], directory: Path) -> Path:
    """A library by which those functions are found in python3.dll."""
    tool = re.sub(r"gcc.*$", "{}", compiler)
    nm = subprocess.run(
        [tool.format("nm"), "-u", *objects], check=True, stdout=subprocess.PIPE, text=True
    )
    names = sorted(set(re.findall(r"\bU (?:__imp_)?(_?Py\w+)", nm.stdout)))
    listed, library = directory / "python3.def", directory / "python3.a"
    listed.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *names, ""]))
    subprocess.run([tool.format("dlltool"), "-d", listed, "-l", library], check=True)
    return library


def main() -> None:
    """What the module's text says."""
    goal, compiler, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    is_windows = goal.suffix == ".pyd"
    with tempfile.TemporaryDirectory() as work:
        include = Path(work, "include")
        headers(include, is_windows)
        flags = [*FLAGS, f"-I{include}", f"-I{ROOT / 'include'}", *arguments]
        if not is_windows:
            flags.append("-fPIC")
        objects: list[Path] = []
        for source in sorted(SOURCES.glob("*.c")):
            objects.append(Path(work, f"{source.stem}.o"))
            command: list[str | Path] = [compiler, *flags, "-c", source.name]
            subprocess.run([*command, "-o", objects[-1]], check=True, cwd=SOURCES)
        # Whoever has the older one loaded keeps it.
        made = Path(work, goal.name)
        link: list[str | Path] = [compiler, "-shared", *arguments, *objects, "-o", made]
        if is_windows:
            link += ["-static-libgcc", imports(compiler, objects, Path(work))]
        subprocess.run(link, check=True)
        new = goal.with_name(f"{goal.name}.new")
        shutil.copy(made, new)
        new.replace(goal)


if __name__ == "__main__":
    main()
