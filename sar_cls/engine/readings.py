"""What a record keeps of a regularizer's readings; which ones, the regularizer says itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sar_cls.regularizers import Reading


def in_record(history: Sequence[dict[str, Any]], readings: Sequence[Reading]) -> dict[str, float]:
    """The means over all epochs and over the last tenth of them, as ``NAME`` and ``NAME_last_tenth``.

    Args:
        history: a row an epoch.
        readings: of the regularizer.
    """
    found: dict[str, float] = {}
    for reading in readings:
        if reading.in_record and all(reading.name in row for row in history):
            found[reading.name] = _mean(history, reading)
            found[f"{reading.name}_last_tenth"] = _mean(_last_tenth(history), reading)
    return found


def remarks(history: Sequence[dict[str, Any]], readings: Sequence[Reading]) -> list[str]:
    """The sentences that the readings of the last tenth of the epochs are worth."""
    tail = _last_tenth(history)
    return [
        reading.remark_at_zero
        for reading in readings
        if reading.remark_at_zero and all(reading.name in row for row in tail) and _mean(tail, reading) == 0
    ]


def _last_tenth(history: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    return history[-max(1, len(history) // 10) :]


def _mean(rows: Sequence[dict[str, Any]], reading: Reading) -> float:
    return sum(row[reading.name] for row in rows) / len(rows)
