"""What a header says, as the compiler sees it: constants, structs and functions."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

CC = os.environ.get("CC", "cc")
# They change with each version.
PASSING = {"KVREG_VERSION_MAJOR", "KVREG_VERSION_MINOR", "KVREG_VERSION_PATCH"}
PASSING |= {"KVREG_VERSION_NUMBER", "KVREG_H"}


def run(*command: str | Path, text: str | None = None) -> str:
    """What a command prints. It must succeed."""
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, input=text, text=True
    ).stdout


def preprocessed(header: Path) -> str:
    """The header's own text, without comments and what it includes."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", header.read_text(), flags=re.DOTALL)
    body = re.sub(r"^\s*#\s*include.*$", "", text, flags=re.MULTILINE)
    # It includes nothing now, so it asks about the platform in vain.
    return run(
        CC, "-E", "-P", "-D__cplusplus=0", "-DUINTPTR_MAX=0xffffffffffffffffu", "-", text=body
    )


def constant_names(header: Path) -> list[str]:
    """Those of the enums, then those of macros that have a value."""
    text = preprocessed(header)
    enums = re.findall(r"enum\s*{([^}]*)}", text)
    names = [name for enum in enums for name in re.findall(r"\b(KVREG_\w+)", enum)]
    macros = run(CC, "-E", "-dM", header)
    defined = re.findall(r"^#define (KVREG_\w+) .", macros, re.MULTILINE)
    return names + sorted(set(defined) - PASSING)


def matching(text: str, start: int) -> int:
    """Where the brace at `start` is closed."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError("a brace that is not closed")


def fields(body: str, prefix: str = "") -> list[str]:
    """The fields of a struct, in order, with those within its fields."""
    names: list[str] = []
    position = 0
    while (found := re.compile(r"\s*([^;{]*)([;{])").match(body, position)) is not None:
        end, inner = found.end(), ""
        declared = found[1]
        if found[2] == "{":
            close = matching(body, found.end() - 1)
            inner = body[found.end() : close]
            end = body.index(";", close) + 1
            declared = body[close + 1 : end - 1]
        for declarator in declared.split(","):
            name = re.findall(r"\w+", declarator.split("[")[0])[-1]
            names.append(prefix + name)
            names += fields(inner, f"{prefix}{name}.")
        position = end
    return names


def structs(header: Path) -> dict[str, list[str]]:
    """Each struct with its fields."""
    text = preprocessed(header)
    found = {}
    for match in re.finditer(r"typedef struct (\w+)\s*({)", text):
        found[match[1]] = fields(text[match.end() : matching(text, match.start(2))])
    return found


def declarations(header: Path) -> dict[str, str]:
    """The functions that a library must have, with their prototypes."""
    text = preprocessed(header)
    found = re.findall(
        r"(?:^|[;{}])\s*(?!typedef|return)"
        r"((?:const )?\w+[ *]+(kvreg_\w+)\s*\([^;{}]*\))\s*(?=;)",
        text,
    )
    return {name: prototype for prototype, name in found}


def inline(header: Path) -> list[str]:
    """The functions that the header itself defines."""
    return re.findall(r"static inline \w+[ *]+(\w+)\s*\(", preprocessed(header))


def described(header: Path) -> list[str]:
    """Constants and structs, a line each, as the compiler has them."""
    lines = ['#include "kvreg.h"', "#include <stdio.h>", "int main(void) {"]
    for name in constant_names(header):
        lines.append(f'printf("constant {name} %lld\\n", (long long){name});')
    for struct, names in structs(header).items():
        # An alignment is where a struct begins behind one byte.
        lines.append(f"struct {struct}_behind {{ char byte; {struct} it; }};")
        lines.append(
            f'printf("struct {struct} size %zu align %zu\\n", sizeof({struct}),'
            f" offsetof(struct {struct}_behind, it));"
        )
        for name in names:
            lines.append(
                f'printf("field {struct}.{name} offset %zu size %zu\\n",'
                f" offsetof({struct}, {name}), sizeof((({struct} *)0)->{name}));"
            )
    lines.append("return 0; }")
    with tempfile.TemporaryDirectory() as work:
        source, program = Path(work, "describe.c"), Path(work, "describe")
        source.write_text("\n".join(lines))
        run(CC, f"-I{header.parent}", source, "-o", program)
        return run(program).splitlines()


def dump(header: Path, map_file: Path, goal: Path) -> None:
    """What libabigail says of the functions, with all types that they reach.

    It reads a library of empty functions: the real one's debugging information is Rust's, and
    huge.
    """
    bodies = [f"{prototype} {{ for (;;) ; }}" for prototype in declarations(header).values()]
    with tempfile.TemporaryDirectory() as work:
        source, library = Path(work, "kvreg.c"), Path(work, "libkvreg.so.0")
        source.write_text('#include "kvreg.h"\n' + "\n".join(bodies))
        (Path(work) / "kvreg.h").write_text(header.read_text())
        command = [CC, "-g", "-O0", "-fPIC", "-shared", "kvreg.c", "-o", library.name]
        linker = [f"-Wl,--version-script={map_file.resolve()}", "-Wl,-soname,libkvreg.so.0"]
        subprocess.run([*command, *linker], cwd=work, check=True)
        shown = run(
            "abidw", "--no-comp-dir-path", "--no-corpus-path", "--no-show-locs", library
        )
        goal.write_text(shown)


def nodes(map_file: Path) -> dict[str, str]:
    """Each function of a version script with its node."""
    text = re.sub(r"/\*.*?\*/", "", map_file.read_text(), flags=re.DOTALL)
    found = {}
    for node, body in re.findall(r"(KVREG_[\d.]+)\s*{([^}]*)}", text):
        for name in re.findall(r"\b(kvreg_\w+)\s*;", body):
            found[name] = node
    return found


def exported(library: Path) -> set[str]:
    """What a shared library shows, without the marks of its versions."""
    lines = run("nm", "-D", "--defined-only", library).splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines}
    return {name for name in names if not re.fullmatch(r"KVREG_[\d.]+", name)}
