"""What the gate lets pass and what it stops, each tried in a copy.

Where the library changes too, it is one of the sources, of which a header is made and a library
that has nothing but the names of the functions; else of the header.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import generate
import interface
import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = "include/kvreg.h"
DUMP = "packaging/abi/kvreg.abi"

TYPES = "src/capi/types.h"
PROCESS = "src/capi/process.rs"
MAP = "packaging/abi/kvreg.map"
# Functions that a copy adds.
ANSWER = '\n#[no_mangle]\npub extern "C" fn kvreg_answer() -> u32 {\n    42\n}\n'
CONNECT = ANSWER.replace("kvreg_answer", "connect")
NEXT = "\nKVREG_0.2 {\n  global:\n    kvreg_answer;\n} KVREG_0.1;\n"

EXPORT = re.compile(r'#\[no_mangle\]\s*pub (?:unsafe )?extern "C" fn (\w+)')

Edit = Callable[[Path], None]
Replaced = tuple[str, str]


def append(file: str, text: str) -> Edit:
    def edit(copy: Path) -> None:
        path = copy / file
        path.write_text(path.read_text() + text)

    return edit


def replace(file: str, old: str, new: str) -> Edit:
    def edit(copy: Path) -> None:
        path = copy / file
        text = path.read_text()
        assert text.count(old) == 1, (file, old, text.count(old))
        path.write_text(text.replace(old, new))

    return edit


def sources(directory: Path, edits: list[Edit]) -> Path:
    """The sources with some edits, as far as cargo has to know them."""
    copy = directory / "copy"
    for name in ("src", "tests/model", "benches", "engines", "packaging"):
        ignored = shutil.ignore_patterns("target", "__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("Cargo.toml", "Cargo.lock", "build.rs", "cbindgen.toml"):
        shutil.copy(ROOT / name, copy)
    for edit in edits:
        edit(copy)
    return copy


def exports(copy: Path) -> set[str]:
    """The functions that a library built of the sources would export."""
    return {
        name for path in copy.glob("src/**/*.rs") for name in EXPORT.findall(path.read_text())
    }


def library_of(names: set[str], library: Path) -> Path:
    """A library with functions of these names."""
    source = "\n".join(f"void {name}(void) {{}}" for name in sorted(names))
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=source, text=True, check=True)
    return library


def gate(copy: Path) -> subprocess.CompletedProcess[str]:
    """Asks the copy's gate about the copy."""
    header = copy / "kvreg.h"
    header.write_text(generate.header(copy))
    library = library_of(exports(copy), copy / "libkvreg.so")
    return subprocess.run(
        [sys.executable, copy / "packaging/abi/gate.py", "check", header, library],
        capture_output=True,
        text=True,
        check=False,
    )


def assert_stopped(done: subprocess.CompletedProcess[str], *sentences: str) -> None:
    """The gate failed, and each sentence begins a line of what it says."""
    assert done.returncode == 1
    told = done.stderr.splitlines()
    for sentence in sentences:
        assert any(line.startswith(sentence) for line in told), done.stderr


PASSES: dict[str, list[Edit]] = {
    "a function in a node of its own": [append(PROCESS, ANSWER), append(MAP, NEXT)],
    "a field at the end of options": [
        replace(
            TYPES, "} kvreg_listener_options;", "    uint64_t more;\n} kvreg_listener_options;"
        ),
    ],
}

STOPS: dict[str, tuple[list[Edit], str]] = {
    "a removed function": (
        [
            replace(
                "src/capi/bucket.rs",
                '#[no_mangle]\npub unsafe extern "C" fn kvreg_bucket_clear(',
                'pub unsafe extern "C" fn kvreg_bucket_clear(',
            )
        ],
        "ABI: kvreg_bucket_clear is gone from the header: put it back",
    ),
    "a changed parameter": (
        [
            replace(
                PROCESS,
                "fn kvreg_shutdown(timeout_ms: i64)",
                "fn kvreg_shutdown(timeout_ms: i32)",
            ),
        ],
        "ABI: parameters or types have changed, of kvreg_status kvreg_shutdown(int64_t): leave",
    ),
    "a grown struct": (
        [
            replace(
                TYPES, "uint64_t private_[8];", "uint64_t private_[8];\n    uint64_t more;"
            ),
        ],
        "ABI: kvreg_event was 168 bytes and is 176: it does not begin with its size",
    ),
    "a renumbered enum": (
        [replace(TYPES, "    KVREG_TIMEOUT, ", "    KVREG_BUSY,\n    KVREG_TIMEOUT, ")],
        "ABI: KVREG_TIMEOUT was 5 and is 6: a constant is never renumbered",
    ),
    "an export without the prefix": (
        [append(PROCESS, CONNECT)],
        "ABI: the library exports connect: an export needs the prefix kvreg_",
    ),
}


