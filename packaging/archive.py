"""Packs a directory so that the same files give the same bytes: archive.py DIRECTORY ARCHIVE.

A `.zip` or a `.tar.gz`, whose entries stand in order, belong to nobody, and are all of one
time: that of SOURCE_DATE_EPOCH (seconds since 1970).
"""

from __future__ import annotations

import gzip
import os
import sys
import tarfile
import time
import zipfile
from pathlib import Path

EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])


def entries(directory: Path) -> list[Path]:
    """The directory and all below it, in order."""
    return sorted([directory, *directory.rglob("*")])


def mode(path: Path) -> int:
    """What everybody may do; the umask of who builds does not matter."""
    return 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644


def plain(entry: tarfile.TarInfo, path: Path) -> tarfile.TarInfo:
    """An entry that tells nothing of who made it, when and how."""
    entry.mtime = EPOCH
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o777 if path.is_symlink() else mode(path)
    return entry


def tar(directory: Path, archive: Path) -> None:
    """Links stay links."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, EPOCH) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as goal,
    ):
        for path in entries(directory):
            entry = plain(goal.gettarinfo(path, str(path.relative_to(directory.parent))), path)
            if entry.isreg():
                with path.open("rb") as content:
                    goal.addfile(entry, content)
            else:
                goal.addfile(entry)


def pack_zip(directory: Path, archive: Path) -> None:
    """Files only: directories come with them."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as goal:
        for path in filter(Path.is_file, entries(directory)):
            name = path.relative_to(directory.parent).as_posix()
            entry = zipfile.ZipInfo(name, time.gmtime(EPOCH)[:6])
            entry.external_attr = (0o100000 | mode(path)) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            goal.writestr(entry, path.read_bytes())


def main() -> None:
    """What the module's text says."""
    directory, archive = map(Path, sys.argv[1:])
    (pack_zip if archive.suffix == ".zip" else tar)(directory, archive)


if __name__ == "__main__":
    main()
