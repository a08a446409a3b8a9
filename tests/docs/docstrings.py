"""What stands in the sources of kvreg about its public names: docstrings of attributes too."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple, Union

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Member(NamedTuple):
    """An item of a class or a module; a function has definitions."""

    name: str
    functions: list[Function]
    doc: str | None


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
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        doc = None
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            doc = inspect.cleandoc(str(following.value.value))
        if isinstance(target, ast.Name):
            yield Member(target.id, [], doc)


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
                found.setdefault(name, Member(name, definitions, doc))
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
