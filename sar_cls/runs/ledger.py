"""The ledger: every finished run under a work directory, one row each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import refusing, why
from sar_cls.runs.folder import CONFIG, LAST
from sar_cls.runs.record import RECORD_FILE, read_record

Warn = Callable[[str], None]


def default_warn(message: str) -> None:
    """Turns a sentence into a Python warning."""
    warnings.warn(message, stacklevel=3)


def scan(work_dir: Path | str, warn: Warn = default_warn) -> list[tuple[Path, dict[str, Any]]]:
    """Run directory and record of each finished run in ``<work_dir>/<suite>/<row>/<run>/``, sorted by path.

    A damaged or foreign ``record.json`` is passed over with one warning sentence, as is a second copy of a run.

    Args:
        work_dir: the work directory; one that does not exist holds no runs.
        warn: called with each warning; by default ``warnings.warn``.

    Raises:
        InputError: the work directory cannot be read.
    """
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in [run / RECORD_FILE for run in _run_folders(work_dir, warn)]:
        if not os.path.lexists(path) and os.access(path.parent, os.X_OK):
            continue  # not finished
        try:
            record = read_record(path.parent)
        except InputError as error:
            warn(f"a run is left out: {error}")
            continue
        if record["run_id"] in found:
            warn(f"a run is left out: {path} is a copy of {found[record['run_id']][0] / RECORD_FILE}.")
            continue
        found[record["run_id"]] = (path.parent, record)
    return list(found.values())


def unfinished(work_dir: Path | str) -> list[Path]:
    """The folders of runs that were begun and have no record, sorted by path; ``work_dir`` as for :func:`scan`."""
    begun = [run for run in _run_folders(work_dir, lambda _: None) if (run / CONFIG).exists() or (run / LAST).exists()]
    return [run for run in begun if not os.path.lexists(run / RECORD_FILE)]


def place_of_runs(folder: Path | str, suite: str | None = None) -> Path | None:
    """The work directory of some finished run below a folder that is none itself, or above it; None where there is no run.

    Args:
        folder: a level too high, or one or two too low.
        suite: name of the suite that a run below must be of.
    """
    folder = Path(folder)
    inside = (path.parents[3] for path in sorted(folder.glob(f"*/{suite or '*'}/*/*/{RECORD_FILE}")))
    above = (
        parent
        for depth in (0, 1)
        if any(folder.glob("*/" * (1 + depth) + RECORD_FILE))
        for parent in folder.absolute().parents[1 - depth : 2 - depth]  # near the root there may be none
    )
    return next(inside, None) or next(above, None)


def _run_folders(work_dir: Path | str, warn: Warn) -> list[Path]:
    with refusing(work_dir):
        suites = _folders(Path(work_dir)) if os.path.lexists(work_dir) else []
    rows = [row for suite in suites for row in _folders_or_warn(suite, warn)]
    return [run for row in rows for run in _folders_or_warn(row, warn)]


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; links that lead nowhere are none."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _folders_or_warn(folder: Path, warn: Warn) -> list[Path]:
    """The folders in a folder, none with a warning where the system does not let it be read."""
    try:
        return _folders(folder)
    except OSError as error:
        warn(f"runs are left out: {why(error, folder)}.")
        return []
