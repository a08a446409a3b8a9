"""The functions that the misuse test calls: `tests/c/misuse/names.h`."""

from __future__ import annotations

BEGINNING = """\
/*
 * Misuse: the functions of the header. `make header` makes this file of include/kvreg.h: it is
 * not to be changed by hand. The compiler refuses one that misuse/functions.h does not call.
 */
#ifndef MISUSE_NAMES_H
#define MISUSE_NAMES_H

#define FUNCTIONS(F) \\
"""


def names(functions: list[str]) -> str:
    """The text of the file."""
    calls = [f"    F({name.removeprefix('kvreg_')})" for name in functions]
    return BEGINNING + " \\\n".join(calls) + "\n\n#endif\n"
