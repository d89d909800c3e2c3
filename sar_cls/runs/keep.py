"""Copies what is worth keeping of finished runs: records, histories, accuracies per class; no weights, no logits, no logs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.runs.history import HISTORY_FILE, read_history
from sar_cls.runs.ledger import Warn, default_warn
from sar_cls.runs.per_class import PER_CLASS_FILE, read_per_class
from sar_cls.runs.record import RECORD_FILE, read_record
from sar_cls.runs.values import is_name

KEPT = (RECORD_FILE, HISTORY_FILE, PER_CLASS_FILE)


def keep_runs(runs: Iterable[tuple[Path, Mapping[str, Any]]], folder: Path, warn: Warn = default_warn) -> list[Path]:
    """Copies the small files of each run to ``<folder>/<suite>/<row>/<run>/``, where ``report.py --work-dir`` finds them.

    A run keeps the name of its folder, also where that was renamed since: two runs of one name at first stay two. A damaged file is
    not copied; what was kept of it before, of the same run, stays.

    Args:
        runs: run directory and record of each.
        folder: for example ``results/cpu-20-epochs``.
        warn: called with a sentence for each damaged file.

    Returns:
        The folders of the copies.

    Raises:
        InputError: a record's suite, row or run is not the name of a folder, or two runs would be kept in one (where the folder of
            a row was renamed). Nothing has been copied then.
    """
    targets: dict[Path, tuple[Path, Mapping[str, Any]]] = {}  # folder of the copy -> folder and record of the run
    for run_dir, record in runs:
        for field in ("suite", "row", "run"):
            if not is_name(record[field]):
                raise InputError(f"the record in {run_dir} names a {field} that is no plain name: remove that run")
        if not is_name(run_dir.name):
            raise InputError(f"{run_dir} is no plain name for a folder: rename it")
        target = folder / record["suite"] / record["row"] / run_dir.name
        if target in targets:
            other = targets[target][0]
            raise InputError(
                f"{other} and {run_dir} are both {'/'.join(target.parts[-3:])}: rename the folder of one of the runs"
            )
        targets[target] = run_dir, record
    for target, (run_dir, record) in targets.items():
        target.mkdir(parents=True, exist_ok=True)
        # Another run was kept here before: nothing of it may stay.
        others = _id_of(target) not in (None, record["run_id"])
        for name in KEPT:
            if (run_dir / name).is_file() and _is_sound(run_dir, name, record, warn):
                with replacing(target / name) as temporary:
                    shutil.copyfile(run_dir / name, temporary)
            elif others:
                (target / name).unlink(missing_ok=True)
    return list(targets)


def _is_sound(run_dir: Path, name: str, record: Mapping[str, Any], warn: Warn) -> bool:
    """Whether a file of a run may be kept; a sentence says why not."""
    try:
        if name == HISTORY_FILE:
            read_history(run_dir, record)
        elif name == PER_CLASS_FILE:
            read_per_class(run_dir, len(record["train_counts"]))
    except InputError as error:
        warn(f"a damaged file is not kept: {error}")
        return False
    return True


def _id_of(run_dir: Path) -> str | None:
    """The id of the run whose record lies there; None without a sound one."""
    try:
        return str(read_record(run_dir)["run_id"])
    except InputError:
        return None
