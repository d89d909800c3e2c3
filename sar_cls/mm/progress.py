"""How far a run is and how long it will take, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import re
import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console

from sar_cls import messages
from sar_cls.pace import Pace, duration
from sar_cls.progress_bar import TitledBar

__all__ = ["ProgressHook", "duration"]


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows time left, time so far, epoch, loss and accuracy, in this order: 80 columns hold them.

    Args:
        title: what runs, for example "[2/15] digits/sar seed 1024".
        interval: seconds between two lines where the output is not a terminal; 0 prints every epoch.
    """

    priority = "LOW"

    def __init__(self, title: str, interval: float = 15.0) -> None:
        self.title = title
        self.interval = interval
        self.console = Console(stderr=True)
        self.bar: TitledBar | None = None

    def before_train(self, runner: Any) -> None:
        self.pace = Pace(runner.max_iters, runner.iter)
        self.printed = self.pace.started
        self.introduced = False
        self.loss, self.accuracy, self.epoch = float("nan"), "", f"epoch {runner.epoch + 1}/{runner.max_epochs}"
        if self.console.is_terminal:
            self.bar = TitledBar(self.title, self._words, self.console, total=runner.max_iters, done=runner.iter)
            self.bar.start()

    def after_log_interval(self, runner: Any, batch_idx: int, losses: dict[str, float]) -> None:
        self.loss = losses["loss"]
        self._show(runner, min(runner.epoch + 1, runner.max_epochs))

    def after_epoch(self, runner: Any, row: dict[str, Any]) -> None:
        self.loss = row["loss"]
        if f"{runner.selection}_top1" in row:
            self.accuracy = f", {runner.selection} {row[f'{runner.selection}_top1']:.2f} %"
        self._show(runner, row["epoch"])

    def close(self) -> None:
        """Takes the bar off the terminal, also after an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def after_train(self, runner: Any) -> None:
        self.close()

    def _words(self) -> str:
        loss = "" if self.loss != self.loss else f", loss {self.loss:.3f}"
        return f"{self.pace}, {self.epoch}{loss}{self.accuracy}"

    def _show(self, runner: Any, epoch: int) -> None:
        self.pace.update(runner.iter)
        self.epoch = f"epoch {epoch}/{runner.max_epochs}"
        if self.bar is not None:
            self.bar.advance_to(runner.iter)
            return
        now = time.monotonic()
        if now - self.printed < self.interval or runner.iter >= runner.max_iters:
            return
        self.printed = now
        if not self.introduced:  # once in full; then its number says which run a line is about
            messages.remark(f"{self.title}: {runner.max_epochs} epoch{'s' if runner.max_epochs > 1 else ''}")
            self.introduced = True
        number = re.match(r"\[\d+/\d+\] ", self.title)
        messages.remark(f"{number.group() if number else ''}{self._words()}")
