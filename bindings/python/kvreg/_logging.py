"""What the library logs, handed on to `logging.getLogger("kvreg")`.

One daemon thread receives it from an inbox, so that no thread of the library ever waits for
Python. It is started with the first registry or bucket that is started when `logging` has a
handler for it, at the level that the logger has then; each later one looks again. A program
that does not use `logging` has neither the thread nor the module.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

from . import _abi
from ._constants import LogLevel
from ._library import Library
from ._library import library as load_library

NAME = "kvreg"

# The numbers of `logging`, which is not imported here.
_LEVELS = {LogLevel.ERROR: 40, LogLevel.WARN: 30, LogLevel.INFO: 20, LogLevel.DEBUG: 10}

# Signal handlers and destructors may start registries too, in the middle of this.
_starting = threading.RLock()
_inbox: int | None = None
_level: LogLevel | None = None


def _begin_anew() -> None:
    # The thread is not there in a forked child, and its inbox is the parent's.
    global _starting, _inbox, _level
    _starting, _inbox, _level = threading.RLock(), None, None


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def follow() -> None:
    """Hands on from here on what the library logs, if anybody would see it. Never blocks."""
    global _inbox, _level
    logging = sys.modules.get("logging")
    if logging is None:
        return
    logger = logging.getLogger(NAME)
    wanted = _wanted(logger.getEffectiveLevel())
    if wanted is None or not logger.hasHandlers() or _level is not None and _level >= wanted:
        return
    library = load_library()
    opened = ctypes.c_void_p()
    with _starting:
        if _inbox is None:
            if library.quick.kvreg_inbox_open(ctypes.byref(opened)):
                return  # whoever called meets the same, and raises it
            if _inbox is None:
                _inbox = opened.value
        library.quick.kvreg_inbox_subscribe_logs(_inbox, wanted)
        _level = wanted
    if opened:
        _start(library, opened.value, logger)


def _start(library: Library, inbox: int | None, logger: Any) -> None:
    """Starts the thread, unless a signal handler has started one meanwhile."""
    global _inbox, _level
    try:
        if inbox == _inbox:
            arguments = (library, inbox, logger)
            threading.Thread(
                target=_hand_on, args=arguments, name="kvreg-logging", daemon=True
            ).start()
            return
    except RuntimeError:
        # There can be no more threads, as when the interpreter ends: a registry is there
        # without one too.
        _inbox = _level = None
    library.quick.kvreg_inbox_free(inbox)


def _wanted(effective: int) -> LogLevel | None:
    """The least important level that a logger of this level lets through."""
    through = [level for level, number in _LEVELS.items() if number >= effective]
    return max(through, default=None)


def _hand_on(library: Library, inbox: int | None, logger: Any) -> None:
    event = _abi.Event()
    while not library.kvreg_inbox_receive(inbox, -1, event):
        try:
            if event.type == _abi.EVENT_LOG:
                record = _LEVELS[LogLevel(event.level)], event.detail.decoded()
            else:
                record = _LEVELS[LogLevel.WARN], f"{event.count} log events were lost"
            bucket = event.name.decoded() or None
        finally:
            library.quick.kvreg_event_clear(event)
        try:
            logger.log(*record, extra={"bucket": bucket})
        except Exception as error:
            # A filter may raise. It is told, as of a thread that ends; but this one goes on.
            told = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(told))
