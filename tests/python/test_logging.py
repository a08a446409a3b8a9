"""What the library logs arrives at `logging.getLogger("kvreg")`, if anybody would see it."""

from __future__ import annotations

import pytest
from support import UNMEASURED, posix, python

HEAD = """
import logging, os, queue, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import kvreg
from kvreg import _logging

class Handler(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = queue.SimpleQueue()
    def emit(self, record):
        self.records.put(record)
    def next(self):
        record = self.records.get(timeout=120)
        return record.levelname, record.name, record.bucket, record.getMessage()

def followers():
    return [t for t in threading.enumerate() if t.name == "kvreg-logging"]

handler = Handler()
logger = logging.getLogger("kvreg")
"""


def test_lines_arrive_with_level_and_bucket() -> None:
    code = """
logging.getLogger().addHandler(handler)
logger.setLevel(logging.DEBUG)
with kvreg.Registry() as registry:
    registry.send("100 %s")
    level, name, bucket, message = handler.next()
    assert (level, name, bucket) == ("DEBUG", "kvreg", None), (level, name, bucket)
    assert "100 %s" in message, message
    registry.create("shopping").exit(kvreg.Reason.KILLED)
    level, name, bucket, message = handler.next()
    assert (level, name, bucket) == ("ERROR", "kvreg", "shopping"), (level, name, bucket)
    assert "killed" in message, message
[thread] = followers()
assert thread.daemon
print("done")
"""
    assert python(HEAD + code) == "done\n"


def test_what_a_filter_raises_does_not_end_the_thread() -> None:
    code = """
logging.getLogger().addHandler(handler)
logger.setLevel(logging.DEBUG)
told = queue.Queue()
threading.excepthook = told.put
def refuse(record):
    if record.getMessage().find("first") >= 0:
        raise ZeroDivisionError
    return True
logger.addFilter(refuse)
with kvreg.Registry() as registry:
    registry.send("first")
    registry.send("second")
    assert "second" in handler.next()[3]
assert told.get(timeout=120).exc_type is ZeroDivisionError
print("done")
"""
    assert python(HEAD + code) == "done\n"


def test_without_logging_there_is_neither_thread_nor_module() -> None:
    code = """
import sys, threading
import kvreg
with kvreg.Registry() as registry, kvreg.Registry("named"):
    registry.create("shopping").exit(kvreg.Reason.KILLED)
    kvreg.Bucket()
    assert "logging" not in sys.modules
    assert threading.active_count() == 1
print("done")
"""
    assert python(code) == "done\n"


@pytest.mark.parametrize(
    "setting",
    [
        "pass",  # no handler
        "logger.addHandler(handler); logger.setLevel(logging.CRITICAL)",
        "logger.propagate = False; logging.getLogger().addHandler(handler)",
    ],
)
def test_where_nobody_would_see_a_line_there_is_no_thread(setting: str) -> None:
    code = f"""
{setting}
with kvreg.Registry() as registry:
    registry.create("shopping").exit(kvreg.Reason.KILLED)
assert followers() == []
assert threading.active_count() == 1
print("done")
"""
    assert python(HEAD + code) == "done\n"


def test_a_level_that_changes_counts_at_once() -> None:
    code = """
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)
with kvreg.Registry() as registry:
    registry.send("one")
    assert "one" in handler.next()[3]
    logger.setLevel(logging.ERROR)
    registry.send("two")
    registry.create("a").exit(kvreg.Reason.KILLED)
    assert handler.next()[0] == "ERROR"
    logger.setLevel(logging.DEBUG)
    registry.send("three")
    level, _, _, message = handler.next()
    assert level == "DEBUG" and "three" in message, message
assert len(followers()) == 1
print("done")
"""
    assert python(HEAD + code) == "done\n"


@pytest.mark.parametrize(
    "first",
    [
        "registry = kvreg.Registry(); bucket = registry.create('a')",
        "named = kvreg.Registry('named'); bucket = named.create('a')",
        "named = kvreg.Registry('named'); bucket = kvreg.Registry.whereis('named').create('a')",
        "inbox = kvreg.Inbox(); registry = kvreg.Registry(); bucket = registry.create('a')",
    ],
)
@pytest.mark.parametrize(
    "how", ["logger.addHandler(handler)", "logging.basicConfig(handlers=[handler])"]
)
def test_logging_may_be_set_up_after_the_first_use(first: str, how: str) -> None:
    code = f"""
del sys.modules["logging"]  # as if it were imported later
{first}
assert followers() == []
sys.modules["logging"] = logging
{how}
bucket.exit(kvreg.Reason.CRASHED, "out of milk")
level, _, name, message = handler.next()
assert (level, name, message) == ("ERROR", "a", "'a': bucket crashed: out of milk"), message
print("done")
"""
    assert python("import warnings\n" + HEAD + code) == "done\n"


