"""Writes python-reference.md from the docstrings of kvreg and kvreg.aio.

Signatures are taken from the source as they stand there: with overloads, and in the same words
on every version of Python. So are docstrings of attributes, which Python itself throws away.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Union

import kvreg
from kvreg import aio

PAGE = Path(__file__).with_name("python-reference.md")

SECTIONS = {
    "Registries": "Registry RegistryInfo",
    "Buckets": "Bucket KEEP REMOVE Verdict BucketOptions Restart BucketInfo Reason Key Value",
    "Inboxes": "Inbox Event Down Log Lost LogLevel",
    "Listeners": "Listener",
    "Codecs": "Codec JSON PICKLE",
    "The process": (
        "configure shutdown live_counts LiveCounts load library_version LibraryError"
    ),
}
"""What is where on the page; the exceptions and `Status` have a section of their own."""

INTRODUCTION = """\
# Reference of kvreg in Python

Written by `make reference` from the docstrings. The [guide](python-guide.md) explains, this
page lists.
"""

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
_WIDTH = 88


class Member(NamedTuple):
    """An item of a class or a module: a function has definitions, an alias a value."""

    name: str
    functions: list[Function]
    annotation: str
    doc: str | None
    value: str = ""


def tree(item: type | ModuleType) -> list[ast.stmt]:
    """What stands in a class or a module."""
    parsed = ast.parse(textwrap.dedent(inspect.getsource(item))).body
    if isinstance(item, ModuleType):
        return parsed
    definition = parsed[0]
    assert isinstance(definition, ast.ClassDef)
    return definition.body


def attributes(body: list[ast.stmt]) -> Iterator[Member]:
    """The variables that are set or declared there, with what is said below them."""
    for statement, following in zip(body, [*body[1:], ast.Pass()]):
        if isinstance(statement, ast.Assign):
            target, annotation = statement.targets[0], ""
        elif isinstance(statement, ast.AnnAssign):
            target, annotation = statement.target, ast.unparse(statement.annotation)
        else:
            continue
        doc = None
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            doc = inspect.cleandoc(str(following.value.value))
        if isinstance(target, ast.Name):
            value = statement.value
            alias = ast.unparse(value) if isinstance(value, ast.Subscript) else ""
            yield Member(target.id, [], annotation, doc, alias)


def members(item: type) -> list[Member]:
    """What a class has for its users: of its own, then of those of kvreg it inherits from.

    Methods with two underscores are among them if they have a docstring.
    """
    found: dict[str, Member] = {}
    for owner in item.__mro__:
        if not owner.__module__.startswith("kvreg"):
            continue
        body = tree(owner)
        functions: dict[str, list[Function]] = {}
        for statement in body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions.setdefault(statement.name, []).append(statement)
        for name, definitions in functions.items():
            docs = [ast.get_docstring(definition) for definition in definitions]
            doc = next((doc for doc in docs if doc), None)
            if not name.startswith("_") or name.startswith("__") and doc:
                found.setdefault(name, Member(name, definitions, "", doc))
        for member in attributes(body):
            if not member.name.startswith("_"):
                found.setdefault(member.name, member)
    return list(found.values())


def variables(package: ModuleType) -> dict[str, Member]:
    """The public variables of a package's modules, wherever they are set."""
    return {
        member.name: member
        for name, module in sys.modules.items()
        if name.startswith(package.__name__ + "._")
        for member in attributes(tree(module))
        if member.name in package.__all__
    }


def words(text: str, item: type | None) -> str:
    """Source with the names that users know in place of private ones."""
    if item is not None:
        text = re.sub(r"\b_Self\b", item.__name__, text)
        text = re.sub(r"\b_Blocking\b", f"kvreg.{item.__name__}", text)
    text = re.sub(r"\b_(bucket|registry)\.", "kvreg.", text)
    return re.sub(r"\b_([A-Z])", r"\1", text)


