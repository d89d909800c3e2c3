"""From the rows of a suite to its runs, each planned once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sar_cls.engine.job import Job
from sar_cls.engine.net_checks import check_hold, first_backbone
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.engine.recipe import Resolved, resolve, run_name, second_stage_name
from sar_cls.engine.two_stage import without_batch_norm
from sar_cls.errors import InputError
from sar_cls.mm.second_stage import hold_of
from sar_cls.suites.rows import Row


def plan_runs(rows: Sequence[Row], seeds: Sequence[int], options: Options, work_dir: Path) -> list[PlannedRun]:
    """The runs of some rows, seed by seed, so that an interrupted suite has whole comparisons.

    Every config is read here, once for all seeds: a bad one stops the suite before its first run, and so does a config that ends
    the process, or a second stage that its first one's backbone cannot have. ``options.imbalance`` and ``options.epochs`` reach a
    second stage through the first stage that it starts from, whose folder has the same name.

    Raises:
        InputError: a config or an option is bad; nothing is left behind.
        ValueError: a second stage without the row that it starts from.
    """
    read: dict[tuple[str, str], Resolved] = {}
    for row in rows:  # first stages are listed before what starts from them, in any suite
        read[row.key] = resolve(row.source, options, second_stage=row.after is not None)
        if row.first is None:
            continue
        if row.first not in read:
            raise ValueError(f"{row.suite}/{row.name} starts from {row.after}: give that row along with it")
        others = without_batch_norm(row.source.config.parents[1])
        net = first_backbone(read[row.first])
        check_hold(read[row.key], *net, f"{row.suite}/{row.name}", others)
    if options.hold is not None and not any(hold_of(resolved.config.model) for resolved in read.values()):
        raise InputError(
            "--hold is for second stages that train a classifier, and there is none among these rows: leave it out"
        )
    runs: list[PlannedRun] = []
    for seed in seeds:
        for row in rows:
            resolved, stage1 = read[row.key], None
            name = run_name(seed, options, resolved)
            if row.first is not None:
                stage1 = work_dir.joinpath(*row.first) / run_name(seed, options, read[row.first])
                name = second_stage_name(stage1, options, resolved)
            title = f"[{len(runs) + 1}/{len(rows) * len(seeds)}] {row.suite}/{row.name} seed {seed}"
            folder = work_dir / row.suite / row.name / name
            runs.append(plan(Job(row.suite, row.name, row.source, seed, folder, stage1, title), options, resolved))
    return runs
