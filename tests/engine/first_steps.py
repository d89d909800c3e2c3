"""A suite as ``benchmarks/run.py`` runs it, alone or under torchrun, that also writes the losses of its first steps one by one.

python tests/engine/first_steps.py FILE STEPS float32 ARGUMENTS OF run.py
torchrun --nproc-per-node 2 tests/engine/first_steps.py FILE STEPS float64 ARGUMENTS OF run.py

With float64 the whole net is in float64, whose roundings do not grow to anything that could be seen.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sar_cls import exit_codes, ranks
from sar_cls.commands.run import main
from sar_cls.mm.preprocessor import BatchPreprocessor
from sar_cls.mm.runner import DeviceRunner
from sar_cls.steps import step as steps
from sar_cls.steps.loss_meter import LossMeter


def keep_losses(path: Path, number: int) -> None:
    """Has the eager step write each loss of the whole batch, for the first so many steps of the process."""
    plain, rows = steps.EagerStep.__call__, []

    def call(self: Any, batch: Any) -> None:
        plain(self, batch)
        if len(rows) < number:
            means = self.means()  # since the epoch began, over all processes
            done = self.meter.steps
            rows.append({"step": len(rows) + 1, **{name: value * done for name, value in means.items()}})
            if len(rows) == number and ranks.is_first():
                write(path, rows)

    steps.EagerStep.__call__ = call


def write(path: Path, sums: list[dict[str, float]]) -> None:
    """The differences of sums over steps, one line a step."""
    before = dict.fromkeys(sums[0], 0.0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(sums[0])
        for row in sums:
            writer.writerow([row["step"], *(f"{row[name] - before[name]:.10f}" for name in row if name != "step")])
            before = row


def train_in_float64() -> None:
    """From the weights and the batches that a run in float32 has."""
    load, prepare = DeviceRunner.load_or_resume, BatchPreprocessor.forward

    def load_double(self: DeviceRunner) -> None:
        self.bare_model.double()
        load(self)

    def prepare_double(self: BatchPreprocessor, data: Any, training: bool = False) -> dict[str, Tensor]:
        return {
            name: value.double() if value.is_floating_point() else value
            for name, value in prepare(self, data, training).items()
        }

    def update(self: LossMeter, losses: dict[str, Tensor]) -> None:
        values = torch.stack([value.detach().double() for value in losses.values()])
        if self.total is None:
            self.names, self.total = list(losses), torch.zeros_like(values)
        self.total.add_(values)
        self.steps += 1

    DeviceRunner.load_or_resume = load_double
    BatchPreprocessor.forward = prepare_double
    LossMeter.update = update


if __name__ == "__main__":
    file, number, precision, *arguments = sys.argv[1:]
    if precision == "float64":
        train_in_float64()
    keep_losses(Path(file), int(number))
    sys.argv = ["run.py", *arguments]
    exit_codes.main_with_exit_code(main)
