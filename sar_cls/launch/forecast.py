"""What a command would do: which runs are finished, at work or left, and how long they will take by what earlier ones took."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sar_cls.engine import dense
from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.results import backbone_name
from sar_cls.engine.run import DataCache
from sar_cls.errors import InputError
from sar_cls.launch.attempt import finished_before
from sar_cls.mm.data_places import check_data
from sar_cls.models.library_backbones import look_up_backbone
from sar_cls.pace import duration
from sar_cls.runs import folder, ledger
from sar_cls.runs.history import trained_so_far
from sar_cls.weights.load import check_weight_source

Key = tuple[Any, ...]


@dataclass(frozen=True)
class State:
    """Of one run.

    Attributes:
        planned: the run.
        state: "finished", "refused", "at work" (a process holds it), "begun" or "to run".
        epochs: that it has trained so far; iterations where its recipe counts those.
        seconds: it will still take on a device like those of the records; None where no record says anything about it.
        reason: why it is refused.
    """

    planned: PlannedRun
    state: str
    epochs: int = 0
    seconds: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        """``[2/9] digits/sar seed 1024: begun, epoch 12 of 20, about 0:12 left``."""
        parts = [self.state if not self.reason else f"refused, {self.reason}"]
        if self.state in ("at work", "begun") and self.epochs:
            parts.append(f"{self.planned.unit.removesuffix('s')} {self.epochs} of {self.planned.epochs}")
        if self.state not in ("finished", "refused"):
            parts.append("no earlier record says how long" if self.seconds is None else f"about {_words(self.seconds)}")
        return f"{self.planned.title}: {', '.join(parts)}"


def look(runs: Sequence[PlannedRun], work_dir: Path, device: str, warn: Callable[[str], None]) -> list[State]:
    """The state of each run; nothing is written, locked or trained.

    Args:
        runs: planned.
        work_dir: where records are that say how long a run takes.
        device: type of the devices that will run, "cpu" or "cuda"; times of others say nothing.
        warn: called with what is wrong with a record.
    """
    costs = seconds_per_epoch([record for _, record in ledger.scan(work_dir, warn)])
    cache, found = DataCache(), []
    for planned in runs:
        before = finished_before(planned, cache)
        if before is not None:
            state = "refused" if before.refused else "finished"
            found.append(State(planned, state, reason=before.refused))
            continue
        epochs = trained_so_far(planned.run_dir)
        at_work = planned.run_dir.is_dir() and folder.is_locked(planned.run_dir)
        # A second stage has the net and the data of its first one, of which its own config knows nothing.
        first = next((run for run in runs if run.run_dir == planned.stage1_dir), planned)
        keys = cost_keys(planned.suite, planned.row, _backbone(first), _dataset(first), device, planned.precision)
        cost = next((costs[key] for key in keys if key in costs), None)
        seconds = None if cost is None else cost * max(planned.epochs - epochs, min(planned.epochs, 1))
        if planned.epochs == 0:  # corrects a first stage in closed form
            seconds = 0.0
        found.append(State(planned, "at work" if at_work else "begun" if epochs else "to run", epochs, seconds))
    return found


def lacking(states: Sequence[State]) -> list[str]:
    """What first stages that have still to train would not find: backbones, images and weights, each once; nothing is fetched."""
    found: dict[str, None] = {}
    for planned in (state.planned for state in states if state.state in ("begun", "to run")):
        if planned.stage1_dir is not None:
            continue
        options, weights = planned.options, planned.config.get("weights")
        try:
            if "backbone" in planned.overrides:
                look_up_backbone(planned.overrides["backbone"])
            check_data(planned.data, options.data_root, download=options.download)
            if weights is not None and not (planned.run_dir / folder.LAST).exists():
                check_weight_source(weights)
        except InputError as error:
            found[str(error)] = None
    return list(found)


def seconds_per_epoch(records: Sequence[dict[str, Any]]) -> dict[Key, float]:
    """The median seconds of an epoch with its evaluation, by what is known of a run: see :func:`cost_keys`."""
    found: dict[Key, list[float]] = {}
    for record in records:
        if record["epochs"] and record["wall_seconds"]:
            names = (record["suite"], record["row"], record["backbone"], record["dataset"])
            for key in cost_keys(*names, record["device"], record["precision"]):
                found.setdefault(key, []).append(record["wall_seconds"] / record["epochs"])
    return {key: statistics.median(values) for key, values in found.items()}


def cost_keys(suite: str, row: str, backbone: str, dataset: str, device: str, precision: str) -> list[Key]:
    """By what a run's cost is looked up: its row, else its net on its data."""
    return [
        ("row", suite, row, backbone, dataset, device, precision),
        ("net and data", backbone, dataset, device, precision),
    ]


def describe(states: Sequence[State], places: int) -> str:
    """All states, a line each, and their sum.

    Args:
        states: of the runs.
        places: runs at a time.
    """
    lines = [str(state) for state in states]
    counts = {name: sum(state.state == name for state in states) for name in ("finished", "at work", "refused")}
    left = [state for state in states if state.state in ("begun", "to run")]
    known = [state.seconds for state in left if state.seconds is not None]
    parts = [f"{counts['finished']} finished", f"{counts['at work']} at work", f"{len(left)} to run"]
    parts += [f"{counts['refused']} refused"] if counts["refused"] else []
    sentence = f"{len(states)} run{'' if len(states) == 1 else 's'}: {', '.join(parts)}"
    if known:
        sentence += f"; about {_words(sum(known))} one after the other"
        sentence += f", {_words(max(sum(known) / places, max(known)))} on {places} at a time" if places > 1 else ""
    if len(known) < len(left):
        sentence += f"; no earlier record says how long {len(left) - len(known)} of them take"
    return "\n".join([*lines, sentence])


def _words(seconds: float) -> str:
    days, rest = divmod(seconds, 86400)
    return f"{int(days)} d {duration(rest)}" if days else duration(rest)


def _backbone(planned: PlannedRun) -> str:
    if "backbone" in planned.overrides:
        return planned.overrides["backbone"]
    return dense.net_name(planned.config) if dense.is_dense(planned.config) else backbone_name(planned.config.model)


def _dataset(planned: PlannedRun) -> str:
    return dense.data_name(planned.config)  # a data set of mmseg has a type and no name
