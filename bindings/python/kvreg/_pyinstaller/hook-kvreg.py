"""Puts the shared library beside the package, where it is looked for, with its licences.

And the extension, if there is one, which is imported by its name.
"""

from __future__ import annotations

from kvreg import _accelerated, _library

_notices = _library._BESIDE / "THIRD-PARTY-LICENSES.txt"

binaries = [(str(_library._BESIDE / _library._FILE_NAME), "kvreg")]
hiddenimports = [] if _accelerated.native is None else [_accelerated.native.__name__]
datas = [(str(_notices), "kvreg")] if _notices.exists() else []
