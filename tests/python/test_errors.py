"""Exceptions: what they inherit from, what they say, and that none is missing."""

from __future__ import annotations

import builtins
import pickle
import re
from typing import Any, Callable

import kvreg
import pytest
from kvreg import _abi, _constants, _errors, _library, aio
from support import HEADER

TEXT = HEADER.read_text()

VERDICTS = ["KEEP", "STORE", "REMOVE", "ABORT", "CRASH"]
EVENTS = ["DOWN", "LOG", "LOST"]
# Reserved: nothing tells them yet.
LATER_EVENTS = ["CHANGE", "RESET", "CURRENT", "MAIL", "REPLY", "STORE"]

BUILT_IN = {
    "KeyNotFound": KeyError,
    "BucketNotFound": KeyError,
    "RegistryNotFound": KeyError,
    "CallTimeout": TimeoutError,
    "OutcomeUnknown": TimeoutError,
    "CallingSelf": RuntimeError,
    "Closed": ValueError,
    "WrongKind": TypeError,
    "InvalidArgument": ValueError,
    "WrongType": TypeError,
    "Conflict": RuntimeError,
    "NoMemory": MemoryError,
    "ForkedError": RuntimeError,
    "ShutDown": RuntimeError,
    "Unsupported": NotImplementedError,
    "IOFailed": OSError,
}


@pytest.mark.parametrize(("name", "built_in"), BUILT_IN.items())
def test_exceptions_inherit_twice(name: str, built_in: type[Exception]) -> None:
    error = getattr(kvreg, name)
    assert issubclass(error, kvreg.Error)
    assert issubclass(error, built_in)


@pytest.mark.parametrize("status", [s for s in kvreg.Status if s not in (0, 1, 21)])
def test_every_status_has_an_exception_of_its_own(status: kvreg.Status) -> None:
    error = _errors.error(_library.library(), status)
    assert type(error) is not kvreg.Error
    assert error.status is status
    assert type(error).status is status


def test_an_unknown_status_is_an_error_that_carries_it() -> None:
    error = _errors.error(_library.library(), 4711)
    assert type(error) is kvreg.Error
    assert error.status == 4711


def test_all_exceptions_are_exported() -> None:
    defined = {
        name
        for name, found in vars(_errors).items()
        if isinstance(found, type) and issubclass(found, kvreg.Error)
    }
    assert defined <= set(kvreg.__all__)
    assert not defined & set(dir(builtins))


def test_the_text_is_the_librarys(registry: kvreg.Registry) -> None:
    with pytest.raises(kvreg.InvalidArgument) as caught:
        registry.create("")
    assert str(caught.value).startswith("Registry.create: ")
    assert "1 to 255 bytes" in str(caught.value)
    assert caught.value.status is kvreg.Status.INVALID_ARGUMENT


def test_messages_name_the_bucket_and_pythons_methods(
    registry: kvreg.Registry, bucket: kvreg.Bucket
) -> None:
    bucket.stop()
    calls: dict[str, Callable[[], object]] = {
        "Bucket.__setitem__": lambda: bucket.__setitem__("milk", 1),
        "Bucket.__getitem__": lambda: bucket["milk"],
        "Bucket.__delitem__": lambda: bucket.__delitem__("milk"),
        "Bucket.__len__": lambda: len(bucket),
        "Bucket.update": lambda: bucket.update("milk", lambda n: n),
        "Bucket.put_many": lambda: bucket.put_many({"milk": 1}),
        "Bucket.get_many": lambda: bucket.get_many(["milk"]),
        "Bucket.items": lambda: dict(bucket),
        "Bucket.put_cast": lambda: bucket.put_cast("milk", 1),
        "Bucket.clear": bucket.clear,
        "Bucket.stop": bucket.stop,
        "Bucket.exit": lambda: bucket.exit(kvreg.Reason.KILLED),
        "Bucket.info": bucket.info,
    }
    for method, call in calls.items():
        with pytest.raises(kvreg.NoProcess) as caught:
            call()
        assert str(caught.value).startswith(f"{method} of 'shopping': the server has ended")
    bucket.close()
    with pytest.raises(kvreg.Closed) as closed:
        bucket["milk"]
    assert str(closed.value).endswith("of 'shopping': it was closed")
    assert "kvreg_" not in str(closed.value)


