"""Many runs: every row of a suite with every seed, one after the other, whatever happens to one of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sar_cls.engine.net_checks import check_hold, first_backbone
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import resolve, run_name, second_stage_name
from sar_cls.engine.run import DataCache, Job, finished, run
from sar_cls.engine.two_stage import without_batch_norm
from sar_cls.errors import InputError, RunFailed, RunLocked
from sar_cls.files import why
from sar_cls.mm.progress import duration
from sar_cls.runs.folder import write_error_log
from sar_cls.suites.rows import Row


@dataclass
class Outcome:
    """How the runs of a call ended, as run titles."""

    done: list[str]
    failed: list[str]
    locked: list[str]

    def add(self, attempt: Attempt) -> None:
        """Counts a run and prints its line."""
        print(attempt.line, flush=True)
        getattr(self, attempt.end).append(attempt.title)


@dataclass(frozen=True)
class Attempt:
    """How one run ended.

    Attributes:
        title: of the run.
        end: "done", "failed" or "locked".
        line: what to print.
        refused: the reason, where bad input kept the run from starting.
    """

    title: str
    end: str
    line: str
    refused: str = ""


def make_jobs(rows: Sequence[Row], seeds: Sequence[int], options: Options, work_dir: Path) -> list[Job]:
    """The runs of some rows, seed by seed, so that an interrupted suite has whole comparisons.

    Every config is read here: a bad one stops the suite before its first run, and so does a second stage that its first one's
    backbone cannot have. ``options.imbalance`` and ``options.epochs``
    reach a second stage through the first stage that it starts from, whose folder has the same name.
    """
    jobs: list[Job] = []
    if options.hold is not None and not any(row.after for row in rows):
        raise InputError("--hold is for second stages, and there is none among these rows: leave it out")
    for row in rows:
        resolved = resolve(row.source, options, second_stage=row.after is not None)
        first = next((other for other in rows if other.key == row.first), None)
        if row.after is not None and first is None:
            raise ValueError(f"{row.suite}/{row.name} starts from {row.after}: give that row along with it")
        first_resolved = None if first is None else resolve(first.source, options)
        if first_resolved is not None:
            others = without_batch_norm(row.source.config.parents[1])
            check_hold(resolved, *first_backbone(first_resolved), f"{row.suite}/{row.name}", others)
        for seed in seeds:
            name, stage1 = run_name(seed, options, resolved), None
            if first is not None and first_resolved is not None:
                stage1 = work_dir / first.suite / first.name / run_name(seed, options, first_resolved)
                name = second_stage_name(stage1, options, resolved)
            jobs.append(Job(row.suite, row.name, row.source, seed, work_dir / row.suite / row.name / name, stage1))
    jobs.sort(key=lambda job: seeds.index(job.seed))  # stable: within a seed the order of the table
    return [
        replace(job, title=f"[{number}/{len(jobs)}] {job.suite}/{job.row} seed {job.seed}")
        for number, job in enumerate(jobs, 1)
    ]


def run_jobs(jobs: Sequence[Job], options: Options) -> Outcome:
    """Runs what is not finished yet; an error of one run is reported and the others still run.

    Raises:
        InputError: from the first run that was to start; a later one counts as failed.
    """
    outcome, cache, started = Outcome([], [], []), DataCache(), 0
    for job in jobs:
        before = finished_before(job, options, cache)
        attempt = before or try_job(job, options, cache)
        if attempt.refused and not started:
            raise InputError(attempt.refused)
        outcome.add(attempt)
        started += before is None
    return outcome


def finished_before(job: Job, options: Options, cache: DataCache) -> Attempt | None:
    """The outcome of a job that needs no running; None where it has to run."""
    try:
        done = finished(job, options, cache)
    except InputError as error:
        return Attempt(job.title, "failed", f"{job.title}: {error}", refused=str(error))
    return None if done is None else Attempt(job.title, "done", f"{job.title}: finished before")


def try_job(job: Job, options: Options, cache: DataCache) -> Attempt:
    """Runs one job, whatever comes of it but an interruption."""
    begin = time.monotonic()
    try:
        record = run_or_fail(job, options, cache)
    except RunLocked as error:
        return Attempt(job.title, "locked", str(error))
    except InputError as error:
        return Attempt(job.title, "failed", f"{job.title}: {error}", refused=str(error))
    except RunFailed as error:
        return Attempt(job.title, "failed", str(error))
    top1 = record["metrics"]["last"]["top1"]
    return Attempt(job.title, "done", f"{job.title}: top-1 {top1:.2f} %, {duration(time.monotonic() - begin)}")


def run_or_fail(job: Job, options: Options, cache: DataCache | None = None) -> dict[str, Any]:
    """Runs one job and returns its record; the traceback of an unexpected error goes into its ``error.log``.

    Raises:
        InputError: bad input; nothing was written or lost.
        RunLocked: another process is at this run.
        RunFailed: anything else went wrong; the message is one line.
    """
    try:
        return run(job, options, cache)
    except (InputError, RunLocked):
        raise
    except RunFailed as error:  # the reason is known, and said
        where = write_error_log(job.run_dir, traceback.format_exc())
        raise RunFailed(f"{job.title}: {error} ({where})") from error
    except Exception as error:
        where = write_error_log(job.run_dir, traceback.format_exc())
        lines = str(error).strip().splitlines()
        reason = (
            why(error, job.run_dir) if isinstance(error, OSError) else ": ".join((type(error).__name__, *lines[:1]))
        )
        raise RunFailed(f"{job.title}: failed, {reason} ({where})") from error
