"""Whether the parts that a config names are there and take the arguments it gives them, asked before anything is built."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope, Registry
from mmpretrain.registry import MODELS

from sar_cls.regularizers.arguments import check_arguments

# Entries of a part that its registry takes for itself.
_OF_THE_REGISTRY = {"type", "_scope_"}


def check_parts(config: Config) -> None:
    """Looks at the parts of the net, the preprocessing and the optimizer.

    Raises:
        ValueError: there is no such part, or it has no argument of a name; the near one is named.
    """
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        for title, registry, part in _parts(config):
            kind = part.get("type")
            factory = kind if callable(kind) else _find(registry, kind)
            if factory is None:
                near = difflib.get_close_matches(str(kind), registry.module_dict, n=1, cutoff=0.5)
                raise ValueError(f"there is no {title} {kind!r}" + (f": did you mean {near[0]!r}?" if near else ""))
            try:
                check_arguments(factory, [name for name in part if name not in _OF_THE_REGISTRY], filled_in=())
            except ValueError as error:
                raise ValueError(f"{title}: {error}") from error


def _parts(config: Config) -> Iterator[tuple[str, Registry, dict[str, Any]]]:
    head = config.model.get("head") or {}
    found = {
        "backbone": config.model.get("backbone"),
        "neck": config.model.get("neck"),
        "head": head,
        "loss": head.get("loss"),
        "data_preprocessor": config.get("data_preprocessor"),
    }
    for title, part in found.items():
        if isinstance(part, dict) and part:
            yield title, MODELS, part
    optimizer = config.optim_wrapper.get("optimizer")
    if isinstance(optimizer, dict):
        yield "optimizer", OPTIMIZERS, optimizer


def _find(registry: Registry, kind: Any) -> Any:
    try:
        return registry.get(kind)
    except Exception:  # whatever its attempts to import a module of that name end in
        return None
