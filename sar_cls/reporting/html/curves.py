"""Curves over epochs or iterations: mean over the seeds of a row, with the range between the lowest and the highest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.reporting.html.numbers import all_short
from sar_cls.reporting.readings import drawn_readings
from sar_cls.runs.history import read_history, unit_of

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 200
# Columns of a history -> what they are called, and their unit.
TRAINING = {
    "test_top1": ("Test accuracy, top-1", "%"),
    "val_macro": ("Validation accuracy, mean of the classes", "%"),
    "val_top1": ("Validation accuracy, top-1", "%"),
    "val_miou": ("Validation mIoU", "%"),
    "test_miou": ("Test mIoU", "%"),
    "loss": ("Training loss, total", ""),
    "loss_ce": ("Classification loss", ""),
}


def reading_titles() -> dict[str, tuple[str, str]]:
    """What regularizers say of themselves and is drawn: column -> title and unit."""
    drawn = drawn_readings()
    drawn.sort(key=lambda reading: not reading.in_record)  # what a record keeps matters most
    return {reading.name: (reading.title, "%") for reading in drawn}


def curves_of(
    run_dirs: Sequence[Path],
    columns: Sequence[str],
    shares: Sequence[str],
    records: Sequence[Mapping[str, Any] | None] = (),
) -> dict[str, Any]:
    """The curves of the runs of a row, as far as the shortest of them goes.

    Args:
        run_dirs: folders of the runs.
        columns: which columns, where all the runs have them.
        shares: those of the columns that are shares and become percent.
        records: of the runs; with them a history that does not end where its run ended is refused.

    Returns:
        ``at``, the epochs, or iterations for a recipe without epochs, ``unit``, which of them, and, by column, ``mean``, and for
        several runs ``low`` and ``high``: lists of at most 200 points.

    Raises:
        InputError: a history is missing, damaged or cut off.
    """
    known = records or (None,) * len(run_dirs)
    histories: list[pd.DataFrame] = [read_history(*run) for run in zip(run_dirs, known, strict=True)]
    length = min(len(history) for history in histories)
    kept = np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int))
    unit = unit_of(histories)
    found: dict[str, Any] = {"unit": unit, "at": [int(place) for place in histories[0][unit].to_numpy()[kept]]}
    for column in columns:
        if any(column not in history.columns for history in histories):
            continue
        scale = 100 if column in shares else 1
        values = np.stack([_numbers(history[column])[:length][kept] for history in histories]) * scale
        if not np.isfinite(values).any():
            continue
        found[column] = {"mean": all_short(values.mean(axis=0))}
        if len(values) > 1:
            found[column] |= {"low": all_short(values.min(axis=0)), "high": all_short(values.max(axis=0))}
    return found


def _numbers(column: pd.Series) -> np.ndarray:
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