@pytest.mark.parametrize("level", ["info", None])
def test_what_is_no_number_is_told_what_it_could_be(
    registry: kvreg.Registry, bucket: kvreg.Bucket, inbox: kvreg.Inbox, level: Any
) -> None:
    with pytest.raises(TypeError, match=r"a level is a kvreg.LogLevel"):
        inbox.subscribe_logs(level)
    killed: Any = "killed"
    for server in (bucket, registry):
        with pytest.raises(TypeError, match=r"kvreg.Reason.KILLED is, not 'killed'"):
            server.exit(killed)
        with pytest.raises(TypeError, match="a detail is a str"):
            server.exit(kvreg.Reason.KILLED, killed.encode())
    with pytest.raises(kvreg.InvalidArgument):
        bucket.exit(kvreg.Reason.NOPROC)


def test_the_name_of_a_codec_is_none() -> None:
    json: Any = "json"
    starts: list[Callable[[], object]] = [
        lambda: kvreg.Registry(codec=json),
        lambda: kvreg.Bucket(codec=json),
        lambda: kvreg.Registry.whereis("nobody", codec=json),
        lambda: aio.Registry(codec=json),
        lambda: aio.Bucket(codec=json),
    ]
    for start in starts:
        with pytest.raises(TypeError, match="methods encode and decode.*not 'json'"):
            start()


def test_a_missing_key_prints_as_in_a_dict(bucket: kvreg.Bucket) -> None:
    with pytest.raises(KeyError) as from_dict:
        dict[str, int]()["milk"]
    with pytest.raises(kvreg.KeyNotFound) as from_bucket:
        bucket["milk"]
    assert str(from_bucket.value) == str(from_dict.value)
    assert from_bucket.value.args == ("milk",)
    assert from_bucket.value.status is kvreg.Status.NOT_FOUND


def test_an_exception_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(_errors.error(_library.library(), 4711)))
    assert error.status == 4711
    assert type(pickle.loads(pickle.dumps(kvreg.CallTimeout("late")))) is kvreg.CallTimeout


def header_enum(first: str) -> list[str]:
    """The constants, without their prefix, of the enum that begins with `first`."""
    for found in re.finditer(r"enum \{(.*?)\}", TEXT, re.DOTALL):
        text = re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)
        names = [name.strip() for name in text.split(",")]
        if names[0] == first:
            return names
    raise AssertionError(f"no enum begins with {first}")


@pytest.mark.parametrize(
    ("first", "prefix", "names"),
    [
        ("KVREG_OK", "KVREG_", [s.name for s in kvreg.Status]),
        ("KVREG_REASON_NORMAL", "KVREG_REASON_", [r.name for r in kvreg.Reason]),
        ("KVREG_TEMPORARY", "KVREG_", [r.name for r in kvreg.Restart]),
        ("KVREG_LOG_ERROR", "KVREG_LOG_", [level.name for level in kvreg.LogLevel]),
        ("KVREG_NIL", "KVREG_", ["NIL", "BOOL", "INT", "FLOAT", "STRING", "BYTES", "ABSENT"]),
        ("KVREG_KEEP", "KVREG_", [*VERDICTS, "STOP", "LATER", "UNHANDLED"]),
        ("KVREG_EVENT_DOWN", "KVREG_EVENT_", [*EVENTS, *LATER_EVENTS]),
    ],
)
def test_the_constants_are_those_of_the_header(
    first: str, prefix: str, names: list[str]
) -> None:
    assert header_enum(first) == [prefix + name for name in names]


def test_the_numbers_count_upward() -> None:
    for enum in (kvreg.Status, kvreg.Reason, kvreg.Restart, kvreg.LogLevel):
        assert [member.value for member in enum] == list(range(len(enum)))
    texts = [_abi.STRING, _abi.BYTES]
    values = [_abi.NIL, _abi.BOOL, _abi.INT, _abi.FLOAT, *texts, _abi.ABSENT]
    verdicts = [_abi.KEEP, _abi.STORE, _abi.REMOVE, _abi.ABORT, _abi.CRASH]
    events = [_abi.EVENT_DOWN, _abi.EVENT_LOG, _abi.EVENT_LOST]
    for numbers in (values, verdicts, events):
        assert numbers == list(range(len(numbers)))


def test_the_names_are_those_of_the_library() -> None:
    library = _library.library()
    for status in _constants.Status:
        assert library.kvreg_status_name(status) == f"KVREG_{status.name}".encode()
    for reason in _constants.Reason:
        assert library.kvreg_reason_name(reason) == f"KVREG_REASON_{reason.name}".encode()
    for verdict in VERDICTS:
        number = getattr(_abi, verdict)
        assert library.kvreg_verdict_name(number) == f"KVREG_{verdict}".encode()
