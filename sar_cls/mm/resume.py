"""Going on from ``last.pth``: whether it fits the run, and whether ``best.pth`` beside it is the best epoch's."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from torch import Tensor

from sar_cls import messages
from sar_cls.memory import is_out_of_memory
from sar_cls.mm.checkpoint import snapshot
from sar_cls.runs.checkpoint import UnusableCheckpoint, read_own, write_best
from sar_cls.runs.folder import BEST, LAST

_NUMBERS = (int, float)
# What optimizers keep for each single weight.
_MOMENTA = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg")


def restore(runner: Any, path: Path) -> None:
    """Puts model, optimizer, schedulers, history and position of a run back as they were after its last whole epoch.

    Where ``best.pth`` is lost (missing, damaged, of another run), the best epoch is searched anew from this one on, unless this
    one is the best: see :func:`_recover_best`.

    Raises:
        UnusableCheckpoint: the checkpoint is damaged, belongs to a run with another recipe, seed or data, or does not fit the
            net, the optimizer or the schedule. No file of the run was changed.
    """
    state = read_own(path, runner.identity)
    meta, loop = state["meta"], runner.train_loop
    try:
        _check_position(state, runner)
        _check_norms(meta, runner)
        _check_statistics(meta, runner)
        runner.bare_model.load_state_dict(state["state_dict"])
        _check_kind("optimizer", runner.optim_wrapper.state_dict()["param_groups"], state["optimizer"]["param_groups"])
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        _check_momenta(runner.optim_wrapper.optimizer)
        for scheduler, values in zip(runner.param_schedulers or [], state["param_schedulers"], strict=True):
            if "milestones" in values:
                values["milestones"] = Counter({int(step): times for step, times in values["milestones"].items()})
            own = scheduler.state_dict()
            _check_kind("schedule", {key: own[key] for key in values}, values)
            scheduler.load_state_dict(values)
    # torch tells what does not fit by errors of every kind.
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise UnusableCheckpoint(
            f"{path} does not fit this run ({_reason(error)}): move the folder {path.parent} away to start this run over"
        ) from error
    loop._epoch, loop._iter = meta["epoch"], meta["iter"]
    runner.history = state["history"]
    runner.run_id = meta.get("run_id", runner.run_id)  # checkpoints from before it have none
    runner.best_from = meta.get("best_from", 1)
    _compare_cpu(runner, meta.get("threads", []), meta.get("cpu_capabilities", []))
    runner.processes_used = _with(meta.get("processes", [1]), runner.processes_used[-1])
    if is_main_process():
        _recover_best(runner, path.with_name(BEST))


def _reason(error: Exception) -> str:
    """torch's first particular line, or all there is, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[1 if len(lines) > 1 else 0].rstrip(".")


def _check_position(state: dict[str, Any], runner: Any) -> None:
    """Raises ValueError where epoch, iteration and history do not belong together, or not to this run."""
    meta, loop, key = state["meta"], runner.train_loop, runner.selects_by
    if meta.get("best_from", 1) > meta["epoch"]:
        raise ValueError(
            f"its best epoch was looked for from epoch {meta['best_from']} on, and it is at {meta['epoch']}"
        )
    if meta["epoch"] > loop.max_epochs:
        raise ValueError(f"it is at epoch {meta['epoch']} of {loop.max_epochs}")
    if meta["iter"] != meta["epoch"] * len(loop.dataloader):
        raise ValueError(f"it is at step {meta['iter']} after {meta['epoch']} epochs of {len(loop.dataloader)} steps")
    history = state["history"]
    rows = history if isinstance(history, list) and all(isinstance(row, dict) for row in history) else []
    if [row.get("epoch") for row in rows] != list(range(1, meta["epoch"] + 1)):
        raise ValueError(f"its history is not that of {meta['epoch']} epochs")
    if not all(isinstance(row.get(key), _NUMBERS) for row in rows):
        raise ValueError(f"its history has no {key}")


def _check_norms(meta: dict[str, Any], runner: Any) -> None:
    """Raises ValueError where batch norm has normalised other numbers of images together so far: the net would be another."""
    before, now = meta.get("norm_images"), runner.norm_images
    if before not in (None, now):  # older checkpoints do not say it, or not of a head's
        raise ValueError(
            f"batch norm saw {before} images at a time so far and would see {now}; go on with as many processes as before, or with "
            "--sync-bn as before"
        )