@pytest.mark.parametrize("edits", PASSES.values(), ids=PASSES)
def test_it_lets_pass(tmp_path: Path, edits: list[Edit]) -> None:
    done = gate(sources(tmp_path, edits))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("are as they were released\n")


@pytest.mark.parametrize("edits, sentence", STOPS.values(), ids=STOPS)
def test_it_stops(tmp_path: Path, edits: list[Edit], sentence: str) -> None:
    assert_stopped(gate(sources(tmp_path, edits)), sentence)


def test_the_sources_export_what_the_library_does() -> None:
    assert exports(ROOT) == interface.exported(ROOT / "target/release/libkvreg.so")


STATUS = "    KVREG_TOO_SMALL         /*"
EXCLUSIVE = "    KVREG_CREATE_EXCLUSIVE = 1 "
FLAGS = r"/\*\* Flags of kvreg_registry_create"
SHUTDOWN = r"kvreg_status kvreg_shutdown\(int64_t timeout_ms\)"
STATS_END = "} kvreg_bucket_stats;"
OPTIONS_END = "} kvreg_options;"

HEADER_PASSES: dict[str, list[Replaced]] = {
    "nothing": [],
    "a constant at the end": [(STATUS, "    KVREG_TOO_SMALL,\n    KVREG_BUSY /*")],
    "a flag": [(EXCLUSIVE, "    KVREG_LINKED = 2,\n\\g<0>")],
    "an enum and a macro": [(FLAGS, "enum { KVREG_A };\n#define KVREG_B 0\n\\g<0>")],
    "a struct": [("typedef struct kvreg_text", "typedef struct { int a; } new;\n\\g<0>")],
    "a callback in options": [(OPTIONS_END, "    int (*hook)(void *data, int more);\n\\g<0>")],
    "several fields, one a union": [
        (STATS_END, "    uint64_t a, b[2];\n    union { int64_t c; double d; } e;\n\\g<0>")
    ],
    "an inline function": [
        ("#endif /\\* KVREG_H", "static inline int a(void) { return 1; }\n\\g<0>")
    ],
    "what an inline function does": [("value.type = KVREG_INT;", "\\g<0> value.reserved = 0;")],
    "a function that is deprecated": [
        (SHUTDOWN, '\\g<0> __attribute__((deprecated("why (so)")))')
    ],
    "lines that are broken elsewhere": [
        ("kvreg_shutdown.int64_t timeout_ms", "kvreg_shutdown(\n    int64_t timeout_ms\n")
    ],
}

