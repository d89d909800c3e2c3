"""The files of runs that a picture is drawn from: one entry for each run, or for each row with its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.figures.style import RowStyle, style
from sar_cls.runs.dense_outputs import DenseOutputs, read_dense_outputs
from sar_cls.runs.features import Features, read_features
from sar_cls.runs.folder import FEATURES_FILE, SEGMENTATION_FILE
from sar_cls.runs.geometry import ENTRY, geometry_of, recorded_geometry
from sar_cls.runs.history import HISTORY_FILE, read_history
from sar_cls.runs.ledger import Warn
from sar_cls.runs.outputs import OUTPUTS_FILE, TestOutputs, read_outputs
from sar_cls.runs.per_class import PER_CLASS_FILE, last_accuracies

if TYPE_CHECKING:
    import pandas as pd


class NothingToDraw(InputError):
    """A figure has no meaning for these runs, which is nobody's fault and needs no warning: the message says why."""


@dataclass(frozen=True)
class Series:
    """One entry of a picture: a run, or the runs of a row with several seeds.

    Attributes:
        label: its name in the legend.
        run_dirs: directories of the runs; they are pooled or averaged.
        train_counts: training images per class.
        details: how its recipe differs from the row's own, in a few words each.
        row: name of the row; empty for runs that are of none.
        records: of the runs, where they are known, in the order of ``run_dirs``.
        baseline: the runs that these are paired with by seed, where there are some.
        style: what it is drawn with.
    """

    label: str
    run_dirs: tuple[Path, ...]
    train_counts: tuple[int, ...]
    details: tuple[str, ...] = ()
    row: str = ""
    records: tuple[Mapping[str, Any], ...] = ()
    baseline: Series | None = None
    style: RowStyle = field(default_factory=lambda: style(0))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs, as far as their records are known."""
        return tuple(record["seed"] for record in self.records)

    @property
    def _with_records(self) -> list[tuple[Path, Mapping[str, Any] | None]]:
        records = self.records or (None,) * len(self.run_dirs)
        return list(zip(self.run_dirs, records, strict=True))

    @cached_property
    def features(self) -> list[Features]:
        """Features of each run; `InputError` where a file is missing, damaged or of another run."""
        return [read_features(run_dir, record) for run_dir, record in self._with_records]

    @cached_property
    def geometries(self) -> list[dict[str, dict[str, dict[str, float | str]]]]:
        """Geometry of each run's features, from its record or else from the features; `InputError` as for those."""
        recorded = [recorded_geometry(record) for record in self.records]
        if recorded and all(entry is not None for entry in recorded):
            return [entry for entry in recorded if entry is not None]
        return [geometry_of(run, self.train_counts) for run in self.features]

    @cached_property
    def dense_outputs(self) -> list[DenseOutputs]:
        """What each run of a segmentation net keeps of its test set; `InputError` where a file is missing or damaged."""
        return [read_dense_outputs(run_dir) for run_dir in self.run_dirs]

    @property
    def is_dense(self) -> bool:
        """Whether the runs are of segmentation nets."""
        return any((run_dir / SEGMENTATION_FILE).exists() for run_dir in self.run_dirs)

    @cached_property
    def outputs(self) -> list[TestOutputs]:
        """Test logits of each run; `InputError` where a file is missing or damaged."""
        return [read_outputs(run_dir) for run_dir in self.run_dirs]

    @cached_property
    def class_accuracies(self) -> list[np.ndarray]:
        """Accuracy [C] of each class in percent, for each run; `InputError` where files are missing or damaged."""
        return [last_accuracies(run_dir, len(self.train_counts)) for run_dir in self.run_dirs]

    @cached_property
    def histories(self) -> list[pd.DataFrame]:
        """History of each run, a row an epoch; `InputError` where a file is missing, damaged or cut off."""
        return [read_history(run_dir, record) for run_dir, record in self._with_records]


def same_classes(series: Sequence[Series]) -> np.ndarray:
    """Training images [C] of the classes, the first row's.

    Raises:
        InputError: rows of different numbers of classes.
    """
    counts = np.asarray(series[0].train_counts)
    for entry in series:
        if len(entry.train_counts) != len(counts):
            raise InputError(
                f"{entry.label} has {len(entry.train_counts)} classes, the others {len(counts)}; draw them apart"
            )
    return counts


@dataclass(frozen=True)
class Source:
    """A kind of files that pictures are drawn from.

    Attributes:
        attribute: of `Series`, which reads them.
        files: their names; a run needs one of them.
        pictures: what is drawn from them, for a warning.
        entry: of a record's ``extra``, which does as well.
    """

    attribute: str
    files: tuple[str, ...]
    pictures: str
    entry: str = ""

    def lacking(self, series: Series) -> list[Path]:
        """The run directories in which none of the files is, and whose record does not do either."""
        recorded = [bool(self.entry) and self.entry in record["extra"] for record in series.records]
        recorded = recorded or [False] * len(series.run_dirs)
        return [
            path
            for path, known in zip(series.run_dirs, recorded, strict=True)
            if not known and not any((path / name).exists() for name in self.files)
        ]


OUTPUTS = Source("outputs", (OUTPUTS_FILE,), "reliability diagrams")
DENSE_OUTPUTS = Source("dense_outputs", (SEGMENTATION_FILE,), "pictures of predictions")
CLASS_ACCURACIES = Source("class_accuracies", (OUTPUTS_FILE, PER_CLASS_FILE), "accuracies per class")
HISTORIES = Source("histories", (HISTORY_FILE,), "curves over epochs")
GEOMETRY = Source("geometries", (FEATURES_FILE,), "figures of features", ENTRY)
FEATURES = Source("features", (FEATURES_FILE,), "figures of features")


class Missing:
    """Collects the entries without some files, so that one sentence tells of all; kept runs, for one, have no logits."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, tuple[str, ...]], dict[str, Path]] = {}
        self.told: set[str] = set()

    def readable(self, series: Sequence[Series], source: Source, warn: Warn) -> list[Series]:
        """The entries whose files of one kind are all there; a sentence about each one whose files are damaged."""
        kept = []
        for entry in series:
            lacking = source.lacking(entry)
            if lacking:
                self.entries.setdefault((source.pictures, source.files), {})[entry.label] = lacking[0]
                continue
            try:
                getattr(entry, source.attribute)
            except InputError as error:
                sentence = f"{entry.label} is left out of the {source.pictures}: {error}"
                if sentence not in self.told:  # several figures need the same files
                    warn(sentence)
                self.told.add(sentence)
            else:
                kept.append(entry)
        return kept

    def tell(self, warn: Warn) -> None:
        """One sentence for each kind of files that some entries lack."""
        for (pictures, names), entries in self.entries.items():
            label, path = next(iter(entries.items()))
            more = len(entries) - 1
            rows = f"{label} and {more} other row{'s' if more > 1 else ''} are" if more else f"{label} is"
            warn(f"{rows} left out of the {pictures}: no {' nor '.join(names)}, for example in {path}")
