"""Runs the README, or the pages that are its arguments.

Their C, C++, Rust and Python blocks print what stands below them, their console blocks too, and
the make targets that the README names exist. The README is short enough to be read.

A block of C or Python whose first line is a comment with a file name is that file, for the
blocks after it: a header or a module is only written, a program also compiled and run. Commands
of the README run in the checkout, those of other pages beside their files; there KVREG is the
path of the checkout.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
LONGEST = 210
"""Lines of the README."""
LIBRARY = ROOT / "target" / "release"
FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]
LINK = [
    f"-I{ROOT / 'include'}",
    f"-I{ROOT / 'bindings' / 'c'}",
    f"-L{LIBRARY}",
    "-lkvreg",
    f"-Wl,-rpath,{LIBRARY}",
]


def output(command: list[str], directory: Path) -> str:
    """What a command prints; it must succeed."""
    environment = {**os.environ, "KVREG": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=directory, env=environment
    )
    assert done.returncode == 0, f"{command} answered {done.returncode}: {done.stderr}"
    return done.stdout


def run_c(source: str, directory: Path) -> str:
    """Compiles and runs a block of C."""
    named = re.match(r"/\* (\w+\.[ch]) \*/\n", source)
    file = directory / (named[1] if named else "block.c")
    file.write_text(source, encoding="utf-8")
    if file.suffix == ".h":
        return ""
    program = str(file.with_suffix(""))
    output(["cc", "-std=c11", *FLAGS, str(file), "-o", program, *LINK], directory)
    return output([program], directory)


def run_cpp(source: str, directory: Path) -> str:
    """Compiles and runs a block of C++."""
    file, program = directory / "block.cpp", str(directory / "block")
    file.write_text(source, encoding="utf-8")
    output(["c++", "-std=c++17", *FLAGS, str(file), "-o", program, *LINK], directory)
    return output([program], directory)


def run_rust(source: str, directory: Path) -> str:
    """Compiles and runs a block of Rust, with the library that cargo built."""
    file, program = directory / "block.rs", str(directory / "block")
    file.write_text(source, encoding="utf-8")
    crate = ["--extern", f"kvreg={LIBRARY / 'libkvreg.rlib'}", "-L", f"{LIBRARY / 'deps'}"]
    output(
        ["rustc", "--edition=2021", "-Dwarnings", str(file), "-o", program, *crate], directory
    )
    return output([program], directory)


def run_python(source: str, directory: Path) -> str:
    """Runs a block of Python."""
    named = re.match(r"# (\w+\.py)\n", source)
    if named:
        (directory / named[1]).write_text(source, encoding="utf-8")
        return ""
    find = f"import sys; sys.path.insert(0, {str(directory)!r})\n"
    return output([sys.executable, "-c", find + source], ROOT)


RUN = {"c": run_c, "cpp": run_cpp, "rust": run_rust, "python": run_python}


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page that name a language, in order: the language and what is in them."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```\n", text, re.MULTILINE | re.DOTALL)


def command_and_output(console: str) -> tuple[str, str]:
    """What a console block runs, and what stands below that."""
    command, _, expected = console.lstrip("$ ").partition("\n")
    return command, expected


def run_blocks(page: Path, directory: Path, longest: int) -> int:
    """Runs the blocks of a page, in order, and says how many it has."""
    passed = 0
    found = blocks(page)
    for (language, source), (following, expected) in zip(found, [*found[1:], ("", "")]):
        if language in RUN:
            printed = RUN[language](source, directory)
            if printed or following == "text":
                assert following == "text", f"a {language} block without its output"
                assert printed == expected, f"{printed!r} instead of {expected!r}"
            lines = source.strip().count("\n") + 1
            assert lines <= longest, f"a {language} block of {lines} lines"
            passed += 1
        elif language == "console":
            command, expected = command_and_output(source)
            where = ROOT if page == README else directory
            printed = output(["sh", "-c", command], where).replace("\r", "")
            assert printed.endswith(expected), f"{printed!r} instead of {expected!r}"
            passed += 1
    assert passed >= 3, f"{page.name} has lost its examples"
    return passed


def find_targets() -> int:
    """Looks up the make targets that the README names, and says how many they are."""
    passed = 0
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for place in ("bindings", "docs", "packaging", "tests"):
        for included in (ROOT / place).rglob("*.mk"):
            makefile += included.read_text(encoding="utf-8")
    kinds = "test|proof|lint|demo|bench|header|docs|images|wheel|install|uninstall|dist|dll|abi"
    kinds += "|help|tag"
    names = rf"`(?:make )?((?:{kinds})(?:-\w+)?)`"
    for target in re.findall(names, README.read_text(encoding="utf-8")):
        assert re.search(rf"^(?:[\w-]+ )*{target}:", makefile, re.MULTILINE), (
            f"no target {target}"
        )
        passed += 1
    return passed


def main() -> None:
    """Runs the pages."""
    for page in [Path(name).resolve() for name in sys.argv[1:]] or [README]:
        with tempfile.TemporaryDirectory() as directory:
            passed = run_blocks(page, Path(directory), 20 if page == README else 45)
        if page == README:
            passed += find_targets()
            lines = page.read_text(encoding="utf-8").count("\n")
            assert lines <= LONGEST, f"the README has {lines} lines"
        print(f"{page.stem.lower()}: {passed} passed, 0 failed")


if __name__ == "__main__":
    main()
