"""The shell: `python -m kvreg`."""

from __future__ import annotations

import sys

from ._shell import main

if __name__ == "__main__":
    sys.exit(main())
