"""Interpreters that end while a bucket of theirs lies on a server: at once, and silently."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import kvreg
import pytest
from nats_servers import WAIT, Server, free_ports, one_server

BEGIN = """
import os, signal, sys, threading, time
import kvreg
from kvreg import BucketOptions, Reads
URL = sys.argv[1]
registry = kvreg.Registry(store=URL)
bucket = registry.create("ending")
bucket["k"] = 1
watch = bucket.watch()
for _ in range(3):
    watch.receive(60)
others = kvreg.Registry(store=URL)
copy = others.create("ending", options=BucketOptions(store=URL, reads=Reads.COPY))
assert copy["k"] == 1

def say(text):
    print(text, flush=True)

def hear():
    try:
        for change in watch:
            pass
    except kvreg.ShutDown:
        pass

threading.Thread(target=hear, daemon=True).start()
"""
"""A bucket with a watch that a thread follows, and a copy of it."""


class Running:
    """An interpreter, and what is known of it."""

    def __init__(self, process: subprocess.Popen[str], complaints: TextIO) -> None:
        self.process, self._complaints = process, complaints

    def told(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        assert line, self.ended()
        return line

    def goes_on(self) -> None:
        """It has waited for a line."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended(self) -> tuple[int, str, str]:
        """How it ended, what else it said, and what it complained of."""
        try:
            status = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # it says where it hangs
            status = self.process.wait(WAIT)
        self._complaints.seek(0)
        assert self.process.stdout is not None
        return status, self.process.stdout.read(), self._complaints.read()


@contextmanager
def running(server: Server, code: str) -> Iterator[Running]:
    """An interpreter that has a bucket and does something; it is killed if it still runs."""
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + code, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        try:
            yield Running(process, complaints)
        finally:
            process.kill()
            process.communicate()


ENDS: list[tuple[str, tuple[int, str, str]]] = [
    ("say('done')", (0, "done\n", "")),
    ("say('done'); sys.exit(3)", (3, "done\n", "")),
    ("say('done'); os._exit(4)", (4, "done\n", "")),
    ("registry.close(); others.close(); watch.close(); say('done')", (0, "done\n", "")),
    ("kvreg.shutdown(); say('done')", (0, "done\n", "")),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", (-signal.SIGTERM, "", "")),
    ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)", (-signal.SIGKILL, "", "")),
    ("import atexit; atexit.register(lambda: bucket.put('late', 1)); say('x')", (0, "x\n", "")),
]

CASTS = "[bucket.put_cast('cast', i) for i in range(200)]\n"


@pytest.mark.parametrize("casts", ["", CASTS], ids=["quiet", "casts"])
@pytest.mark.parametrize("code, expected", ENDS, ids=range(len(ENDS)))
def test_it_ends(
    shared_server: Server, code: str, expected: tuple[int, str, str], casts: str
) -> None:
    with running(shared_server, casts + code) as process:
        assert process.ended() == expected


def test_it_ends_by_an_exception(shared_server: Server) -> None:
    with running(shared_server, CASTS + "raise ValueError('of the program')") as process:
        status, out, err = process.ended()
    assert (status, out) == (1, "")
    assert err.startswith("Traceback") and err.endswith("ValueError: of the program\n")
    assert err.count("\n") == 3, err


AWAY = """
bucket.timeout = copy.timeout = None
waiting = threading.Event()
def wait():
    waiting.set()
    bucket["k"] = 2
[bucket.put_cast("cast", i) for i in range(20)]
for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
waiting.wait()
say("waits")
sys.stdin.readline()
"""


@pytest.mark.parametrize("stop", ["freeze", "kill"])
@pytest.mark.parametrize("code, expected", ENDS[:3], ids=range(3))
def test_it_ends_while_its_server_does_not_answer(
    server: Server, stop: str, code: str, expected: tuple[int, str, str]
) -> None:
    with running(server, "say('begins'); sys.stdin.readline()\n" + AWAY + code) as process:
        assert process.told() == "begins"
        getattr(server, stop)()
        process.goes_on()
        process.goes_on()
        assert process.told() == "waits"
        assert process.ended() == expected


INTERRUPTED = """
bucket.timeout = copy.timeout = None
say("begins")
sys.stdin.readline()
try:
    say("waits")
    {call}
except KeyboardInterrupt:
    say("interrupted")
"""
CALLS = [
    "bucket['k'] = 2",
    "bucket['k']",
    "bucket.put('k', 2, if_revision=1)",
    "bucket.add('n', 1)",
    "bucket.put_many({'a': 1, 'b': 2})",
    "list(bucket.items())",
    "registry.create('another')",
    "copy['k'] = 2",
    "bucket.put_cast('k', 2); bucket['k']",
]


UNINTERRUPTED = pytest.mark.xfail(run=False, reason="it waits in the main thread itself")


