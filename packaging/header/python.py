"""The C interface for Python's ctypes: `bindings/python/kvreg/_abi.py`.

- A constant and a struct have C's names, as Python spells them: `KVREG_NIL` is `NIL`,
  `kvreg_bucket_options` is `BucketOptions`. A union or a struct that C has only inside another
  one is left out of the way to its fields: `value.as.text.len` is `value.len`.
- Bytes go in as they are, and a struct keeps alive what it was given: `char *`, `const void *`
  and `const uint8_t *` are `c_char_p`. All other pointers that C only hands on are `c_void_p`.
- Where bytes that C wrote are to be read, the field `data` beside `len` has another name,
  `address`, for `data` itself would end at a NUL.
- Functions that take a callback are left out: C calls nothing of Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from outline import Outline, parameters
from pycparser import c_ast

BEGINNING = '''\
"""The C interface as ctypes sees it: constants, structs and signatures.

Made of `include/kvreg.h` by `make header`: it is not to be changed by hand. How, says
`packaging/header/python.py`.
"""

from __future__ import annotations

from ctypes import {imported}
from typing import Any

from ._shapes import Bytes, Sized
'''

NUMBERS = {
    "bool": ("c_bool", "bool"),
    "double": ("c_double", "float"),
    "int": ("c_int", "int"),
    "size_t": ("c_size_t", "int"),
    "uint8_t": ("c_uint8", "int"),
    "int32_t": ("c_int32", "int"),
    "uint32_t": ("c_uint32", "int"),
    "int64_t": ("c_int64", "int"),
    "uint64_t": ("c_uint64", "int"),
}
ADDRESS = ("c_void_p", "int | None")
BYTES = ("c_char_p", "bytes")

Kind = tuple[str, str]
"""What ctypes has for a type, and what Python reads there."""


def class_name(struct: str) -> str:
    """That of a struct in Python."""
    return "".join(word.capitalize() for word in struct.split("_")[1:])


def spelled(name: str) -> str:
    """A field's name, where C's is a word of Python's."""
    return f"{name}_" if name in ("as", "from", "in", "is") else name


def named(node: c_ast.Node) -> str:
    """The name of a type that is no pointer, array, struct or union."""
    return str(node.type.names[0]) if isinstance(node.type, c_ast.IdentifierType) else ""


class Types:
    """What ctypes has for the types of a header."""

    def __init__(self, outline: Outline) -> None:
        """Of this header."""
        self.outline = outline

    def of_parameter(self, node: c_ast.Node) -> str:
        """The type of a parameter, or of what a function returns."""
        node = self.outline.meaning(node)
        if not isinstance(node, c_ast.PtrDecl):
            return "None" if named(node) == "void" else NUMBERS[named(node)][0]
        to = self.outline.meaning(node.type)
        if isinstance(to, c_ast.PtrDecl):
            return f"POINTER({self.of_parameter(to)})"
        if named(to) in self.outline.structs:
            return f"POINTER({class_name(named(to))})"
        if self.is_bytes(to):
            return BYTES[0]
        number = NUMBERS.get(named(to))
        return f"POINTER({number[0]})" if number else ADDRESS[0]

    def of_field(self, node: c_ast.Node) -> Kind:
        """The type of a field."""
        node = self.outline.meaning(node)
        if isinstance(node, c_ast.ArrayDecl) and named(node.type) == "char":
            return f"c_char * {node.dim.value}", "Any"  # bytes, up to their NUL
        if isinstance(node, c_ast.ArrayDecl):
            return f"{self.of_field(node.type)[0]} * {node.dim.value}", "Any"
        if not isinstance(node, c_ast.PtrDecl):
            name = named(node)
            struct = class_name(name)
            return (struct, struct) if name in self.outline.structs else NUMBERS[name]
        to = self.outline.meaning(node.type)
        if isinstance(to, c_ast.TypeDecl) and named(to) in self.outline.structs:
            return f"POINTER({class_name(named(to))})", "Any"
        is_bytes = isinstance(to, c_ast.TypeDecl) and self.is_bytes(to)
        return BYTES if is_bytes else ADDRESS

    @staticmethod
    def is_bytes(to: c_ast.TypeDecl) -> bool:
        """If a pointer to it is to text or bytes that are not written."""
        return named(to) == "char" or named(to) in ("void", "uint8_t") and "const" in to.quals


