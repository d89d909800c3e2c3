"""Accuracy per class, confusion and reliability of each line, as far as its runs have kept what is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.html.confusion import Outcomes, dense_outcomes_of, encoded, outcomes_of, pooled, reliability
from sar_cls.reporting.html.numbers import all_short
from sar_cls.reporting.html.views import Entry
from sar_cls.runs.dense_outputs import is_dense_run
from sar_cls.runs.folder import OUTPUTS_FILE, PER_CLASS_FILE, SEGMENTATION_FILE, again
from sar_cls.runs.ledger import Warn
from sar_cls.runs.per_class import read_per_class

# Characters of all confusion matrices together, so that the file stays below 5 MB.
MOST_CONFUSION = 2_500_000


@dataclass(frozen=True)
class _Source:
    """Where the outcomes of runs are from: the file, its reader, and what the page shows of it."""

    file: str
    read: Callable[[Path], Outcomes]
    shown: str


_PLAIN = _Source(OUTPUTS_FILE, outcomes_of, "confusion and no reliability")
_DENSE = _Source(SEGMENTATION_FILE, dense_outcomes_of, "confusion")


class ClassData:
    """Collects what the page shows of classes, within one limit for all lines.

    Args:
        warn: called with a sentence for what is left out.
        most: characters that the confusion matrices may take together.
    """

    def __init__(self, warn: Warn, most: int = MOST_CONFUSION) -> None:
        self._warn, self._left = warn, most
        self._too_large: list[str] = []
        self._without: dict[_Source, list[tuple[str, Path]]] = {}

    def of(self, entry: Entry) -> dict[str, Any]:
        """``names``, ``accuracy`` [C] in percent (mean over the runs), ``runs``, ``confusion`` and ``reliability``, where they
        can be had."""
        classes = len(entry.group.runs[0]["train_counts"])
        source = _DENSE if is_dense_run(entry.group.runs[0]) else _PLAIN
        parts, bad = self._outcomes(entry, source, classes)
        found: dict[str, Any] = {}
        if parts:
            outcomes = pooled(parts)
            found |= {"names": outcomes.names, "confusionRuns": outcomes.runs}
            found |= {} if source is _DENSE else {"reliability": reliability(outcomes)}
            matrix = encoded(outcomes.confusion)
            if len(matrix["data"]) <= self._left:
                self._left -= len(matrix["data"])
                found["confusion"] = matrix
            else:
                self._too_large.append(entry.name)
        if len(parts) == len(entry.run_dirs) and source is _PLAIN:
            accuracies, names = [part.accuracies for part in parts], None
        else:
            accuracies, names = self._accuracies(entry, [run for run in entry.run_dirs if run not in bad], classes)
        if accuracies:
            found |= {"accuracy": all_short(np.mean(accuracies, axis=0)), "accuracyRuns": len(accuracies)}
        if found.get("names") is None:
            found["names"] = names
        return found

    def _outcomes(self, entry: Entry, source: _Source, classes: int) -> tuple[list[Outcomes], list[Path]]:
        """The outcomes of the runs whose outputs are sound, and the folders of the others."""
        folders = [folder for folder in entry.run_dirs if (folder / source.file).exists()]
        if not folders:
            self._without.setdefault(source, []).append((entry.name, entry.run_dirs[0]))
            return [], []
        sound, bad = [], []
        for folder in folders:
            try:
                part = source.read(folder)
                if len(part.confusion) != classes:
                    raise InputError(
                        f"{folder / source.file} has {len(part.confusion)} classes and the record {classes}; {again(folder)}"
                    )
            except InputError as error:
                self._warn(
                    f"{entry.name} is without a run's confusion and accuracy per class: {str(error).rstrip('.')}."
                )
                bad.append(folder)
            else:
                sound.append(part)
        return sound, bad

    def _accuracies(
        self, entry: Entry, folders: Iterable[Path], classes: int
    ) -> tuple[list[np.ndarray], list[str] | None]:
        """Accuracies of the runs from their ``per_class.csv``, and the names of the classes."""
        found, names = [], None
        for folder in folders:
            if not (folder / PER_CLASS_FILE).exists():
                continue
            try:
                table = read_per_class(folder, classes)
            except InputError as error:
                self._warn(f"{entry.name} is without a run's accuracy per class: {str(error).rstrip('.')}.")
                continue
            found.append(table.last)
            names = table.names if any(table.names) else names
        return found, names

    def tell(self) -> None:
        """One sentence for each kind of thing that many lines lack."""
        for source, without in self._without.items():
            label, folder = without[0]
            more = len(without) - 1
            rows = f"{label} and {more} more line{'s' if more > 1 else ''}" if more else label
            self._warn(f"no {source.shown} of {rows}: no {source.file}, for example in {folder}.")
        if self._too_large:
            self._warn(
                f"the confusion matrices of {len(self._too_large)} lines are left out to keep the file small "
                f"({', '.join(self._too_large[:3])}{' ...' if len(self._too_large) > 3 else ''}): report one --suite at a time."
            )
