"""The shopping session, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys

import kvreg
import pytest
from support import PACKAGE, REPOSITORY, WAIT

SESSION = [
    (b"CREATE shopping", b"OK\r\n"),
    (b"CREATE shopping", b"OK\r\n"),
    (b"PUT shopping milk 1", b"OK\r\n"),
    (b"PUT shopping eggs 3", b"OK\r\n"),
    (b"GET shopping milk", b"1\r\nOK\r\n"),
    (b"DELETE shopping eggs", b"OK\r\n"),
    (b"DELETE shopping eggs", b"OK\r\n"),
    (b"GET shopping eggs", b"\r\nOK\r\n"),
    (b"GET shopping milk\r\n", b"1\r\nOK\r\n"),
    (b"  GET \t shopping   milk \n", b"1\r\nOK\r\n"),
    (b"GET garage hammer", b"NOT FOUND\r\n"),
    (b"PUT garage hammer 1", b"NOT FOUND\r\n"),
    (b"DELETE garage hammer", b"NOT FOUND\r\n"),
    (b"GET " + b"n" * 256 + b" hammer", b"NOT FOUND\r\n"),
    (b"HELLO", b"UNKNOWN COMMAND\r\n"),
    (b"create shopping", b"UNKNOWN COMMAND\r\n"),
    (b"CREATE", b"UNKNOWN COMMAND\r\n"),
    (b"PUT shopping milk 1 2", b"UNKNOWN COMMAND\r\n"),
    (b"GET shopping", b"UNKNOWN COMMAND\r\n"),
    (b"SUBSCRIBE shopping", b"UNKNOWN COMMAND\r\n"),
    (b"", b"UNKNOWN COMMAND\r\n"),
    (b"\r\n", b"UNKNOWN COMMAND\r\n"),
    (b"PUT shopping tea \xff\xfe", b"OK\r\n"),
    (b"GET shopping tea", b"\xff\xfe\r\nOK\r\n"),
]

VALUES = [
    (None, b""),
    (True, b"true"),
    (False, b"false"),
    (-7, b"-7"),
    (0.1, b"0.1"),
    (1.0, b"1.0"),
    ("Grüße", "Grüße".encode()),
    (b"\xff\0", b"\xff\0"),
]

DEMO = """\
CREATE shopping
OK
PUT shopping milk 1
OK
PUT shopping eggs 3
OK
GET shopping milk
1
OK
DELETE shopping eggs
OK
GET shopping eggs

OK
GET garage hammer
NOT FOUND
HELLO
UNKNOWN COMMAND
DOWN KILLED shopping
GET shopping milk
NOT FOUND
names: []
"""


def test_the_session(registry: kvreg.Registry) -> None:
    assert [(line, registry.execute(line)) for line, _ in SESSION] == SESSION


def test_the_session_as_text(registry: kvreg.Registry) -> None:
    assert registry.execute("CREATE shopping") == b"OK\r\n"
    assert registry.execute("PUT shopping Grüße \udcff") == b"OK\r\n"
    assert registry["shopping"]["Grüße"] == b"\xff"


def test_what_is_put_is_text_if_it_can_be(registry: kvreg.Registry) -> None:
    registry.execute("CREATE shopping")
    registry.execute("PUT shopping milk 1")
    registry.execute(b"PUT shopping tea \xff")
    assert registry["shopping"] == {"milk": "1", "tea": b"\xff"}


@pytest.mark.parametrize(("value", "printed"), VALUES)
def test_values_are_printed(
    registry: kvreg.Registry, value: kvreg.Value, printed: bytes
) -> None:
    registry.create("shopping")["key"] = value
    assert registry.execute("GET shopping key") == printed + b"\r\nOK\r\n"


def test_failures_have_their_exception(registry: kvreg.Registry) -> None:
    with pytest.raises(kvreg.InvalidArgument):
        registry.execute(b"CREATE " + b"n" * 256)
    registry.create("shopping")["key"] = "two\nlines"
    with pytest.raises(kvreg.Unsupported):
        registry.execute("GET shopping key")
    with pytest.raises(TypeError):
        registry.execute(1)  # type: ignore[arg-type]
    registry.stop()
    with pytest.raises(kvreg.Error):
        registry.execute("CREATE shopping")


def test_the_demo() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(REPOSITORY / "bindings" / "python" / "demo.py")],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.stderr == ""
    assert done.stdout == DEMO