def signature(function: Function, name: str, item: type | None) -> str:
    """A definition without its body, in several lines if it is long."""
    arguments = function.args
    if item is not None:
        first = arguments.posonlyargs or arguments.args
        del first[0]
    parts = [words(part, item) for part in _split(ast.unparse(arguments).removeprefix("/, "))]
    returns = "" if function.returns is None else f" -> {ast.unparse(function.returns)}"
    if name != function.name:  # a class
        returns = ""
    before = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    returns = words(returns, item)
    whole = f"{before}{name}({', '.join(parts)}){returns}"
    if len(whole) <= _WIDTH:
        return whole
    return "\n".join([f"{before}{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def _split(text: str) -> list[str]:
    """Arguments one by one: at the commas outside all brackets. Spaces are as in PEP 8."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    spaced = [part.replace("=", " = ") if ":" in part else part for part in parts]
    return [part.strip().replace("'", '"') for part in spaced]


def prose(doc: str | None) -> str:
    """A docstring as Markdown: its sessions become blocks."""
    return re.sub(r"^>>> .*?(?=\n\n|\Z)", r"```pycon\n\g<0>\n```", doc or "", flags=re.M | re.S)


def decorators(function: Function) -> list[str]:
    """The names of what stands above a definition."""
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def described(member: Member, item: type) -> str:
    """A method or a property."""
    kinds = {kind for function in member.functions for kind in decorators(function)}
    first = member.functions[0]
    if "property" in kinds:
        returns = "" if first.returns is None else ast.unparse(first.returns)
        settable = "" if f"{member.name}.setter" in kinds else ", read-only"
        code = f"{member.name}: {words(returns, item)}  # property{settable}"
    else:
        shown = [f for f in member.functions if "overload" in decorators(f)] or [first]
        code = "\n".join(signature(function, member.name, item) for function in shown)
        if "classmethod" in kinds:
            code = "@classmethod\n" + code
    return f"#### `{member.name}`\n\n```python\n{code}\n```\n\n{prose(member.doc)}\n"


def listed(member: Member, item: type) -> str:
    """A field, or one of an enumeration."""
    annotation = f": {words(member.annotation, None)}" if member.annotation else ""
    if issubclass(item, enum.IntEnum):
        annotation = f" = {item[member.name].value}"
    return f"- `{member.name}{annotation}`{'. ' if member.doc else ''}{member.doc or ''}"


def described_class(item: type, title: str) -> str:
    """A class, with all that it has."""
    found = members(item)
    parts = [f"### {title}\n"]
    constructor = next((one for one in found if one.name == "__init__"), None)
    if constructor is not None:
        code = signature(constructor.functions[0], title, item)
        parts.append(f"```python\n{code}\n```\n")
    doc = inspect.cleandoc(item.__doc__ or "")
    if constructor is not None and constructor.doc and doc:
        doc += f"\n\nThe constructor: {constructor.doc}"
    parts.append(prose(doc) + "\n")
    if built_in(item) and issubclass(item, Exception):
        parts.append(f"It is an `{built_in(item)[0]}` too.\n")
    fields = [listed(one, item) for one in found if not one.functions]
    if fields:
        parts.append("\n".join(fields) + "\n")
    for member in found:
        if member.functions and not re.fullmatch("__(init|post_init)__", member.name):
            parts.append(described(member, item))
    mixed = {name for name in _mixed_in(item) if name not in {one.name for one in found}}
    if mixed:
        names = ", ".join(f"`{name}`" for name in sorted(mixed))
        parts.append(f"As every mapping of Python it also has {names}.\n")
    return "\n".join(parts)


def _mixed_in(item: type) -> Iterator[str]:
    for owner in item.__mro__:
        if owner.__module__ == "collections.abc":
            yield from (name for name in vars(owner) if not name.startswith("_"))


def described_item(name: str, found: dict[str, Member]) -> str:
    """Whatever kvreg exports under a name."""
    item = getattr(kvreg, name)
    if inspect.isclass(item):
        return described_class(item, name)
    if inspect.isfunction(item):
        definition = ast.parse(textwrap.dedent(inspect.getsource(item))).body[0]
        assert isinstance(definition, ast.FunctionDef)
        code = signature(definition, name, None)
        doc = inspect.cleandoc(item.__doc__ or "")
        return f"### {name}\n\n```python\n{code}\n```\n\n{prose(doc)}\n"
    code = f"```python\n{name} = {found[name].value}\n```\n\n" if found[name].value else ""
    return f"### {name}\n\n{code}{prose(found[name].doc)}\n"


def exceptions() -> str:
    """The exceptions as a table, and the numbers of the statuses."""
    rows = ["| exception | is also | `status` | when |", "|---|---|---|---|"]
    for name in error_names():
        item = getattr(kvreg, name)
        also = [f"`{base}`" for base in built_in(item)]
        status = f"`{item.status.name}`" if name != "Error" else ""
        rows.append(f"| `{name}` | {', '.join(also)} | {status} | {item.__doc__} |")
    return "\n".join(rows) + "\n\n" + described_class(kvreg.Status, "Status")


def error_names() -> list[str]:
    """The exceptions that come from the library, `Error` first."""
    items = {name: getattr(kvreg, name) for name in kvreg.__all__}
    names = [
        name
        for name, item in items.items()
        if inspect.isclass(item) and issubclass(item, kvreg.Error)
    ]
    return sorted(names, key=lambda name: (name != "Error", name.lower()))


def built_in(item: type) -> list[str]:
    """The exceptions of Python from which one of kvreg inherits."""
    return [base.__name__ for base in item.__bases__ if base.__module__ == "builtins"]


def page() -> str:
    """The whole page."""
    found = variables(kvreg)
    shown = [name for names in SECTIONS.values() for name in names.split()]
    missing = {*kvreg.__all__} ^ {*shown, *error_names(), "Status"}
    assert not missing, f"not in a section, or not in kvreg: {missing}"
    sections = {
        title: "\n".join(described_item(name, found) for name in names.split())
        for title, names in SECTIONS.items()
    }
    sections["Exceptions"] = exceptions()
    classes = [described_class(getattr(aio, name), f"aio.{name}") for name in aio.__all__]
    sections["kvreg.aio"] = "\n".join([inspect.cleandoc(aio.__doc__ or "") + "\n", *classes])
    parts = [INTRODUCTION]
    for title in sections:
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        parts.append(f"- [{title}](#{anchor})")
    parts.append("\n" + inspect.cleandoc(kvreg.__doc__ or "") + "\n")
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n".join(line.rstrip() for line in "\n".join(parts).split("\n"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
