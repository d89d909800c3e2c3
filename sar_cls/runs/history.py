"""The history of a run, ``history.csv``: a row an epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls.errors import InputError
from sar_cls.files import replacing, why
from sar_cls.runs.folder import HISTORY_FILE, again

if TYPE_CHECKING:
    import pandas as pd


def write_history(rows: list[dict[str, Any]], run_dir: Path) -> None:
    """Writes all rows under a temporary name and renames it; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with replacing(run_dir / HISTORY_FILE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def trained_so_far(run_dir: Path) -> int:
    """The whole epochs that a run has trained, or the iterations of a recipe of iterations, by its history.

    0 where there is none to read. Needs no pandas.
    """
    try:
        with (run_dir / HISTORY_FILE).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return int(rows[-1].get("iteration") or len(rows)) if rows else 0
    except (OSError, ValueError, csv.Error):
        return 0


def unit_of(histories: Sequence[pd.DataFrame]) -> str:
    """What the rows of these histories are counted by: ``"iteration"`` of recipes without epochs, else ``"epoch"``; a column."""
    return "iteration" if all("iteration" in history.columns for history in histories) else "epoch"


def read_history(run_dir: Path, record: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The history of a run, a row an epoch, or an evaluation of a recipe that counts iterations.

    Args:
        run_dir: of the run.
        record: its record; with it, a history that does not end where the run ended is refused.

    Raises:
        InputError: the file is missing, damaged, cut off or empty.
    """
    import pandas as pd

    path = run_dir / HISTORY_FILE
    # pandas 3.1 reads numbers exactly and deprecates the argument; older ones round the last digit without it.
    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    exact: dict[str, Any] = {} if version >= (3, 1) else {"float_precision": "round_trip"}
    try:
        history = pd.read_csv(path, **exact)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; {again(run_dir)}") from None
    except OSError as error:
        raise InputError(why(error, path)) from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); {again(run_dir)}") from error
    if history.empty or "epoch" not in history.columns:
        raise InputError(f"{path} holds no epochs; {again(run_dir)}")
    _check_end(history, path, record)
    return history


def _check_end(history: pd.DataFrame, path: Path, record: Mapping[str, Any] | None) -> None:
    """Raises `InputError` for a history that was cut off: within a line, or at the end of one that is not the run's last."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            raise InputError(f"{path} is damaged (its last line is cut off); {again(path.parent)}")
    unit = unit_of([history])
    if record is None or history[unit].dtype.kind not in "iuf":  # who takes the numbers says that they are none
        return
    last = history[unit].iloc[-1]
    if last != record["epochs"]:
        raise InputError(
            f"{path} is damaged (it ends at {unit} {last} and the run at {record['epochs']}); {again(path.parent)}"
        )
