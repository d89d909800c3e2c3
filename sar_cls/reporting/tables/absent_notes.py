"""Footnotes of segmentation: which classes have no figure or count as 0, for the means are over the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sar_cls.reporting.comparison import Line
from sar_cls.runs.dense_outputs import is_dense_run


def absent_notes(lines: Iterable[Line]) -> list[str]:
    """What the records say of classes that are missing after the last iteration; nothing for classifiers."""
    records = [run for line in lines if line.group is not None for run in line.group.runs]
    runs = {run["run_id"]: run["metrics"]["last"] for run in records if is_dense_run(run)}
    undefined = _named(runs, lambda found: found.get("undefined_classes") or ())
    absent = _named(
        runs, lambda found: sorted(set(found.get("absent_classes") or ()) - set(found.get("undefined_classes") or ()))
    )
    untrained = _named(runs, lambda found: found.get("untrained_classes") or ())
    empty = _named(runs, lambda found: found.get("empty_groups") or ())
    notes = []
    if undefined:
        notes.append(
            f"Without an IoU, for no test pixel has or gets the class, and left out of the means: {undefined}."
        )
    if absent:
        notes.append(f"Without a test pixel, but predicted, so that the IoU is 0 and counts in the means: {absent}.")
    if untrained:
        notes.append(f"Without a training pixel: {untrained}.")
    if empty:
        notes.append(f"Groups without a figure, for none of their classes has an IoU: {empty}.")
    return notes


def _named(runs: Mapping[str, Mapping[str, Any]], names_of: Callable[[Mapping[str, Any]], Iterable[str]]) -> str:
    """Names in the order in which they come up, each with the number of runs where it is not all."""
    counts = Counter(str(name) for found in runs.values() for name in names_of(found))
    return ", ".join(name + (f" ({n} of {len(runs)} runs)" if n < len(runs) else "") for name, n in counts.items())
