"""Prints where the shared library of the Python that runs this is, for a host that loads it."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def find() -> Path | None:
    """The library of the Python that runs this; None if it has none."""
    name = str(sysconfig.get_config_var("INSTSONAME"))
    for directory in (str(sysconfig.get_config_var("LIBDIR")), sys.base_prefix + "/lib"):
        library = Path(directory, name)
        if ".so" in name and library.exists():
            return library
    return None


if __name__ == "__main__":
    library = find()
    if library is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(
            f"{sys.executable} has no shared library: it was built without --enable-shared,"
            f" or the system's package libpython{version} is not installed"
        )
    print(library)
