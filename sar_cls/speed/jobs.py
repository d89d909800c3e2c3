"""Runs an hour on one device, by how many share it: what ``--jobs-per-device`` is worth."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sar_cls.engine.config import row_config
from sar_cls.engine.options import threads_of_each
from sar_cls.engine.schedule import recipe_epochs
from sar_cls.errors import InputError
from sar_cls.runs.history import HISTORY_FILE
from sar_cls.speed.setting import NETS, Setting, source_of

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# How OpenMP's threads wait for each other: soon asleep, as the scripts of this project have it, or as libgomp does by itself.
WAITS = {"sleep": {"GOMP_SPINCOUNT": "10000"}, "spin": {"GOMP_SPINCOUNT": "300000"}}


@dataclass(frozen=True)
class Throughput:
    """What K runs at a time came to.

    Attributes:
        jobs: K.
        seconds_epoch: of one epoch of one run with its evaluation, median over runs and epochs; the first and the last epoch are
            left out, in which not all runs are at work.
        seconds_rest: what the call took beyond those epochs: starting, reading the data, writing the records.
        recipe_epochs: epochs of a whole run.
        threads: of each run on the CPU.
        wait: how they wait for each other, a key of ``WAITS``.
        runs_an_hour: of whole runs, K at a time.
    """

    jobs: int
    seconds_epoch: float
    seconds_rest: float
    recipe_epochs: int
    threads: int = 1
    wait: str = "sleep"

    @property
    def runs_an_hour(self) -> float:
        return 3600 * self.jobs / (self.recipe_epochs * self.seconds_epoch + self.seconds_rest)


def measure_jobs(
    setting: Setting,
    numbers: Sequence[int],
    data_root: str | None,
    epochs: int,
    *,
    threads: int | None = None,
    waits: Sequence[str] = ("sleep",),
) -> list[Throughput]:
    """Starts ``benchmarks/run.py`` with K runs of ``epochs`` epochs for each K and each way to wait.

    Args:
        setting: whose net, precision, mode, memory format and device are run.
        numbers: the values of K.
        data_root: folder of CIFAR-100.
        epochs: at least 3.
        threads: of each run; None for what ``run.py`` gives it: torch's own number for one, a share of the cores for several.
        waits: keys of ``WAITS``.

    Raises:
        InputError: a run failed.
        ValueError: fewer than 3 epochs.
    """
    if epochs < 3:
        raise ValueError(f"the first and the last epoch are left out: take at least 3 epochs, not {epochs}")
    return [
        _measure(setting, number, data_root, epochs, threads or threads_of_each(number), wait)
        for number in numbers
        for wait in waits
    ]


def jobs_setting(setting: Setting) -> Setting:
    """What is really timed: batch and optimizer are those of the row."""
    return replace(
        setting, batch_size=row_config(source_of(setting.net)).train_dataloader.batch_size, optimizer="default"
    )


def _measure(setting: Setting, number: int, data_root: str | None, epochs: int, threads: int, wait: str) -> Throughput:
    suite, row = NETS[setting.net]
    with tempfile.TemporaryDirectory(prefix="sar_cls-speed-") as folder:
        options = ["--suite", suite, "--only", row, "--seeds", str(number), "--jobs-per-device", str(number)]
        options += ["--epochs", str(epochs), "--work-dir", folder, "--device", str(setting.device)]
        options += ["--precision", setting.precision, "--mode", setting.mode, "--memory-format", setting.memory_format]
        options += ["--threads", str(threads)]
        options += [] if data_root is None else ["--data-root", os.path.abspath(data_root)]
        begin = time.perf_counter()
        command = [sys.executable, "-m", "sar_cls", "run", *options]
        environment = {name: value for name, value in os.environ.items() if name not in _WAITING} | WAITS[wait]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        seconds = time.perf_counter() - begin
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
            runs = "1 run" if number == 1 else f"{number} runs"
            raise InputError(f"{runs} at a time ended with code {done.returncode}: {lines[-1]}")
        found = [_epochs(path) for path in sorted(Path(folder).rglob(HISTORY_FILE))]
    whole = recipe_epochs(row_config(source_of(setting.net)))
    middle = statistics.median(value for run in found for value in run[1:-1])
    rest = seconds - max(sum(run) for run in found)
    return Throughput(number, middle, rest, whole, threads, wait)


def _epochs(history: Path) -> list[float]:
    with history.open(newline="", encoding="utf-8") as file:
        return [float(row["seconds_train"]) + float(row["seconds_eval"]) for row in csv.DictReader(file)]
