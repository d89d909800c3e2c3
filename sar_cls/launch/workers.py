"""Several runs at a time on one device: a small net leaves a large GPU mostly idle, so runs can share it.

One process a run, started anew ("spawn": CUDA does not survive a fork). The parent hands out the runs, one at a time and in their
order, a second stage only when its first is through, and prints what the workers have to say.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from sar_cls.engine.options import Options, threads_of_each
from sar_cls.engine.run import DataCache, Job
from sar_cls.errors import InputError
from sar_cls.launch.serial import Attempt, Outcome, finished_before, try_job
from sar_cls.mm.progress import duration


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None


def run_jobs_side_by_side(jobs: Sequence[Job], options: Options, workers: int) -> Outcome:
    """Runs what is not finished yet, ``workers`` runs at a time; each gets its share of the CPU's cores, or ``options.threads``.

    A worker that dies (for lack of memory, say) fails its run alone. Workers end with this process, however it ends.

    Args:
        jobs: as made by ``make_jobs``.
        options: of the command line.
        workers: runs at a time.

    Raises:
        InputError: from the first run that ends, if none has succeeded before; a later one counts as failed.
    """
    outcome = Outcome([], [], [])
    waiting: list[Job] = []
    cache = DataCache()
    for job in jobs:
        before = finished_before(job, options, cache)
        if before is None:
            waiting.append(job)
            continue
        if before.refused and not outcome.done:
            raise InputError(before.refused)
        outcome.add(before)
    total, begin = len(waiting), time.monotonic()
    threads = options.threads or threads_of_each(workers)
    options = replace(options, threads=threads)
    if waiting:
        print(
            f"{workers} runs at a time with {threads} thread{'s' if threads > 1 else ''} each",
            file=sys.stderr,
            flush=True,
        )
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.job for worker in pool):
            _hand_out(waiting, pool, options, min(workers, total))
            for attempt in _listen(pool):
                if attempt.refused and not outcome.done and not outcome.failed:
                    raise InputError(attempt.refused)
                outcome.add(attempt)
                ended = total - len(waiting) - sum(worker.job is not None for worker in pool)
                if ended < total:
                    left = (time.monotonic() - begin) / ended * (total - ended)
                    print(f"{ended} of {total} runs, about {duration(left)} left", file=sys.stderr, flush=True)
    finally:  # also on Ctrl-C: what was running goes on from its last whole epoch next time
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.process.join()
    return outcome


def _hand_out(waiting: list[Job], pool: list[_Worker], options: Options, workers: int) -> None:
    """Gives each idle worker the first run that may start; starts workers while there are fewer than wanted."""
    while waiting:
        pool[:] = [worker for worker in pool if worker.job or worker.process.is_alive()]
        unfinished = {job.run_dir for job in waiting} | {worker.job.run_dir for worker in pool if worker.job}
        ready = [job for job in waiting if job.stage1_dir not in unfinished]
        idle = next((worker for worker in pool if worker.job is None), None)
        if not ready or (idle is None and len(pool) == workers):
            return
        if idle is None:
            pool.append(idle := _start(options))
        waiting.remove(ready[0])
        idle.job = ready[0]
        idle.connection.send(idle.job)


def _listen(pool: list[_Worker]) -> list[Attempt]:
    """Waits until a worker says something: passes its lines on to stderr and returns the runs that have ended."""
    ended: list[Attempt] = []
    heard: Any = wait([worker.connection for worker in pool if worker.job])
    for worker in [worker for worker in pool if worker.connection in heard]:
        assert worker.job is not None
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            pool.remove(worker)
            line = f"{worker.job.title}: failed, its process ended with code {worker.process.exitcode}"
            message = Attempt(worker.job.title, "failed", line)
        if isinstance(message, str):
            print(message, file=sys.stderr, flush=True)
        else:
            worker.job = None
            ended.append(message)
    return ended


def _start(options: Options) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, options), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process ends the pipe
    return _Worker(process, ours)


def _work(connection: Connection, options: Options) -> None:
    """The life of a worker: run after run, until the parent hangs up or is no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    # mmengine would rather have "fork", for the workers of a DataLoader; there are none.
    warnings.filterwarnings("ignore", message="Multi-processing start method")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    sys.stdout = sys.stderr = _Lines(connection)
    cache = DataCache()
    while True:
        try:
            job = connection.recv()
        except (EOFError, ConnectionError):
            return
        _send(connection, try_job(job, options, cache))


def _end_with_parent() -> None:
    """Waits until the parent is gone, killed perhaps, and ends this process at once; a run goes on from its last whole epoch."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _send(connection: Connection, message: Any) -> None:
    try:
        connection.send(message)
    except ConnectionError:  # nobody is there to be told, and an error log would only mislead
        os._exit(1)


class _Lines(io.TextIOBase):
    """Sends each whole line to the parent. It is no terminal, so no progress bar is drawn on it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rest = ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            _send(self.connection, line)
        return len(text)
