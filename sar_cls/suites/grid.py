"""A grid: one entry of a ``suite.toml`` that stands for a row for each combination of some values.

    [[rows]]
    name = "sar_tau_{tau}"
    label = "SAR, tau = {tau}"
    config = "mixup.py"
    grid.tau = [0.5, 0.7, 0.9, 1.0]
    set.model.head.regularizer = { type = "SAR", tau = "{tau}" }

The values may also be names of rows, for ``like`` or ``after``: one entry is then the second stage of each of several rows.

In ``set`` a string that is a placeholder and nothing else becomes the value itself; inside a longer string, and in every other
entry, the value is written out (in the row's name, a point becomes an underscore).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from sar_cls.errors import InputError
from sar_cls.suites.toml_file import SuiteFile, unknown

# Entries that are names of rows.
_NAMES = ("name", "like", "after", "baseline")
# Entries by which the rows of a grid differ.
_TELLING = ("set", "like", "after")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def expand(file: SuiteFile, index: int, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows that an entry stands for, itself where it is no grid.

    Raises:
        InputError: a grid without values, a placeholder that it does not have, or a value that no setting or name takes.
    """
    grid = entry.get("grid")
    if grid is None:
        yield entry
        return
    where = file.where("grid", index)
    if not grid:
        raise InputError(f"{where}: the grid is empty; give it values, as in grid.tau = [0.5, 0.9].")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}: grid.{name} must be an array of at least one value.")
        if f"{{{name}}}" not in entry["name"]:
            raise InputError(
                f"{where}: the name {entry['name']!r} needs {{{name}}}, or the rows would all have one name."
            )
        if name not in _placeholders([entry.get(key, "") for key in _TELLING]):
            raise InputError(f'{where}: no setting takes the values of {name}; write "{{{name}}}" where they belong.')
    for used in _placeholders({key: value for key, value in entry.items() if key != "grid"}):
        if used not in grid:
            raise InputError(f"{where}: {unknown('placeholder', used, grid)}")
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        yield {key: _fill(value, chosen, key) for key, value in entry.items() if key != "grid"}


def _placeholders(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(_PLACEHOLDER.findall(value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*(_placeholders(part) for part in parts))


def _fill(value: Any, chosen: dict[str, Any], entry: str) -> Any:
    """What stands in ``entry`` of a row, or deeper in it, with the chosen values in place of their names."""
    if isinstance(value, dict):
        return {key: _fill(part, chosen, entry) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, chosen, entry) for part in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole and entry == "set":
        return chosen[whole[1]]
    return _PLACEHOLDER.sub(lambda found: _written(chosen[found[1]], entry in _NAMES), value)


def _written(value: Any, is_name: bool) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^a-z0-9_]+", "_", text.lower()) if is_name else text
