"""Checkpoints: written whole or not at all, read without running code from them, and resumed only by the run that wrote them.

``last.pth`` is written after every epoch and holds all that the next epoch depends on; ``best.pth`` holds the weights of the
best epoch so far. Randomness needs no place in them: everything random in an epoch follows from (seed, epoch).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sar_cls.errors import InputError
from sar_cls.files import replacing

LAST, BEST = "last.pth", "best.pth"
FORMAT = "sar_cls checkpoint 1"
# Parts of a run's identity that its first versions did not write down; an older checkpoint can still be resumed.
_LATER = ("test images", "validation images")


def write_atomically(state: dict[str, Any], path: Path) -> None:
    """Saves to a temporary name beside ``path``, flushes it to the disk and renames it."""
    with replacing(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:
            # torch's writer has its own words for what the file has told it, a full disk for example.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_checkpoint(path: Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint of this project.

    Raises:
        InputError: the file is missing, half written, or not a checkpoint of this project. It is left as it is.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: give the path of a run that has trained for at least one epoch")
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # what the unpickler raises depends on where a file was cut off or overwritten
        raise InputError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}): move it away to start this run over"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not {"meta", "state_dict"} <= set(state):
        raise InputError(f"{path} was not written by this project: move it away to start this run over")
    return state


def read_own(path: Path, identity: dict[str, str], map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads the ``last.pth`` of the run that ``identity`` describes.

    Raises:
        InputError: the checkpoint is damaged, or belongs to a run with another recipe, seed or data.
    """
    state = read_checkpoint(path, map_location)
    if not {"optimizer", "param_schedulers", "history"} <= set(state):
        raise InputError(
            f"{path} holds weights alone and no training to go on with: move it away to start this run over"
        )
    for name, expected in identity.items():
        if name in _LATER and name not in state["meta"]:
            continue
        found = state["meta"].get(name)
        if found != expected:
            raise InputError(
                f"{path} has another {name} ({found}) than this run ({expected}): "
                "use another --work-dir, or move the old run away"
            )
    return state


def restore(runner: Any, path: Path) -> None:
    """Puts model, optimizer, schedulers, history and position of a run back as they were after its last whole epoch.

    Raises:
        InputError: the checkpoint is damaged, or belongs to a run with another recipe, seed or data.
    """
    state = read_own(path, runner.identity, runner.device)
    runner.bare_model.load_state_dict(state["state_dict"])
    runner.optim_wrapper.load_state_dict(state["optimizer"])
    for scheduler, values in zip(runner.param_schedulers or [], state["param_schedulers"], strict=True):
        if "milestones" in values:
            values["milestones"] = Counter({int(step): times for step, times in values["milestones"].items()})
        scheduler.load_state_dict(values)
    runner.train_loop._epoch = state["meta"]["epoch"]
    runner.train_loop._iter = state["meta"]["iter"]
    runner.history = state["history"]
    runner.run_id = state["meta"].get("run_id", runner.run_id)  # checkpoints from before it have none


def snapshot(runner: Any) -> dict[str, Any]:
    """The whole state of a run after an epoch, as plain containers and tensors only."""
    schedulers = []
    for scheduler in runner.param_schedulers or []:
        values = {key: value for key, value in scheduler.state_dict().items() if _is_plain(value)}
        if "milestones" in values:
            values["milestones"] = dict(values["milestones"])
        schedulers.append(values)
    return {
        "format": FORMAT,
        "meta": {
            "epoch": runner.train_loop.epoch,
            "iter": runner.train_loop.iter,
            "run_id": runner.run_id,
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
        state, folder = snapshot(runner), Path(runner.work_dir)
        if runner.best_epoch() == row["epoch"]:
            weights = {key: state[key] for key in ("format", "meta", "state_dict", "history")}
            write_atomically(weights, folder / BEST)
        write_atomically(state, folder / LAST)
