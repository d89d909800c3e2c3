"""Several runs at a time on the devices of this machine: a small net leaves a large GPU mostly idle, so runs can share it.

One process a place, started anew ("spawn": CUDA does not survive a fork), which runs one run after the other. This process hands
them out and prints what the workers have to say.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
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
from sar_cls.launch.attempt import try_run
from sar_cls.launch.lines import Lines
from sar_cls.launch.outcome import Attempt, Outcome
from sar_cls.launch.pool import run_in_pool
from sar_cls.launch.screen import Screen


def run_side_by_side(runs: Sequence[PlannedRun], devices: Sequence[str], each: int) -> Outcome:
    """Runs what is not finished yet, ``each`` runs at a time on each device, by the policy of :mod:`sar_cls.launch.outcome`.

    Each gets its share of the CPU's cores, or the threads that its options say. A worker that dies (for lack of memory, say)
    fails its run alone. Workers end with this process, however it ends.

    Args:
        runs: in their order, second stages behind their first ones.
        devices: names of torch devices.
        each: runs at a time on each.

    Raises:
        InputError: a run was refused before any had to be run and has ended.
    """
    return run_in_pool(runs, lambda left: WorkerPool(left, devices, each))


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    device: str
    run: PlannedRun | None = None


class WorkerPool:
    """Processes of this machine.

    Args:
        runs: that are left to do; there are no more workers than these.
        devices: names of torch devices.
        each: workers on each.
    """

    def __init__(self, runs: Sequence[PlannedRun], devices: Sequence[str], each: int) -> None:
        # The first worker of every device comes before the second of any.
        places = [device for _ in range(each) for device in devices]
        self.threads = runs[0].options.threads or threads_of_each(len(places))
        on = f" on {', '.join(devices)}" if len(devices) > 1 else ""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        messages.remark(f"{len(places)} runs at a time{on} with {threads} each")
        self.places = places[: len(runs)]
        self.workers: list[_Worker] = []

    def room(self) -> int:
        return len(self.places) - sum(worker.run is not None for worker in self.workers)

    def start(self, planned: PlannedRun) -> None:
        self.workers = [worker for worker in self.workers if worker.run or worker.process.is_alive()]
        idle = next((worker for worker in self.workers if worker.run is None), None)
        if idle is None:
            taken = [worker.device for worker in self.workers]
            free = list(self.places)
            for device in taken:
                free.remove(device)
            self.workers.append(idle := _start(free[0]))
        idle.run = planned.on(device=idle.device, threads=self.threads)
        idle.connection.send(idle.run)

    def ended(self, screen: Screen) -> list[Attempt]:
        ended: list[Attempt] = []
        heard: Any = wait([worker.connection for worker in self.workers if worker.run])
        for worker in [worker for worker in self.workers if worker.connection in heard]:
            assert worker.run is not None
            try:
                message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                self.workers.remove(worker)
                line = f"{worker.run.title}: failed, its process ended with code {worker.process.exitcode}"
                message = Attempt(worker.run.title, "failed", line)
            if isinstance(message, str):
                screen.said(worker.run.title, message)
            else:
                worker.run = None
                ended.append(message)
        return ended

    def close(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()


def _start(device: str) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,))  # a daemon could not have the loaders that mmseg starts
    process.start()
    theirs.close()  # so that the end of the process ends the pipe
    return _Worker(process, ours, device)


def _work(connection: Connection) -> None:
    """The life of a worker: run after run, until the parent hangs up or is no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    # mmengine would rather have "fork", for the workers of a DataLoader; mmseg's work either way.
    warnings.filterwarnings("ignore", message="Multi-processing start method")
    sys.stdout = sys.stderr = Lines(lambda line: _send(connection, line))
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