HEADER_STOPS: dict[str, tuple[list[Replaced], str]] = {
    "a moved field": (
        [
            ("    uint32_t max_connections;", "    uint32_t more;"),
            ("} kvreg_listener_options;", "    uint32_t max_connections;\n\\g<0>"),
        ],
        "ABI: kvreg_listener_options.max_connections was at 4 with 4 bytes and is not any more",
    ),
    "a removed inline function": (
        [(r"kvreg_value kvreg_float\(double", "kvreg_value kvreg_real(double")],
        "ABI: kvreg_float is gone from the header: put it back",
    ),
    "a changed callback": (
        [(r"kvreg_update_fn\)\(void \*user_data,", "kvreg_update_fn)(int user_data,")],
        "ABI: parameters or types have changed, of kvreg_status kvreg_bucket_update(",
    ),
    "a callback that may change what was const": (
        [("user_data, const kvreg_value", "user_data, kvreg_value")],
        "ABI: kvreg_update_fn was declared as `kvreg_verdict (*)(void *user_data, const"
        " kvreg_value *current, kvreg_value *next)` and is `kvreg_verdict (*)(void *user_data,"
        " kvreg_value *current",
    ),
    # libabigail has nothing to say of these: the types are the same.
    "parameters that are swapped": (
        [
            (
                r"(bucket_put_bytes\([^,]*,)([^,]*,)([^,]*,)([^,]*,)([^,)]*)\)",
                r"\1\4\5,\2\3)",
            ),
            (r"size_t key_len,\)", "size_t key_len)"),
        ],
        "ABI: kvreg_bucket_put_bytes was declared as `kvreg_status kvreg_bucket_put_bytes("
        "kvreg_bucket *bucket, const void *key, size_t key_len, const void *data, size_t len)`"
        " and is `kvreg_status kvreg_bucket_put_bytes(kvreg_bucket *bucket, const void *data,",
    ),
    "a parameter that is const no more": (
        [(r"const kvreg_pair \*pairs", "kvreg_pair *pairs")],
        "ABI: kvreg_bucket_put_many was declared as",
    ),
    "a result that is const no more": (
        [(r"const char \*kvreg_version_string", "char *kvreg_version_string")],
        "ABI: kvreg_version_string was declared as",
    ),
    "an inline function with another parameter": (
        [(r"kvreg_int\(int64_t integer\)", "kvreg_int(int32_t integer)")],
        "ABI: kvreg_int was declared as `kvreg_value kvreg_int(int64_t integer)` and is",
    ),
    "a field of another type of the same size": (
        [("int64_t default_timeout_ms;", "double default_timeout_ms;")],
        "ABI: kvreg_options.default_timeout_ms was declared as `int64_t` and is `double`",
    ),
    "a union's member of another type of the same size": (
        [("        int64_t integer;", "        uint64_t integer;")],
        "ABI: kvreg_value.as.integer was declared as `int64_t` and is `uint64_t`",
    ),
    "a type that is a macro instead": (
        [("typedef int32_t kvreg_reason;", "#define kvreg_reason int32_t")],
        "ABI: kvreg_reason is gone from the header: put it back",
    ),
    "a constant with a number that was taken": (
        [(STATUS, "    KVREG_TOO_SMALL,\n    KVREG_BUSY = KVREG_TIMEOUT /*")],
        "ABI: KVREG_BUSY is new and 5, and 21 was released in its enum",
    ),
    "a constant below the first": (
        [("    KVREG_OK,", "    KVREG_BUSY = -1,\n    KVREG_OK,")],
        "ABI: KVREG_BUSY is new and -1, and 21 was released in its enum",
    ),
    "options that end in padding": (
        [(OPTIONS_END, "    uint32_t more;\n\\g<0>")],
        "ABI: kvreg_options ends in 4 bytes of padding",
    ),
    "a function with a struct by value": (
        [
            (
                f"{SHUTDOWN};",
                "\\g<0>\nkvreg_status kvreg_new(kvreg_text text, const kvreg_pair *pair);",
            )
        ],
        "ABI: kvreg_new has varargs, a struct by value, or a number of no fixed width",
    ),
    "a function with varargs": (
        [(f"{SHUTDOWN};", "\\g<0>\nkvreg_status kvreg_new(const char *text, ...);")],
        "ABI: kvreg_new has varargs, a struct by value, or a number of no fixed width",
    ),
    "a header that does not compile": (
        [("#define KVREG_NUL SIZE_MAX", "")],
        "ABI: cc failed: include/kvreg.h and kvreg.map must be in order first",
    ),
}


NEW_FUNCTION = (f"{SHUTDOWN};", "\\g<0>\nuint32_t kvreg_answer(void);")
MAP_STOPS: dict[str, tuple[list[Replaced], list[Replaced], str]] = {
    "a function in no node": (
        [NEW_FUNCTION],
        [],
        "ABI: kvreg_answer is not in kvreg.map",
    ),
    "a function in a node that was released": (
        [NEW_FUNCTION],
        [("  global:\n    kvreg_b", "  global:\n    kvreg_answer;\n    kvreg_b")],
        "ABI: kvreg_answer is new, and KVREG_0.1 was released without it",
    ),
    "a function of another node": (
        [],
        [
            ("    kvreg_shutdown;\n", ""),
            (r"};\n\Z", "};\n" + NEXT.replace("answer", "shutdown")),
        ],
        "ABI: kvreg_shutdown came in KVREG_0.1, which is not what kvreg.map says",
    ),
}


