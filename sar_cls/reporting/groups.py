"""Recipes of runs: which runs may be averaged, which compared, and which are a reproduction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sar_cls import official_images
from sar_cls.official_images import BY_NAME, ORDERED_SETS, OTHER_PIXELS, UNKNOWN
from sar_cls.reporting.paper import find
from sar_cls.runs.ledger import Warn
from sar_cls.suites.by_method import FOLDERS
from sar_cls.suites.rows import Row, Suite

_ORDER_REMARKS = {
    BY_NAME: "images sorted by name",
    UNKNOWN: "images in an unknown order",
    OTHER_PIXELS: "images with other pixels than the official ones",
}


@dataclass(frozen=True)
class Recipe:
    """Everything but the seed that decides a run's result. Runs are averaged only when all of it is equal.

    Attributes:
        epochs: epochs run, or iterations.
        epochs_recipe: epochs of the row's recipe, or iterations.
        overrides: what else the command line changed, as sorted JSON; imbalance factor and ``settings`` are not among it.
        data: fingerprints of the image sets, as sorted JSON.
        precision: "fp32" or "bf16".
        config_hash: hash of the resolved config; it is the row's own, so rows that are compared differ in it.
        imbalance: imbalance factor, for long-tailed suites.
        settings: whose settings a second stage took for another data set or factor than its row's: ``"published"``, or those of
            what; "" where it has the row's own.
        unpublished: why a run with another factor than the suite's reproduces nothing, in a few words; "" where it may.
        stage1_row: for a second stage, the row it started from.
        stage1: for a second stage, the recipe of the run it started from.
        order: for a long tail of CIFAR, from which order of its images the subset was drawn
            (see :mod:`sar_cls.official_images`); None where it does not matter, and for a first stage, whose images are those of
            its second.
        unit: what ``epochs`` counts, "epochs" or "iterations".
        orphan: for a second stage, whether the very run it started from is missing from the work directory.
    """

    epochs: int
    epochs_recipe: int
    overrides: str
    data: str
    precision: str
    config_hash: str
    imbalance: float | None = None
    settings: str = ""
    unpublished: str = ""
    stage1_row: str | None = None
    stage1: Recipe | None = None
    order: str | None = None
    unit: str = "epochs"
    orphan: bool = False

    @property
    def comparable(self) -> Recipe:
        """The part that two rows must share to be compared: all but what makes them different rows."""
        stage1 = self.stage1.comparable if self.stage1 is not None else None
        return replace(self, config_hash="", unpublished="", stage1_row=None, stage1=stage1, order=None, orphan=False)

    @property
    def without_precision(self) -> Recipe:
        """The recipe but for the precision, of a first stage too."""
        stage1 = None if self.stage1 is None else self.stage1.without_precision
        return replace(self, precision="", stage1=stage1)

    def deviations(self, row: Row) -> list[str]:
        """How the runs differ from the row's own recipe, in a few words each; empty for a reproduction."""
        found = [] if self.epochs == self.epochs_recipe else [f"{self.epochs} of {self.epochs_recipe} {self.unit}"]
        found += [_describe(name, value) for name, value in json.loads(self.overrides).items()]
        found += self._about_images(row)
        found += [self.unpublished] if self.unpublished else []
        if self.stage1 is not None:
            if self.stage1_row != row.after:
                found.append(f"stage 1 is {self.stage1_row}")
            first = self.stage1 if not self.unpublished else replace(self.stage1, unpublished="")
            found += [f"stage 1: {text}" for text in first.deviations(row)]
        return found

    def _about_images(self, row: Row) -> list[str]:
        """What makes the images of a long tail of CIFAR others than the published ones."""
        if self.order is None:
            return []
        if self.order in _ORDER_REMARKS:
            return [_ORDER_REMARKS[self.order]]
        if row.paper is None or row.paper_task is not None or "val_fraction" in json.loads(self.overrides):
            return []  # there is no published figure, or a remark already
        train = json.loads(self.data).get("train", "")
        is_published = official_images.is_published_subset(train, self.imbalance or 1, self.order)
        return [] if is_published else ["other images than the published subset"]


