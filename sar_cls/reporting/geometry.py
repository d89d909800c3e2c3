"""The geometry of a suite's runs beside their baselines: figures over seeds, agreement of the class geometry between seeds.

Figures come from the records, agreement from the runs' features; what a run lacks is said once and the rest still compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls.errors import InputError
from sar_cls.reporting.groups import Group, baseline_of, distinctions, group_runs
from sar_cls.reporting.stats import PairedDifference, Summary, paired_difference, summarize
from sar_cls.runs.dense_outputs import is_dense_run
from sar_cls.runs.features import Features, read_features
from sar_cls.runs.folder import FEATURES_FILE
from sar_cls.runs.geometry import SPLITS, geometry_of, recorded_geometry
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

if TYPE_CHECKING:
    import pandas as pd

VECTORS = {"prototypes": "train_class_means", "anchors": "semantic_anchors", "classifier": "classifier_weight"}
"""What agrees between seeds -> its array in the features."""


@dataclass(frozen=True)
class Found:
    """A figure of one row over its seeds.

    Attributes:
        summary: mean, spread and number of the runs that have it.
        difference: to the baseline by paired seeds; None without a baseline.
        reasons: why runs have none, in words.
    """

    summary: Summary
    difference: PairedDifference | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How far a row's seeds agree on the geometry of its classes: correlations of Gram matrices over pairs of seeds.

    Attributes:
        mean: over the pairs; None where there is no pair of runs with features.
        low: the least of them.
        high: the greatest.
        pairs: their number. They share seeds, so no interval follows from them.
        to_baseline: mean difference to the baseline over the pairs of seeds that both have; None where there is none.
    """

    mean: float | None
    low: float | None
    high: float | None
    pairs: int
    to_baseline: float | None = None


@dataclass(frozen=True)
class GeometryLine:
    """What is known of one row by one recipe.

    Attributes:
        group: the runs.
        deviations: how the recipe differs from the row's own.
        others: what tells this line from others of the row and the same deviations, for instance the precision.
        figures: (split, shot group, figure) -> what was found.
        agreement: (vectors, shot group) -> agreement between the seeds; vectors as in :data:`VECTORS`.
    """

    group: Group
    deviations: tuple[str, ...]
    others: tuple[str, ...]
    figures: dict[tuple[str, str, str], Found]
    agreement: dict[tuple[str, str], Agreement] = field(default_factory=dict)

    @property
    def shot_groups(self) -> list[str]:
        """The shot groups that there are, "all" first."""
        return list(dict.fromkeys(key[1] for key in self.figures))


