"""The files of runs that a picture is drawn from: one entry for each run, or for each row with its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sar_cls.errors import InputError
from sar_cls.files import why
from sar_cls.runs.ledger import Warn
from sar_cls.runs.outputs import TestOutputs, read_outputs

if TYPE_CHECKING:
    import pandas as pd

HISTORY_FILE = "history.csv"


@dataclass(frozen=True)
class Series:
    """One entry of a picture: a run, or the runs of a row with several seeds.

    Attributes:
        label: its name in the legend.
        run_dirs: directories of the runs; they are pooled or averaged.
        train_counts: training images per class.
    """

    label: str
    run_dirs: tuple[Path, ...]
    train_counts: tuple[int, ...]

    @cached_property
    def outputs(self) -> list[TestOutputs]:
        """Test logits of each run; `InputError` where a file is missing or damaged."""
        return [read_outputs(run_dir) for run_dir in self.run_dirs]

    @cached_property
    def histories(self) -> list[pd.DataFrame]:
        """History of each run, a row an epoch; `InputError` where a file is missing or damaged."""
        return [_read_history(run_dir / HISTORY_FILE) for run_dir in self.run_dirs]


def readable(series: Sequence[Series], source: str, warn: Warn) -> list[Series]:
    """The entries whose files of one kind are all there; a sentence about each other one."""
    kept = []
    for entry in series:
        try:
            getattr(entry, source)
        except InputError as error:
            warn(f"{entry.label} is left out of some pictures: {error}")
        else:
            kept.append(entry)
    return kept


def _read_history(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        history = pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run this row again") from None
    except OSError as error:
        raise InputError(why(error, path)) from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); run this row again") from error
    if history.empty or "epoch" not in history.columns:
        raise InputError(f"{path} holds no epochs; run this row again")
    return history
