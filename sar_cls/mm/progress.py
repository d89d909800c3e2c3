"""How far a run is and how long it will take: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows epoch, loss, accuracy and the time left.

    Args:
        title: what runs, for example "[2/15] digits/sar seed 1024".
        interval: seconds between two lines where the output is not a terminal; 0 prints every epoch.
    """

    priority = "LOW"

    def __init__(self, title: str, interval: float = 15.0) -> None:
        self.title = title
        self.interval = interval
        self.console = Console(file=sys.stdout)
        self.bar: Progress | None = None

    def before_train(self, runner: Any) -> None:
        self.started = self.printed = time.monotonic()
        self.first_iter = runner.iter
        self.loss = float("nan")
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=self.console,
                transient=True,
            )
            self.task = self.bar.add_task(self.title, total=runner.max_iters, completed=runner.iter, state="")
            self.bar.start()

    def after_log_interval(self, runner: Any, batch_idx: int, losses: dict[str, float]) -> None:
        self.loss = losses["loss"]
        self._show(runner, runner.iter, len(runner.train_dataloader) * runner.epoch + batch_idx + 1 < runner.max_iters)

    def after_epoch(self, runner: Any, row: dict[str, Any]) -> None:
        self.loss = row["loss"]
        self._show(runner, runner.iter, row["epoch"] < runner.max_epochs, row)

    def close(self) -> None:
        """Takes the bar off the terminal, also after an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def after_train(self, runner: Any) -> None:
        self.close()

    def _show(self, runner: Any, done: int, more: bool, row: dict[str, Any] | None = None) -> None:
        state = (
            f"epoch {min(runner.epoch + (row is None), runner.max_epochs)}/{runner.max_epochs}, loss {self.loss:.3f}"
        )
        if row is not None and f"{runner.selection}_top1" in row:
            state += f", {runner.selection} top-1 {row[f'{runner.selection}_top1']:.2f} %"
        if self.bar is not None:
            self.bar.update(self.task, completed=done, state=state)
            return
        now = time.monotonic()
        if now - self.printed >= self.interval and more:
            self.printed = now
            left = (now - self.started) / max(done - self.first_iter, 1) * (runner.max_iters - done)
            print(f"{self.title}: {state}, {duration(left)} left", flush=True)
