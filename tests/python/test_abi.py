"""What `_abi` says of the C interface, against the header."""

from __future__ import annotations

import ctypes
import re
import subprocess
from ctypes import (
    POINTER,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

import pytest
from kvreg import _abi
from support import HEADER, posix

TEXT = re.sub(r"/\*.*?\*/|//[^\n]*", "", HEADER.read_text(), flags=re.DOTALL)
PROTOTYPES = {
    name: (result.strip(), [" ".join(one.split()) for one in arguments.split(",")])
    for result, name, arguments in re.findall(
        r"^([\w ]+[ *])(kvreg_\w+)\(([^;{}]*)\);",
        TEXT[TEXT.index('extern "C"') :],
        re.MULTILINE,
    )
}

# They take callbacks, which never run Python.
WITH_CALLBACKS = {"kvreg_bucket_update", "kvreg_bucket_update_cast"}

SCALARS: dict[str, Any] = {
    "int32_t": c_int32,
    "int64_t": c_int64,
    "uint32_t": c_uint32,
    "uint64_t": c_uint64,
    "size_t": c_size_t,
    "double": ctypes.c_double,
    "bool": ctypes.c_bool,
    "kvreg_status": c_int32,
    "kvreg_reason": c_int32,
    "kvreg_verdict": c_int32,
}
STRUCTS: dict[str, type[ctypes.Structure]] = {
    "kvreg_value": _abi.Value,
    "kvreg_pair": _abi.Pair,
    "kvreg_entry": _abi.Entry,
    "kvreg_columns": _abi.Columns,
    "kvreg_text": _abi.Text,
    "kvreg_event": _abi.Event,
    "kvreg_live": _abi.Live,
    "kvreg_options": _abi.Options,
    "kvreg_op": _abi.Op,
    "kvreg_bucket_options": _abi.BucketOptions,
    "kvreg_registry_options": _abi.RegistryOptions,
    "kvreg_listener_options": _abi.ListenerOptions,
    "kvreg_bucket_stats": _abi.BucketStats,
    "kvreg_scan_options": _abi.ScanOptions,
    "kvreg_watch_options": _abi.WatchOptions,
    "kvreg_registry_stats": _abi.RegistryStats,
    "kvreg_server_options": _abi.ServerOptions,
    "kvreg_server_stats": _abi.ServerStats,
    "kvreg_message": _abi.Message,
}

# Where ctypes has another name than C, or several fields are told as one.
FIELDS = {
    "kvreg_value": {
        "type": "type",
        "as.boolean": "boolean",
        "as.integer": "integer",
        "as.real": "real",
        "as.text.data": "data",
        "as.text.len": "len",
        "private_": "private_",
    },
    "kvreg_text": {"data": "address", "len": "len"},
}


def allowed(argument: str) -> list[Any]:
    """The ctypes types that an argument of a prototype may have."""
    found = re.fullmatch(r"(const )?(\w+) (\**)\w+", argument)
    assert found is not None, argument
    _, name, stars = found.groups()
    if stars == "**":
        return [POINTER(c_void_p)]
    if stars == "":
        return [SCALARS[name]]
    if name in STRUCTS:
        return [POINTER(STRUCTS[name])]
    if name in ("char", "void"):
        return [c_char_p, c_void_p]
    if name == "int":
        return [POINTER(c_int)]
    if name in SCALARS:
        return [POINTER(SCALARS[name])]
    return [c_void_p]  # a handle


def test_every_function_of_the_header_is_declared() -> None:
    assert {name for name, _, _ in _abi.SIGNATURES} == set(PROTOTYPES) - WITH_CALLBACKS
    assert len(_abi.SIGNATURES) == len({name for name, _, _ in _abi.SIGNATURES})


@pytest.mark.parametrize("name, result, arguments", _abi.SIGNATURES)
def test_a_signature_is_that_of_the_header(
    name: str, result: Any, arguments: list[Any]
) -> None:
    returned, taken = PROTOTYPES[name]
    expected = {"const char *": c_char_p, "void": None, **SCALARS}[returned]
    assert result is expected
    types = [] if taken == ["void"] else [allowed(argument) for argument in taken]
    assert len(arguments) == len(types)
    for argument, possible in zip(arguments, types):
        assert argument in possible


@posix  # where the tests have a C compiler
def test_the_structs_are_laid_out_as_a_compiler_does(tmp_path: Path) -> None:
    lines, expected = [], []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        expected.append((name, ctypes.sizeof(struct)))
        declared = [field[0] for field in struct._fields_]
        for in_c, in_python in FIELDS.get(name, dict(zip(declared, declared))).items():
            lines.append(f'printf("%zu\\n", offsetof({name}, {in_c}));')
            expected.append((f"{name}.{in_c}", getattr(struct, in_python).offset))
    body = "\n".join(lines)
    includes = "".join(f"#include <{name}.h>\n" for name in ("stddef", "stdio", "kvreg"))
    source = f"{includes}int main(void) {{\n{body}\n}}\n"
    (tmp_path / "layout.c").write_text(source)
    command = ["cc", f"-I{HEADER.parent}", "layout.c", "-o", "layout"]
    subprocess.run(command, cwd=tmp_path, check=True)
    told = subprocess.run(
        [tmp_path / "layout"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [(what, int(size)) for (what, _), size in zip(expected, told)] == expected
