"""The test logits that a run keeps, so that a new metric needs no new training.

They are float32, the ones that the recorded metrics come from. Files of older versions hold float16, whose rounding makes ties
(see :mod:`sar_cls.metrics`): figures computed anew from such a file can differ from the recorded ones by some hundredths of a
point, and :attr:`TestOutputs.rounded` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.runs.arrays import read_arrays
from sar_cls.runs.folder import OUTPUTS_FILE, again
from sar_cls.superclasses import superclasses_of


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


def write_outputs(
    run_dir: Path,
    logits: Mapping[str, Mapping[str, Any]],
    labels: Any,
    val_labels: Any | None,
    classes: Sequence[str],
) -> None:
    """Writes ``test_outputs.npz``: ``logits`` of the last epoch and ``logits_best`` of the best one, float32 [n, C], ``labels``
    int64 [n]; the same with ``val_`` in front for a validation split; ``classes``, the names.

    Args:
        run_dir: of the run.
        logits: of the "test" set and, where there is one, of the "val" split: CPU tensors of the "last" and the "best" epoch.
        labels: of the test set, a CPU tensor.
        val_labels: of the validation split.
        classes: names.
    """
    arrays: dict[str, Any] = {"labels": labels.numpy(), "classes": np.array(classes, dtype=np.str_)}
    if val_labels is not None:
        arrays["val_labels"] = val_labels.numpy()
    for split, part in logits.items():
        for epoch, values in part.items():
            prefix, suffix = "val_" if split == "val" else "", "_best" if epoch == "best" else ""
            arrays[f"{prefix}logits{suffix}"] = values.numpy()
    with replacing(run_dir / OUTPUTS_FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_outputs(run_dir: Path | str) -> TestOutputs:
    """Reads ``test_outputs.npz`` of a run; nothing in it is unpickled.

    Raises:
        InputError: the file is missing or damaged.
    """
    optional = ("logits_best", "val_logits", "val_logits_best", "val_labels", "classes")

    def build(arrays: Any) -> TestOutputs:
        return TestOutputs(arrays["logits"], arrays["labels"], **{name: arrays.get(name) for name in optional})

    return read_arrays(Path(run_dir) / OUTPUTS_FILE, build, _problem, "test logits")


def _problem(outputs: TestOutputs) -> str | None:
    """Why the arrays cannot be logits and labels of one run, in a few words; None where they can."""
    pairs = [
        ("logits", "labels"),
        ("logits_best", "labels"),
        ("val_logits", "val_labels"),
        ("val_logits_best", "val_labels"),
    ]
    for name, labels_name in pairs:
        logits, labels = getattr(outputs, name), getattr(outputs, labels_name)
        if logits is None:
            continue
        if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
            return f"{labels_name} is no row of whole numbers"
        if logits.ndim != 2 or logits.dtype.kind != "f" or len(logits) != len(labels) or not logits.size:
            return f"{name} does not fit {labels_name}"
        if labels.min() < 0 or labels.max() >= logits.shape[1] or logits.shape[1] != outputs.logits.shape[1]:
            return f"{name} and {labels_name} have other classes"
    if outputs.classes is not None and outputs.classes.shape != (outputs.logits.shape[1],):
        return "classes are not as many as in logits"
    return None


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
    if len(counts) != outputs.logits.shape[1]:
        raise InputError(
            f"the test logits in {run_dir} have {outputs.logits.shape[1]} classes and its record {len(counts)}; "
            f"{again(run_dir)}."
        )
    metrics = {name: dict(values) for name, values in record["metrics"].items()}
    names = () if outputs.classes is None else [str(name) for name in outputs.classes]
    homes = superclasses_of(record["dataset"], names) if len(names) == len(counts) else None
    metrics["last"] |= evaluate(outputs.logits, outputs.labels, train_counts=counts, superclasses=homes)
    if outputs.logits_best is not None:
        metrics["best"] |= evaluate(outputs.logits_best, outputs.labels, train_counts=counts, superclasses=homes)
    for name, logits, val_logits in (
        ("last", outputs.logits, outputs.val_logits),
        ("best", outputs.logits_best, outputs.val_logits_best),
    ):
        if logits is not None and val_logits is not None and outputs.val_labels is not None:
            metrics[name] |= evaluate_calibrated(logits, outputs.labels, val_logits, outputs.val_labels)
    return {**record, "metrics": metrics}
