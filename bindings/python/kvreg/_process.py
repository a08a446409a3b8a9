"""What holds for the whole process: its options, and its end."""

from __future__ import annotations

from . import _abi, _timeout
from ._errors import check
from ._library import library as load_library
from ._options import count_32
from ._timeout import milliseconds


def configure(
    *,
    worker_threads: int | None = None,
    callback_threads: int | None = None,
    max_monitors: int | None = None,
    default_timeout: float | None = 5.0,
    thread_name: str | None = None,
) -> None:
    """Sets what holds for the whole process, before anything is started. Never blocks.

    It need not be called, and starts nothing. `worker_threads` drain mailboxes and serve
    listeners (2); `callback_threads` are the most there can be for callbacks of C programs
    (16,384); `max_monitors` are those of one inbox (1,048,576); `default_timeout` is the
    `timeout` of new objects in seconds, None for ever; `thread_name` is that of the library's
    threads, 1 to 15 bytes ("kvreg"). `AlreadyStarted` when anything was started or configured
    before, in this process or by the C program that it is part of.
    """
    wait = milliseconds(default_timeout)
    if wait == 0:
        raise ValueError("default_timeout is None or more than 0 seconds")
    options = _abi.Options(
        worker_threads=count_32("worker_threads", worker_threads),
        callback_threads=count_32("callback_threads", callback_threads),
        max_monitors=count_32("max_monitors", max_monitors),
        default_timeout_ms=wait,
    )
    if thread_name is not None:
        name = thread_name.encode("utf-8")
        if b"\0" in name:
            raise ValueError("thread_name has no NUL")
        options.thread_name = name
    library = load_library()
    check(library, library.kvreg_configure(options))
    _timeout.default = _timeout.shared = default_timeout


def shutdown(timeout: float | None = None) -> None:
    """Ends everything: registries and buckets, reason SHUTDOWN, listeners, and threads.

    From here on everything raises `ShutDown`, but closing succeeds. It need not be called: a
    process may just exit. `CallTimeout` if callbacks of a C program still ran after `timeout`
    seconds; all else has ended then, and they are left alone. `CallingSelf` from inside an
    update. `timeout` None waits for ever. Blocks.
    """
    library = load_library()
    check(library, library.kvreg_shutdown(milliseconds(timeout)))
