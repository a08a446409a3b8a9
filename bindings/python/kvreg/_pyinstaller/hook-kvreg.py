"""Puts the shared library beside the package, where it is looked for, with its licences."""

from __future__ import annotations

from kvreg import _library

_notices = _library._BESIDE / "THIRD-PARTY-LICENSES.txt"

binaries = [(str(_library._BESIDE / _library._FILE_NAME), "kvreg")]
datas = [(str(_notices), "kvreg")] if _notices.exists() else []
