"""Compares the interface with the record of what was released.

    gate.py check HEADER LIBRARY             adding passes; what would break a program fails
    gate.py record [--break] HEADER LIBRARY  renews the record, at a release, if that passes

The record is `interface.txt` (version, types, constants, structs, functions) and `kvreg.abi`
(the functions for libabigail, with all types they reach). What comes in which version says
`kvreg.map`, which `make header` makes of this record and the header.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import interface

HERE = Path(__file__).resolve().parent
MAP = HERE / "kvreg.map"
RECORD = HERE / "interface.txt"
DUMP = HERE / "kvreg.abi"

# A struct that begins with its size may grow at its end: the library looks at as much as the
# caller knows.
GROWING = """
[suppress_type]
  name_regexp = ^({names})$
  has_data_member_inserted_at = end
"""

TOOLS = (
    (interface.CC[0], "gcc"),
    ("nm", "binutils"),
    ("abidw", "abigail-tools"),
    ("abidiff", "abigail-tools"),
)

Layouts = dict[str, dict[str, tuple[int, ...]]]


class Described:
    """Types, constants, structs and functions, read from the lines of a record."""

    def __init__(self, lines: list[str]) -> None:
        """Takes lines as `lines` writes them."""
        self.version = ""
        self.types: dict[str, str] = {}
        self.constants: dict[str, int] = {}
        self.structs: dict[str, tuple[int, ...]] = {}
        self.fields: Layouts = {}
        self.functions: dict[str, str] = {}
        for line in lines:
            kind, name, *words = line.split()
            if kind == "version":
                self.version = name
            elif kind == "constant":
                self.constants[name] = int(words[0])
            elif kind == "struct":
                self.structs[name] = (int(words[1]), int(words[3]))
                self.fields[name] = {}
            elif kind == "field":
                struct, _, field = name.partition(".")
                self.fields[struct][field] = (int(words[1]), int(words[3]))
                self.types[name] = " ".join(words[5:])
            elif kind == "function":
                self.functions[name] = words[0]
                self.types[name] = " ".join(words[1:])
            else:
                self.types[name] = " ".join(words)

    def grows(self, struct: str) -> bool:
        """If it begins with its size."""
        return next(iter(self.fields[struct])) == "size"


def lines(header: Path) -> list[str]:
    """The record of a header and the version script."""
    told = interface.declarations(header)
    functions = [
        f"function {name} {node} {told.get(name, '')}"
        for name, node in interface.nodes(MAP).items()
    ]
    inline = [f"inline {name} {it}" for name, it in interface.inline(header).items()]
    described = interface.described(header)
    return [f"version {interface.version(header)}", *described, *inline, *sorted(functions)]


def types(old: Described, new: Described) -> list[str]:
    """What became of names of types, and of what fields and functions are declared as.

    Parameters that are swapped may have one type: only their names tell. What is gone from the
    library or from a struct is told elsewhere.
    """
    faults = []
    for name, declared in old.types.items():
        if name not in new.types and name not in old.functions and "." not in name:
            faults.append(f"{name} is gone from the header: put it back")
        elif new.types.get(name, "") not in ("", declared):
            faults.append(
                f"{name} was declared as `{declared}` and is `{new.types[name]}`: put that"
                " back, names of parameters included, and give what is new a name of its own"
            )
    return faults


def constants(old: Described, new: Described, enums: list[list[str]]) -> list[str]:
    """What became of the constants."""
    faults = []
    for name, value in old.constants.items():
        if name not in new.constants:
            faults.append(f"{name} is gone: put it back, for programs are compiled with it")
        elif new.constants[name] != value:
            faults.append(
                f"{name} was {value} and is {new.constants[name]}: a constant is never"
                " renumbered; give it its number back, and put new ones at the end"
            )
    for enum in enums:
        highest = max(
            (old.constants[name] for name in enum if name in old.constants), default=-1
        )
        faults += [
            f"{name} is new and {new.constants[name]}, and {highest} was released in its enum:"
            " a program may mean something else by that number; new ones are higher"
            for name in enum
            if name not in old.constants and new.constants[name] <= highest
        ]
    return faults


def structs(old: Described, new: Described) -> list[str]:
    """What became of the structs."""
    faults = []
    for name, (size, align) in old.structs.items():
        if name not in new.structs:
            faults.append(f"the struct {name} is gone: put it back")
            continue
        for field, layout in old.fields[name].items():
            if new.fields[name].get(field) != layout:
                faults.append(
                    f"{name}.{field} was at {layout[0]} with {layout[1]} bytes and is not any"
                    " more: fields stay where they are; put it back, and new ones at the end"
                )
        for field, (offset, _) in new.fields[name].items():
            if field not in old.fields[name] and "." not in field and offset < size:
                faults.append(
                    f"{name}.{field} is new and begins within the {size} bytes that were"
                    " released: older programs leave there what they like; put it at the end"
                )
        if new.structs[name][1] != align:
            faults.append(f"the alignment of {name} was {align}: leave it so")
        if new.structs[name][0] < size:
            faults.append(f"{name} was {size} bytes and is smaller: put back what is missing")
        if new.structs[name][0] > size and not old.grows(name):
            faults.append(
                f"{name} was {size} bytes and is {new.structs[name][0]}: it does not begin with"
                " its size, so it cannot grow; make a new struct, and functions for it"
            )
    for name, (size, _) in new.structs.items():
        end = max(sum(layout) for layout in new.fields[name].values())
        if new.grows(name) and end != size:
            faults.append(
                f"{name} ends in {size - end} bytes of padding: the next field would lie there,"
                " and its size would not tell; fill it with a reserved field"
            )
    return faults


def functions(old: Described, new: Described, declared: set[str], shown: set[str]) -> list[str]:
    """What became of the functions."""
    faults = []
    released = set(old.functions.values())
    for name in sorted(old.functions):
        if name not in declared or name not in shown:
            where = "the header" if name not in declared else "the library"
            faults.append(
                f"{name} is gone from {where}: put it back, if only to call what replaces it"
            )
        if new.functions.get(name) != old.functions[name]:
            faults.append(
                f"{name} came in {old.functions[name]}, which is not what kvreg.map says:"
                " programs ask for it by that version; put it back there"
            )
    for name in sorted(declared | shown | set(new.functions)):
        if not name.startswith("kvreg_"):
            faults.append(
                f"the library exports {name}: an export needs the prefix kvreg_, else it"
                " collides with somebody's; rename it, or do not export it"
            )
            continue
        if name not in old.functions and new.functions.get(name) in released:
            faults.append(
                f"{name} is new, and {new.functions[name]} was released without it: raise"
                " KVREG_VERSION_MINOR in src/capi/types.h and the version in Cargo.toml, and"
                " run `make header`, which puts it into a node of its own"
            )
        for where, there in (
            ("declared in the header", name in declared),
            ("exported by the library", name in shown),
            ("in kvreg.map", name in new.functions),
        ):
            if not there and name not in old.functions:
                faults.append(f"{name} is not {where}: all three must have it")
    return faults


def foreign(old: Described, new: Described, header: Path) -> list[str]:
    """New functions that some languages could not call."""
    by_value = "|".join(rf"{name} (?!\*)" for name in new.structs)
    unfixed = r"\.\.\.|\b(?:int|long|short|unsigned|bool)\b"
    return [
        f"{name} has varargs, a struct by value, or a number of no fixed width: not every"
        " language can call that; take a pointer, or int32_t and its like"
        for name, prototype in interface.declarations(header).items()
        if name not in old.functions and re.search(rf"\b(?:{by_value})|{unfixed}", prototype)
    ]


def signatures(header: Path, new: Described) -> list[str]:
    """What libabigail has to say of parameters and the types they reach."""
    growing = "|".join(name for name in new.structs if new.grows(name))
    with tempfile.TemporaryDirectory() as work:
        now, rules = Path(work, "kvreg.abi"), Path(work, "suppressions")
        interface.dump(header, MAP, now)
        rules.write_text(GROWING.format(names=growing))
        command = [
            "abidiff",
            "--no-added-syms",
            # The record is of one machine; the interface is the same on all of them.
            "--no-architecture",
            "--suppressions",
            str(rules),
            str(DUMP),
            str(now),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return []
    changed = re.findall(r"'function ([^']*)'.*has some", done.stdout)
    return [
        "parameters or types have changed, of "
        + (", ".join(changed) or "what is shown below")
        + ": leave the function as it was, and give what is new a name of its own\n"
        + done.stdout
    ]


def check(old: Described, new: Described, header: Path, library: Path) -> list[str]:
    """All faults, a sentence each."""
    declared, shown = set(interface.declarations(header)), interface.exported(library)
    faults = types(old, new) + constants(old, new, interface.enums(header))
    faults += structs(old, new) + functions(old, new, declared, shown)
    faults += foreign(old, new, header)
    # What is gone is told already.
    if set(old.functions) <= set(new.functions) & declared:
        faults += signatures(header, new)
    return faults


def numbers(old: Described, new: Described) -> list[str]:
    """If what is recorded is of the version that the header says: programs go by its number."""
    known = {*old.types, *old.constants, *old.structs}
    added = sorted({*new.types, *new.constants, *new.structs} - known)
    faults = []
    if added and new.version == old.version:
        faults.append(
            f"{', '.join(added)} came after {old.version} was recorded, and the header says"
            f" {new.version}: raise KVREG_VERSION_MINOR in src/capi/types.h and the version in"
            " Cargo.toml"
        )
    for name in sorted(set(new.functions) - set(old.functions)):
        if new.functions[name] != f"KVREG_{new.version}":
            faults.append(
                f"{name} is in {new.functions[name]}, and the header says {new.version}: run"
                " `make header`, which writes kvreg.map"
            )
    return faults


def main() -> None:
    """What the module's text says."""
    command, *options, header, library = sys.argv[1:]
    for tool, package in TOOLS:
        if shutil.which(tool) is None:
            sys.exit(f"ABI: {tool} was not found: install it (in Debian: {package})")
    old = Described(RECORD.read_text().splitlines())
    try:
        told = lines(Path(header))
        new = Described(told)
        faults = check(old, new, Path(header), Path(library))
        if command == "record":
            faults += numbers(old, new)
    except ValueError as error:
        sys.exit(f"ABI: {header} cannot be read: {error}")
    except subprocess.CalledProcessError as error:
        # It has told what it does not like.
        sys.exit(f"ABI: {error.cmd[0]} failed: {header} and kvreg.map must be in order first")
    for fault in faults:
        print(f"ABI: {fault}", file=sys.stderr)
    if command == "record" and (not faults or "--break" in options):
        RECORD.write_text("\n".join(told) + "\n")
        interface.dump(Path(header), MAP, DUMP)
        print(f"{RECORD.name} and {DUMP.name} say what {header} says")
    elif faults:
        if command == "record":
            print(
                "ABI: nothing was recorded. A break needs a new major version, for its SONAME:"
                " then `make abi BREAK=yes`",
                file=sys.stderr,
            )
        sys.exit(1)
    else:
        print(
            f"ABI: {len(old.functions)} functions, {len(old.constants)} constants and"
            f" {len(old.structs)} structs are as they were released"
        )


if __name__ == "__main__":
    main()
