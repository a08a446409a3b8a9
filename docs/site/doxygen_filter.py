"""Makes links in the comments of the headers: doxygen_filter.py HEADER prints it for Doxygen.

The headers are written for people. Doxygen makes a link of a function's name only where
parentheses follow it, and of a constant's behind a sign. Those of kvreg.hpp get Doxygen's mark,
and what it has for programs without exceptions is left out, as is what is private: Doxygen says
nothing of it, and yet leads to where it would.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FILE = re.compile(r"/\*\*\n \* @file kvreg\.h\n")
FUNCTION = re.compile(r"\b(kvreg_[a-z_]+)\(")
CONSTANT = re.compile(r"(?:#define |[{,]\s*)(KVREG_[A-Z_]+)\b")
GUARD = "KVREG_H"
INLINE = """\
#if KVREG_HPP_THROWS
inline namespace with_exceptions {
#else
inline namespace without_exceptions {
#endif
"""
PRIVATE = re.compile(
    r"(?<=^private:\n).*?^(?=\};|public:|protected:|#)", re.MULTILINE | re.DOTALL
)
PAGES = "/** @file\n * The interface for C. */\n/** @mainpage kvreg in C and C++\n"
RULE = re.compile(r"^\s*// (\w[\w ,]*) -{5,}$")


def c(text: str) -> str:
    """kvreg.h, whose comments are Doxygen's already: its first is the main page."""
    code = COMMENT.sub("", text)
    functions, constants = set(FUNCTION.findall(code)), set(CONSTANT.findall(code)) - {GUARD}

    def links(words: str) -> str:
        """Code, which is set in by four blanks, stays as it is."""
        if re.match(r"\s*\* {4}", words):
            return words
        words = re.sub(
            r"\bkvreg_[a-z_]+\b(?!\()",
            lambda name: name[0] + "()" * (name[0] in functions),
            words,
        )
        return re.sub(
            r"\bKVREG_[A-Z_]+\b",
            lambda name: "#" * (name[0] in constants) + name[0],
            words,
        )

    def linked(found: re.Match[str]) -> str:
        return "\n".join(links(line) for line in found[0].split("\n"))

    return COMMENT.sub(linked, FILE.sub(PAGES, text, count=1))


def cpp(text: str) -> str:
    """kvreg.hpp: lines of comments above declarations, as a program with exceptions sees it."""
    text = text.replace(INLINE, "").replace("} // namespace with_exceptions or", "//")
    text = PRIVATE.sub("", text)
    lines = []
    for line in text.split("\n"):
        if RULE.match(line) or re.search(r"using returned = (T|detail)", line):
            continue
        lines.append(re.sub(r"^(\s*)//(?!/)", r"\1///", without_results(line)))
    return "\n".join(lines).replace("/// ", "/// @file\n/// ", 1)


def without_results(line: str) -> str:
    """The type that a call returns, where `returned<T>` is T."""
    while (found := re.search(r"\b(?:detail::)?returned<", line)) is not None:
        end, depth = found.end(), 1
        while depth > 0:
            depth += {"<": 1, ">": -1}.get(line[end], 0)
            end += 1
        line = line[: found.start()] + line[found.end() : end - 1] + line[end:]
    return line


if __name__ == "__main__":
    header = Path(sys.argv[1])
    sys.stdout.write((c if header.suffix == ".h" else cpp)(header.read_text(encoding="utf-8")))
