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
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sar_cls import messages
from sar_cls.engine.options import threads_of_each
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache
from sar_cls.launch.attempt import finished_before, try_run
from sar_cls.launch.outcome import Attempt, Outcome
from sar_cls.pace import duration


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    run: PlannedRun | None = None


def run_side_by_side(runs: Sequence[PlannedRun], workers: int) -> Outcome:
    """Runs what is not finished yet, ``workers`` runs at a time, by the policy of :mod:`sar_cls.launch.outcome`.

    Each gets its share of the CPU's cores, or the threads that its options say. A worker that dies (for lack of memory, say)
    fails its run alone. Workers end with this process, however it ends.

    Args:
        runs: in their order, second stages behind their first ones.
        workers: runs at a time.

    Raises:
        InputError: a run was refused before any had to be run and has ended.
    """
    outcome, cache = Outcome(), DataCache()
    waiting: list[PlannedRun] = []
    for planned in runs:
        before = finished_before(planned, cache)
        if before is None:
            threads = planned.options.threads or threads_of_each(workers)
            waiting.append(planned.on(threads=threads))
        else:
            outcome.add(before)
    total, begin = len(waiting), time.monotonic()
    if waiting:
        messages.remark(f"{workers} runs at a time with {threads} thread{'s' if threads > 1 else ''} each")
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.run for worker in pool):
            _hand_out(waiting, pool, min(workers, total))
            for attempt in _listen(pool):
                outcome.add(attempt)
                ended = total - len(waiting) - sum(worker.run is not None for worker in pool)
                if ended < total:
                    left = (time.monotonic() - begin) / ended * (total - ended)
                    messages.remark(f"{ended} of {total} runs, about {duration(left)} left")
    finally:  # also on Ctrl-C: what was running goes on from its last whole epoch next time
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.process.join()
    return outcome


def _hand_out(waiting: list[PlannedRun], pool: list[_Worker], workers: int) -> None:
    """Gives each idle worker the first run that may start; starts workers while there are fewer than wanted."""
    while waiting:
        pool[:] = [worker for worker in pool if worker.run or worker.process.is_alive()]
        unfinished = {run.run_dir for run in waiting} | {worker.run.run_dir for worker in pool if worker.run}
        ready = [run for run in waiting if run.stage1_dir not in unfinished]
        idle = next((worker for worker in pool if worker.run is None), None)
        if not ready or (idle is None and len(pool) == workers):
            return
        if idle is None:
            pool.append(idle := _start())
        waiting.remove(ready[0])
        idle.run = ready[0]
        idle.connection.send(idle.run)


def _listen(pool: list[_Worker]) -> list[Attempt]:
    """Waits until a worker says something: passes its lines on to stderr and returns the runs that have ended."""
    ended: list[Attempt] = []
    heard: Any = wait([worker.connection for worker in pool if worker.run])
    for worker in [worker for worker in pool if worker.connection in heard]:
        assert worker.run is not None
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            pool.remove(worker)
            line = f"{worker.run.title}: failed, its process ended with code {worker.process.exitcode}"
            message = Attempt(worker.run.title, "failed", line)
        if isinstance(message, str):
            messages.remark(message)
        else:
            worker.run = None
            ended.append(message)
    return ended


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process ends the pipe
    return _Worker(process, ours)


def _work(connection: Connection) -> None:
    """The life of a worker: run after run, until the parent hangs up or is no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    # mmengine would rather have "fork", for the workers of a DataLoader; there are none.
    warnings.filterwarnings("ignore", message="Multi-processing start method")
    sys.stdout = sys.stderr = _Lines(connection)
    cache = DataCache()
    while True:
        try:
            planned = connection.recv()
        except (EOFError, ConnectionError):
            return
        _send(connection, try_run(planned, cache))


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
