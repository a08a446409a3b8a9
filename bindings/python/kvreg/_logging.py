"""What the library logs, handed on to `logging.getLogger("kvreg")`.

One daemon thread receives it from an inbox, so that no thread of the library ever waits for
Python. It is started when `logging` has a handler for it, set up before the first registry or
bucket or after: each start, and each call that can make the library say something, looks
before it does so. A program that does not use `logging` has neither the thread nor the module.
From the beginning of the thread on it is the logger that says which levels get through.
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
_logger: Any = None


def _begin_anew() -> None:
    # The thread is not there in a forked child, and its inbox is the parent's.
    global _starting, _inbox
    _starting, _inbox = threading.RLock(), None


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def follow(asynchronous: bool = False) -> None:
    """Hands on from here on what the library logs, if anybody would see it. Never blocks.

    With `asynchronous` also if somebody may come to see it: then it logs by itself.
    """
    global _logger
    if _inbox is not None:
        return
    if _logger is None:
        logging = sys.modules.get("logging")
        # In the middle of its import, by another thread, it has no loggers yet.
        if logging is None or not hasattr(logging, "getLogger"):
            return
        _logger = logging.getLogger(NAME)
    if asynchronous or _is_seen(_logger):
        _begin(load_library())


def _is_seen(logger: Any) -> bool:
    handlers = logger.handlers or logger.propagate and logger.parent.handlers
    return bool(handlers) and logger.isEnabledFor(_LEVELS[LogLevel.ERROR])


def _begin(library: Library) -> None:
    global _inbox
    opened = ctypes.c_void_p()
    with _starting:
        if _inbox is not None or library.quick.kvreg_inbox_open(ctypes.byref(opened)):
            return  # whoever called meets the same, and raises it
        library.quick.kvreg_inbox_subscribe_logs(opened, int(LogLevel.DEBUG))
        _inbox = opened.value
        arguments = (library, opened.value, _logger)
        try:
            threading.Thread(
                target=_hand_on, args=arguments, name="kvreg-logging", daemon=True
            ).start()
        except RuntimeError:
            # There can be no more threads, as when the interpreter ends: a registry is there
            # without one too.
            _inbox = None
            library.quick.kvreg_inbox_free(opened)


def _hand_on(library: Library, inbox: int | None, logger: Any) -> None:
    event = _abi.Event()
    while not library.kvreg_inbox_receive(inbox, -1, event):
        try:
            if event.type == _abi.EVENT_LOG:
                record = _LEVELS[LogLevel(event.level)], event.detail.decoded()
            else:
                record = _LEVELS[LogLevel.WARN], f"{event.count} log events were lost"
            bucket = event.name.decoded() or None
            if bucket is not None:
                record = record[0], f"{bucket!r}: {record[1]}"
        finally:
            library.quick.kvreg_event_clear(event)
        try:
            if logger.hasHandlers():  # else `logging` itself would print it
                logger.log(*record, extra={"bucket": bucket})
        except Exception as error:
            # A filter may raise. It is told, as of a thread that ends; but this one goes on.
            told = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(told))
