"""Compares the interface with the record of what was released.

    gate.py check HEADER LIBRARY    adding passes; what would break a program fails
    gate.py record HEADER           renews the record, at a release

The record is `interface.txt` (constants, structs, functions) and `kvreg.abi` (the same for
libabigail, with the types of all parameters). What comes in which version says `kvreg.map`.
"""

from __future__ import annotations

import re
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

Layouts = dict[str, dict[str, tuple[int, ...]]]


class Described:
    """Constants, structs and functions, read from the lines of a record."""

    def __init__(self, lines: list[str]) -> None:
        """Takes lines as `lines` writes them."""
        self.constants: dict[str, int] = {}
        self.structs: dict[str, tuple[int, ...]] = {}
        self.fields: Layouts = {}
        self.functions: dict[str, str] = {}
        self.inline: set[str] = set()
        for line in lines:
            kind, name, *words = line.split()
            if kind == "constant":
                self.constants[name] = int(words[0])
            elif kind == "struct":
                self.structs[name] = (int(words[1]), int(words[3]))
                self.fields[name] = {}
            elif kind == "field":
                struct, _, field = name.partition(".")
                self.fields[struct][field] = (int(words[1]), int(words[3]))
            elif kind == "inline":
                self.inline.add(name)
            else:
                self.functions[name] = words[0]

    def grows(self, struct: str) -> bool:
        """If it begins with its size."""
        return next(iter(self.fields[struct])) == "size"


def lines(header: Path) -> list[str]:
    """The record of a header and the version script."""
    functions = [f"function {name} {node}" for name, node in interface.nodes(MAP).items()]
    inline = [f"inline {name}" for name in interface.inline(header)]
    return interface.described(header) + inline + sorted(functions)


def constants(old: Described, new: Described) -> list[str]:
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
        if new.structs[name][1] != align:
            faults.append(f"the alignment of {name} was {align}: leave it so")
        if new.structs[name][0] < size:
            faults.append(f"{name} was {size} bytes and is smaller: put back what is missing")
        if new.structs[name][0] > size and not old.grows(name):
            faults.append(
                f"{name} was {size} bytes and is {new.structs[name][0]}: it does not begin with"
                " its size, so it cannot grow; make a new struct, and functions for it"
            )
    return faults


def functions(old: Described, new: Described, declared: set[str], shown: set[str]) -> list[str]:
    """What became of the functions."""
    faults = [
        f"{name} is gone from the header: put it back"
        for name in sorted(old.inline - new.inline)
    ]
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
                f"{name} is new, and {new.functions[name]} was released without it: add a node"
                " for the next version to kvreg.map, and put it there"
            )
        for where, there in (
            ("declared in the header", name in declared),
            ("exported by the library", name in shown),
            ("in kvreg.map", name in new.functions),
        ):
            if not there and name not in old.functions:
                faults.append(f"{name} is not {where}: all three must have it")
    return faults


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


def check(header: Path, library: Path) -> list[str]:
    """All faults, a sentence each."""
    old, new = Described(RECORD.read_text().splitlines()), Described(lines(header))
    declared, shown = set(interface.declarations(header)), interface.exported(library)
    faults = constants(old, new) + structs(old, new) + functions(old, new, declared, shown)
    # What is gone is told already.
    if set(old.functions) <= set(new.functions) & declared:
        faults += signatures(header, new)
    return faults


def main() -> None:
    """What the module's text says."""
    command, header, *library = sys.argv[1:]
    if command == "record":
        RECORD.write_text("\n".join(lines(Path(header))) + "\n")
        interface.dump(Path(header), MAP, DUMP)
        print(f"{RECORD.name} and {DUMP.name} say what {header} says")
        return
    faults = check(Path(header), Path(library[0]))
    for fault in faults:
        print(f"ABI: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    released = Described(RECORD.read_text().splitlines())
    print(
        f"ABI: {len(released.functions)} functions, {len(released.constants)} constants and"
        f" {len(released.structs)} structs are as they were released"
    )


if __name__ == "__main__":
    main()