class RunGeometries:
    """Geometry and features of runs, each read once; faults are collected and said by :meth:`report`."""

    def __init__(self, runs: Iterable[tuple[Path, Mapping[str, Any]]], warn: Warn) -> None:
        self._folders = {record["run_id"]: run_dir for run_dir, record in runs}
        self._warn = warn
        self._without: list[Path] = []
        self._figures: dict[str, dict[str, Any] | None] = {}
        self._vectors: dict[str, dict[str, Any] | None] = {}

    def figures(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Split -> shot group -> figure -> number or reason; None where the run has none."""
        key = record["run_id"]
        if key not in self._figures:
            self._figures[key] = self._find(record)
        return self._figures[key]

    def vectors(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Class vectors by name, float64 [C, D], and the run's ``counts``; None where the run has no features."""
        key = record["run_id"]
        if key not in self._vectors:
            features = self._features(record)
            self._vectors[key] = None if features is None else _vectors(features)
        return self._vectors[key]

    def report(self) -> None:
        """Says how many runs have neither geometry nor features."""
        if self._without:
            more = f" and {len(self._without) - 1} more" if len(self._without) > 1 else ""
            self._warn(
                f"{self._without[0]}{more} have no features: sar-cls features makes them where the checkpoint is still there."
                if more
                else f"{self._without[0]} has no features: sar-cls features makes them where its checkpoint is still there."
            )
            self._without.clear()

    def _find(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            found = recorded_geometry(record)
        except InputError as error:
            self._warn(f"its geometry is left out: {error}")
            return None
        if found is not None:
            return found
        features = self._features(record, needed=True)
        return None if features is None else geometry_of(features, record["train_counts"])

    def _features(self, record: Mapping[str, Any], *, needed: bool = False) -> Features | None:
        folder = self._folders.get(record["run_id"])
        if folder is None or not (folder / FEATURES_FILE).exists():
            # A segmentation net keeps no features: those of its pixels are too many.
            if needed and folder is not None and not is_dense_run(record):
                self._without.append(folder)
            return None
        try:
            return read_features(folder, record)
        except InputError as error:
            self._warn(f"features are left out: {error}.")
            return None


def compare_geometry(
    suite: Suite, runs: Sequence[tuple[Path, Mapping[str, Any]]], warn: Warn, source: RunGeometries | None = None
) -> list[GeometryLine]:
    """The lines of a suite (without the included ones) that have any geometry, in the suite's order.

    Args:
        suite: the suite.
        runs: run folder and record of each; runs of other suites are passed over.
        warn: called with a sentence for what is left out.
        source: what has been read of these runs already, to be read once.
    """
    source = source or RunGeometries(runs, warn)
    groups = group_runs(suite, [record for _, record in runs], lambda _: None)  # the main tables have warned
    lines = [line for row in suite.rows for group in groups[row.name] for line in _lines(group, groups, source)]
    source.report()
    return lines


def to_frame(results: Iterable[tuple[Suite, Iterable[GeometryLine]]]) -> pd.DataFrame:
    """The lines of some suites as numbers, one row of the frame a figure."""
    import pandas as pd

    entries = []
    for suite, lines in results:
        for line in lines:
            head = {
                "suite": suite.name,
                "imbalance": line.group.recipe.imbalance,
                "row": line.group.row.name,
                "label": suite.full_label(line.group.row),
                "deviations": "; ".join(line.deviations) or None,
                "precision": line.group.recipe.precision,
                "config_hash": line.group.recipe.config_hash,
                "baseline": line.group.row.baseline,
            }
            for (split, shots, name), found in line.figures.items():
                entries.append({**head, "split": split, "classes": shots, "figure": name, **_numbers(found)})
            for (vectors, shots), agreement in line.agreement.items():
                entries.append(
                    {
                        **head,
                        "split": "between seeds",
                        "classes": shots,
                        "figure": f"agreement_{vectors}",
                        "n": agreement.pairs,
                        "mean": agreement.mean,
                        "to_baseline": agreement.to_baseline,
                    }
                )
    return pd.DataFrame(entries, columns=_COLUMNS)


_COLUMNS = [
    "suite", "imbalance", "row", "label", "deviations", "precision", "config_hash", "baseline", "split", "classes", "figure",
    "n", "mean", "std", "to_baseline", "to_baseline_low", "to_baseline_high", "pairs", "significant", "reason",
]  # fmt: skip


def _numbers(found: Found) -> dict[str, Any]:
    summary, difference = found.summary, found.difference
    entry: dict[str, Any] = {"n": summary.n, "mean": summary.mean, "std": summary.std}
    if difference is not None:
        entry |= {
            "to_baseline": difference.mean,
            "to_baseline_low": difference.low,
            "to_baseline_high": difference.high,
            "pairs": difference.n,
            "significant": difference.significant,
        }
    return entry | {"reason": "; ".join(found.reasons) or None}


def _lines(group: Group, groups: Mapping[str, list[Group]], source: RunGeometries) -> Iterator[GeometryLine]:
    ours = _by_seed(group, source)
    if not ours:
        return
    baseline = baseline_of(group, groups)
    theirs = {} if baseline is None else _by_seed(baseline, source)
    keys = dict.fromkeys(
        (split, shots, name)
        for figures in ours.values()
        for split in SPLITS
        for shots, values in figures[split].items()
        for name in values
    )
    found = {}
    for key in keys:
        own, other = _values(ours, key), _values(theirs, key)
        numbers = {seed: value for seed, value in own.items() if not isinstance(value, str)}
        difference = None if baseline is None else paired_difference(numbers, _numeric(other))
        reasons = dict.fromkeys(value for value in own.values() if isinstance(value, str))
        found[key] = Found(summarize(numbers.values()), difference, tuple(reasons))
    agreement = dict(_agreements(group, baseline, source, [key[1] for key in keys]))
    recipe, others = group.recipe, distinctions(group, groups[group.row.name])
    yield GeometryLine(group, tuple(recipe.deviations(group.row)), others, found, agreement)


def _by_seed(group: Group, source: RunGeometries) -> dict[int, dict[str, Any]]:
    found = {run["seed"]: source.figures(run) for run in group.runs}
    return {seed: figures for seed, figures in found.items() if figures is not None}


def _values(figures: Mapping[int, Mapping[str, Any]], key: tuple[str, str, str]) -> dict[int, float | str | None]:
    split, shots, name = key
    return {seed: of_run[split].get(shots, {}).get(name) for seed, of_run in figures.items()}


def _numeric(values: Mapping[int, float | str | None]) -> dict[int, float | None]:
    return {seed: value for seed, value in values.items() if not isinstance(value, str)}


def _vectors(features: Features) -> dict[str, Any]:
    found: dict[str, Any] = {"counts": features.train_class_counts}
    for name, field_name in VECTORS.items():
        array = getattr(features, field_name)
        # Anchors that were never set are no anchors.
        usable = array is not None and (
            name != "anchors" or (features.anchors_set is not None and bool(features.anchors_set.all()))
        )
        found[name] = array.astype("float64") if usable else None
    return found


def _agreements(
    group: Group, baseline: Group | None, source: RunGeometries, shots: Iterable[str]
) -> Iterator[tuple[tuple[str, str], Agreement]]:
    """The agreement of every kind of vectors over every shot group."""
    ours = {run["seed"]: vectors for run in group.runs if (vectors := source.vectors(run)) is not None}
    theirs: dict[int, dict[str, Any]] = {}
    if baseline is not None:
        theirs = {run["seed"]: vectors for run in baseline.runs if (vectors := source.vectors(run)) is not None}
    if len(ours) < 2:
        return
    for name in VECTORS:
        for part in dict.fromkeys(shots):
            own, other = _pairwise(ours, name, part), _pairwise(theirs, name, part)
            if own:
                common = [own[pair] - other[pair] for pair in own if pair in other]
                yield (
                    (name, part),
                    Agreement(
                        mean=sum(own.values()) / len(own),
                        low=min(own.values()),
                        high=max(own.values()),
                        pairs=len(own),
                        to_baseline=sum(common) / len(common) if common else None,
                    ),
                )


def _pairwise(runs: Mapping[int, Mapping[str, Any]], name: str, part: str) -> dict[tuple[int, int], float]:
    """The agreement of each pair of seeds that have these vectors and can be compared."""
    from sar_cls.metrics import shot_groups  # imports torch, so only once it is needed
    from sar_cls.metrics.agreement import correlation, gram_signature

    signatures = {}
    for seed, vectors in runs.items():
        if vectors[name] is not None:
            members = None if part == "all" else shot_groups(vectors["counts"])[part]
            signatures[seed] = gram_signature(vectors[name], members)
    found = {}
    for one, two in itertools.combinations(sorted(signatures), 2):
        ours, theirs = signatures[one], signatures[two]
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            found[one, two] = correlation(ours, theirs)
    return found