@pytest.mark.parametrize(
    "call", [*CALLS, pytest.param("bucket.update('k', lambda n: n + 1)", marks=UNINTERRUPTED)]
)
def test_ctrl_c_while_a_call_waits_for_a_stopped_server(server: Server, call: str) -> None:
    with running(server, INTERRUPTED.format(call=call)) as process:
        assert process.told() == "begins"
        server.freeze()
        process.goes_on()
        assert process.told() == "waits"
        time.sleep(0.3)  # that it waits is likely then, and not needed
        process.process.send_signal(signal.SIGINT)
        assert process.ended() == (0, "interrupted\n", "")


def test_ctrl_c_that_nobody_catches(server: Server) -> None:
    code = INTERRUPTED.format(call="bucket['k'] = 2").replace("KeyboardInterrupt", "ValueError")
    with running(server, code) as process:
        assert process.told() == "begins"
        server.freeze()
        process.goes_on()
        assert process.told() == "waits"
        time.sleep(0.3)
        process.process.send_signal(signal.SIGINT)
        status, out, err = process.ended()
    assert (status, out) == (-signal.SIGINT, "")
    assert err.endswith("KeyboardInterrupt\n") and err.count("KeyboardInterrupt") == 1


SHUTDOWN = """
for i in range(500):
    bucket.put_cast(f"cast{i}", i)
kvreg.shutdown()
try:
    bucket["k"]
except kvreg.ShutDown:
    say("shut down")
"""


def test_a_shutdown_waits_for_casts(server: Server) -> None:
    with running(server, SHUTDOWN) as process:
        assert process.ended() == (0, "shut down\n", "")
    with kvreg.Registry(store=server.url) as registry:
        bucket = registry.create("ending")
        assert len(bucket) == 501
        assert all(bucket[f"cast{i}"] == i for i in range(0, 500, 50))


FORKED = """
import warnings
warnings.simplefilter("ignore")
sys.stdout.flush()
child = os.fork()
if child == 0:
    problems = []
    def refused(what, call):
        try:
            call()
            problems.append(f"{what} works")
        except kvreg.ForkedError:
            pass
    refused("a put", lambda: bucket.put("k", 2))
    refused("a get", lambda: bucket["k"])
    refused("a cast", lambda: bucket.put_cast("k", 2))
    refused("a copy's get", lambda: copy["k"])
    refused("a watch", lambda: watch.receive(0))
    refused("a create", lambda: registry.create("another"))
    refused("info", lambda: bucket.info())
    bucket.close(), watch.close(), registry.close(), copy.close(), others.close()
    say(" ".join(problems) or "refused")
    if OWN:
        with kvreg.Registry(store=URL) as own:
            own.create("ending")["child"] = 1
    sys.exit(5)  # by all that an interpreter does at its end
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
for i in range(50):
    bucket.put("k", i)
assert bucket["k"] == 49 and bucket.get("child") == (1 if OWN else None)
say("goes on")
"""


@contextmanager
def monitored() -> Iterator[tuple[Server, str]]:
    """A server that tells of its clients, and where."""
    (port,) = free_ports(1)
    with one_server(f"http: '127.0.0.1:{port}'") as server:
        yield server, f"http://127.0.0.1:{port}/connz?state=all"


def clients(url: str) -> dict[int, bool]:
    """The numbers of those that kvreg made, and whether they are open."""
    with urllib.request.urlopen(url, timeout=WAIT) as answer:
        found = json.load(answer)["connections"]
    return {it["cid"]: "stop" not in it for it in found if it.get("name") == "kvreg"}


@pytest.mark.parametrize("own", [False, True], ids=["nothing", "its own"])
def test_a_child_has_nothing_of_it(own: bool) -> None:
    with monitored() as (server, url), running(server, f"OWN = {own}" + FORKED) as process:
        assert process.told() == "refused"
        assert process.ended() == (0, "goes on\n", "")
        # One connection of the parent's, and one of the child's own.
        assert len(clients(url)) == 1 + own


def test_children_of_multiprocessing(server: Server) -> None:
    code = """
import multiprocessing, warnings
warnings.simplefilter("ignore")
def work(number):
    with kvreg.Registry(store=URL) as own:
        own.create("ending").add("sum", number)
with multiprocessing.get_context("fork").Pool(3) as pool:
    pool.map(work, range(10))
say(bucket["sum"])
"""
    with running(server, code) as process:
        assert process.ended() == (0, "45\n", "")


ASYNC = """
import asyncio
from kvreg import aio
async def main():
    async with aio.Registry(store=URL) as own:
        theirs = await own.create("ending")
        theirs.timeout = None
        say("begins")
        await asyncio.to_thread(sys.stdin.readline)
        say("waits")
        await theirs.put("k", 2)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    say("interrupted")
"""


# What the server was given is given up at the end of a slice of the wait.
def test_ctrl_c_in_a_loop(server: Server) -> None:
    with running(server, ASYNC) as process:
        assert process.told() == "begins"
        server.freeze()
        process.goes_on()
        assert process.told() == "waits"
        time.sleep(0.3)
        process.process.send_signal(signal.SIGINT)
        assert process.ended() == (0, "interrupted\n", "")
