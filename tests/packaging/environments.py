"""Fresh virtual environments, and what is installed in them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from distributions import ENGINES, PROJECT, REPOSITORY, output, run

WHERE = """
import kvreg
from kvreg import _library
print(kvreg.__file__)
print(_library.library()._name)
"""


@functools.cache
def without_index() -> dict[str, str]:
    """Variables with which builds ask no index, but are isolated as users' are.

    What they need is fetched once.
    """
    text = (PROJECT / "pyproject.toml").read_text()
    needed = re.findall(r'"(.+?)"', text.partition("requires = [")[2].partition("]")[0])
    assert needed
    fetched = REPOSITORY / "target" / "fetched"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download")
    output(*pip, "--quiet", "--only-binary=:all:", "--dest", fetched, *needed)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(fetched)}


class Environment:
    """A new virtual environment, which knows nothing of the checkout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        output(sys.executable, "-m", "venv", self.directory)
        self.python = self.directory / "bin" / "python"
        # What would show the checkout's package or library, or another cargo, is left out.
        hidden = ("KVREG_", "PYTHON", "PIP_REQUIRE", "CARGO_TARGET_DIR", "VIRTUAL_ENV")
        self.variables = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        }
        # Those that are tested: else what builds of sources takes a minute more.
        self.variables["KVREG_ENGINES"] = " ".join(ENGINES)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Lends it the packages of this interpreter for a while, among which kvreg is not."""
        (site,) = self.directory.glob("lib/python*/site-packages")
        path = site / "lent.pth"
        path.write_text(sysconfig.get_path("purelib") + "\n")
        try:
            yield
        finally:
            path.unlink()

    def pip(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs pip, from a directory where nothing is, with further environment variables."""
        return run(
            *(self.python, "-m", "pip", "--disable-pip-version-check", *arguments),
            cwd=self.directory,
            env={**self.variables, **variables},
        )

    def install(self, *arguments: str | Path, **variables: str) -> set[str]:
        """Has pip install something, with further variables, and returns the new files."""
        before = self.files()
        done = self.pip("install", *arguments, **variables)
        assert done.returncode == 0, done.stdout
        return self.files() - before

    def uninstall(self) -> None:
        """Has pip uninstall kvreg; no file whatever may be left of it."""
        done = self.pip("uninstall", "--yes", "kvreg")
        assert done.returncode == 0, done.stdout
        assert "Successfully uninstalled kvreg" in done.stdout
        left = [path for path in self.directory.rglob("*") if "kvreg" in path.name]
        assert left == []
        assert run(self.python, "-c", "import kvreg", cwd=self.directory).returncode != 0

    def files(self) -> set[str]:
        """The files in its site-packages, but for compiled modules."""
        (site,) = self.directory.glob("lib/python*/site-packages")
        return {
            str(path.relative_to(site))
            for path in site.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    def says(self, code: str) -> str:
        """What a program prints: warnings are errors, and there must be none."""
        return output(
            *(self.python, "-X", "dev", "-W", "error", "-c", code),
            cwd=self.directory,
            env=self.variables,
        )

    def finds(self) -> tuple[Path, Path]:
        """Where it finds the package and, once it is used, the library."""
        package, library = self.says(WHERE).splitlines()
        return Path(package).parent, Path(library)
