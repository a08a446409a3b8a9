"""A job queue: workers that ask for jobs, and jobs that are tried again.

    python job_queue.py [JOBS]

The queue is a server, and so is each worker. A worker asks for the next job; if there is none
its answer comes later. The queue monitors the workers. A job that failed, or whose worker
crashed, is tried again in a while, and given up when it was tried as often as the queue allows.
A worker that crashed is started again by the registry.

The jobs are in the memory of the queue. If they must outlive it, keep them in a bucket.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import kvreg

JOBS, WORKERS, ATTEMPTS = 40, 4, 3
PAUSE = 0.005
"""Seconds until a job is tried a second time; each pause is twice as long as the one before."""


@dataclass
class Job:
    """What a worker gets."""

    number: int
    attempt: int = 0


@dataclass
class Counts:
    """What became of the jobs."""

    jobs: int = 0
    done: int = 0
    given_up: int = 0
    failed: int = 0
    crashed: int = 0


class Queue(kvreg.Server, restart=kvreg.Restart.TEMPORARY):
    """Has the jobs, and knows who does which."""

    def __init__(self, attempts: int, pause: float) -> None:
        self.attempts, self.pause = attempts, pause
        self.counts = Counts()
        self.ready: deque[Job] = deque()
        # A worker is known by its monitor: the one that is started again has the same name.
        self.workers: dict[int, Job | None] = {}
        self.idle: dict[int, kvreg.Later[Job | None]] = {}
        self.finishing: kvreg.Later[Counts] | None = None

    @kvreg.call
    def add(self, number: int) -> None:
        """Takes a job."""
        if self.finishing is not None:
            raise kvreg.Refused("the queue takes no more jobs")
        self.counts.jobs += 1
        self.ready.append(Job(number))
        self._go_on()

    @kvreg.call
    def finish(self) -> kvreg.Later[Counts]:
        """Takes no more jobs, and answers when each is done or given up."""
        self.finishing = later = self.later()
        self._go_on()
        return later

    # For workers

    @kvreg.call
    def join(self, worker: kvreg.Server) -> int:
        """Lets a worker in; it gets the number by which it is known."""
        number = self.monitor(worker)
        self.workers[number] = None
        return number

    @kvreg.call
    def next_job(self, worker: int) -> kvreg.Later[Job | None]:
        """A job, as soon as there is one; None if no more will come."""
        if worker not in self.workers:
            raise kvreg.Refused(f"there is no worker {worker}")
        self.idle[worker] = later = self.later()
        self._go_on()
        return later

    @kvreg.call
    def succeeded(self, worker: int) -> None:
        """The worker has done its job."""
        if self._take_back(worker) is not None:
            self.counts.done += 1
        self._go_on()

    @kvreg.call
    def failed(self, worker: int) -> None:
        """The worker could not do its job, and is well."""
        job = self._take_back(worker)
        if job is not None:
            self.counts.failed += 1
            self._try_again(job)

    # What comes uncalled

    def on_down(self, down: kvreg.Down) -> None:
        """A worker has ended: its job is for another."""
        job = self._take_back(down.reference)
        self.workers.pop(down.reference, None)
        self.idle.pop(down.reference, None)
        if job is not None:
            self.counts.crashed += 1
            self._try_again(job)

    def on_info(self, tag: str, *values: Any) -> None:
        """The pause of a job is over."""
        if tag == "again":
            self.ready.append(values[0])
            self._go_on()

    def _take_back(self, worker: int) -> Job | None:
        job = self.workers.get(worker)
        if job is not None:
            self.workers[worker] = None
        return job

    def _try_again(self, job: Job) -> None:
        if job.attempt < self.attempts:
            self.send_after(self.pause * 2 ** (job.attempt - 1), "again", job)
        else:
            self.counts.given_up += 1
            self._go_on()

    def _go_on(self) -> None:
        """Gives jobs to who waits for them, or says that there will be none."""
        while self.ready and self.idle:
            worker = next(iter(self.idle))
            later, job = self.idle.pop(worker), self.ready.popleft()
            job.attempt += 1
            self.workers[worker] = job  # if the worker crashes at once, its end finds the job
            later.set(job)
        counts = self.counts
        if self.finishing is not None and counts.done + counts.given_up == counts.jobs:
            self.finishing.set(counts)
            while self.idle:
                self.idle.popitem()[1].set(None)


class Failed(Exception):
    """A job cannot be done now; who tried it is well."""


def do(job: Job) -> None:
    """Stands for the work of a job. Some fail, and some break whoever does them."""
    if job.number % 10 == 0 or (job.number % 5 == 0 and job.attempt == 1):
        raise RuntimeError("this job is more than a worker can take")
    if job.number % 7 == 0 and job.attempt < ATTEMPTS:
        raise Failed


class Worker(kvreg.Server, max_restarts=1_000_000):
    """Does one job at a time. What a job raises ends the worker, unless it is `Failed`."""

    def __init__(self, registry: kvreg.Registry) -> None:
        self.queue = Queue.find(registry, "queue")
        self.queue.timeout = None  # it waits until there is a job
        self.number = self.queue.join(self.me)

    @kvreg.call
    def work(self) -> bool:
        """Does the next job, in the thread that calls; False if there are no more."""
        job = self.queue.next_job(self.number)
        if job is None:
            return False
        try:
            do(job)
        except Failed:
            self.queue.failed(self.number)
        else:
            self.queue.succeeded(self.number)
        return True


def drive(registry: kvreg.Registry, name: str) -> None:
    """Has a worker work until there are no more jobs."""
    is_working = True
    while is_working:
        try:
            is_working = Worker.find(registry, name).work()
        except kvreg.ServerDown:
            pass  # it crashed, and the name is already that of the next one
        except kvreg.Error:
            is_working = False  # the registry was stopped


def run(jobs: int) -> None:
    """Has jobs done, and says what became of them."""
    with kvreg.Registry() as registry:
        queue = Queue.start(registry, "queue", ATTEMPTS, PAUSE)
        names = [f"worker {number}" for number in range(1, WORKERS + 1)]
        threads: list[threading.Thread] = []
        for name in names:
            Worker.start(registry, name, registry)
            threads.append(threading.Thread(target=drive, args=(registry, name), daemon=True))
            threads[-1].start()
        for number in range(1, jobs + 1):
            queue.add(number)
        queue.timeout = None
        counts = queue.finish()
        for thread in threads:
            thread.join()
        restarts = sum(registry.servers[name].info().restarts for name in names)
    print(
        f"{counts.jobs} jobs: {counts.done} done, {counts.given_up} given up after"
        f" {ATTEMPTS} attempts\n"
        f"{counts.failed} attempts failed, {counts.crashed} crashed a worker;"
        f" {restarts} workers were started again"
    )


def main(arguments: list[str]) -> int:
    """The program; gives its exit status."""
    jobs = arguments[0] if arguments else str(JOBS)
    if len(arguments) > 1 or not jobs.isdecimal():
        print("usage: job_queue.py [JOBS]", file=sys.stderr)
        return 2
    try:
        run(int(jobs))
    except KeyboardInterrupt:
        print("job_queue.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
