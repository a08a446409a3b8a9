"""What the gate lets pass and what it stops, each tried in a copy of the sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "abi"
COPY = TARGET / "copy"

TYPES = "src/capi/types.h"
PROCESS = "src/capi/process.rs"
LISTENER = "src/capi/listener.rs"
EVENT = "src/capi/event.rs"
MAP = "packaging/abi/kvreg.map"
# Functions that a copy adds.
ANSWER = '\n#[no_mangle]\npub extern "C" fn kvreg_answer() -> u32 {\n    42\n}\n'
CONNECT = ANSWER.replace("kvreg_answer", "connect")
NEXT = "\nKVREG_0.2 {\n  global:\n    kvreg_answer;\n} KVREG_0.1;\n"

Edit = Callable[[], None]


def append(file: str, text: str) -> Edit:
    def edit() -> None:
        path = COPY / file
        path.write_text(path.read_text() + text)

    return edit


def replace(file: str, old: str, new: str) -> Edit:
    def edit() -> None:
        path = COPY / file
        text = path.read_text()
        assert text.count(old) == 1, (file, old, text.count(old))
        path.write_text(text.replace(old, new))

    return edit


def copy() -> None:
    """The sources as they are, where cargo finds what it made of the last copy.

    They are of now, for cargo takes what is not newer than what it made for unchanged.
    """
    shutil.rmtree(COPY, ignore_errors=True)
    for name in ("src", "tests/model", "benches", "packaging"):
        ignored = shutil.ignore_patterns("target", "__pycache__")
        shutil.copytree(ROOT / name, COPY / name, ignore=ignored, copy_function=shutil.copy)
    for name in ("Cargo.toml", "Cargo.lock", "build.rs", "cbindgen.toml"):
        shutil.copy(ROOT / name, COPY)


def build() -> tuple[Path, Path]:
    """The header and the library that the copy makes."""
    done = subprocess.run(
        [
            *(os.environ.get("CARGO", "cargo"), "build", "--lib", "--quiet", "--locked"),
            *("--target-dir", str(TARGET), "--message-format=json-render-diagnostics"),
        ],
        cwd=COPY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    # The dependencies have build scripts too.
    made = [Path(it["out_dir"], "kvreg.h") for it in messages if "out_dir" in it]
    (header,) = [path for path in made if path.exists()]
    return header, TARGET / "debug" / "libkvreg.so"


def gate() -> subprocess.CompletedProcess[str]:
    """Asks the copy's gate about the copy."""
    header, library = build()
    return subprocess.run(
        [sys.executable, COPY / "packaging/abi/gate.py", "check", header, library],
        capture_output=True,
        text=True,
        check=False,
    )


PASSES: dict[str, list[Edit]] = {
    "nothing": [],
    "a function in a node of its own": [append(PROCESS, ANSWER), append(MAP, NEXT)],
    "a constant at the end": [
        replace(
            TYPES, "    KVREG_TOO_SMALL ", "    KVREG_BUSY = 22,\n    KVREG_TOO_SMALL = 21 "
        )
    ],
    "a field at the end of options": [
        replace(
            TYPES, "} kvreg_listener_options;", "    uint64_t more;\n} kvreg_listener_options;"
        ),
        replace(
            LISTENER,
            "    idle_timeout_ms: i64,\n}",
            "    idle_timeout_ms: i64,\n    more: u64,\n}",
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
            replace(
                PROCESS,
                "let timeout = Timeout::from_millis(timeout_ms)?;",
                "let timeout = Timeout::from_millis(timeout_ms.into())?;",
            ),
        ],
        "ABI: parameters or types have changed, of kvreg_status kvreg_shutdown(int64_t): leave",
    ),
    "a grown struct": (
        [
            replace(
                TYPES, "uint64_t private_[4];", "uint64_t private_[4];\n    uint64_t more;"
            ),
            replace(EVENT, "private_: [u64; 4],", "private_: [u64; 4],\n    more: u64,"),
            replace(EVENT, "private_: [0; 4],", "private_: [0; 4],\n        more: 0,"),
            replace(EVENT, "== 96", "== 104"),
        ],
        "ABI: kvreg_event was 96 bytes and is 104: it does not begin with its size",
    ),
    "a renumbered enum": (
        [replace(TYPES, "    KVREG_TIMEOUT, ", "    KVREG_BUSY,\n    KVREG_TIMEOUT, ")],
        "ABI: KVREG_TIMEOUT was 5 and is 6: a constant is never renumbered",
    ),
    "an export without the prefix": (
        [append(PROCESS, CONNECT)],
        "ABI: the library exports connect: an export needs the prefix kvreg_",
    ),
    "a moved field": (
        [
            replace(TYPES, "    uint32_t max_connections;", "    uint32_t more;"),
            replace(
                TYPES,
                "} kvreg_listener_options;",
                "    uint32_t max_connections;\n} kvreg_listener_options;",
            ),
        ],
        "ABI: kvreg_listener_options.max_connections was at 4 with 4 bytes and is not any more",
    ),
    "a removed inline function": (
        [replace(TYPES, "kvreg_value kvreg_float(double", "kvreg_value kvreg_real(double")],
        "ABI: kvreg_float is gone from the header: put it back",
    ),
    "a changed callback": (
        [
            replace(
                TYPES,
                "(*kvreg_update_fn)(void *user_data,",
                "(*kvreg_update_fn)(int user_data,",
            )
        ],
        "ABI: parameters or types have changed, of kvreg_status kvreg_bucket_update(",
    ),
    "a function in no node": (
        [append(PROCESS, ANSWER)],
        "ABI: kvreg_answer is not in kvreg.map",
    ),
    "a function in a node that was released": (
        [
            append(PROCESS, ANSWER),
            replace(MAP, "  global:\n    kvreg_b", "  global:\n    kvreg_answer;\n    kvreg_b"),
        ],
        "ABI: kvreg_answer is new, and KVREG_0.1 was released without it",
    ),
    "a function of another node": (
        [
            replace(MAP, "    kvreg_shutdown;\n", ""),
            append(MAP, NEXT.replace("answer", "shutdown")),
        ],
        "ABI: kvreg_shutdown came in KVREG_0.1, which is not what kvreg.map says",
    ),
}


@pytest.mark.parametrize("edits", PASSES.values(), ids=PASSES)
def test_it_lets_pass(edits: list[Edit]) -> None:
    copy()
    for edit in edits:
        edit()
    done = gate()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("are as they were released\n")


@pytest.mark.parametrize("edits, sentence", STOPS.values(), ids=STOPS)
def test_it_stops(edits: list[Edit], sentence: str) -> None:
    copy()
    for edit in edits:
        edit()
    done = gate()
    assert done.returncode == 1
    assert any(line.startswith(sentence) for line in done.stderr.splitlines()), done.stderr