def _check_statistics(meta: dict[str, Any], runner: Any) -> None:
    """Raises ValueError where losses and regularizers have taken their statistics of other parts of a batch so far."""
    before, now = (_parts_in_words(parts) for parts in (meta.get("statistics_parts"), runner.statistics_parts))
    if before not in (None, now):  # older checkpoints do not say it
        raise ValueError(
            f"losses and regularizers took their statistics over {before} so far and would take them over {now}; go on with "
            "--local-statistics or without it, as before, and with it on as many processes"
        )


def _parts_in_words(parts: int | None) -> str | None:
    return {None: None, 1: "the whole batch"}.get(parts, f"each of {parts} parts of a batch")


def _check_kind(where: str, ours: Any, theirs: Any) -> None:
    """Raises ValueError where ``theirs`` has not the nest of containers and the kinds of values that ``ours`` has."""
    if ours is None or theirs is None or (isinstance(ours, _NUMBERS) and isinstance(theirs, _NUMBERS)):
        return
    sequences = isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple))
    if not isinstance(theirs, type(ours)) and not sequences:
        raise ValueError(f"{where} is of type {type(theirs).__name__}, not {type(ours).__name__}")
    if sequences:
        if len(ours) != len(theirs):
            raise ValueError(f"{where} has {len(theirs)} entries, not {len(ours)}")
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            _check_kind(f"{where}[{index}]", one, other)
    elif isinstance(ours, dict) and not isinstance(ours, Counter):
        for key, value in ours.items():
            if key not in theirs:
                raise ValueError(f"{where} has no {key}")
            _check_kind(f"{where}.{key}", value, theirs[key])


def _check_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError where what is kept for each weight has another shape than the weights."""
    for parameter, values in optimizer.state.items():
        for name in _MOMENTA:
            value = values.get(name)
            if isinstance(value, Tensor) and value.shape != parameter.shape:
                raise ValueError(f"a {name} is {list(value.shape)} for weights of {list(parameter.shape)}")


def _compare_cpu(runner: Any, threads: list[int], capabilities: list[str]) -> None:
    """Says where the run goes on with another number of threads or on a processor of other instructions, which move its results
    a little; all of them are kept."""
    goes_on = runner.device.type == "cpu" and runner.train_loop.epoch < runner.max_epochs
    now = runner.threads_used[-1]
    if goes_on and threads and threads[-1] != now:
        messages.remark(
            f"{runner.work_dir} was trained with {threads[-1]} threads so far and goes on with {now}: its results are those of "
            "neither number, --threads sets it"
        )
    instructions = runner.cpu_capabilities_used[-1]
    if goes_on and capabilities and capabilities[-1] != instructions:
        messages.remark(
            f"{runner.work_dir} was trained with a processor's {capabilities[-1]} instructions so far and goes on with "
            f"{instructions}, which round otherwise: its results are those of neither"
        )
    runner.threads_used = _with(threads, now)
    runner.cpu_capabilities_used = _with(capabilities, instructions)


def _with(before: list[Any], now: Any) -> list[Any]:
    """What a run had so far, and what it has now where that is another."""
    return before if before[-1:] == [now] else [*before, now]


def _recover_best(runner: Any, path: Path) -> None:
    """Makes sure that ``best.pth`` holds the best epoch of this very run.

    If it does not, and the present epoch is the best, it is written anew. Else the weights of the best epoch so far are gone: the
    present epoch takes its place, and a later one that is better; ``runner.best_from`` says from which epoch on the best was looked
    for. A file that is not this run's is kept under another name.

    Raises:
        InputError: the file is there and the system does not let us read it.
    """
    epoch, best = runner.train_loop.epoch, runner.best_epoch()
    try:
        found = read_own(path, runner.identity)["meta"]["epoch"]
    except UnusableCheckpoint as error:
        why = str(error).partition(": ")[0]
        if path.is_file():
            aside = path.with_name(f"{BEST}.unusable")
            os.replace(path, aside)
            why += f", kept as {aside.name}"
    else:
        if found == best:
            return
        if found == epoch + 1:  # a kill between the two files: this epoch comes again, and with it the same weights
            runner.best_is_ahead = True
            return
        why = f"{path} is of epoch {found} and not of the best, {best}"
    if best == epoch:
        messages.remark(f"{why}; written anew from {LAST}")
    else:
        messages.remark(
            f"{why}; training goes on, but the weights of the best epoch so far ({best}) are unknown: the best is looked for from "
            f"epoch {epoch} on, and the record says so"
        )
        runner.best_from = epoch
    write_best(Path(runner.work_dir), snapshot(runner))
