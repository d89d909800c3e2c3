"""A net whose training can be watched and held from outside: each step is a line in a file, and one of them waits for a gate.

It comes by ``custom_imports`` of a config, so it also shows that a config's own code reaches every process that runs it.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from sar_cls.cli import CONFIGS

EPOCHS, STEPS_OF_AN_EPOCH = 3, 9
STEPS = EPOCHS * STEPS_OF_AN_EPOCH
IN_THE_LAST_EPOCH = STEPS - STEPS_OF_AN_EPOCH + 2


@MODELS.register_module()
class GatedNeck(nn.Module):
    """Passes features on.

    Args:
        row: to which the net belongs.
        folder: where the file of steps is, and a file for each open gate.
        gate: that the step ``at`` of one process waits for; the empty one is always open.
        at: counted from 1.
    """

    def __init__(self, row: str, folder: str, gate: str = "", at: int = 1) -> None:
        super().__init__()
        self.row, self.folder, self.gate, self.at, self.step = row, Path(folder), gate, at, 0

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.training and torch.is_grad_enabled():
            self.step += 1
            with (self.folder / "steps").open("a") as file:
                file.write(f"{self.row} {os.getpid()}\n")
            while self.gate and self.step == self.at and not (self.folder / self.gate).exists():
                time.sleep(0.02)
        return features


def write_suite(configs: Path, folder: Path, gates: dict[str, str], at: int) -> None:
    """A suite ``gated`` with a row for each gate."""
    (configs / "gated").mkdir(parents=True)
    folder.mkdir()
    (folder / "steps").touch()
    (configs / "gated" / "net.py").write_text(
        f'_base_ = "{CONFIGS}/digits_lt/mixup.py"\ncustom_imports = dict(imports=["gated_net"])\n'
        f"train_cfg = dict(max_epochs={EPOCHS})\nparam_scheduler = dict(T_max={EPOCHS})\n"
    )
    rows = [
        f'[[rows]]\nname = "{row}"\nlabel = "{row}"\nconfig = "net.py"\nset.model.neck = {{ type = "GatedNeck", row = "{row}", '
        f'folder = "{folder}", gate = "{gate}", at = {at} }}\n'
        for row, gate in gates.items()
    ]
    (configs / "gated" / "suite.toml").write_text('title = "Gated"\nmetric = "top1"\n\n' + "\n".join(rows))


def steps(folder: Path) -> dict[str, dict[str, int]]:
    """How many steps of each row each process has done."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in (folder / "steps").read_text().splitlines():
        row, process = line.split()
        found[row][process] += 1
    return {row: dict(processes) for row, processes in found.items()}
