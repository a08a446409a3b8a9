"""Runs the README.

Its C and Python blocks print what stands below them, and the make targets it names exist.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIBRARY = ROOT / "target" / "release"


def output(command: list[str]) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout


def run_c(source: str, directory: Path) -> str:
    """Compiles and runs a block of C."""
    (directory / "block.c").write_text(source, encoding="utf-8")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    program = str(directory / "block")
    link = [f"-I{ROOT / 'include'}", f"-L{LIBRARY}", "-lkvreg", f"-Wl,-rpath,{LIBRARY}"]
    output(["cc", *flags, str(directory / "block.c"), "-o", program, *link])
    return output([program])


def run_python(source: str, _directory: Path) -> str:
    """Runs a block of Python."""
    return output([sys.executable, "-c", source])


def main() -> None:
    """Runs all blocks, and looks all targets up."""
    run = {"c": run_c, "python": run_python}
    passed = 0
    blocks = re.findall(r"^```(\w+)\n(.*?)^```\n", README, re.MULTILINE | re.DOTALL)
    for (language, source), (following, expected) in zip(blocks, [*blocks[1:], ("", "")]):
        if language in run:
            assert following == "text", f"a {language} block without its output"
            with tempfile.TemporaryDirectory() as directory:
                printed = run[language](source, Path(directory))
            assert printed == expected, f"{printed!r} instead of {expected!r}"
            lines = source.strip().count("\n") + 1
            assert lines <= 20, f"a {language} block of {lines} lines"
            passed += 1
        elif language == "console":
            command, _, expected = source.lstrip("$ ").partition("\n")
            printed = output(["sh", "-c", command]).replace("\r", "")
            assert printed.endswith(expected), f"{printed!r} instead of {expected!r}"
            passed += 1
    assert passed >= 3, "the README has lost its examples"

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`(?:make )?((?:test|lint|demo|bench|header)(?:-\w+)?)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"
        passed += 1
    print(f"readme: {passed} passed, 0 failed")


if __name__ == "__main__":
    main()