@dataclass
class Class:
    """A struct or a union in Python, with those inside it, which come before."""

    name: str
    base: str
    told: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    reads: dict[str, str] = field(default_factory=dict)
    anonymous: list[str] = field(default_factory=list)
    inside: list[Class] = field(default_factory=list)

    def inline(self, inner: Class, name: str) -> None:
        """Adds a class whose fields are seen as if they were this one's."""
        if twice := self.reads.keys() & inner.reads.keys():
            raise ValueError(f"{self.name} has several fields {', '.join(twice)}")
        self.inside.append(inner)
        self.anonymous.append(name)
        self.fields.append((name, inner.name))
        self.reads |= inner.reads

    def lines(self) -> list[str]:
        """Its statement, after those of the classes inside it."""
        found = [line for inner in self.inside for line in inner.lines()]
        found += [f"class {self.name}({self.base}):"]
        if self.told:
            found += [f'    """{self.told}"""']
            found += [f"    {name}: {what}" for name, what in self.reads.items()]
        if self.anonymous:
            found.append(
                f"    _anonymous_ = ({''.join(f'{name!r},' for name in self.anonymous)})"
            )
        found.append("    _fields_ = [")
        return [*found, *(f"({name!r}, {kind})," for name, kind in self.fields), "]"]


def class_of(types: Types, node: c_ast.Node, name: str, told: str = "") -> Class:
    """The class of a struct or a union."""
    names = [it.name for it in node.decls]
    base = "Union" if isinstance(node, c_ast.Union) else "Structure"
    if told and names == ["data", "len"]:
        base = "Bytes"
    elif names[0] == "size":
        base = "Sized"
    made = Class(name, base, told)
    for it in node.decls:
        its = spelled(it.name)
        inner = getattr(it.type, "type", None)
        if isinstance(inner, (c_ast.Struct, c_ast.Union)) and inner.decls is not None:
            made.inline(
                class_of(types, inner, f"_{name.lstrip('_')}{its.strip('_').title()}"), its
            )
            continue
        kind, read = types.of_field(it.type)
        if it.name == "data" and "len" in names:
            both = [("data", kind), ("address", ADDRESS[0])]
            reads = {"data": read, "address": ADDRESS[1]}
            inner_name = f"_{name.lstrip('_')}Data"
            made.inline(Class(inner_name, "Union", fields=both, reads=reads), "data_")
            continue
        made.fields.append((its, kind))
        made.reads[its] = read
    return made


def signatures(types: Types) -> list[str]:
    """A line for each function."""
    found = []
    for name, function in types.outline.functions.items():
        if not types.outline.takes_callback(function):
            result = types.of_parameter(function.type)
            taken = ", ".join(types.of_parameter(it.type) for it in parameters(function))
            found.append(f"({name!r}, {result}, [{taken}]),")
    return found


def module(outline: Outline) -> str:
    """The text of the module, before it is formatted."""
    types = Types(outline)
    lines = []
    for enum in outline.enums:
        lines += [f"{name.removeprefix('KVREG_')} = {number}" for name, number in enum.items()]
        lines.append("")
    for name, struct in outline.structs.items():
        lines += class_of(types, struct, class_name(name), f"`{name}`.").lines()
    lines += [
        "# name, result, arguments",
        "SIGNATURES: tuple[tuple[str, Any, list[Any]], ...] = (",
    ]
    text = "\n".join([*lines, *signatures(types), ")"])
    imported = sorted(set(re.findall(r"\b(?:POINTER|Structure|Union|c_\w+)\b", text)))
    return BEGINNING.format(imported=", ".join(imported)) + text
