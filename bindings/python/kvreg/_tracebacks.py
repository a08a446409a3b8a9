"""What is told of an exception: its text, its last line, its traceback."""

from __future__ import annotations

import os
from types import CodeType

_DETAIL = 60000
"""Bytes of a traceback that are told with an end; the library takes 65,536."""


def text_of(raised: BaseException) -> str:
    """What an exception says, if it can."""
    try:
        return str(raised)
    except Exception:
        return type(raised).__name__


def last_line(raised: BaseException) -> str:
    """An exception as the last line of its traceback shows it."""
    text = text_of(raised)
    name = type(raised).__qualname__
    return f"{name}: {text}" if text else name


_PACKAGE = os.path.join(os.path.dirname(__file__), "")


def is_ours(code: CodeType) -> bool:
    """Whether it is of this package, or of the methods that it makes."""
    return code.co_filename.startswith((_PACKAGE, "<kvreg "))


def traceback_of(raised: BaseException) -> bytes:
    """The traceback of an exception, without the frame that caught it."""
    import traceback  # not before something fails

    frames = raised.__traceback__
    if frames is not None and frames.tb_next is not None and is_ours(frames.tb_frame.f_code):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(raised), raised, frames)
        data = "".join(lines).encode("utf-8", "backslashreplace")
    except Exception:
        data = last_line(raised).encode("utf-8", "backslashreplace")
    data = data.replace(b"\0", b"\\0")
    if len(data) > _DETAIL:
        data = b"...\n" + data[-_DETAIL:].decode("utf-8", "ignore").encode()
    return data
