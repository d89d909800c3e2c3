"""The test logits that a run keeps, so that a new metric needs no new training.

They are float32, the ones that the recorded metrics come from. Files of older versions hold float16, whose rounding makes ties
(see :mod:`sar_cls.metrics`): figures computed anew from such a file can differ from the recorded ones by some hundredths of a
point, and :attr:`TestOutputs.rounded` says so.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError

OUTPUTS_FILE = "test_outputs.npz"


@dataclass(frozen=True)
class TestOutputs:
    """What the network said of the test set.

    Attributes:
        logits: float [n, C], after the last epoch.
        labels: int [n].
        logits_best: float [n, C], at the best epoch; None where it was not kept.
        val_logits: float [m, C] of the validation split, after the last epoch; None where there was no split.
        val_logits_best: the same at the best epoch.
        val_labels: int [m].
        classes: str [C], the names of the classes; None where they were not kept.
    """

    __test__ = False  # no test class, whatever pytest makes of the name

    logits: np.ndarray
    labels: np.ndarray
    logits_best: np.ndarray | None = None
    val_logits: np.ndarray | None = None
    val_logits_best: np.ndarray | None = None
    val_labels: np.ndarray | None = None
    classes: np.ndarray | None = None

    @property
    def rounded(self) -> bool:
        """Whether the logits were saved in half precision, as older versions did."""
        return self.logits.dtype == np.float16


def read_outputs(run_dir: Path | str) -> TestOutputs:
    """Reads ``test_outputs.npz`` of a run; nothing in it is unpickled.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = Path(run_dir) / OUTPUTS_FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            optional = ("logits_best", "val_logits", "val_logits_best", "val_labels", "classes")
            return TestOutputs(arrays["logits"], arrays["labels"], **{name: arrays.get(name) for name in optional})
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run this row again to have its test logits.") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}); run this row again.") from error


def has_rounded_logits(run_dir: Path | str) -> bool:
    """Whether the run's test logits are there and in half precision."""
    try:
        return read_outputs(run_dir).rounded
    except InputError:
        return False


def recompute(record: Mapping[str, Any], run_dir: Path | str) -> dict[str, Any]:
    """The record with its metrics computed anew from the saved test logits; metrics of other origin stay as they are.

    Raises:
        InputError: the logits are missing, damaged, or do not fit the record.
    """
    outputs = read_outputs(run_dir)
    from sar_cls.metrics import evaluate, evaluate_calibrated  # imports torch, so only once it is needed

    counts = record["train_counts"]
    metrics = {name: dict(values) for name, values in record["metrics"].items()}
    metrics["last"] |= evaluate(outputs.logits, outputs.labels, train_counts=counts)
    if outputs.logits_best is not None:
        metrics["best"] |= evaluate(outputs.logits_best, outputs.labels, train_counts=counts)
    for name, logits, val_logits in (
        ("last", outputs.logits, outputs.val_logits),
        ("best", outputs.logits_best, outputs.val_logits_best),
    ):
        if logits is not None and val_logits is not None and outputs.val_labels is not None:
            metrics[name] |= evaluate_calibrated(logits, outputs.labels, val_logits, outputs.val_labels)
    return {**record, "metrics": metrics}
