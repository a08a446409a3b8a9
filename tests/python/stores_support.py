"""What tests of stores need: engines that are compiled, and a disk that waits to be told."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from pathlib import Path

from support import REPOSITORY, WAIT

INCLUDE = REPOSITORY / "include"
DIR = REPOSITORY / "engines" / "dir" / "dir.c"
SLOW = Path(__file__).with_name("slow.c")
POOL = REPOSITORY / "tests" / "engines" / "pool.c"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def compiled(source: Path, file: Path) -> Path:
    """The shared object that is made of an engine."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    assert compiler is not None, "there is no C compiler"
    command = [*compiler.split(), *WARNINGS, "-shared", "-fPIC"]
    subprocess.run(
        [*command, f"-I{INCLUDE}", str(source), "-o", str(file)], check=True, timeout=WAIT
    )
    return file


class Disk:
    """A store of `slow.c`: what it begins with is told, and goes on when that is allowed."""

    def __init__(self) -> None:
        self._begun, begins = os.pipe()
        self._goes, self._go = os.pipe()
        self._descriptors = self._begun, begins, self._goes, self._go
        self.url = f"slow:{begins},{self._goes}"

    def begun(self) -> str:
        """Waits until it has begun with something: o open, w write, c close, d destroy."""
        assert select.select([self._begun], [], [], WAIT)[0], "nothing has begun"
        return os.read(self._begun, 1).decode()

    def allow(self, count: int = 1) -> None:
        """So much may be done, now or later."""
        os.write(self._go, count * b".")

    def forget(self) -> None:
        """Forgets what has begun, and what was allowed and not needed."""
        for descriptor in (self._begun, self._goes):
            while select.select([descriptor], [], [], 0)[0]:
                os.read(descriptor, 100)

    def fail(self) -> None:
        """What is done next fails."""
        os.write(self._go, b"!")

    def close(self) -> None:
        """Nothing uses it any more."""
        for descriptor in self._descriptors:
            os.close(descriptor)