@dataclass(frozen=True)
class Group:
    """The runs of one row by one recipe, at most one for each seed, sorted by seed."""

    row: Row
    recipe: Recipe
    runs: tuple[Mapping[str, Any], ...]

    @property
    def run_ids(self) -> frozenset[str]:
        return frozenset(run["run_id"] for run in self.runs)

    @property
    def seeds(self) -> frozenset[int]:
        return frozenset(run["seed"] for run in self.runs)

    @property
    def newest(self) -> str:
        """When the last of the runs was finished."""
        return max(run["finished_at"] for run in self.runs)

    def values(self, epoch: str, metric: str) -> dict[int, float | None]:
        """Seed -> metric at the ``last`` or ``best`` epoch; None where the run has no such figure."""
        figures = {run["seed"]: run["metrics"][epoch].get(metric) for run in self.runs}
        return {seed: figure if isinstance(figure, (int, float)) else None for seed, figure in figures.items()}


def recipe_of(record: Mapping[str, Any], suite: Suite, known_ids: frozenset[str] = frozenset()) -> Recipe:
    """The recipe of a run of this suite.

    Args:
        record: a run record, or the ``stage1`` reference of one.
        suite: the suite, whose own imbalance factor holds where the record names none.
        known_ids: ids of the first-stage runs that are there; decides ``orphan``.
    """
    reference = record.get("stage1")
    unit = (record.get("extra") or {}).get("unit", "epochs")
    # What is kept of a first stage does not say what its epochs are: the same as those of its second.
    stage1 = replace(recipe_of(reference, suite), unit=unit) if reference else None
    overrides = dict(record["overrides"])
    overrides.pop("epochs", None)  # told by the fields of that name
    overrides |= _of_processes(record.get("extra") or {})
    if suite.name == FOLDERS:  # all of its runs are on folders with their natural tail, which no table has to tell
        for name, usual in (("dataset", "folder"), ("imbalance", "none")):
            if overrides.get(name) == usual:
                del overrides[name]
    imbalance = overrides.get("imbalance", stage1.imbalance if stage1 else suite.imbalance)
    if imbalance == "none":  # all images of a long-tailed row: stays among the overrides
        imbalance = None
    else:
        overrides.pop("imbalance", None)
        imbalance = None if imbalance is None else float(imbalance)
    order = None
    if imbalance is not None and imbalance > 1 and record.get("dataset") in ORDERED_SETS:
        order = official_images.order_of(record["data_fingerprint"].get("train", ""), record["extra"].get("data_order"))
    settings = str(overrides.pop("settings", ""))
    return Recipe(
        epochs=record["epochs"],
        epochs_recipe=record["epochs_recipe"],
        overrides=json.dumps(overrides, sort_keys=True),
        data=json.dumps(record["data_fingerprint"], sort_keys=True),
        precision=record["precision"],
        config_hash=record["config_hash"],
        imbalance=imbalance,
        settings=settings,
        unpublished=_unpublished(record["row"], suite, imbalance, settings),
        stage1_row=reference["row"] if reference else None,
        stage1=stage1,
        order=order,
        unit=unit,
        orphan=reference is not None and reference["run_id"] not in known_ids,
    )


