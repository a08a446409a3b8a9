"""What a header says, as the compiler sees it: types, constants, structs and functions.

interface.py HEADER    prints its types, constants and structs
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

CC = shlex.split(os.environ.get("CC") or "cc")
# They change with each version.
PASSING = {"KVREG_VERSION_MAJOR", "KVREG_VERSION_MINOR", "KVREG_VERSION_PATCH"}
PASSING |= {"KVREG_VERSION_NUMBER", "KVREG_H"}
# What may be said of a function at any time, and changes no call.
ADVICE = r"__attribute__\s*\(\((?:deprecated|warn_unused_result)\s*(?:\([^;{}]*?\))?\s*\)\)"


def run(*command: str | Path, text: str | None = None) -> str:
    """What a command prints. It must succeed."""
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, input=text, text=True
    ).stdout


@cache
def preprocessed(header: Path) -> str:
    """The header's own text, without comments and what it includes."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", header.read_text(), flags=re.DOTALL)
    body = re.sub(r"^\s*#\s*include.*$", "", text, flags=re.MULTILINE)
    # It includes nothing now, so it asks about the platform in vain.
    known = ("-D__cplusplus=0", "-DUINTPTR_MAX=0xffffffffffffffffu")
    return re.sub(ADVICE, "", run(*CC, "-E", "-P", *known, "-", text=body))


def spelled(text: str) -> str:
    """A declaration, however its lines were broken."""
    return re.sub(r"(?<=\() | (?=[),])|(?<=\*) ", "", " ".join(text.split()))


def macros(header: Path) -> dict[str, str]:
    """Those of the library that have a value."""
    text = run(*CC, "-E", "-dM", header)
    return dict(re.findall(r"^#define (KVREG_\w+) (.+)", text, re.MULTILINE))


def version(header: Path) -> str:
    """Major and minor: a patch adds nothing."""
    parts = macros(header)
    return f"{parts['KVREG_VERSION_MAJOR']}.{parts['KVREG_VERSION_MINOR']}"


def enums(header: Path) -> list[list[str]]:
    """The names of each."""
    bodies = re.findall(r"enum\s*{([^}]*)}", preprocessed(header))
    return [re.findall(r"\b(KVREG_\w+)", body) for body in bodies]


def constant_names(header: Path) -> list[str]:
    """Those of the enums, then those of macros that have a value."""
    names = [name for enum in enums(header) for name in enum]
    return names + sorted(set(macros(header)) - PASSING)


def named(declared: str) -> tuple[str, str]:
    """The name that is declared, the last or that of a pointer to a function, and as what."""
    name = re.search(r"\(\s*\*\s*(\w+)\s*\)|(\w+)\s*(?:\[.*\]\s*)?$", declared)
    if name is None:
        raise ValueError(f"`{declared}` is not understood")
    start, end = name.span(name.lastindex or 0)
    return declared[start:end], spelled(declared[:start] + declared[end:])


def types(header: Path) -> dict[str, str]:
    """What the names of types stand for, without structs that have fields."""
    return dict(map(named, re.findall(r"typedef ([^;{}]+);", preprocessed(header))))


def matching(text: str, start: int) -> int:
    """Where the brace at `start` is closed."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError("a brace that is not closed")


def fields(body: str, prefix: str = "") -> dict[str, str]:
    """The fields of a struct with their types, in order, with those within its fields."""
    found: dict[str, str] = {}
    position = 0
    while (match := re.compile(r"\s*([^;{]*)([;{])").match(body, position)) is not None:
        end, inner, declared = match.end(), "", match[1]
        if match[2] == "{":
            close = matching(body, match.end() - 1)
            inner = body[match.end() : close]
            end = body.index(";", close) + 1
            declared += body[close + 1 : end - 1]
        first, *more = [declared] if "(" in declared else declared.split(",")
        # Several of one type share what stands before the first.
        shared = re.sub(r"[\s*]*\w+\s*(\[.*\]\s*)?$", " ", first)
        for name, kind in map(named, [first, *(shared + it for it in more)]):
            found[prefix + name] = kind
            found |= fields(inner, f"{prefix}{name}.")
        position = end
    return found


def structs(header: Path) -> dict[str, dict[str, str]]:
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
    return {name: spelled(prototype) for prototype, name in found}


def inline(header: Path) -> dict[str, str]:
    """The functions that the header itself defines, with their prototypes.

    What they do is compiled into programs, and may change as the library does.
    """
    found = re.findall(
        r"static inline ((?:const )?\w+[ *]+(\w+)\s*\([^;{}]*\))\s*{", preprocessed(header)
    )
    return {name: spelled(prototype) for prototype, name in found}


def described(header: Path) -> list[str]:
    """Types, constants and structs, a line each, as the compiler has them."""
    named = [f"type {name} {meaning}" for name, meaning in types(header).items()]
    lines = ['#include "kvreg.h"', "#include <stdio.h>", "int main(void) {"]
    for name in constant_names(header):
        lines.append(f'printf("constant {name} %lld\\n", (long long){name});')
    for struct, members in structs(header).items():
        # An alignment is where a struct begins behind one byte.
        lines.append(f"struct {struct}_behind {{ char byte; {struct} it; }};")
        lines.append(
            f'printf("struct {struct} size %zu align %zu\\n", sizeof({struct}),'
            f" offsetof(struct {struct}_behind, it));"
        )
        for name, kind in members.items():
            lines.append(
                f'printf("field {struct}.{name} offset %zu size %zu type {kind}\\n",'
                f" offsetof({struct}, {name}), sizeof((({struct} *)0)->{name}));"
            )
    lines.append("return 0; }")
    with tempfile.TemporaryDirectory() as work:
        source, program = Path(work, "describe.c"), Path(work, "describe")
        source.write_text("\n".join(lines))
        run(*CC, f"-I{header.parent}", source, "-o", program)
        return named + run(program).splitlines()


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
        (Path(work) / "kvreg.map").write_text(map_file.read_text())
        command = [*CC, "-g", "-O0", "-fPIC", "-shared", "kvreg.c", "-o", library.name]
        linker = ["-Wl,--version-script=kvreg.map", "-Wl,-soname,libkvreg.so.0"]
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


if __name__ == "__main__":
    print("\n".join(described(Path(sys.argv[1]))))