@pytest.mark.parametrize(
    "how", ["logger.addHandler(handler)", "logging.getLogger().handlers = [handler]"]
)
def test_a_call_of_a_server_in_c_follows_first(how: str) -> None:
    code = f"""
import ctypes
from kvreg import _abi
HANDLER = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(_abi.Message), ctypes.c_void_p
)
handle = HANDLER(lambda state, message, reply: message.contents.values[0].integer)
options = _abi.ServerOptions(handle=ctypes.cast(handle, ctypes.c_void_p).value)
registry, server = kvreg.Registry(), ctypes.c_void_p()
assert not registry._library.kvreg_registry_start_server(
    *(registry._handle, b"s", 1, 0, options, ctypes.byref(server), None)
)
registry._library.kvreg_server_free(server)
server = registry.servers["s"]
modules = sys.modules
for logging_is in (modules.pop("logging"), logging):
    for _ in range(3):
        assert server.call("verdict", _abi.KEEP) is None
    modules["logging"] = logging
assert followers() == []
{how}
try:
    server.call("verdict", _abi.CRASH)
except kvreg.ServerDown:
    level, _, name, message = handler.next()
    assert (level, name) == ("ERROR", "s"), message
    print("done")
"""
    assert python("import sys, warnings\n" + HEAD + code) == "done\n"


def test_what_nobody_handles_is_not_printed() -> None:
    code = """
logger.addHandler(handler)
with kvreg.Registry() as registry:
    registry.create("a").exit(kvreg.Reason.CRASHED, "seen")
    assert "seen" in handler.next()[3]
    logger.removeHandler(handler)
    registry.create("b").exit(kvreg.Reason.CRASHED, "unseen")
kvreg.shutdown()
[thread.join(120) for thread in followers()]
print("done")
"""
    assert python(HEAD + code) == "done\n"


@posix
def test_a_child_follows_anew() -> None:
    code = """
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)
registry = kvreg.Registry("parent")
registry.send("one")
assert "one" in handler.next()[3]
pid = os.fork()
if pid == 0:
    try:
        assert followers() == []
        child = kvreg.Registry("child")
        child.send("in the child")
        assert "in the child" in handler.next()[3]
        assert len(followers()) == 1
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
registry.send("two")
assert "two" in handler.next()[3]
assert handler.records.empty()
registry.stop()
print("done")
"""
    assert python(HEAD + code, **UNMEASURED) == "done\n"


def test_lines_that_were_lost_are_counted() -> None:
    code = """
class Slow(Handler):
    begun, go_on = threading.Event(), threading.Event()
    def emit(self, record):
        self.begun.set()
        self.go_on.wait(120)
        super().emit(record)

handler = Slow()
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)
registry = kvreg.Registry("busy")
registry.send("first")
assert handler.begun.wait(120)
for _ in range(20_000):
    registry.send("more")
registry.create("barrier")  # all of these were handled before it
handler.go_on.set()
came = 0
while True:
    level, _, _, message = handler.next()
    if "were lost" in message:
        break
    came += 1
assert level == "WARNING"
lost = int(message.split()[0])
assert lost > 0
while came + lost < 20_001:
    assert "more" in handler.next()[3]
    came += 1
registry.stop()
print("done")
"""
    assert python(HEAD + code) == "done\n"


def test_after_the_end_of_the_library_there_is_nothing_to_follow() -> None:
    code = """
logger.addHandler(handler)
kvreg.shutdown()
_logging.follow(asynchronous=True)
assert followers() == []
print("done")
"""
    assert python(HEAD + code) == "done\n"


def test_the_end_of_the_library_ends_the_thread() -> None:
    code = """
logger.addHandler(handler)
kvreg.Bucket()
[thread] = followers()
kvreg.shutdown()
thread.join(120)
assert not thread.is_alive()
print("done")
"""
    assert python(HEAD + code) == "done\n"


def test_names_and_details_forge_no_line() -> None:
    code = """
logging.getLogger().addHandler(handler)
registry = kvreg.Registry()
name = "a\\nERROR kvreg: b\\x1b[2K"
bucket = registry.create(name)
with kvreg.Inbox() as inbox:
    inbox.subscribe_logs(kvreg.LogLevel.ERROR)
    inbox.monitor(bucket)
    bucket.exit(kvreg.Reason.KILLED, "c\\r\\nd\\u2028\\x9b")
    down, = (e for e in (inbox.receive(), inbox.receive()) if isinstance(e, kvreg.Down))
# It is what it is where it is not logged.
assert (down.name, down.detail) == (name, "c\\r\\nd\\u2028\\x9b"), down
_, _, bucket, message = handler.next()
assert bucket == r"a\\nERROR kvreg: b\\u{1b}[2K", bucket
assert message.endswith(r"c\\r\\nd\\u{2028}\\u{9b}"), message
print("done")
"""
    assert python(HEAD + code) == "done\n"
