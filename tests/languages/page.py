"""Runs the programs of docs/other-languages.md as they stand there.

Each is a block in its language; the console block beneath says how it is run, and with that
the name of its file, and what it prints. Then it is run with a library that fails, and must say
so. Arguments: a directory to run them in, which has what the commands need beside the programs,
and the directory of the library that fails. The library that works is the system's.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from readme import ROOT, blocks, command_and_output

PAGE = ROOT / "docs" / "other-languages.md"
COLUMNS = 100
# The longest program of each sort, by the name of its file: of those that have a server, which
# declare twice as many functions, and of the others.
LINES = {"milk": 25, "shop": 57}

# How a program is compiled with warnings as errors, which its command on the page does not.
# Whatever these or the program itself say on stderr is an error too.
STRICT = {
    "lua": "true",
    "js": "true",
    "ruby": "ruby -wc {file} >/dev/null",
    "go": "gofmt -d {file} >&2 && go vet {file}",
    "java": "javac -Xlint:all -Werror -cp jna.jar -d strict {file}",
    "csharp": "mcs -warnaserror -out:Strict.exe {file}",
}
# What runs with the library that fails, where the page's command takes long to compile again.
COMPILED = {"java": "java -cp jna.jar:strict {name}"}


def run(command: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the shell."""
    return subprocess.run(
        ["timeout", "-s", "KILL", "300", "sh", "-c", command],
        capture_output=True,
        text=True,
        cwd=directory,
        env={**os.environ, **variables},
    )


def check(language: str, program: str, console: str, directory: Path, failing: Path) -> None:
    """Runs a program as its console block says, and with a library that fails."""
    command, expected = command_and_output(console)
    named = re.search(r"\b([Mm]ilk|[Ss]hop)\.\w+", command)
    assert named, f"no file in {command}"
    file, name = named[0], named[1]
    (directory / file).write_text(program, encoding="utf-8")

    lines = program.splitlines()
    assert len(lines) <= LINES[name.lower()], f"{len(lines)} lines"
    assert max(map(len, lines)) <= COLUMNS, "a line is too long"

    strict = run(STRICT[language].format(file=file), directory)
    assert strict.returncode == 0 and not strict.stderr, strict.stdout + strict.stderr
    done = run(command, directory)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    assert expected and done.stdout == expected, f"{done.stdout!r} instead of {expected!r}"

    command = COMPILED.get(language, command).format(name=name)
    failed = run(command, directory, LD_LIBRARY_PATH=str(failing))
    assert failed.returncode != 0 and not failed.stdout, "it goes on after a call that fails"
    assert "KVREG_LIMIT" in failed.stderr, failed.stderr


def build(library: str, console: str, directory: Path) -> None:
    """Builds the library in C that the servers' programs load."""
    command, expected = command_and_output(console)
    (directory / "hits.c").write_text(library, encoding="utf-8")
    done = run(command, directory, CFLAGS="-Wall -Wextra -Werror")
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    assert not expected, "a compiler prints nothing"


def main() -> None:
    """Runs the programs, for each language one without and one with a server."""
    directory, failing = (Path(name).resolve() for name in sys.argv[1:])
    found = blocks(PAGE)
    languages = [language for language, _ in found if language in STRICT]
    assert languages == 2 * list(STRICT), f"the page has programs in {languages}"
    for (language, program), (kind, console) in zip(found, found[1:]):
        if language == "c":
            build(program, console, directory)
        if language in STRICT:
            assert kind == "console", f"{language}: nothing says how it is run"
            try:
                check(language, program, console, directory, failing)
            except AssertionError as error:
                sys.exit(f"{PAGE.name}, {language}: {error}")
    print(f"{PAGE.name}: {len(languages)} passed, 0 failed")


if __name__ == "__main__":
    main()
