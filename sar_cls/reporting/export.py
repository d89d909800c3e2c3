"""One flat line a run, for pandas and leaderboards: ``report.py --export runs.jsonl``.

The columns are those of `COLUMNS`, then ``last_METRIC`` and ``best_METRIC`` for each metric of the record that is a number
(accuracies and errors in percent), ``override_NAME`` for what the command line changed about the recipe, ``extra_NAME`` for what
else the record says in plain values, and ``geometry_SPLIT_GROUP_FIGURE`` of the features. docs/export.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.reporting.groups import Group, group_runs
from sar_cls.reporting.paper import find
from sar_cls.runs.geometry import recorded_geometry
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

_Read = Callable[[Suite, Group, Mapping[str, Any]], Any]
# Column -> how it is read from suite, group and record. The order is that of the file.
COLUMNS: dict[str, _Read] = {
    "run_id": lambda suite, group, run: run["run_id"],
    "suite": lambda suite, group, run: run["suite"],
    "row": lambda suite, group, run: run["row"],
    "run": lambda suite, group, run: run["run"],
    "label": lambda suite, group, run: suite.full_label(group.row),
    "stage": lambda suite, group, run: run["stage"],
    "method": lambda suite, group, run: run["method"],
    "backbone": lambda suite, group, run: run["backbone"],
    "dataset": lambda suite, group, run: run["dataset"],
    "imbalance": lambda suite, group, run: group.recipe.imbalance,
    "seed": lambda suite, group, run: run["seed"],
    "epochs": lambda suite, group, run: run["epochs"],
    "epochs_recipe": lambda suite, group, run: run["epochs_recipe"],
    "reproduction": lambda suite, group, run: not group.recipe.deviations(group.row),
    "deviations": lambda suite, group, run: "; ".join(group.recipe.deviations(group.row)) or None,
    "metric": lambda suite, group, run: suite.metric,
    "value": lambda suite, group, run: _number(run["metrics"]["last"].get(suite.metric)),
    "paper": lambda suite, group, run: _paper(suite, group),
    "baseline": lambda suite, group, run: group.row.baseline,
    "best_epoch": lambda suite, group, run: run["best_epoch"],
    "best_on": lambda suite, group, run: run["best_on"],
    "classes": lambda suite, group, run: len(run["train_counts"]),
    "train_images": lambda suite, group, run: sum(run["train_counts"]),
    "data_train": lambda suite, group, run: run["data_fingerprint"].get("train"),
    "data_test": lambda suite, group, run: run["data_fingerprint"].get("test"),
    "config_hash": lambda suite, group, run: run["config_hash"],
    "stage1_run_id": lambda suite, group, run: run["stage1"]["run_id"] if run["stage1"] else None,
    "commit": lambda suite, group, run: run["git"].get("commit"),
    "dirty": lambda suite, group, run: run["git"].get("dirty"),
    "version": lambda suite, group, run: run["versions"].get("sar-cls"),
    "torch": lambda suite, group, run: run["versions"].get("torch"),
    "python": lambda suite, group, run: run["versions"].get("python"),
    "device": lambda suite, group, run: run["device"],
    "accelerator": lambda suite, group, run: run["machine"].get("accelerator"),
    "cpu": lambda suite, group, run: run["machine"].get("cpu"),
    "cpu_capability": lambda suite, group, run: run["machine"].get("cpu_capability"),
    "threads": lambda suite, group, run: run["machine"].get("threads"),
    "precision": lambda suite, group, run: run["precision"],
    "wall_seconds": lambda suite, group, run: run["wall_seconds"],
    "images_per_second": lambda suite, group, run: run["images_per_second"],
    "peak_memory_bytes": lambda suite, group, run: run["peak_memory_bytes"],
    "finished_at": lambda suite, group, run: run["finished_at"],
}


def flat_lines(
    suites: Iterable[Suite], runs: Sequence[tuple[Path, Mapping[str, Any]]], warn: Warn
) -> list[dict[str, Any]]:
    """A flat dictionary of plain values for each run of the suites, in the order of their tables; all have the same keys.

    Args:
        suites: the suites, without the ones that they include.
        runs: run directories and records.
        warn: called with a sentence for each run that is left out.
    """
    records = [record for _, record in runs]
    found: dict[str, dict[str, Any]] = {}
    for suite in suites:
        groups = group_runs(suite, records, warn)
        for row in suite.rows:
            for group in groups[row.name]:
                # A suite may show another one's rows: what the owner says of a run counts.
                new = [run for run in group.runs if run["run_id"] not in found or row.suite == suite.name]
                found |= {run["run_id"]: _line(suite, group, run) for run in new}
    lines = list(found.values())
    columns = list(dict.fromkeys(name for line in lines for name in line))
    fixed = [name for name in columns if name in COLUMNS]
    return [{name: line.get(name) for name in fixed + sorted(set(columns) - set(fixed))} for line in lines]


def write_export(
    suites: Iterable[Suite], runs: Sequence[tuple[Path, Mapping[str, Any]]], path: Path, warn: Warn
) -> int:
    """Writes the lines to ``path``, whole or not at all, and returns how many."""
    lines = flat_lines(suites, runs, warn)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    return len(lines)


def _line(suite: Suite, group: Group, run: Mapping[str, Any]) -> dict[str, Any]:
    line = {name: read(suite, group, run) for name, read in COLUMNS.items()}
    for epoch in ("last", "best"):
        for name, value in run["metrics"][epoch].items():
            if value is None or _number(value) is not None:
                line[f"{epoch}_{name}"] = value
    line |= {f"override_{name}": value for name, value in run["overrides"].items() if name != "epochs"}
    line |= {f"extra_{name}": value for name, value in run["extra"].items() if _is_plain(value)}
    return line | _geometry(run)


def _geometry(run: Mapping[str, Any]) -> dict[str, float]:
    """``geometry_SPLIT_GROUP_FIGURE`` of the run's features, where its record has them; what could not be computed is left out."""
    try:
        found = recorded_geometry(run) or {}
    except InputError:  # the tables say so
        return {}
    return {
        f"geometry_{split}_{group}_{figure}": value
        for split, groups in found.items()
        for group, figures in groups.items()
        for figure, value in figures.items()
        if isinstance(value, (int, float))
    }


def _paper(suite: Suite, group: Group) -> float | None:
    """The published figure of the headline metric, where the run reproduces its row."""
    row = group.row
    if row.paper is None or row.paper_task is not None or group.recipe.deviations(row):
        return None
    figure = find(suite.published_dataset(group.recipe.imbalance), row.paper, suite.metric, row.stage)
    return None if figure is None else figure.value


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
