"""Entries of a config that nothing reads: most would train to the end as if they were not there, under a recipe of their own."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.registry import LOOPS, OPTIM_WRAPPERS, Registry
from mmengine.runner import IterBasedTrainLoop
from mmpretrain.registry import MODELS

from sar_cls.data import IMAGE_SETS, MASKED_SETS, load_image_set, longtail_indices
from sar_cls.engine import dense
from sar_cls.errors import InputError
from sar_cls.mm.loops import DeviceTrainLoop
from sar_cls.suites.rows import Source

# Marks of mmengine, and what its registries take for themselves.
_MARKS = {"type", "_scope_", "_delete_"}
_LOADER = ("batch_size", "dataset", "sampler", "drop_last")
# Of torch's loader: how images are brought, and not which. Pipelines of mmseg read the first; inherited ones may stay.
_WORKERS = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor", "collate_fn")
# What mmengine takes out of an optimizer wrapper before it builds that; and what --precision sets.
_OF_THE_WRAPPER = ("constructor", "paramwise_cfg", "precision")


def check_keys(config: Config, source: Source) -> None:
    """Looks at the entries of loaders, data set, loop, optimizer wrapper and model.

    What is known of a part with a type is what its constructor takes; one that may take anything is not looked at.

    Args:
        config: complete.
        source: what the row runs, for messages.

    Raises:
        InputError: there is no entry of a name; the near one is named.
    """
    for where, part, known in _sections(config):
        if not isinstance(part, Mapping) or known is None:
            continue
        for name in part:
            if name not in known and name not in _MARKS:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise InputError(f"{source}: {where} has no entry {name!r}: {hint}")


def _sections(config: Config) -> Iterator[tuple[str, Any, Iterable[str] | None]]:
    """Name and entry of each section with the names that are known in it; None where it may hold any."""
    train, is_dense = config.train_dataloader, dense.is_dense(config)
    yield "train_dataloader", train, (*_LOADER, "batches_per_epoch", *_WORKERS)
    yield "val_dataloader", config.val_dataloader, (*_LOADER, *_WORKERS)
    yield from _of_the_data(train.get("dataset"))
    loop = config.train_cfg
    known: list[str] | None
    if is_dense:  # of its loop the numbers are taken
        known = [*(_arguments(IterBasedTrainLoop) or ()), *(_arguments(DeviceTrainLoop) or ()), "by_epoch"]
    else:
        known = _arguments(_find(LOOPS, loop.get("type", "DeviceTrainLoop")))
    yield "train_cfg", loop, _without(known, "runner", "dataloader")
    wrapper = config.optim_wrapper
    if wrapper.get("constructor") is None:  # one of the config's own takes what it likes
        known = _arguments(_find(OPTIM_WRAPPERS, wrapper.get("type", "OptimWrapper")))
        yield "optim_wrapper", wrapper, None if known is None else [*known, *_OF_THE_WRAPPER]
    models = import_module("mmseg.registry").MODELS if is_dense else MODELS
    yield "model", config.model, _arguments(_find(models, config.model.get("type")))


def _of_the_data(dataset: Any) -> Iterator[tuple[str, Any, Iterable[str] | None]]:
    """A data set of this project; those of mmseg have a type and say themselves what they take."""
    name = dataset.get("name") if isinstance(dataset, Mapping) else None
    if name in MASKED_SETS:
        yield "dataset", dataset, ("name", "data_root")
    elif name in IMAGE_SETS:
        own = _without(_arguments(load_image_set), "name", "download", "build_cache")
        yield "dataset", dataset, ["name", "longtail", "downscale", *(own or ())]
        yield "dataset.longtail", dataset.get("longtail"), _without(_arguments(longtail_indices), "labels")


def _without(names: list[str] | None, *filled_in: str) -> list[str] | None:
    return None if names is None else [name for name in names if name not in filled_in]


def _find(registry: Registry, kind: Any) -> Any:
    if callable(kind):
        return kind
    try:
        return registry.get(kind)
    except Exception:  # whatever its attempts to import a module of that name end in
        return None


def _arguments(factory: Callable[..., Any] | None) -> list[str] | None:
    """Names of the arguments that a class or function takes; None where it may take any.

    Classes of this project hand their ``**kwargs`` on to the class above; what others do with theirs is not known.
    """
    found: list[str] = []
    for part in inspect.getmro(factory) if inspect.isclass(factory) else (factory,):
        if inspect.isclass(part) and "__init__" not in vars(part):
            continue
        called: Any = vars(part)["__init__"] if inspect.isclass(part) else part
        try:
            parameters = inspect.signature(called).parameters
        except (TypeError, ValueError):  # none, or none to be had
            return None
        found += [name for name, it in parameters.items() if it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD)]
        if not any(it.kind == it.VAR_KEYWORD for it in parameters.values()):
            return [name for name in found if name != "self"]
        if not part.__module__.startswith("sar_cls."):
            return None
    return None
