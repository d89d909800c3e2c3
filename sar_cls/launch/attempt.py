"""One run, whatever comes of it: its record, or a line that says how it ended."""

from __future__ import annotations

import time
import traceback
from typing import Any

from sar_cls.engine.planned import PlannedRun
from sar_cls.engine.run import DataCache, finished, run_planned
from sar_cls.errors import InputError, ProcessLost, RunFailed, RunLocked
from sar_cls.files import why
from sar_cls.launch.outcome import Attempt
from sar_cls.pace import duration
from sar_cls.runs.folder import write_error_log


def finished_before(planned: PlannedRun, cache: DataCache) -> Attempt | None:
    """The outcome of a run that needs no running; None where it has to run."""
    try:
        done = finished(planned, cache)
    except InputError as error:
        return Attempt(planned.title, "failed", f"{planned.title}: {error}", refused=str(error))
    return None if done is None else Attempt(planned.title, "done", f"{planned.title}: finished before", before=True)


def try_run(planned: PlannedRun, cache: DataCache) -> Attempt:
    """Runs it, if it still has to be, whatever comes of it but an interruption."""
    before = finished_before(planned, cache)  # by another process since it was handed out, say
    if before is not None:
        return before
    begin, title = time.monotonic(), planned.title
    try:
        record = run_or_fail(planned, cache)
    except RunLocked as error:
        return Attempt(title, "locked", str(error))
    except InputError as error:
        return Attempt(title, "failed", f"{title}: {error}", refused=str(error))
    except RunFailed as error:
        return Attempt(title, "failed", str(error))
    figures = record["metrics"]["last"]
    result = f"top-1 {figures['top1']:.2f} %" if "top1" in figures else f"mIoU {figures['miou']:.2f} %"
    return Attempt(title, "done", f"{title}: {result}, {duration(time.monotonic() - begin)}")


def run_or_fail(planned: PlannedRun, cache: DataCache | None = None) -> dict[str, Any]:
    """Runs it and returns its record; the traceback of an unexpected error goes into its ``error.log``.

    Raises:
        InputError: bad input; nothing was written or lost.
        RunLocked: another process is at this run.
        RunFailed: anything else went wrong; the message is one line.
        ProcessLost: this process cannot train any run any more, since another that takes part is gone.
    """
    title, run_dir = planned.title, planned.run_dir
    try:
        return run_planned(planned, cache)
    except (InputError, RunLocked, ProcessLost):
        raise
    except RunFailed as error:  # the reason is known, and said
        where = write_error_log(run_dir, traceback.format_exc())
        raise RunFailed(f"{title}: {error} ({where})") from error
    except Exception as error:
        where = write_error_log(run_dir, traceback.format_exc())
        lines = str(error).strip().splitlines()
        reason = why(error, run_dir) if isinstance(error, OSError) else ": ".join((type(error).__name__, *lines[:1]))
        raise RunFailed(f"{title}: failed, {reason} ({where})") from error
