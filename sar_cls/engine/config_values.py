"""Values of a config that would train to the end and mean nothing: refused before anything is loaded or written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.registry import OPTIMIZERS, PARAM_SCHEDULERS

from sar_cls.bounds import MOST_EPOCHS, MOST_ITERATIONS
from sar_cls.engine.schedule import counts_iterations
from sar_cls.errors import InputError
from sar_cls.mm.loaders import EPOCH_LENGTHS
from sar_cls.suites.rows import Source

_Rule = tuple[Callable[[Any], bool], str]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_channels(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and len(value) in (1, 3) and all(map(fits, value))


_COUNT: _Rule = (lambda value: _is_whole(value) and value >= 1, "a whole number of at least 1")
_POSITION: _Rule = (lambda value: _is_number(value) and value >= 0, "0 or more")
_POSITIVE: _Rule = (lambda value: _is_number(value) and value > 0, "above 0")
_SHARE: _Rule = (lambda value: _is_number(value) and 0 <= value <= 1, "from 0 to 1")
_BELOW_1: _Rule = (lambda value: _is_number(value) and 0 <= value < 1, "at least 0 and below 1")

_OPTIMIZER: dict[str, _Rule] = {
    "lr": _POSITIVE,
    "momentum": _BELOW_1,
    "dampening": _SHARE,
    "weight_decay": _SHARE,
    "eps": _POSITIVE,
    "betas": (
        lambda value: isinstance(value, (list, tuple)) and len(value) == 2 and all(_BELOW_1[0](beta) for beta in value),
        "two numbers of at least 0 and below 1",
    ),
}
_CHANNELS = "one number or three, a channel each"
_PREPROCESSOR: dict[str, _Rule] = {
    "mean": (lambda value: _are_channels(value, _is_number), _CHANNELS),
    "std": (lambda value: _are_channels(value, _POSITIVE[0]), f"{_CHANNELS}, above 0"),
    "mixup_alpha": _POSITIVE,
}
_SCHEDULER: dict[str, _Rule] = {
    "T_max": _COUNT,
    "step_size": _COUNT,
    "total_iters": _COUNT,
    "gamma": _POSITIVE,
    "factor": _POSITIVE,
    "start_factor": (lambda value: _is_number(value) and 0 < value <= 1, "above 0 and at most 1"),
    "end_factor": _SHARE,
    "eta_min": _POSITION,
    "begin": _POSITION,
    "end": (lambda value: value == math.inf or _POSITIVE[0](value), "above 0"),
    "milestones": (
        lambda value: (
            isinstance(value, (list, tuple))
            and all(_COUNT[0](step) for step in value)
            and list(value) == sorted(set(value))
        ),
        "whole numbers of at least 1, each above the one before",
    ),
}


def check_values(config: Config, source: Source) -> None:
    """Looks at batch sizes, epochs, optimizer and schedule of a row's config.

    Args:
        config: complete.
        source: what the row runs, for messages.

    Raises:
        InputError: a value is impossible, or mmengine and torch do not take it; the sentence names it.
    """

    def check(where: str, values: Mapping[str, Any], rules: Mapping[str, _Rule]) -> None:
        for name, (fits, wanted) in rules.items():
            value = values.get(name)
            if value is not None and not fits(value):
                raise InputError(f"{source}: {where}.{name} is {value!r} and must be {wanted}; correct the config")

    fewest = 0 if config.get("posthoc") else 1
    epochs: _Rule = (
        lambda value: _is_whole(value) and fewest <= value <= MOST_EPOCHS,
        f"a whole number from {fewest} to {MOST_EPOCHS}",
    )
    for loader in ("train_dataloader", "val_dataloader"):
        if config[loader].get("batch_size") is None:
            raise InputError(f"{source}: {loader} has no batch_size; add it")
        check(loader, config[loader], {"batch_size": _COUNT})
    if config.get("data_preprocessor", {}).get("type") == "BatchPreprocessor":
        check("data_preprocessor", config.data_preprocessor, _PREPROCESSOR)
    batches = config.train_dataloader.get("batches_per_epoch")
    if batches not in tuple(EPOCH_LENGTHS):
        check("train_dataloader", config.train_dataloader, {"batches_per_epoch": _COUNT})
    if counts_iterations(config):
        _check_iterations(config, source, check)
    elif config.train_cfg.get("max_epochs") is None:
        raise InputError(f"{source}: train_cfg has no max_epochs; add it")
    else:
        check("train_cfg", config.train_cfg, {"max_epochs": epochs})
    optimizer = config.optim_wrapper.get("optimizer")
    if config.get("posthoc") or not isinstance(optimizer, dict):
        return
    check("optimizer", optimizer, _OPTIMIZER)
    schedulers = config.get("param_scheduler") or []
    schedulers = schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]
    for number, scheduler in enumerate(schedulers):
        where = "param_scheduler" if len(schedulers) == 1 else f"param_scheduler[{number}]"
        if not isinstance(scheduler, dict):
            raise InputError(f"{source}: {where} is {type(scheduler).__name__} and must be a dict; correct the config")
        check(where, scheduler, _SCHEDULER)
        if scheduler.get("end", math.inf) <= scheduler.get("begin", 0):
            raise InputError(f"{source}: {where} ends before it begins; correct begin and end")
    _try(dict(optimizer), [dict(scheduler) for scheduler in schedulers], source)


def _check_iterations(config: Config, source: Source, check: Callable[..., None]) -> None:
    """A recipe of iterations is evaluated every ``val_interval`` of them, and after the last one."""
    iterations: _Rule = (
        lambda value: _is_whole(value) and 1 <= value <= MOST_ITERATIONS,
        f"a whole number from 1 to {MOST_ITERATIONS}",
    )
    if config.train_cfg.get("val_interval") is None:
        raise InputError(f"{source}: train_cfg counts iterations and has no val_interval; add it")
    check("train_cfg", config.train_cfg, {"max_iters": iterations, "val_interval": iterations})
    total, interval = config.train_cfg["max_iters"], config.train_cfg["val_interval"]
    if total % interval:
        raise InputError(
            f"{source}: train_cfg.max_iters is {total}, not a multiple of val_interval, {interval}; choose others, so that the "
            "last iteration is evaluated"
        )


def _try(optimizer: dict[str, Any], schedulers: list[dict[str, Any]], source: Source) -> None:
    """Builds optimizer and schedule for a weight of their own: whatever else they do not take, they say at once."""
    where = "optimizer"
    try:
        built = OPTIMIZERS.build(dict(optimizer, params=[torch.nn.Parameter(torch.zeros(1))]))
        for scheduler in schedulers:
            where = "param_scheduler"
            if scheduler.pop("convert_to_iter_based", False):
                scheduler.pop("_scope_", None)  # mmengine's mark on what came from a config of another library
                kind = PARAM_SCHEDULERS.get(scheduler.pop("type"))
                kind.build_iter_from_epoch(optimizer=built, epoch_length=10, **scheduler)
            else:
                PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=built))
    except Exception as error:  # of torch, of mmengine, of a class of the config's own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"{source}: the {where} cannot be built ({reason}); correct the config") from error
