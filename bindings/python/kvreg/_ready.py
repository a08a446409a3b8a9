"""Waiting for an inbox in a thread that receives nothing: whoever receives keeps the order."""

from __future__ import annotations

import sys

from ._inbox import Inbox

if sys.platform == "win32":  # Windows only
    import _winapi
    import ctypes

    class Ready:
        """Whether events wait in an inbox: by a copy of its handle, which outlives it."""

        def __init__(self, inbox: Inbox) -> None:
            event, process = ctypes.c_void_p(), _winapi.GetCurrentProcess()
            inbox._call("kvreg_inbox_handle", ctypes.byref(event))
            self._event: int = _winapi.DuplicateHandle(
                *(process, event.value or 0, process, 0, False, _winapi.DUPLICATE_SAME_ACCESS)
            )

        def wait(self, seconds: float) -> bool:
            """Whether events wait, now or within that time. Blocks, without the GIL."""
            found = _winapi.WaitForSingleObject(self._event, round(seconds * 1000))
            return found == _winapi.WAIT_OBJECT_0

        def close(self) -> None:
            """Gives the copy back: once, when nobody waits."""
            _winapi.CloseHandle(self._event)

else:
    import os
    import select

    class Ready:
        """Whether events wait in an inbox: by a copy of its descriptor, which outlives it."""

        def __init__(self, inbox: Inbox) -> None:
            self._descriptor = os.dup(inbox.fileno())
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLIN)

        def wait(self, seconds: float) -> bool:
            """Whether events wait, now or within that time. Blocks, without the GIL."""
            return bool(self._poll.poll(seconds * 1000))

        def close(self) -> None:
            """Gives the copy back: once, when nobody waits."""
            os.close(self._descriptor)
