"""The state of a runner after an epoch, and the hook that keeps it; the files are those of :mod:`sar_cls.runs.checkpoint`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sar_cls.runs.checkpoint import write_best, write_last


def snapshot(runner: Any) -> dict[str, Any]:
    """The whole state of a run after an epoch, as plain containers and tensors only."""
    schedulers = []
    for scheduler in runner.param_schedulers or []:
        values = {key: value for key, value in scheduler.state_dict().items() if _is_plain(value)}
        if "milestones" in values:
            values["milestones"] = dict(values["milestones"])
        schedulers.append(values)
    return {
        "meta": {
            "epoch": runner.train_loop.epoch,
            "iter": runner.train_loop.iter,
            "run_id": runner.run_id,
            "best_from": runner.best_from,
            "threads": runner.threads_used,
            "cpu_capabilities": runner.cpu_capabilities_used,
            "processes": runner.processes_used,
            "norm_images": runner.norm_images,
            "statistics_parts": runner.statistics_parts,
            **runner.identity,
        },
        "state_dict": runner.bare_model.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "param_schedulers": schedulers,
        "history": runner.history,
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, (int, float, str, bool, dict)) or value is None


@HOOKS.register_module()
class AtomicCheckpointHook(Hook):
    """Writes ``last.pth`` after every epoch, and before it ``best.pth`` where the epoch is the best so far.

    In this order a run that is killed between the two repeats the epoch and writes the same ``best.pth`` again.
    """

    priority = "VERY_LOW"

    def after_epoch(self, runner: Any, row: dict[str, Any]) -> None:
        if not is_main_process():
            return
        if runner.best_is_ahead and runner.best_epoch() != row["epoch"]:
            # best.pth was of this epoch when it was first trained; on another device it came out otherwise.
            runner.best_from = row["epoch"]
        runner.best_is_ahead = False
        state = snapshot(runner)
        if runner.best_epoch() == row["epoch"]:
            write_best(Path(runner.work_dir), state)
        write_last(Path(runner.work_dir), state)
