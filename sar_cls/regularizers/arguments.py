"""Names of constructor arguments that come from a config or from a caller's keywords."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_arguments(
    factory: Callable[..., Any],
    names: Iterable[str],
    filled_in: Iterable[str] = ("num_classes", "feat_dim"),
    passed_on: Iterable[str] | None = None,
) -> None:
    """Refuses names that a class or function has no argument for, where Python's own error would name no other.

    Args:
        factory: what is to be called.
        names: of the arguments that were given.
        filled_in: the arguments that come from the model.
        passed_on: what its ``**kwargs`` stand for, where that is known; None for anything.

    Raises:
        ValueError: a name that comes from the model, or an unknown one, with the nearest known one or else all of them.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # no signature to be had: the call itself will tell
        return
    me = getattr(factory, "__name__", repr(factory))
    variable = {name for name, parameter in parameters.items() if parameter.kind in _VARIABLE}
    takes_any = passed_on is None and any(parameters[name].kind == _VARIABLE[1] for name in variable)
    known = [name for name in (*parameters, *(passed_on or ())) if name not in filled_in and name not in variable]
    for name in names:
        if name in filled_in:
            raise ValueError(f"{me} gets {name} from the model: leave it out")
        if name not in known and not takes_any:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
            raise ValueError(f"{me} has no argument {name!r}: {hint}")
