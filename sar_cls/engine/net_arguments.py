"""Whether the parts that a config names are there and take the arguments it gives them, asked before anything is built."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope, Registry
from mmpretrain.registry import MODELS

from sar_cls.losses import LOSSES
from sar_cls.mm.losses import public_name, register_losses
from sar_cls.regularizers.arguments import check_arguments

# Entries of a part that its registry takes for itself.
_OF_THE_REGISTRY = {"type", "_scope_"}
# Their heads hand the arguments that they do not know to the class they are derived from.
_HEADS = ("mmpretrain.models.heads.", "sar_cls.mm.head")


def check_parts(
    config: Config, scope: str = "mmpretrain", parts: Iterable[tuple[str, dict[str, Any] | None]] | None = None
) -> None:
    """Looks at the parts of the net, the preprocessing and the optimizer.

    Args:
        config: whose optimizer is looked at.
        scope: of the library whose registry has the parts.
        parts: title and entry of each; None for those of a classifier.

    Raises:
        ValueError: there is no such part, or it has no argument of a name; the near one is named.
    """
    registry_of_parts = MODELS if scope == "mmpretrain" else import_module(f"{scope}.registry").MODELS
    with DefaultScope.overwrite_default_scope(scope):
        for title, registry, part in _parts(config, registry_of_parts, parts):
            check_part(title, registry, part)


def check_part(title: str, registry: Registry, part: dict[str, Any], filled_in: tuple[str, ...] = ()) -> None:
    """Looks at one entry ``dict(type=..., ...)``, in the present scope; ``filled_in`` are arguments that it gets from elsewhere.

    Raises:
        ValueError: as :func:`check_parts`.
    """
    register_losses()
    kind = part.get("type")
    factory = kind if callable(kind) else _find(registry, kind)
    if factory is None:
        ours = [public_name(name) for name in LOSSES] if title == "loss" else []
        near = [
            *difflib.get_close_matches(str(kind), ours),
            *difflib.get_close_matches(str(kind), registry.module_dict),
        ]
        raise ValueError(f"there is no {title} {kind!r}" + (f": did you mean {near[0]!r}?" if near else ""))
    try:
        names = [name for name in part if name not in _OF_THE_REGISTRY]
        check_arguments(factory, names, filled_in, _passed_on(factory))
    except ValueError as error:
        raise ValueError(f"{title}: {error}") from error


def _parts(
    config: Config, registry: Registry, parts: Iterable[tuple[str, dict[str, Any] | None]] | None
) -> Iterator[tuple[str, Registry, dict[str, Any]]]:
    for title, part in _of_a_classifier(config) if parts is None else parts:
        if isinstance(part, dict) and part:
            yield title, registry, part
    optimizer = config.optim_wrapper.get("optimizer")
    if isinstance(optimizer, dict):
        yield "optimizer", OPTIMIZERS, optimizer


def _of_a_classifier(config: Config) -> Iterator[tuple[str, dict[str, Any] | None]]:
    head = config.model.get("head") or {}
    yield "backbone", config.model.get("backbone")
    yield "neck", config.model.get("neck")
    yield "head", head
    yield "loss", head.get("loss")
    yield "data_preprocessor", config.get("data_preprocessor")


def _passed_on(factory: Any) -> list[str] | None:
    """What the ``**kwargs`` of a head stand for: arguments of the classes that it is derived from. None for other parts, which
    may do anything with theirs."""
    if not inspect.isclass(factory) or not factory.__module__.startswith(_HEADS):
        return None
    names = []
    for base in factory.__mro__[1:]:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base).parameters
        names += [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        if not any(one.kind == one.VAR_KEYWORD for one in parameters.values()):
            break
    return names


def _find(registry: Registry, kind: Any) -> Any:
    try:
        return registry.get(kind)
    except Exception:  # whatever its attempts to import a module of that name end in
        return None
