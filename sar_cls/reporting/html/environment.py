"""Code, libraries and machines of the runs, and the table of all runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sar_cls.reporting.html.cells import EMPTY, Cell

RUN_COLUMNS = (
    "Run", "Seed", "Epochs", "Last epoch", "Config", "Commit", "Training data", "Test data", "Device", "Precision", "Seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A property of the runs: its values, each with the number of runs that have it."""

    name: str
    values: tuple[tuple[str, int], ...]


def facts(records: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """Code, data, libraries and machines, each with how many runs had it; the most frequent first."""
    readers = {
        "Commit": commit,
        "Processor": lambda run: run["machine"].get("cpu"),
        "CPU instructions": lambda run: run["machine"].get("cpu_capability"),
        "Accelerator": lambda run: run["machine"].get("accelerator") or ("none" if run["device"] == "cpu" else None),
        "System": lambda run: " ".join(
            filter(None, (run["machine"].get("system"), run["machine"].get("architecture")))
        ),
        "CPU threads": lambda run: run["machine"].get("threads"),
        "Precision": lambda run: run["precision"],
        "Order of CIFAR's images": lambda run: run["extra"].get("data_order"),
    }
    found = [Fact(name, _counted(map(read, records))) for name, read in readers.items()]
    packages = dict.fromkeys(name for run in records for name in run["versions"])
    found += [Fact(name, _counted(run["versions"].get(name) for run in records)) for name in packages]
    return [fact for fact in found if fact.values]


def commit(run: Mapping[str, Any]) -> str:
    """The commit of a run's code, and whether the code had changes beside it."""
    name = run["git"].get("commit")
    return "not known" if name is None else name[:10] + (" with changes" if run["git"].get("dirty") else "")


def device(run: Mapping[str, Any]) -> str:
    """What a run was computed on."""
    machine = run["machine"]
    return str(machine.get("accelerator") or f"{run['device']}, {machine.get('cpu') or 'unknown'}")


def run_rows(records: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> list[tuple[Cell, ...]]:
    """A row of cells for each run, under `RUN_COLUMNS`.

    Args:
        records: of the runs.
        metrics: suite -> its headline metric.
    """
    rows: list[tuple[Cell, ...]] = []
    for run in records:
        metric = metrics.get(run["suite"], "top1")
        figure = run["metrics"]["last"].get(metric)
        known = isinstance(figure, (int, float))
        name = f"{run['suite']}/{run['row']}/{run['run']}"
        epochs = f"{run['epochs']}" + ("" if run["epochs"] == run["epochs_recipe"] else f" of {run['epochs_recipe']}")
        data = run["data_fingerprint"]
        rows.append(
            (
                Cell(name, name, "run", run["run_id"], header=True),
                Cell(str(run["seed"]), run["seed"]),
                Cell(epochs, run["epochs"]),
                Cell(f"{figure:.2f}" if known else EMPTY, figure if known else None),
                Cell(run["config_hash"][:12], run["config_hash"]),
                Cell(commit(run), commit(run)),
                Cell(data.get("train", "")[:8], data.get("train")),
                Cell(data.get("test", "")[:8], data.get("test")),
                Cell(device(run), device(run)),
                Cell(run["precision"], run["precision"]),
                Cell(f"{run['wall_seconds']:.0f}", run["wall_seconds"]),
            )
        )
    return rows


def _counted(values: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(str(value) for value in values if value not in (None, "")).most_common())
