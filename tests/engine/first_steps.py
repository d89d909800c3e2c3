"""A suite as ``benchmarks/run.py`` runs it, alone or under torchrun, that also writes the losses of its first steps one by one.

python tests/engine/first_steps.py FILE STEPS ARGUMENTS OF run.py
torchrun --nproc-per-node 2 tests/engine/first_steps.py FILE STEPS ARGUMENTS OF run.py
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from sar_cls import cli, ranks
from sar_cls.commands.run import main
from sar_cls.steps import step as steps


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
            writer.writerow([row["step"], *(f"{row[name] - before[name]:.6f}" for name in row if name != "step")])
            before = row


if __name__ == "__main__":
    file, number, *arguments = sys.argv[1:]
    keep_losses(Path(file), int(number))
    sys.argv = ["run.py", *arguments]
    cli.main_with_exit_code(main)
