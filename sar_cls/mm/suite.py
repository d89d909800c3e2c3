"""Many runs: every row of a suite with every seed, one after the other, whatever happens to one of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sar_cls.errors import InputError
from sar_cls.mm.engine import DataCache, Job, RunLocked, resolve, run, run_name, second_stage_name
from sar_cls.mm.options import Options
from sar_cls.mm.progress import duration
from sar_cls.reporting.record import is_finished
from sar_cls.reporting.suites import Row


@dataclass
class Outcome:
    """How the runs of a call ended, as run titles."""

    done: list[str]
    failed: list[str]
    locked: list[str]


def make_jobs(rows: Sequence[Row], seeds: Sequence[int], options: Options, work_dir: Path) -> list[Job]:
    """The runs of some rows, seed by seed, so that an interrupted suite has whole comparisons.

    Every config is read here: a bad one stops the suite before its first run. ``options.imbalance`` and ``options.epochs``
    reach a second stage through the first stage that it starts from, whose folder has the same name.
    """
    jobs: list[Job] = []
    for row in rows:
        resolved = resolve(row.config, options, second_stage=row.after is not None)
        first = next((other for other in rows if (other.suite, other.name) == (row.suite, row.after)), None)
        first_resolved = None if first is None else resolve(first.config, options)
        for seed in seeds:
            name, stage1 = run_name(seed, options, resolved), None
            if first is not None and first_resolved is not None:
                stage1 = work_dir / first.suite / first.name / run_name(seed, options, first_resolved)
                name = second_stage_name(stage1, options, resolved)
            jobs.append(Job(row.suite, row.name, row.config, seed, work_dir / row.suite / row.name / name, stage1))
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
        if is_finished(job.run_dir):
            print(f"{job.title}: finished before", flush=True)
            outcome.done.append(job.title)
            continue
        begin = time.monotonic()
        try:
            record = run(job, options, cache)
        except RunLocked as error:
            print(error, flush=True)
            outcome.locked.append(job.title)
        except InputError as error:
            if not started and not outcome.done:
                raise
            print(f"{job.title}: {error}", flush=True)
            outcome.failed.append(job.title)
        except Exception as error:
            where = _write_error_log(job.run_dir / "error.log", traceback.format_exc())
            print(f"{job.title}: failed, {type(error).__name__}: {error} ({where})", flush=True)
            outcome.failed.append(job.title)
        else:
            top1 = record["metrics"]["last"]["top1"]
            print(f"{job.title}: top-1 {top1:.2f} %, {duration(time.monotonic() - begin)}", flush=True)
            outcome.done.append(job.title)
        started += 1
    return outcome


def _write_error_log(path: Path, text: str) -> str:
    """Keeps a traceback where that is possible; an unwritable folder or a full disk can be the very error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return f"no error.log could be written: {error.strerror}"
    return f"all of it in {path}"
