"""Names of constructor arguments that come from a config or from a caller's keywords."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def check_arguments(
    factory: Callable[..., Any], names: Iterable[str], filled_in: Iterable[str] = ("num_classes", "feat_dim")
) -> None:
    """Refuses names that a class or function has no argument for, where Python's own error would name no other.

    Args:
        factory: what is to be called.
        names: of the arguments that were given.
        filled_in: the arguments that come from the model.

    Raises:
        ValueError: a name that comes from the model, or an unknown one, with the nearest known one or else all of them.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # no signature to be had: the call itself will tell
        return
    me = getattr(factory, "__name__", repr(factory))
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    known = [name for name in parameters if name not in filled_in]
    for name in names:
        if name in filled_in:
            raise ValueError(f"{me} gets {name} from the model: leave it out")
        if name not in known and not takes_any:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
            raise ValueError(f"{me} has no argument {name!r}: {hint}")
