"""Which classes a suite's rows confuse, over seeds and beside their baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sar_cls.errors import InputError
from sar_cls.reporting.class_metric import is_dense
from sar_cls.reporting.groups import Group, baseline_of, distinctions, group_runs
from sar_cls.reporting.stats import PairedDifference, Summary, paired_difference, summarize
from sar_cls.runs.dense_outputs import read_dense_outputs
from sar_cls.runs.features import read_features
from sar_cls.runs.folder import FEATURES_FILE, OUTPUTS_FILE, SEGMENTATION_FILE, again
from sar_cls.runs.ledger import Warn
from sar_cls.runs.outputs import read_outputs
from sar_cls.runs.per_class import class_names
from sar_cls.suites.rows import Suite


@dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other; shares in percent of the class's test images, of a segmentation net of its test
    pixels, in the mean over a row's seeds, with a baseline over those that both have.

    Attributes:
        first: the class that loses more, by name.
        second: the other.
        counts: training images (pixels) of both.
        lost: of the first that are taken for the second.
        returned: of the second that are taken for the first.
        lost_before: the baseline's figure; None without one.
        returned_before: likewise.
    """

    first: str
    second: str
    counts: tuple[int, int]
    lost: float
    returned: float
    lost_before: float | None = None
    returned_before: float | None = None


@dataclass(frozen=True)
class ConfusionLine:
    """What is known of one row by one recipe.

    Attributes:
        group: the runs.
        deviations: how the recipe differs from the row's own.
        others: what tells this line from others of the row and the same deviations, for instance the precision.
        runs: runs whose predictions are there.
        flows: shot group, of a segmentation net "head", "body", "tail" -> ``"right"`` and ``"to_<group>"`` -> mean over seeds and
            difference to the baseline; percent.
        pairs: the pairs most confused, the worst first.
    """

    group: Group
    deviations: tuple[str, ...]
    others: tuple[str, ...]
    runs: int
    flows: dict[str, dict[str, tuple[Summary, PairedDifference | None]]]
    pairs: tuple[Pair, ...]


def compare_confusion(
    suite: Suite, runs: Sequence[tuple[Path, Mapping[str, Any]]], warn: Warn, most: int = 5
) -> list[ConfusionLine]:
    """The lines of a suite (without the included ones) whose predictions are there, in the suite's order.

    Args:
        suite: the suite.
        runs: run folder and record of each.
        warn: called with a sentence for each run whose files are damaged.
        most: pairs to give of each row.
    """
    folders = {record["run_id"]: run_dir for run_dir, record in runs}
    groups = group_runs(suite, [record for _, record in runs], lambda _: None)  # the main tables have warned
    known: dict[str, np.ndarray | None] = {}

    def by_seed(group: Group) -> dict[int, np.ndarray]:
        for run in group.runs:
            if run["run_id"] not in known:
                known[run["run_id"]] = _matrix(folders[run["run_id"]], run, warn)
        found = {run["seed"]: known[run["run_id"]] for run in group.runs}
        return {seed: matrix for seed, matrix in found.items() if matrix is not None}

    lines = []
    for row in suite.rows:
        for group in groups[row.name]:
            ours, baseline = by_seed(group), baseline_of(group, groups)
            if ours:
                theirs = None if baseline is None else by_seed(baseline)
                others = distinctions(group, groups[row.name])
                run_dir = folders[group.runs[0]["run_id"]]
                lines.append(_line(group, others, ours, theirs, run_dir, most, is_dense(suite)))
    return lines


def _line(
    group: Group,
    others: tuple[str, ...],
    ours: Mapping[int, np.ndarray],
    theirs: Mapping[int, np.ndarray] | None,
    run_dir: Path,
    most: int,
    dense: bool,
) -> ConfusionLine:
    from sar_cls.metrics import shot_groups  # imports torch, so only once it is needed
    from sar_cls.metrics.confusion import between_groups, most_confused
    from sar_cls.metrics.segmentation import frequency_groups

    counts = group.runs[0]["train_counts"]
    groups = frequency_groups(counts) if dense else shot_groups(counts)
    parts = {name: classes for name, classes in groups.items() if len(classes)}
    own = {seed: between_groups(matrix, parts) for seed, matrix in ours.items()}
    other = {seed: between_groups(matrix, parts) for seed, matrix in (theirs or {}).items()}
    flows: dict[str, dict[str, tuple[Summary, PairedDifference | None]]] = {}
    for name in parts:
        for where in ("right", *(f"to_{part}" for part in parts)):
            values = {seed: flow[name][where] for seed, flow in own.items()}
            before = {seed: flow[name][where] for seed, flow in other.items()}
            difference = None if theirs is None else paired_difference(values, before)
            flows.setdefault(name, {})[where] = summarize(values.values()), difference
    both = [seed for seed in ours if seed in (theirs or {})]
    rates = _mean_rates([ours[seed] for seed in both or ours])
    rates_before = _mean_rates([theirs[seed] for seed in both]) if theirs and both else None
    names = class_names(run_dir)
    if len(names) != len(counts):
        names = [str(label) for label in range(len(counts))]
    pairs = []
    for pair in most_confused(rates, most):
        cells = (pair.first, pair.second), (pair.second, pair.first)
        before_pair = [None if rates_before is None else float(rates_before[cell]) for cell in cells]
        pairs.append(
            Pair(
                names[pair.first], names[pair.second], (counts[pair.first], counts[pair.second]), pair.lost, pair.returned,
                *before_pair,
            )
        )  # fmt: skip
    return ConfusionLine(group, tuple(group.recipe.deviations(group.row)), others, len(ours), flows, tuple(pairs))


def _mean_rates(matrices: Iterable[np.ndarray]) -> np.ndarray:
    from sar_cls.metrics.confusion import confusion_rates

    return np.mean([confusion_rates(matrix) for matrix in matrices], axis=0)


def _matrix(run_dir: Path, record: Mapping[str, Any], warn: Warn) -> np.ndarray | None:
    """The confusion matrix of a run's last epoch, from its features or its outputs; None where none are there and sound."""
    from sar_cls.metrics.confusion import confusion_matrix

    try:
        if (run_dir / FEATURES_FILE).exists():
            features = read_features(run_dir, record)
            predictions, labels = features.test_predictions, features.test_labels
        elif (run_dir / OUTPUTS_FILE).exists():
            outputs = read_outputs(run_dir)
            predictions, labels = outputs.logits.argmax(axis=1), outputs.labels
        elif (run_dir / SEGMENTATION_FILE).exists():
            return _kept_matrix(run_dir, len(record["train_counts"]))
        else:
            return None
        return confusion_matrix(predictions, labels, len(record["train_counts"]))
    except InputError as error:
        warn(f"a run is left out of the confusion: {str(error).rstrip('.')}.")
        return None


def _kept_matrix(run_dir: Path, classes: int) -> np.ndarray:
    """The matrix of pixels that a segmentation net has kept."""
    matrix = read_dense_outputs(run_dir).last.confusion
    if len(matrix) != classes:
        raise InputError(
            f"{run_dir / SEGMENTATION_FILE} has {len(matrix)} classes and the record {classes}; {again(run_dir)}"
        )
    return matrix
