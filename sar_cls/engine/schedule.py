"""Running a recipe for fewer epochs: every milestone and warm-up shrinks in proportion, a regularizer's too."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.optim.scheduler.param_scheduler import INF

# Scheduler arguments that count epochs (or iterations), as one number or a list of them.
_COUNTS = ("milestones", "begin", "end", "T_max", "total_iters", "step_size")


def counts_iterations(config: Config) -> bool:
    """Whether the recipe is one of iterations, with an evaluation every ``val_interval`` of them, and not one of epochs."""
    return config.train_cfg.get("max_iters") is not None


def recipe_epochs(config: Config) -> int:
    """The number of epochs, or iterations where it counts these, that the recipe itself asks for."""
    return int(config.train_cfg["max_iters" if counts_iterations(config) else "max_epochs"])


def interval(config: Config, iterations: int) -> int:
    """Iterations between two evaluations: the recipe's, or all of them where a run has fewer."""
    return min(int(config.train_cfg["val_interval"]), iterations)


def shorten(config: Config, epochs: int, batches_per_epoch: int) -> None:
    """Rescales ``config`` in place to ``epochs`` epochs; does nothing where that is the recipe's own number.

    The schedulers step by iteration then, since a warm-up of 5 in 200 epochs is half an epoch of 20. A regularizer's
    ``aux_warmup``, which counts steps, is one of at least 1.

    Args:
        config: a config with ``train_cfg.max_epochs``, or ``max_iters``, and ``param_scheduler``.
        epochs: at least 1; iterations of a recipe that counts these.
        batches_per_epoch: steps of one epoch; 1 for a recipe that counts iterations.
    """
    full = recipe_epochs(config)
    if epochs == full:
        return
    if counts_iterations(config):
        config.train_cfg["val_interval"] = interval(config, epochs)
    config.train_cfg["max_iters" if counts_iterations(config) else "max_epochs"] = epochs
    model = config.get("model", {})
    heads = model.get("head") or model.get("decode_head") or {}
    for head in heads if isinstance(heads, (list, tuple)) else [heads]:
        regularizer = head.get("regularizer")
        if isinstance(regularizer, dict) and regularizer.get("aux_warmup"):
            regularizer["aux_warmup"] = max(1, round(regularizer["aux_warmup"] * epochs / full))
    schedulers = config.get("param_scheduler") or []
    scaled = [
        _scaled(dict(scheduler), epochs / full, batches_per_epoch)
        for scheduler in (schedulers if isinstance(schedulers, list) else [schedulers])
    ]
    # A warm-up or decay of under two iterations changes nothing that could be seen.
    config.param_scheduler = [item for item in scaled if item.get("end", float("inf")) - item.get("begin", 0) >= 2]


def _scaled(scheduler: dict[str, Any], ratio: float, batches_per_epoch: int) -> dict[str, Any]:
    by_epoch = scheduler.get("by_epoch", True) and not scheduler.get("convert_to_iter_based", False)
    # An "end" given in epochs beside convert_to_iter_based counts epochs all the same.
    unit = batches_per_epoch if by_epoch or scheduler.get("convert_to_iter_based", False) else 1
    scheduler.pop("convert_to_iter_based", None)
    scheduler["by_epoch"] = False
    for key in _COUNTS:
        value = scheduler.get(key)
        if value is None:
            continue
        if isinstance(value, (list, tuple)):
            scheduler[key] = [max(1, round(item * unit * ratio)) for item in value]
        elif value < INF:  # mmengine's "end" by default; a schedule may be longer than the training
            scheduler[key] = round(value * unit * ratio)
    return scheduler
