"""Values of other types that a bucket takes for those that it holds.

Any contiguous buffer stands for its bytes: bytearray, memoryview, `array.array`, numpy's
arrays. What counts as an integer (`__index__`) stands for an int. numpy's floats and bools are
buffers of one item without a length, and say by its format what they are, so that numpy need
not be known. Others that can be made a float, as Decimal, are not taken: they would come back
as another number.
"""

from __future__ import annotations

import operator
from typing import Any, cast


def plain(value: Any) -> Any:
    """What is stored for a value of another type; `TypeError` if nothing can be."""
    held = as_buffer(value)
    kind_of = cast("type[object]", type(value))
    if not hasattr(kind_of, "__len__"):  # else what it has is more than one number
        kind = ""
        if held is not None and held.ndim == 0 and hasattr(kind_of, "__float__"):
            kind = held.format.lstrip("@=<>!")
        if kind == "?":
            return bool(value)
        if kind in ("e", "f", "d", "g") and _is_exact(value):
            return float(value)
        if hasattr(kind_of, "__index__"):
            return operator.index(value)
        if hasattr(kind_of, "__float__") or held is not None and held.ndim == 0:
            held = None  # a number or a struct all the same: not its bytes
    if held is None:
        raise TypeError(
            "a value is None, a bool, int, float, str, bytes or a buffer, not"
            f" {type_name(value)}: for others give the registry a codec, such as"
            " kvreg.Registry(codec=kvreg.JSON) or codec=kvreg.PICKLE"
        )
    return bytes_of(held, value)


def _is_exact(value: Any) -> bool:
    """Whether a float of Python has what a float of another size has."""
    return bool(float(value) == value or value != value)


def as_buffer(value: Any) -> memoryview | None:
    """What a buffer has, or None for what is none."""
    if isinstance(value, str):
        return None
    try:
        return memoryview(value)
    except TypeError:
        return None


def bytes_of(held: memoryview, value: object) -> bytes:
    """The bytes of a buffer; `TypeError` if they are not its contents, one after the other."""
    if not held.c_contiguous:
        raise TypeError(
            f"a buffer that is not contiguous is no value: {type_name(value)}; copy it"
        )
    if "O" in held.format or "P" in held.format:
        raise TypeError(f"the bytes of a {type_name(value)} are addresses, which are no value")
    return held.tobytes()


def type_name(value: object) -> str:
    """The name of a type, with its module if it could be taken for another one's."""
    kind = type(value)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