class Copied:
    """The header and the gate in a directory, beside the library as it is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(ROOT / "include", directory / "include")
        shutil.copytree(ROOT / "packaging" / "abi", directory / "packaging" / "abi")

    def edit(self, replaced: list[Replaced], file: str = HEADER) -> None:
        path = self.directory / file
        for pattern, new in replaced:
            text, count = re.subn(pattern, new, path.read_text())
            assert count == 1, (pattern, count)
            path.write_text(text)

    def gate(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        library = environment.pop("library", str(ROOT / "target/release/libkvreg.so"))
        return subprocess.run(
            [sys.executable, "packaging/abi/gate.py", *command, HEADER, library],
            cwd=self.directory,
            env=os.environ | {"CC": "cc"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("replaced", HEADER_PASSES.values(), ids=HEADER_PASSES)
def test_it_lets_a_header_pass(tmp_path: Path, replaced: list[Replaced]) -> None:
    copied = Copied(tmp_path / "copy")
    copied.edit(replaced)
    done = copied.gate("check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("replaced, sentence", HEADER_STOPS.values(), ids=HEADER_STOPS)
def test_it_stops_a_header(tmp_path: Path, replaced: list[Replaced], sentence: str) -> None:
    copied = Copied(tmp_path / "copy")
    copied.edit(replaced)
    assert_stopped(copied.gate("check"), sentence)


@pytest.mark.parametrize("header, node, sentence", MAP_STOPS.values(), ids=MAP_STOPS)
def test_it_stops_a_map(
    tmp_path: Path, header: list[Replaced], node: list[Replaced], sentence: str
) -> None:
    copied = Copied(tmp_path / "copy")
    copied.edit(header)
    copied.edit(node, MAP)
    assert_stopped(copied.gate("check"), sentence)


def test_it_works_anywhere_and_says_what_it_needs(tmp_path: Path) -> None:
    copied = Copied(tmp_path / "a directory, with a comma")
    assert copied.gate("check", CC="cc -O1").returncode == 0
    (tmp_path / "bin").mkdir()
    for tool in ("cc", "nm"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    done = copied.gate("check", PATH=str(tmp_path / "bin"))
    assert done.returncode == 1
    assert done.stderr == "ABI: abidw was not found: install it (in Debian: abigail-tools)\n"


def test_it_works_on_another_machine_than_the_records(tmp_path: Path) -> None:
    copied = Copied(tmp_path / "copy")
    copied.edit([("architecture='[^']*'", "architecture='elf-of-another'")], DUMP)
    done = copied.gate("check")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_records_no_break(tmp_path: Path) -> None:
    copied = Copied(tmp_path / "copy")
    record = copied.directory / "packaging" / "abi" / "interface.txt"
    was = record.read_text()
    copied.edit([("    KVREG_TIMEOUT, ", "    KVREG_BUSY,\n    KVREG_TIMEOUT, ")])
    done = copied.gate("record")
    assert done.returncode == 1
    assert "ABI: KVREG_TIMEOUT was 5 and is 6" in done.stderr
    assert "ABI: nothing was recorded. A break needs a new major version" in done.stderr
    assert record.read_text() == was
    assert copied.gate("record", "--break").returncode == 0
    assert copied.gate("check").returncode == 0


def test_it_records_what_the_version_says(tmp_path: Path) -> None:
    """Programs go by the number: what is added needs a new one, and a node of that name."""
    copied = Copied(tmp_path / "copy")
    copied.edit([NEW_FUNCTION])
    map_file = copied.directory / MAP
    map_file.write_text(map_file.read_text() + NEXT)
    # All functions of the header, and the new one.
    names = re.findall(r"\b(kvreg_\w+)\s*;", map_file.read_text().split("*/")[1])
    library = library_of({*names}, tmp_path / "libkvreg.so")
    assert copied.gate("check", library=str(library)).returncode == 0
    assert_stopped(
        copied.gate("record", library=str(library)),
        "ABI: kvreg_answer came after 0.1 was recorded, and the header says 0.1: raise",
        "ABI: kvreg_answer is in KVREG_0.2, and the header says 0.1",
    )
    copied.edit([("#define KVREG_VERSION_MINOR 1", "#define KVREG_VERSION_MINOR 2")])
    assert copied.gate("record", library=str(library)).returncode == 0
    copied.edit([(r"uint32_t kvreg_answer\(void\);", "")])
    done = copied.gate("check", library=str(library))
    assert "ABI: kvreg_answer is gone from the header" in done.stderr
