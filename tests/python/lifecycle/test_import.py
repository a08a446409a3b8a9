"""Importing kvreg costs little: no thread, no library, and no module that is heavy."""

from __future__ import annotations

import sys

import pytest
from support import python

HEAVY = ("asyncio", "logging", "json", "pickle", "dataclasses", "inspect", "multiprocessing")

IMPORTS = f"""
import sys
assert not set({HEAVY}) & set(sys.modules), "Python itself has imported it"
import kvreg
print(sorted(set({HEAVY}) & set(sys.modules)))
"""

USES = f"""
with kvreg.Registry("host") as registry, kvreg.Inbox() as inbox:
    bucket = registry.create("dairy")
    bucket["milk"] = 1
    bucket.update("milk", lambda n: n + 1)
    bucket.put_cast("cream", 2)
    assert dict(bucket) == {{"milk": 2, "cream": 2}}
    inbox.monitor(bucket)
    bucket.stop()
    inbox.receive()
print(sorted(set({HEAVY}) & set(sys.modules)))
"""

THREADS = """
import os, threading
import kvreg
print(len(os.listdir("/proc/self/task")), threading.active_count())
from kvreg import aio
print(len(os.listdir("/proc/self/task")), threading.active_count())
bucket = kvreg.Bucket()
bucket["milk"] = 1
bucket.update("milk", lambda n: n + 1)
print(len(os.listdir("/proc/self/task")), threading.active_count())
"""


def test_nothing_heavy_is_imported() -> None:
    assert python(IMPORTS) == "[]\n"


def test_use_imports_nothing_heavy_either() -> None:
    assert python(IMPORTS + USES) == "[]\n[]\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_no_thread_is_started() -> None:
    assert python(THREADS) == "1 1\n" * 3


def test_what_is_loaded_late_is_there() -> None:
    code = """
import kvreg
assert "BucketOptions" in dir(kvreg)
assert {*kvreg.__all__} <= {*dir(kvreg)}
try:
    kvreg.Nothing
except AttributeError as error:
    print(error)
options = kvreg.BucketOptions(max_keys=1)
assert kvreg.BucketOptions is type(options)
from kvreg import *
assert BucketOptions is type(options)
"""
    assert python(code) == "module 'kvreg' has no attribute 'Nothing'\n"
