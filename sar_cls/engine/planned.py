"""One planned run: which one it is, its config with the options applied, and the first stage that it starts from.

It is built once, from the job (:func:`plan`), completed by the images (:func:`fit`), and passed down to what trains, evaluates and
records; nobody there reads a config or the record of a first stage again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sar_cls.engine.first_stage import FirstStage, like_first_stage
from sar_cls.engine.fitting import check_batch, fit_to_data
from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import Resolved, resolve
from sar_cls.memory import allocating
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs import record


@dataclass(frozen=True, kw_only=True)
class PlannedRun(Resolved):
    """A resolved config of which is known which run it is. Nothing changes it, its config included: a step makes a new one.

    Attributes:
        suite: of the row.
        row: its name.
        seed: of the run.
        run_dir: the run's folder.
        title: of the run, for messages.
        options: of the command line; the share of a validation split is the first stage's, where there is one.
        first: the first stage, for a second one.
    """

    suite: str
    row: str
    seed: int
    run_dir: Path
    title: str
    options: Options
    first: FirstStage | None = None


def plan(job: Job, options: Options, *, missing_ok: bool = False) -> PlannedRun:
    """Reads a job's config and its first stage.

    Args:
        job: which run.
        options: of the command line.
        missing_ok: whether a second stage can be planned without its first one, where that is not finished. The plan
            is then without a first stage, and without the data and the net that only this one knows.

    Raises:
        InputError: the config does not parse, an option does not fit it, or the first stage is not finished or not sound.
    """
    resolved = resolve(job.source, options, second_stage=job.stage1_dir is not None)
    first = None
    if job.stage1_dir is not None and (not missing_ok or record.is_finished(job.stage1_dir)):
        first = FirstStage.read(job.stage1_dir)
        resolved = like_first_stage(resolved, first)
    return PlannedRun(
        **vars(resolved),
        suite=job.suite,
        row=job.row,
        seed=job.seed,
        run_dir=job.run_dir,
        title=job.title or f"{job.suite}/{job.row} seed {job.seed}",
        options=replace(options, val_fraction=resolved.overrides.get("val_fraction")),
        first=first,
    )


def fit(planned: PlannedRun, splits: DataSplits) -> PlannedRun:
    """The plan with what only the images know in its config, and with the weights of its first stage.

    Raises:
        InputError: config and images do not fit, or the first stage had other images or has no sound checkpoint.
    """
    with allocating("building the backbone", "use a smaller one"):
        fitted = fit_to_data(planned, splits, second_stage=planned.first is not None)
    if planned.first is not None:
        return replace(fitted, first=planned.first.loaded(splits))
    check_batch(fitted, len(splits.train))  # a second stage may draw an image more than once
    return fitted
