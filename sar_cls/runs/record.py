"""The record of a finished run: ``record.json``, written once, atomically, when the run is complete.

Its presence means that the run is done; a run without it is unfinished, however far it came.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import replacing, why
from sar_cls.runs.folder import RECORD_FILE
from sar_cls.runs.values import values_problem

SCHEMA = 1

_NUMBER = (int, float)
# field -> types. `write_record` fills in schema, run_id, run and finished_at; all others come from the runner.
FIELDS: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "run_id": (str,),  # unique per run: a second stage names its first stage by it
    "suite": (str,),
    "row": (str,),
    "run": (str,),  # name of the run directory
    "stage": (int,),  # 1 or 2
    "method": (str,),
    "backbone": (str,),
    "dataset": (str,),
    "seed": (int,),
    "epochs": (int,),  # epochs run; 0 for a second stage that trains nothing
    "epochs_recipe": (int,),  # epochs of the row's recipe
    "overrides": (dict,),  # what else the command line changed about the recipe: name -> value; {} for none
    "metrics": (dict,),  # {"last": {metric: number}, "best": {metric: number}}; accuracies in percent
    "best_epoch": (int,),  # from 1
    "best_on": (str,),  # the split that chose the best epoch: "test" or "val"
    "train_counts": (list,),  # training images per class
    "data_fingerprint": (dict,),  # {"train": sha256, "test": sha256, ...}
    "config_hash": (str,),  # of the resolved config without seed, paths, device and what `overrides` and `stage1` say
    "git": (dict,),  # {"commit": str | None, "dirty": bool | None}
    "versions": (dict,),
    "machine": (dict,),
    "device": (str,),
    "precision": (str,),
    "wall_seconds": _NUMBER,
    "images_per_second": (*_NUMBER, type(None)),
    "peak_memory_bytes": (int, type(None)),
    "stage1": (dict, type(None)),  # for stage 2: `stage1_reference` of the run it started from
    "extra": (dict,),
    "finished_at": (str,),  # ISO 8601, UTC
}
_STAGE1_FIELDS = (
    "run_id", "suite", "row", "run", "seed", "epochs", "epochs_recipe", "overrides",
    "config_hash", "data_fingerprint", "precision",
)  # fmt: skip


def write_record(run_dir: Path | str, record: Mapping[str, Any]) -> Path:
    """Checks the record and writes it atomically as ``<run_dir>/record.json``.

    ``schema``, ``run_id``, ``run`` (the directory's name), ``stage``, ``best_on``, ``overrides``, ``stage1``,
    ``extra`` and ``finished_at`` are filled in where absent. Numbers that are not finite become ``null``; NumPy and
    torch scalars become plain numbers. A ``record.json`` that is there and is none of ours is kept as
    ``record.json.unreadable``.

    Returns:
        The path of the file.

    Raises:
        InputError: there is a record of a newer version, or one that cannot be read: it stays.
        ValueError: a field is missing, unknown or of a wrong type (a mistake in the calling code).
    """
    run_dir = Path(run_dir)
    path = run_dir / RECORD_FILE
    full: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": uuid.uuid4().hex,
        "run": run_dir.absolute().name,
        "stage": 2 if record.get("stage1") else 1,
        "best_on": "test",
        "overrides": {},
        "stage1": None,
        "extra": {},
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    full.update(record)
    full = {key: full[key] for key in (*FIELDS, *full) if key in full}
    plain = _plain(full)
    problem = schema_problem(plain)
    if problem:
        raise ValueError(f"the record of {run_dir.name} is not complete: {problem}")
    if path.exists() and not is_finished(run_dir):
        os.replace(path, _free_name(path.with_name(f"{RECORD_FILE}.unreadable")))
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_record(run_dir: Path | str) -> dict[str, Any]:
    """The record of a finished run.

    Raises:
        InputError: there is none, it is damaged, or it is another program's file.
    """
    path = Path(run_dir) / RECORD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number, parse_float=_finite)
    except (FileNotFoundError, NotADirectoryError):
        runs = sorted(found.parent for found in Path(run_dir).glob(f"*/{RECORD_FILE}"))
        if runs:
            raise _NoRecord(
                f"no {RECORD_FILE} in {run_dir}: it is no run, it holds {len(runs)}; name one, such as {runs[0]}."
            ) from None
        raise _NoRecord(f"no {RECORD_FILE} in {run_dir}: the run is not finished; let it end first.") from None
    except OSError as error:
        raise InputError(why(error, path)) from error
    except (ValueError, RecursionError):
        raise _NoRecord(f"{path} is damaged or half-written (no JSON); remove it and run this row again.") from None
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(
            f"{path} was written by a newer version of this project (schema {schema}, this one reads {SCHEMA}): "
            "update the project, or use another --work-dir."
        )
    problem = schema_problem(record)
    if problem:
        raise _NoRecord(f"{path} is not a run record of this project ({problem}); remove it or run this row again.")
    return record


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """The number, which :func:`write_record` has seen to be finite: 1e999 is somebody else's."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is beyond all numbers")
    return value


def is_finished(run_dir: Path | str) -> bool:
    """True where the directory holds a complete record; a damaged or foreign one does not count.

    Raises:
        InputError: there is one that may well be whole, and must not be displaced: it is of a newer version, or the system does
            not let it be read.
    """
    try:
        read_record(run_dir)
    except _NoRecord:
        return False
    return True


class _NoRecord(InputError):
    """There is no record, or what is there is none: the run may be run."""


def stage1_reference(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a second-stage record stores of the run it started from: which run it was, and by which recipe."""
    return {key: record[key] for key in _STAGE1_FIELDS}


def schema_problem(record: object) -> str | None:
    """What is wrong with a record, in a few words; None where it is sound."""
    if not isinstance(record, dict):
        return "it is not a JSON object"
    if record.get("schema") != SCHEMA:
        return f"its schema is {record.get('schema')!r} instead of {SCHEMA}"
    for field, types in FIELDS.items():
        if field not in record:
            return f"the field {field!r} is missing"
        value = record[field]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return f"the field {field!r} is {type(value).__name__}"
    unknown = sorted(set(record) - set(FIELDS))
    if unknown:
        return f"the field {unknown[0]!r} is unknown; further figures belong into 'extra'"
    for epoch in ("last", "best"):
        part = record["metrics"].get(epoch)
        if not isinstance(part, dict) or not part:
            return f"metrics[{epoch!r}] is missing"
    fewest = 1 if record["stage"] == 1 else 0  # a second stage need not train, for instance tau-normalisation
    if record["stage"] not in (1, 2) or min(record["epochs"], record["epochs_recipe"]) < fewest:
        return "the stage or the number of epochs is impossible"
    if (record["stage"] == 2) != (record["stage1"] is not None):
        return "a second stage must name its first-stage run, and only a second stage"
    if record["stage1"] is not None:
        missing = [key for key in _STAGE1_FIELDS if key not in record["stage1"]]
        if missing:
            return f"stage1[{missing[0]!r}] is missing"
        for field in _STAGE1_FIELDS:
            value = record["stage1"][field]
            if not isinstance(value, FIELDS[field]) or isinstance(value, bool):
                return f"stage1[{field!r}] is {type(value).__name__}"
        problem = values_problem(record["stage1"])
        if problem:
            return f"stage1: {problem}"
    counts = record["train_counts"]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return "train_counts must be whole numbers"
    return values_problem(record)


def _free_name(path: Path) -> Path:
    """``path``, or where that is taken, the first of ``path.1``, ``path.2`` ... that is not."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _plain(value: Any) -> Any:
    """``value`` as JSON knows it: plain numbers, lists and dicts, null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
