"""The files of runs that a picture is drawn from: one entry for each run, or for each row with its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sar_cls.errors import InputError
from sar_cls.runs.dense_outputs import DenseOutputs, read_dense_outputs
from sar_cls.runs.folder import SEGMENTATION_FILE
from sar_cls.runs.history import HISTORY_FILE, read_history
from sar_cls.runs.ledger import Warn
from sar_cls.runs.outputs import OUTPUTS_FILE, TestOutputs, read_outputs
from sar_cls.runs.per_class import PER_CLASS_FILE, last_accuracies

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Series:
    """One entry of a picture: a run, or the runs of a row with several seeds.

    Attributes:
        label: its name in the legend.
        run_dirs: directories of the runs; they are pooled or averaged.
        train_counts: training images per class.
        details: how its recipe differs from the row's own, in a few words each.
    """

    label: str
    run_dirs: tuple[Path, ...]
    train_counts: tuple[int, ...]
    details: tuple[str, ...] = ()

    @cached_property
    def outputs(self) -> list[TestOutputs]:
        """Test logits of each run; `InputError` where a file is missing or damaged."""
        return [read_outputs(run_dir) for run_dir in self.run_dirs]

    @cached_property
    def dense_outputs(self) -> list[DenseOutputs]:
        """What each run of a segmentation net keeps of its test set; `InputError` where a file is missing or damaged."""
        return [read_dense_outputs(run_dir) for run_dir in self.run_dirs]

    @cached_property
    def class_accuracies(self) -> list[np.ndarray]:
        """Accuracy [C] of each class in percent, for each run; `InputError` where files are missing or damaged."""
        accuracies = [last_accuracies(run_dir) for run_dir in self.run_dirs]
        for run_dir, values in zip(self.run_dirs, accuracies, strict=True):
            if len(values) != len(self.train_counts):
                raise InputError(
                    f"{run_dir} has accuracies of {len(values)} classes and a record of {len(self.train_counts)}; "
                    "run this row again"
                )
        return accuracies

    @cached_property
    def histories(self) -> list[pd.DataFrame]:
        """History of each run, a row an epoch; `InputError` where a file is missing or damaged."""
        return [read_history(run_dir) for run_dir in self.run_dirs]


@dataclass(frozen=True)
class Source:
    """A kind of files that pictures are drawn from.

    Attributes:
        attribute: of `Series`, which reads them.
        files: their names; a run needs one of them.
        pictures: what is drawn from them, for a warning.
    """

    attribute: str
    files: tuple[str, ...]
    pictures: str


OUTPUTS = Source("outputs", (OUTPUTS_FILE,), "reliability diagrams")
DENSE_OUTPUTS = Source("dense_outputs", (SEGMENTATION_FILE,), "pictures of predictions")
CLASS_ACCURACIES = Source("class_accuracies", (OUTPUTS_FILE, PER_CLASS_FILE), "accuracies per class")
HISTORIES = Source("histories", (HISTORY_FILE,), "plots over epochs")


class Missing:
    """Collects the entries without some files, so that one sentence tells of all; kept runs, for one, have no logits."""

    def __init__(self) -> None:
        self.entries: dict[Source, dict[str, Path]] = {}

    def readable(self, series: Sequence[Series], source: Source, warn: Warn) -> list[Series]:
        """The entries whose files of one kind are all there; a sentence about each one whose files are damaged."""
        kept = []
        for entry in series:
            lacking = [path for path in entry.run_dirs if not any((path / name).exists() for name in source.files)]
            if lacking:
                self.entries.setdefault(source, {})[entry.label] = lacking[0]
                continue
            try:
                getattr(entry, source.attribute)
            except InputError as error:
                warn(f"{entry.label} is left out of the {source.pictures}: {error}")
            else:
                kept.append(entry)
        return kept

    def tell(self, warn: Warn) -> None:
        """One sentence for each kind of files that some entries lack."""
        for source, entries in self.entries.items():
            label, path = next(iter(entries.items()))
            more = len(entries) - 1
            rows = f"{label} and {more} other row{'s' if more > 1 else ''} are" if more else f"{label} is"
            files = " nor ".join(source.files)
            warn(f"{rows} left out of the {source.pictures}: no {files}, for example in {path}")
