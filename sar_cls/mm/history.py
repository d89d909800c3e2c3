"""Each epoch's figures into the history of the run and, on request, to TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sar_cls.runs.history import write_history


@HOOKS.register_module()
class HistoryHook(Hook):
    """Adds each epoch's row to the runner's history, ``history.csv`` and the visualizer's backends.

    ``loss`` is the mean of what was minimised. With a regularizer that is a sum, whose parts stand beside it: ``loss_ce``, the
    classification loss, which compares with the ``loss`` of a row without a regularizer, and the regularizer's under their own
    names. Where ``loss_ce`` is missing or empty, ``loss`` is the classification loss: without a regularizer, and in every row
    that was written before there was such a column.
    """

    priority = "NORMAL"

    def before_train(self, runner: Any) -> None:
        if runner.history and is_main_process():  # resumed: rows of epochs that were lost with the kill go
            write_history(runner.history, Path(runner.work_dir))

    def after_epoch(self, runner: Any, row: dict[str, Any]) -> None:
        runner.history.append(row)
        if is_main_process():
            write_history(runner.history, Path(runner.work_dir))
        scalars = {key: value for key, value in row.items() if key != "epoch" and isinstance(value, (int, float))}
        runner.visualizer.add_scalars(scalars, step=row["epoch"])
