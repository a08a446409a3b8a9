"""What is made of the header, of headers that say more than today's does."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import generate
import misuse
import outline
import pytest
import python
import version_script

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bindings" / "python"
HEADER = (ROOT / "include" / "kvreg.h").read_text()
MORE = """
enum { KVREG_MORE = 1 << 4, KVREG_OTHER, KVREG_ALIAS = KVREG_MORE | 3, KVREG_LOWEST = -2 };
typedef int32_t kvreg_mood;
typedef void (*kvreg_told_fn)(void *user_data, kvreg_mood mood);
typedef struct kvreg_more_options {
    uint32_t size;
    kvreg_mood mood;
    kvreg_told_fn told;
    void (*destroy)(void *user_data);
    const kvreg_bucket_options *bucket;
    const uint64_t *counts;
    struct {
        const char *data;
        size_t len;
    } text;
    kvreg_value values[3];
} kvreg_more_options;
static inline kvreg_more_options kvreg_more_options_init(void) {
    kvreg_more_options options;
    memset(&options, 0, sizeof options);
    return options;
}
kvreg_mood kvreg_more(kvreg_bucket *bucket, const kvreg_more_options *options,
                      kvreg_mood *mood, const char **text, double real);
void kvreg_more_told(kvreg_bucket *bucket, kvreg_told_fn told);
"""


def with_more(header: str = HEADER) -> str:
    text, count = re.subn(r"(?=#ifdef __cplusplus\n})", lambda _: MORE, header)
    assert count == 1
    return text


def imported(header: str) -> types.ModuleType:
    """The module that is made of a header."""
    text = python.module(outline.read(header)).replace("from ._shapes", "from kvreg._shapes")
    module = types.ModuleType("made")
    sys.path.insert(0, str(PACKAGE))
    try:
        exec(generate.formatted(text), module.__dict__)
    finally:
        sys.path.remove(str(PACKAGE))
    return module


def test_python_has_what_the_header_says() -> None:
    made = imported(with_more())
    assert (made.MORE, made.OTHER, made.ALIAS, made.LOWEST) == (16, 17, 19, -2)
    signatures = {name: (result, taken) for name, result, taken in made.SIGNATURES}
    assert signatures["kvreg_more"] == (
        ctypes.c_int32,
        [
            ctypes.c_void_p,
            ctypes.POINTER(made.MoreOptions),
            ctypes.POINTER(ctypes.c_int32),
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.c_double,
        ],
    )
    # It would call Python; and that is no function of the library.
    assert not {"kvreg_more_told", "kvreg_more_options_init"} & signatures.keys()


def test_a_struct_of_python_is_set_and_read() -> None:
    made = imported(with_more())
    options = made.MoreOptions(data=b"a\0b", len=3, mood=-1)
    assert options.size == ctypes.sizeof(options) == 8 + 4 * 8 + 16 + 3 * 32
    assert ctypes.string_at(options.address, options.len) == b"a\0b"
    assert options.mood == -1
    options.values[2].integer = 5
    assert made.MoreOptions.from_buffer_copy(options).values[2].integer == 5


def test_fields_that_python_could_not_tell_apart_are_refused() -> None:
    twice = with_more().replace("kvreg_mood mood;", "kvreg_mood mood; size_t len;")
    with pytest.raises(ValueError, match="MoreOptions has several fields len"):
        python.module(outline.read(twice))


def test_a_released_function_stays_in_its_node() -> None:
    text = version_script.script(
        ["kvreg_new", "kvreg_b", "kvreg_a"],
        "0.10",
        "version 0.2\nfunction kvreg_a KVREG_0.2 void kvreg_a(void)\n"
        "function kvreg_b KVREG_0.1 void kvreg_b(void)\nfunction kvreg_gone KVREG_0.1 void\n",
    )
    assert text.partition("*/\n")[2] == (
        "\nKVREG_0.1 {\n  global:\n    kvreg_b;\n  local:\n    *;\n};\n"
        "\nKVREG_0.2 {\n  global:\n    kvreg_a;\n} KVREG_0.1;\n"
        "\nKVREG_0.10 {\n  global:\n    kvreg_new;\n} KVREG_0.2;\n"
    )


def test_the_misuse_test_knows_all_functions() -> None:
    assert "    F(more) \\\n    F(more_told)\n\n#endif" in misuse.names(
        list(outline.read(with_more()).functions)
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where all that is made is as it should be."""
    monkeypatch.setattr(generate, "GOAL", tmp_path)
    monkeypatch.setattr(generate, "header", lambda: HEADER)
    for name, text in generate.made().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", generate.FILES)
def test_a_stale_file_is_told_and_made_anew(
    name: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository / name
    right = path.read_text()
    path.write_text(right + "\n")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit) as told:
        generate.main()
    assert told.value.code == f"{name}: not what src/capi says now; run `make header`"
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generate.main()
    assert path.read_text() == right


def test_a_function_that_misuse_does_not_call_does_not_compile(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests" / "c" / "misuse", tmp_path / "misuse")
    for name in ("check.h", "misuse.c"):
        shutil.copy(ROOT / "tests" / "c" / name, tmp_path)
    names = misuse.names(list(outline.read(with_more()).functions))
    (tmp_path / "misuse" / "names.h").write_text(names)
    command = ["cc", "-std=c11", "-Wall", "-Werror", f"-I{ROOT / 'include'}", "-fsyntax-only"]
    done = subprocess.run(
        [*command, "misuse.c"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "DO_more" in done.stderr
