"""A run's folder: what its files are called, who is at it, and what is left of a run that failed.

The formats of the larger files are in modules of their own: :mod:`sar_cls.runs.record`, ``history``, ``outputs``, ``features``,
``per_class`` and ``checkpoint``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import filelock

from sar_cls.files import refusing, why

LAST, BEST = "last.pth", "best.pth"
NET, CONFIG = "net.json", "config.py"
RECORD_FILE, HISTORY_FILE = "record.json", "history.csv"
OUTPUTS_FILE, PER_CLASS_FILE = "test_outputs.npz", "per_class.csv"
SEGMENTATION_FILE, FEATURES_FILE = "segmentation.npz", "features.npz"
LOCK, ERROR_LOG = ".lock", "error.log"
COSTS = "cost.json"  # beside the rows of a suite, not in a run's folder
FILES = (
    *(RECORD_FILE, LAST, BEST, CONFIG, NET, HISTORY_FILE, OUTPUTS_FILE, PER_CLASS_FILE),
    *(SEGMENTATION_FILE, FEATURES_FILE, LOCK),
)


def again(run_dir: Path | str) -> str:
    """What to do where a file of a finished run is of no use; while its record is there, the row is taken for finished."""
    return f"move the folder {run_dir} away and run this row again"


def lock(run_dir: Path) -> filelock.AcquireReturnProxy:
    """Takes the folder for this process, to be used in a ``with`` statement.

    Raises:
        filelock.Timeout: another process has it.
    """
    # Another process may only be looking whether this run is locked, which takes it no time.
    return filelock.FileLock(run_dir / LOCK).acquire(timeout=0.5)


def is_locked(run_dir: Path) -> bool:
    """Whether a process is at the run."""
    with refusing(run_dir / LOCK):
        if not (run_dir / LOCK).exists():
            return False
        try:
            with filelock.FileLock(run_dir / LOCK).acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True


def write_error_log(run_dir: Path, text: str) -> str:
    """Keeps a traceback where that is possible, and says where; an unwritable folder or a full disk can be the very error."""
    path = run_dir / ERROR_LOG
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return f"no {ERROR_LOG} could be written: {why(error)}"
    return f"all of it in {path}"


def remove_error_log(run_dir: Path) -> None:
    """Of an earlier try; not worth failing a finished run for."""
    with suppress(OSError):
        (run_dir / ERROR_LOG).unlink(missing_ok=True)
