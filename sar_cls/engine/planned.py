"""One planned run: which one it is, its config with the options applied, and the first stage that it starts from.

It is built once, where the command line becomes runs (:func:`plan`), and passed down: whoever launches gives it a device
(:meth:`PlannedRun.on`), the run reads the record of its first stage (:func:`after_first_stage`), the images complete it
(:func:`fit`). Nobody below reads a config or that record again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sar_cls.engine.first_stage import FirstStage, like_first_stage
from sar_cls.engine.fitting import check_batch, fit_to_data
from sar_cls.engine.job import Job
from sar_cls.engine.options import Options
from sar_cls.engine.recipe import Resolved, resolve
from sar_cls.memory import allocating
from sar_cls.mm.loaders import DataSplits


@dataclass(frozen=True, kw_only=True)
class PlannedRun(Resolved):
    """A resolved config of which is known which run it is. Nothing changes it, its config included: a step makes a new one.

    It goes to other processes as it is.

    Attributes:
        suite: of the row.
        row: its name.
        seed: of the run.
        run_dir: the run's folder.
        title: of the run, for messages.
        options: of the command line; the share of a validation split is the first stage's, where there is one.
        stage1_dir: folder of the first stage, for a second one.
        first: the first stage, once it is finished and read.
    """

    suite: str
    row: str
    seed: int
    run_dir: Path
    title: str
    options: Options
    stage1_dir: Path | None = None
    first: FirstStage | None = None

    def on(self, **options: Any) -> PlannedRun:
        """The same run with other options of how it is run: its device, its threads."""
        return replace(self, options=replace(self.options, **options))


def data_root_of(planned: PlannedRun, runs: Iterable[PlannedRun]) -> str:
    """Where a run looks for its images, absolute: where the command line says, else its config, else in "data".

    Args:
        planned: the run.
        runs: those planned along with it: of a second stage only its first one knows.
    """
    first = next((run for run in runs if run.run_dir == planned.stage1_dir), planned)
    root = planned.options.data_root or first.data.get("data_root") or "data"
    return str(Path(root).expanduser().absolute())


def plan(job: Job, options: Options, resolved: Resolved | None = None) -> PlannedRun:
    """A run from what is asked for; a second stage is then without its first one.

    Args:
        job: which run.
        options: of the command line.
        resolved: the row's config with these options, where it was read already; runs of several seeds can share it.

    Raises:
        InputError: the config does not parse, or an option does not fit it.
    """
    resolved = resolved or resolve(job.source, options, second_stage=job.stage1_dir is not None)
    return PlannedRun(
        **vars(resolved),
        suite=job.suite,
        row=job.row,
        seed=job.seed,
        run_dir=job.run_dir,
        title=job.title or f"{job.suite}/{job.row} seed {job.seed}",
        options=options,
        stage1_dir=job.stage1_dir,
    )


def after_first_stage(planned: PlannedRun) -> PlannedRun:
    """The plan with the data and the net of its first stage; as it is, where it is a first stage.

    Raises:
        InputError: the first stage is not finished or not sound.
    """
    if planned.stage1_dir is None or planned.first is not None:
        return planned
    first = FirstStage.read(planned.stage1_dir)
    like = like_first_stage(planned, first, planned.options.hold)
    options = replace(planned.options, val_fraction=like.overrides.get("val_fraction"))
    return replace(like, first=first, options=options)


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
