"""The version script, `packaging/abi/kvreg.map`: what the shared library shows."""

from __future__ import annotations

from collections import defaultdict

BEGINNING = """\
/*
 * What the shared library shows, and the version that each function came with. Made of
 * include/kvreg.h and of the record of what was released, packaging/abi/interface.txt, by
 * `make header`: it is not to be changed by hand.
 */
"""


def order(node: str) -> list[int]:
    """By what versions are sorted."""
    return [int(part) for part in node.removeprefix("KVREG_").split(".")]


def script(functions: list[str], version: str, record: str) -> str:
    """Its text: what was released stays in its node, what is new is in that of this version."""
    words = [line.split() for line in record.splitlines()]
    released = {told[1]: told[2] for told in words if told[0] == "function"}
    nodes: dict[str, list[str]] = defaultdict(list)
    for name in sorted(functions):
        nodes[released.get(name, f"KVREG_{version}")].append(name)
    text, before = BEGINNING, ""
    for node in sorted(nodes, key=order):
        names = "".join(f"    {name};\n" for name in nodes[node])
        local = "" if before else "  local:\n    *;\n"
        text += f"\n{node} {{\n  global:\n{names}{local}}}{before};\n"
        before = f" {node}"
    return text
