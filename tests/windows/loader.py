"""What the Python package's loader does where `sys.platform` is "win32", with kvreg.dll.

A Python for Windows is none of Debian's packages, so this is not one: the package's own loader
runs in this Python, told that it is in Windows, against libraries that have what kvreg.def says
and nothing else. Calls into the DLL are shown by the C tests.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXPORTED = {
    line.strip()
    for line in (ROOT / "target/windows/kvreg.def").read_text().splitlines()
    if line.startswith("    ")
}


class Function:
    """Stands for an exported function: to be given a signature, and called for its answer."""

    argtypes: list[Any]
    restype: Any

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> int:
        """The only one that loading calls."""
        assert self.name == "kvreg_version_number"
        return 0x000100


class Dll:
    """Stands for ctypes' classes: the DLL's functions, each an object of its own by index."""

    opened: list[tuple[Any, ...]] = []

    def __init__(self, name: str, mode: int = 0, handle: int | None = None) -> None:
        Dll.opened.append((name, handle))
        self._name, self._handle = name, handle or 4711

    def __getattr__(self, name: str) -> Function:
        if name not in EXPORTED:
            raise AttributeError(name)
        function = Function(name)
        setattr(self, name, function)
        return function

    def __getitem__(self, name: str) -> Function:
        assert name in EXPORTED, name
        return Function(name)


class Kernel32:
    """Stands for the system's library: which modules the process has."""

    modules: dict[str, int] = {}

    def __init__(self, name: str) -> None:
        assert name == "kernel32"

        def get_module_handle(name: str) -> int | None:
            return Kernel32.modules.get(name)

        self.GetModuleHandleW = get_module_handle


def _main() -> None:
    ctypes.WinDLL = Kernel32  # type: ignore[attr-defined]
    ctypes.CDLL = ctypes.PyDLL = Dll  # type: ignore[assignment, misc]
    sys.path.insert(0, str(ROOT / "bindings/python"))
    os.environ.pop("KVREG_LIBRARY", None)
    sys.platform = "win32"
    from kvreg import _abi, _hot, _library

    assert _library._FILE_NAME == "kvreg.dll"
    beside = str(ROOT / "bindings/python/kvreg/kvreg.dll")

    found = _library._find()
    assert Dll.opened.pop(0) == (beside, None)
    # Each function has the header's signature, on both ways, and every export is known.
    declared = {name for name, _, _ in _abi.SIGNATURES}
    assert EXPORTED - declared == {"kvreg_bucket_update", "kvreg_bucket_update_cast"}
    assert declared <= EXPORTED
    for name, result, arguments in _abi.SIGNATURES:
        for way in (found, found.quick):
            assert getattr(way, name).restype is result
            assert getattr(way, name).argtypes == arguments
    # A length without a type would be a C int, whose upper half may be anything in Windows.
    for name in _hot.Hot.__slots__:
        expected = getattr(found.quick, f"kvreg_{name}").argtypes
        assert getattr(found.hot, name).argtypes == expected, name

    # A copy that a host has loaded is taken, by its handle.
    Dll.opened.clear()
    Kernel32.modules["kvreg.dll"] = 42
    assert _library._find()._handle == 42
    assert Dll.opened.pop(0) == ("kvreg.dll", 42)

    # But what somebody named comes first.
    Dll.opened.clear()
    os.environ["KVREG_LIBRARY"] = "C:\\Einkäufe\\買物\\kvreg.dll"
    _library._find()
    assert Dll.opened.pop(0) == ("C:\\Einkäufe\\買物\\kvreg.dll", None)
    sys.stdout.write(
        f"ok {len(declared)} functions of kvreg.dll, in a Python told to be Windows'\n"
    )


_main()