def _of_processes(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What several processes have changed about a recipe by having a part of each batch: what ``--bn-batch`` would have, in one."""
    shared = extra.get("distributed") or {}
    found: dict[str, Any] = {"local_statistics": shared["processes"]} if shared.get("local_statistics") else {}
    images, whole = shared.get("batch_norm_images"), shared.get("batch_per_process", 0) * shared.get("processes", 0)
    return found | ({"bn_batch": images} if images and images != whole else {})


def _unpublished(name: str, suite: Suite, imbalance: float | None, settings: str) -> str:
    """Why a run of the row ``name`` with this factor and these settings is no reproduction; "" where it may be one.

    The rows' own recipes are published for the suite's factor. With another one a run reproduces something only where a figure is
    published for it, and a second stage only with the settings that are published for it (MiSLAS has some for each factor).
    """
    if settings and settings != "published":
        return settings
    if imbalance is None or suite.imbalance is None or imbalance == suite.imbalance:
        return ""
    row = next((row for row in suite.rows if row.name == name), None)
    dataset = suite.published_dataset(imbalance)
    if row is None or row.paper is None or find(dataset, row.paper, suite.metric, row.stage) is None:
        return f"imbalance {imbalance:g} has no published figure"
    return "" if row.stage == 1 or settings else f"settings of imbalance {suite.imbalance}"


def group_runs(suite: Suite, records: Iterable[Mapping[str, Any]], warn: Warn) -> dict[str, list[Group]]:
    """Row name -> its groups: reproductions first, then by epochs, longest first, then the newest first.

    Where a recipe was run twice with one seed, the newer run counts and a warning says so.
    """
    found: dict[str, dict[Recipe, dict[int, Mapping[str, Any]]]] = {row.name: {} for row in suite.rows}
    known_ids: frozenset[str] = frozenset()
    shown = {row.key for row in suite.rows}
    own = [r for r in records if r["suite"] == suite.name or (r["suite"], r["row"]) in shown]
    for record in sorted(own, key=lambda r: (r["stage"], r["finished_at"])):
        if record["row"] not in found:
            warn(f"a run is left out: suite {suite.name} has no row {record['row']!r} (any more).")
            continue
        seeds = found[record["row"]].setdefault(recipe_of(record, suite, known_ids), {})
        if record["seed"] in seeds:
            warn(f"{suite.name}/{record['row']} was run twice with seed {record['seed']}: the newer run counts.")
            known_ids -= {seeds[record["seed"]]["run_id"]}
        seeds[record["seed"]] = record
        if record["stage"] == 1:
            known_ids |= {record["run_id"]}
    groups: dict[str, list[Group]] = {}
    for row in suite.rows:
        unsorted = [
            Group(row, recipe, tuple(seeds[seed] for seed in sorted(seeds)))
            for recipe, seeds in found[row.name].items()
        ]
        unsorted.sort(key=lambda group: group.newest, reverse=True)
        groups[row.name] = sorted(unsorted, key=lambda g: (bool(g.recipe.deviations(row)), -g.recipe.epochs))
    return groups


def baseline_of(group: Group, groups: Mapping[str, list[Group]]) -> Group | None:
    """The runs that a group is compared with: the baseline row's, on the same data by a comparable recipe.

    Of several such groups the one with the most seeds in common is taken, then the newest. A second stage whose
    baseline is a first-stage row is compared with the very runs it started from.
    """
    if group.row.baseline is None:
        return None
    candidates = groups.get(group.row.baseline, [])
    if group.recipe.stage1 is not None and candidates and candidates[0].row.stage == 1:
        started_from = {run["stage1"]["run_id"] for run in group.runs}
        fitting = [other for other in candidates if started_from & other.run_ids]
    else:
        fitting = [other for other in candidates if other.recipe.comparable == group.recipe.comparable]
    common = [other for other in fitting if group.seeds & other.seeds]
    return max(common, key=lambda other: (len(group.seeds & other.seeds), other.newest), default=None)


def _describe(name: str, value: Any) -> str:
    name = name.replace("_", " ")
    text = re.sub(r"([-_][0-9a-f]{8})\1$", r"\1", str(value))  # many weights are named by the hash that a record adds
    return name if value is True else f"{name} {text}"


def distinctions(group: Group, all_groups: Sequence[Group]) -> tuple[str, ...]:
    """What tells a group from the row's other groups beyond its deviations, so that no two lines look the same."""
    recipe, row = group.recipe, group.row
    rivals = [other.recipe for other in all_groups if other.recipe.deviations(row) == recipe.deviations(row)]
    found = []
    if any(other.precision != recipe.precision for other in rivals):
        found.append(recipe.precision)
    if any(other.data != recipe.data for other in rivals):
        found.append(f"data {_short(group.runs[0]['data_fingerprint'].get('train', ''))}")
    if any(other.config_hash != recipe.config_hash for other in rivals):
        found.append(f"config {_short(recipe.config_hash)}")
    if any(other.stage1 != recipe.stage1 for other in rivals) and recipe.stage1 is not None:
        found.append(f"stage 1: {recipe.stage1.precision}, config {_short(recipe.stage1.config_hash)}")
    if recipe.orphan:
        found.append("its stage-1 run is not here")
    return tuple(found)


def _short(digest: str) -> str:
    return digest[:8]
