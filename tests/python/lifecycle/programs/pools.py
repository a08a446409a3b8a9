"""Pools of processes, whose workers use kvreg, while threads of the parent do."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import warnings

import kvreg
from load import WAIT, Load, main

# Later Pythons warn of other threads, which are what is tested.
warnings.filterwarnings("ignore", category=DeprecationWarning)

WORKERS = 2
JOBS = 8


def job(number: int) -> int:
    """A registry of the worker's own, named: it lives on from job to job."""
    try:
        registry = kvreg.Registry.whereis("worker")
    except kvreg.RegistryNotFound:
        registry = kvreg.Registry("worker")
    with kvreg.Inbox() as inbox:
        bucket = registry.create("numbers")
        bucket["number"] = number
        bucket.update("jobs", lambda n: n + 1, default=0)
        bucket.put_cast("square", number * number)
        brief = registry.create("brief")
        inbox.monitor(brief)
        brief.stop()
        assert isinstance(inbox.receive(WAIT), kvreg.Down)
        assert "load" not in registry
        square = bucket["square"]
        assert isinstance(square, int)
        return square


def pool(method: str) -> None:
    with multiprocessing.get_context(method).Pool(WORKERS) as workers:
        squares = workers.map(job, range(JOBS), chunksize=1)
        workers.close()
        workers.join()
    assert squares == [n * n for n in range(JOBS)]


def executor(method: str) -> None:
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as workers:
        squares = list(workers.map(job, range(JOBS)))
    assert squares == [n * n for n in range(JOBS)]


def in_parent(work: str, method: str) -> None:
    load = Load(pause=0.002)
    {"pool": pool, "executor": executor}[work](method)
    load.stop()
    print("done")


if __name__ == "__main__":
    main(
        {
            f"{work}-{method}": functools.partial(in_parent, work, method)
            for work in ("pool", "executor")
            for method in multiprocessing.get_all_start_methods()
        }
    )
