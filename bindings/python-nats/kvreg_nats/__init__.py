"""kvreg's engine of `nats:` URLs, in which buckets lie on a NATS cluster.

Nobody need import it: kvreg finds it at the first such URL. `pip install kvreg[nats]` installs
that of kvreg's own version.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform == "win32":  # Windows only
    _FILE_NAME = "kvreg_nats.dll"
elif sys.platform == "darwin":  # macOS only
    _FILE_NAME = "libkvreg_nats.dylib"
else:
    _FILE_NAME = "libkvreg_nats.so"

LIBRARY = str(Path(__file__).resolve().parent / _FILE_NAME)
"""The path of the shared library, as `kvreg.load_engine` takes it."""

__all__ = ["LIBRARY"]
