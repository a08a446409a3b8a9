"""References are kept count of: in a debug build of CPython, which counts all there are.

    references.py

Of an extension that was compiled for that Python. Prints how many there are before and after.
"""

from __future__ import annotations

import sys
from typing import Any

import kvreg
from kvreg import _accelerated
from native_support import everything, forget

STEPS = 300


def main() -> None:
    """What the module's text says."""
    assert _accelerated.native is not None
    count: Any = sys.gettotalrefcount
    with kvreg.Registry() as registry:
        step = everything(registry)
        for _ in range(30):  # what is made once is there then
            step()
        forget()
        before = count()
        for _ in range(STEPS):
            step()
        forget()
        after = count()
    print(f"{before} references, and after {STEPS} times all of it {after}")
    # One that is lost each time would be as many.
    if abs(after - before) >= STEPS // 2:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
