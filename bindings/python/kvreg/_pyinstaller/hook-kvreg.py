"""Puts the shared library beside the package, where it is looked for, with its licences.

And the engines, beside it and in packages of their own, and the extension, if there is one,
which is imported by its name.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kvreg import _accelerated, _library, _stores

_libraries = [
    _library._BESIDE / _library._FILE_NAME,
    *_library._BESIDE.glob(_library._FILE_NAME.replace("kvreg", "kvreg_*")),
]
_notices = _library._BESIDE.glob("THIRD-PARTY-LICENSES*.txt")

binaries = [(str(path), "kvreg") for path in _libraries]
hiddenimports = [] if _accelerated.native is None else [_accelerated.native.__name__]
datas = [(str(path), "kvreg") for path in _notices]

# Engines that are installed as packages of their own, which are imported by their names too.
for _package in _stores._PACKAGES.values():
    _spec = find_spec(_package)
    if _spec is not None and _spec.origin is not None:
        _beside = Path(_spec.origin).parent
        hiddenimports.append(_package)
        binaries += [(str(path), _package) for path in _beside.glob("*kvreg_*.*")]
        datas += [(str(path), _package) for path in _beside.glob("THIRD-PARTY-LICENSES*.txt")]
