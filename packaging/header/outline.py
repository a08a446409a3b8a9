"""What the header declares, as pycparser reads it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field

from pycparser import c_ast, c_parser

# What the headers that it includes would declare: only the names matter here.
INCLUDED = "".join(
    f"typedef int {name};"
    for name in ("bool", "size_t", "uint8_t", "int32_t", "uint32_t", "int64_t", "uint64_t")
)


@dataclass
class Outline:
    """The parts of a header, each in the header's order."""

    version: str
    typedefs: dict[str, c_ast.Node] = field(default_factory=dict)
    enums: list[dict[str, int]] = field(default_factory=list)
    structs: dict[str, c_ast.Struct] = field(default_factory=dict)
    functions: dict[str, c_ast.FuncDecl] = field(default_factory=dict)

    def meaning(self, node: c_ast.Node) -> c_ast.Node:
        """A type without the names that were given to it, but for those of structs."""
        while isinstance(node, c_ast.TypeDecl) and isinstance(node.type, c_ast.IdentifierType):
            (name, *_) = node.type.names
            if name not in self.typedefs:
                break
            node = self.typedefs[name]
        return node

    def is_callback(self, node: c_ast.Node) -> bool:
        """If it is a pointer to a function."""
        node = self.meaning(node)
        return isinstance(node, c_ast.PtrDecl) and isinstance(node.type, c_ast.FuncDecl)

    def takes_callback(self, function: c_ast.FuncDecl) -> bool:
        """If a function has a parameter that is a pointer to a function."""
        return any(self.is_callback(it.type) for it in parameters(function))


def parameters(function: c_ast.FuncDecl) -> list[c_ast.Decl]:
    """Those of a function: none of `(void)`, which has no name."""
    return [it for it in function.args.params if isinstance(it, c_ast.Decl)]


def read(header: str) -> Outline:
    """The outline of a header that is given as its text."""
    major, minor = (
        re.findall(rf"^#define KVREG_VERSION_{part} (\d+)$", header, re.MULTILINE)[0]
        for part in ("MAJOR", "MINOR")
    )
    outline = Outline(f"{major}.{minor}")
    for node in c_parser.CParser().parse(INCLUDED + preprocessed(header)).ext:
        if isinstance(node, c_ast.Typedef) and node.name.startswith("kvreg_"):
            inner = getattr(node.type, "type", None)
            if not isinstance(inner, c_ast.Struct):
                outline.typedefs[node.name] = node.type
            elif inner.decls is not None:
                outline.structs[node.name] = inner
        elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.Enum):
            outline.enums.append(numbers(node.type, outline.enums))
        elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
            outline.functions[node.name] = node.type
    return outline


def preprocessed(header: str) -> str:
    """The header's own text as C sees it on a platform that it supports."""
    body = re.sub(r"^\s*#\s*include.*$", "", header, flags=re.MULTILINE)
    compiler = shlex.split(os.environ.get("CC") or "cc")
    known = ["-DUINTPTR_MAX=0xffffffffffffffffu", "-D__attribute__(x)="]
    command = [*compiler, "-E", "-P", *known, "-"]
    return subprocess.run(
        command, input=body, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def numbers(enum: c_ast.Enum, earlier: list[dict[str, int]]) -> dict[str, int]:
    """The constants of an enum."""
    known = {name: number for group in earlier for name, number in group.items()}
    found: dict[str, int] = {}
    following = 0
    for constant in enum.values.enumerators:
        if constant.value is not None:
            following = value(constant.value, known | found)
        found[constant.name] = following
        following += 1
    return found


def value(node: c_ast.Node, known: dict[str, int]) -> int:
    """What a constant expression amounts to."""
    if isinstance(node, c_ast.Constant):
        return int(node.value.rstrip("uUlL"), 0)
    if isinstance(node, c_ast.ID):
        return known[node.name]
    if isinstance(node, c_ast.UnaryOp) and node.op == "-":
        return -value(node.expr, known)
    if isinstance(node, c_ast.BinaryOp) and node.op in ("<<", "|", "+"):
        left, right = value(node.left, known), value(node.right, known)
        return {"<<": left << right, "|": left | right, "+": left + right}[node.op]
    raise ValueError(f"{node.coord}: a constant that is not understood")
