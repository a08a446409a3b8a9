"""Puts the shared library beside the package, where it is looked for, with its licences.

And the engines beside it, and the extension, if there is one, which is imported by its name.
"""

from __future__ import annotations

from kvreg import _accelerated, _library

_libraries = [
    _library._BESIDE / _library._FILE_NAME,
    *_library._BESIDE.glob(_library._FILE_NAME.replace("kvreg", "kvreg_*")),
]
_notices = _library._BESIDE.glob("THIRD-PARTY-LICENSES*.txt")

binaries = [(str(path), "kvreg") for path in _libraries]
hiddenimports = [] if _accelerated.native is None else [_accelerated.native.__name__]
datas = [(str(path), "kvreg") for path in _notices]
