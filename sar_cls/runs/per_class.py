"""The accuracy of each class of a run, as a CSV file beside its record."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.runs.folder import PER_CLASS_FILE
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
            f"the test logits in {run_dir} have {len(columns[0])} classes and its record {len(counts)}; run this row again."
        )
    path = Path(run_dir) / PER_CLASS_FILE
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(range(len(counts)), names, counts, *columns, strict=True))
    return path


def class_names(run_dir: Path | str) -> list[str]:
    """Names of the classes by label, from ``per_class.csv`` or else the test outputs; empty where neither has any."""
    run_dir = Path(run_dir)
    try:
        with (run_dir / PER_CLASS_FILE).open(newline="", encoding="utf-8") as file:
            names = [line.get("name") or "" for line in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error):
        try:
            found = read_outputs(run_dir).classes
            names = [] if found is None else [str(name) for name in found]
        except InputError:
            return []
    return names if all(names) else []


def last_accuracies(run_dir: Path | str) -> np.ndarray:
    """Accuracy of each class at the last epoch in percent, float [C]; NaN for a class without a test image.

    From the test logits where the run has them, else from its ``per_class.csv``: kept runs have no logits.

    Raises:
        InputError: neither file is there, or the one that counts is damaged.
    """
    if (Path(run_dir) / OUTPUTS_FILE).exists():
        from sar_cls.metrics import per_class_accuracy  # imports torch, so only once it is needed

        outputs = read_outputs(run_dir)
        return np.asarray(per_class_accuracy(outputs.logits, outputs.labels), dtype=float)
    path = Path(run_dir) / PER_CLASS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        accuracies = {int(line["class"]): float(line["last_accuracy"] or "nan") for line in lines}
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run this row again") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); run this row again") from error
    if not accuracies or sorted(accuracies) != list(range(len(lines))):
        raise InputError(f"{path} is damaged (the classes are not 0, 1, 2 ...); run this row again")
    return np.array([accuracies[label] for label in range(len(lines))])
