"""The shell: `python -m kvreg`."""

from __future__ import annotations

import os
import signal
import sys

from ._shell import main
from ._streams import occupy


def end(status: int) -> None:
    """Ends the process: below 0 by that signal, whose default it is to end it."""
    if status < 0 and os.name == "posix":
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    occupy()
    end(main())
