"""What structs of the C interface have in common, by how they begin."""

from __future__ import annotations

import ctypes


class Sized(ctypes.Structure):
    """A struct that begins with its size, which is set when it is made; all else is 0."""

    size: int

    def __init__(self, **fields: object) -> None:
        super().__init__(**{"size": ctypes.sizeof(self), **fields})


class Bytes(ctypes.Structure):
    """Text or bytes: where they are, and how many."""

    address: int | None
    len: int

    def decoded(self) -> str:
        """The text, which is UTF-8."""
        return ctypes.string_at(self.address or 0, self.len).decode("utf-8", "replace")
