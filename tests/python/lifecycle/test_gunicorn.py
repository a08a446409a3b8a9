"""A server that forks its workers from a master which has used kvreg."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from runs import PROGRAMS, TIMES, WAIT, finish, together
from support import PACKAGE, SCALE

WORKERS = 4
CLIENTS = 4

# With what is stored many requests, and with servers, which work by themselves, many ends.
RUNS = [("app", max(1, SCALE) * 100, number) for number in range(3 if SCALE > 1 else 1)]
RUNS += [("app_servers", 100, number) for number in range(TIMES if SCALE > 1 else 1)]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def start(application: str, directory: Path) -> tuple[subprocess.Popen[str], int]:
    """A server, and the port that it listens on."""
    arguments = f"--preload --workers {WORKERS} --threads 2 --worker-class gthread"
    arguments += " --timeout 0 --graceful-timeout 300"  # nothing is killed for being slow
    server = subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", "-m", "gunicorn"]
        + [*arguments.split(), "--bind", "127.0.0.1:0"]
        + ["--worker-tmp-dir", str(directory), "--chdir", str(PROGRAMS)]
        + [f"{application}:app"],
        # It may keep a socket of its own at home.
        env={
            **os.environ,
            "PYTHONPATH": str(PACKAGE.parent),
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert server.stderr is not None
    for line in server.stderr:
        listening = re.search(r"Listening at: http://127.0.0.1:(\d+)", line)
        if listening:
            return server, int(listening[1])
    raise AssertionError("it does not listen")


def ask(port: int, requests: int) -> list[tuple[int, int, str]]:
    """The process that answered each request, its count, and what its parent's registry is."""
    answers = []
    for _ in range(requests):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        connection.request("GET", "/milk")
        response = connection.getresponse()
        assert response.status == 200
        pid, number, inherited = response.read().decode().split()
        answers.append((int(pid), int(number), inherited))
        connection.close()
    return answers


@pytest.mark.parametrize(("application", "requests", "number"), RUNS)
def test_workers_of_a_server_that_used_kvreg(
    tmp_path: Path, application: str, requests: int, number: int
) -> None:
    server, port = start(application, tmp_path)
    watch = threading.Timer(WAIT, server.kill)
    watch.start()
    answers: list[tuple[int, int, str]] = []
    try:
        # Some may start late.
        while len({pid for pid, _, _ in answers}) < WORKERS:
            answers += ask(port, 1)
        parts = together(lambda _: ask(port, requests // CLIENTS), CLIENTS, CLIENTS)
        server.send_signal(signal.SIGTERM)
        ended = finish(server)
    finally:
        watch.cancel()
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
    answers += [answer for part in parts for answer in part]
    numbers = defaultdict(list)
    for pid, count, inherited in answers:
        assert inherited == "ForkedError"
        numbers[pid].append(count)
    # Each worker has counted its own, and all have worked.
    assert len(answers) > requests
    assert server.pid not in numbers and len(numbers) == WORKERS
    for counts in numbers.values():
        assert sorted(counts) == list(range(1, len(counts) + 1))
    assert (ended.status, ended.out) == (0, "")
    for line in ended.err.splitlines():
        assert re.match(r"\[.*\] \[\d+\] \[INFO\] ", line), ended.err
    assert "Traceback" not in ended.err and "SIGKILL" not in ended.err
