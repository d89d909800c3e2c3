"""Numbers as the page keeps them: short, and null where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


def short(value: Any, digits: int = 4) -> float | None:
    """``value`` with so many significant digits; None for what is no finite number."""
    if value is None or isinstance(value, (bool, str)):
        return None
    number = float(value)
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def all_short(values: Iterable[Any], digits: int = 4) -> list[float | None]:
    """:func:`short` of each."""
    return [short(value, digits) for value in values]
