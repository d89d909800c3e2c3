"""Learning rates of single parts of a net, by mmengine's ``paramwise_cfg``: refused where they would do nothing.

mmengine takes a rule for every weight whose name holds the rule's key. A key that no name holds, and a setting that it does not
know, it passes over without a word, and the run would train as if they were not there.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from sar_cls.mm.head import CLASSIFIERS

# Of mmengine's DefaultOptimWrapperConstructor.
_RULES = ("lr_mult", "decay_mult")
_SETTINGS = (
    *("custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "flat_decay_mult", "dwconv_decay_mult"),
    *("dcn_offset_lr_mult", "bypass_duplicate"),
)


def check_rate_rules(paramwise: Any, head: Mapping[str, Any], regularizer: nn.Module | None) -> None:
    """Looks at ``optim_wrapper.paramwise_cfg``.

    Args:
        paramwise: the config's entry, None for none.
        head: the config of the head. Keys that begin with its name are compared with its weights; others, which can be of any part
            of the net, are not.
        regularizer: of the head.

    Raises:
        ValueError: an unknown setting or a factor that is none, or a key of no weight of the head; the near one is named.
    """
    if paramwise is None:
        return
    if not isinstance(paramwise, Mapping) or not isinstance(paramwise.get("custom_keys", {}), Mapping):
        raise ValueError("paramwise_cfg and its custom_keys must be tables")
    for name in paramwise:
        _known("paramwise_cfg has no setting", name, _SETTINGS)
    names = _names(head, regularizer)
    for key, rule in paramwise.get("custom_keys", {}).items():
        if not isinstance(rule, Mapping):
            raise ValueError(f"paramwise_cfg: the rule of {key!r} must be a table, as in {{ lr_mult = 0.1 }}")
        for name, factor in rule.items():
            _known(f"paramwise_cfg: the rule of {key!r} has no setting", name, _RULES)
            is_number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
            if not is_number or not math.isfinite(factor) or factor < 0:
                raise ValueError(f"paramwise_cfg: {name} of {key!r} is {factor!r}: give a finite number of at least 0")
        if names and key.startswith("head.") and not any(key in name for name in names):
            parts = {".".join(name.split(".")[:length]) for name in names for length in range(2, 6)}
            _known("paramwise_cfg: no weight of the head has a name with", key, sorted(parts))


def _names(head: Mapping[str, Any], regularizer: nn.Module | None) -> list[str]:
    """Names of the weights of this project's head; empty for another one, which is not known here."""
    if head.get("type") != "RegularizedLinearClsHead":
        return []
    classifier = dict(head.get("classifier") or {})
    kind = CLASSIFIERS.get(classifier.pop("type", None), nn.Linear)
    parts = {"fc": kind(2, 2, **classifier), "regularizer": regularizer}
    return [
        f"head.{part}.{name}"
        for part, module in parts.items()
        if module is not None
        for name, _ in module.named_parameters()
    ]


def _known(what: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise ValueError(
            f"{what} {name!r}: " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")
        )
