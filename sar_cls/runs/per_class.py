"""The accuracy of each class of a run, as a CSV file beside its record."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.runs.dense_outputs import Evaluated
from sar_cls.runs.folder import PER_CLASS_FILE, again
from sar_cls.runs.outputs import OUTPUTS_FILE, read_outputs

COLUMNS = ("class", "name", "train_count", "last_accuracy", "best_accuracy")


def write_per_class(run_dir: Path | str, record: Mapping[str, Any]) -> Path:
    """Writes ``<run_dir>/per_class.csv`` from the run's saved test logits, a line for each class.

    ``class`` is the label; ``name`` is empty where the logits were saved without class names; ``last_accuracy`` and
    ``best_accuracy`` are the recalls at the last and at the best epoch in percent, empty for a class without a test image
    and where that epoch's logits were not kept.

    Args:
        run_dir: the run directory.
        record: its record, of which ``train_counts`` is taken.

    Returns:
        The path of the file.

    Raises:
        InputError: the logits are missing, damaged, or do not fit the record.
    """
    from sar_cls.metrics import per_class_accuracy  # imports torch, so only once it is needed

    outputs, counts = read_outputs(run_dir), record["train_counts"]
    columns: list[list[Any]] = []
    for logits in (outputs.logits, outputs.logits_best):
        accuracies = per_class_accuracy(logits, outputs.labels) if logits is not None else np.full(len(counts), np.nan)
        columns.append(["" if np.isnan(value) else f"{value:.4f}" for value in accuracies])
    names = outputs.classes if outputs.classes is not None else [""] * len(counts)
    if {len(names), *map(len, columns)} != {len(counts)}:
        raise InputError(
            f"the test logits in {run_dir} have {len(columns[0])} classes and its record {len(counts)}; {again(run_dir)}."
        )
    path = Path(run_dir) / PER_CLASS_FILE
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(range(len(counts)), names, counts, *columns, strict=True))
    return path


def write_dense_per_class(
    run_dir: Path | str, counts: Sequence[int], classes: Sequence[str], found: Mapping[str, Evaluated]
) -> Path:
    """Writes ``<run_dir>/per_class.csv`` of a segmentation net, a line for each class.

    The columns are those of a classifier, counted in pixels, and behind them ``last_iou`` and ``best_iou``, the intersection over
    union in percent; a figure is empty for a class that the test set does not have.

    Args:
        run_dir: the run directory.
        counts: training pixels of each class.
        classes: their names.
        found: at the "last" and the "best" epoch.
    """
    columns: list[list[str]] = []
    for name in ("accuracy", "iou"):
        for epoch in ("last", "best"):
            matrix = found[epoch].confusion
            right, true = np.diagonal(matrix), matrix.sum(axis=1)
            whole = true if name == "accuracy" else true + matrix.sum(axis=0) - right
            values = [f"{100 * a / b:.4f}" if total else "" for a, b, total in zip(right, whole, true, strict=True)]
            columns.append(values)
    path = Path(run_dir) / PER_CLASS_FILE
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "last_iou", "best_iou"])
        writer.writerows(zip(range(len(counts)), classes, counts, *columns, strict=True))
    return path


def class_names(run_dir: Path | str) -> list[str]:
    """Names of the classes by label, from ``per_class.csv`` or else the test outputs; empty where neither has any."""
    run_dir = Path(run_dir)
    try:
        with (run_dir / PER_CLASS_FILE).open(newline="", encoding="utf-8") as file:
            names = [line.get("name") or "" for line in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error):
        try:
            kept = read_outputs(run_dir).classes
        except InputError:
            return []
        names = [] if kept is None else [str(name) for name in kept]
    return names if all(names) else []


def last_accuracies(run_dir: Path | str, classes: int | None = None) -> np.ndarray:
    """Accuracy of each class at the last epoch in percent, float [C]; NaN for a class without a test image. IoU of a
    segmentation net.

    From the test logits where the run has them, else from its ``per_class.csv``: kept runs have no logits.

    Args:
        run_dir: of the run.
        classes: that its record has; with it, a file with other ones is refused.

    Raises:
        InputError: neither file is there, or the one that counts is damaged.
    """
    if (Path(run_dir) / OUTPUTS_FILE).exists():
        from sar_cls.metrics import per_class_accuracy  # imports torch, so only once it is needed

        outputs = read_outputs(run_dir)
        found = outputs.logits.shape[1]
        if classes not in (None, found):
            raise InputError(
                f"{Path(run_dir) / OUTPUTS_FILE} has {found} classes and the record {classes}; {again(run_dir)}"
            )
        return np.asarray(per_class_accuracy(outputs.logits, outputs.labels), dtype=float)
    return read_per_class(run_dir, classes).last


@dataclass(frozen=True)
class PerClass:
    """What ``per_class.csv`` holds.

    Attributes:
        last: float [C], accuracy of each class at the last epoch in percent; NaN for a class without a test image.
        names: of the classes; empty texts where they were not kept.
    """

    last: np.ndarray
    names: list[str]


def read_per_class(run_dir: Path | str, classes: int | None = None) -> PerClass:
    """Reads ``per_class.csv`` of a run.

    Args:
        run_dir: of the run.
        classes: that its record has; with it, a file with other ones is refused.

    Raises:
        InputError: the file is missing, damaged or cut off.
    """
    path = Path(run_dir) / PER_CLASS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        if text and not text.endswith("\n"):
            raise ValueError("its last line is cut off")  # a figure without its last digits would pass for one
        lines = list(csv.DictReader(io.StringIO(text, newline="")))
        # Of a segmentation net the IoU is what is published of a class.
        column = "last_iou" if lines and "last_iou" in lines[0] else "last_accuracy"
        accuracies = {int(line["class"]): float(line[column] or "nan") for line in lines}
        names = {int(line["class"]): line.get("name") or "" for line in lines}
    except FileNotFoundError:
        raise InputError(f"{path} is missing; {again(run_dir)}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); {again(run_dir)}") from error
    if not accuracies or sorted(accuracies) != list(range(len(lines))):
        raise InputError(f"{path} is damaged (the classes are not 0, 1, 2 ...); {again(run_dir)}")
    if classes not in (None, len(lines)):
        raise InputError(f"{path} has {len(lines)} classes and the record {classes}; {again(run_dir)}")
    order = range(len(lines))
    return PerClass(np.array([accuracies[label] for label in order]), [names[label] for label in order])
