"""The runs behind ``longtail/stage1.py`` and ``longtail/stage2.py``: the same ones as the suites', found by method name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.mm.checkpoint import LAST
from sar_cls.mm.engine import Job
from sar_cls.mm.options import Options
from sar_cls.mm.recipe import resolve, run_name, second_stage_name
from sar_cls.reporting.record import read_record
from sar_cls.reporting.suites import SUITE_FILE, Row, load_suite

# The suite whose configs serve every data set that has no suite, or no such method, of its own.
_GENERAL = "cifar100_lt"
_STAGE2_CONFIGS = {"mislas": "mislas", "crt": "crt", "lws": "lws", "tau": "tau_norm"}
_STAGE2_CONFIGS |= {name: name for name in ("crt_published", "lws_published")}
_STAGE2_CONFIGS["logit_adjustment"] = "logit_adjustment_posthoc"
SECOND_STAGE_METHODS = tuple(_STAGE2_CONFIGS)


def _rows(configs: Path, suite: str, stage: int) -> list[Row]:
    if not (configs / suite / SUITE_FILE).is_file():
        return []
    return [row for row in load_suite(configs, suite).rows if row.stage == stage]


def first_stage_methods(configs: Path) -> list[str]:
    """The names that ``--method`` takes: a row's name, without a leading "mixup_"."""
    return [row.name.removeprefix("mixup_") for row in _rows(configs, _GENERAL, 1)]


def first_stage_job(
    configs: Path, dataset: str, method: str, seed: int, options: Options, work_dir: Path
) -> tuple[Job, Options]:
    """The first-stage run of a method on a data set.

    Args:
        configs: folder of the suites.
        dataset: "cifar100", "cifar10", "digits" or "folder".
        method: a name of :func:`first_stage_methods`.
        seed: of the run.
        options: of the command line.
        work_dir: folder of the runs.

    Returns:
        The job, and the options completed by the data set where the config is that of another one.
    """
    suite = f"{dataset}_lt"
    for home in (suite, _GENERAL):
        names = {row.name: row for row in _rows(configs, home, 1)}
        row = names.get(method) or names.get(f"mixup_{method}")
        if row is not None:
            break
    else:
        known = ", ".join(first_stage_methods(configs))
        raise InputError(f"unknown method {method!r}: choose one of {known}")
    if home != suite:
        factor = options.imbalance or (load_suite(configs, suite).imbalance if _rows(configs, suite, 1) else None)
        options = replace(options, dataset=dataset, imbalance=factor)
    name = run_name(seed, options, resolve(row.config, options))
    folder = work_dir / suite / row.name / name
    return Job(suite, row.name, row.config, seed, folder, title=f"{suite}/{row.name} seed {seed}"), options


def run_folder(path: Path) -> Path:
    """The run that a path names: its folder, or ``last.pth`` in it (a second stage starts from the last epoch)."""
    if path.is_dir():
        return path
    if path.name == LAST and path.parent.is_dir():
        return path.parent
    if path.is_file():
        raise InputError(f"{path} is not the last checkpoint of a run: give the folder of a run, or its {LAST}")
    raise InputError(f"no run at {path}: give the folder that longtail/stage1.py printed")


def second_stage_job(
    configs: Path, stage1: Path, method: str, options: Options, work_dir: Path | None
) -> tuple[Job, Options]:
    """The second-stage run that starts from a first one; data set, imbalance, validation split and seed are the first's.

    Args:
        configs: folder of the suites.
        stage1: folder of the first stage's run, or its ``last.pth``.
        method: one of ``SECOND_STAGE_METHODS``.
        options: of the command line.
        work_dir: folder of the runs; None for the first stage's own.

    Raises:
        InputError: there is no finished first stage, the method is unknown, or there is no work directory to tell.
    """
    folder = run_folder(stage1).absolute()
    first = read_record(folder)
    if first["stage"] != 1:
        raise InputError(f"{stage1} is a second stage itself: give the run of a first stage")
    if method not in _STAGE2_CONFIGS:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(SECOND_STAGE_METHODS)}")
    stem, suite = _STAGE2_CONFIGS[method], first["suite"]
    asked, options = options.precision, replace(options, precision=options.precision or first["precision"])
    row = next((row for row in _rows(configs, suite, 2) if row.after == first["row"] and row.config.stem == stem), None)
    config = row.config if row is not None else configs / suite / f"{stem}.py"
    if not config.is_file():
        config = configs / _GENERAL / f"{stem}.py"
    name = row.name if row is not None else f"{first['row']}_{method}"
    resolved = resolve(config, options, second_stage=True)
    if work_dir is None:
        if (folder.parent.name, folder.parent.parent.name) != (first["row"], suite):
            raise InputError(
                f"{stage1} does not lie in a work directory as {suite}/{first['row']}/RUN: give --work-dir"
            )
        work_dir = folder.parents[2]
    run = second_stage_name(folder, options, resolved)
    if asked not in (None, first["precision"]):
        run += f"-{asked}"
    target = work_dir / suite / name / run
    return Job(suite, name, config, first["seed"], target, folder, f"{suite}/{name} seed {first['seed']}"), options


def summary(record: dict[str, Any], folder: Path) -> str:
    """What a finished stage prints: accuracy, shot groups, calibration and where its checkpoint is."""
    titles = {"last": "last epoch", "best": f"best epoch on {record['best_on']} ({record['best_epoch']})"}
    if not record["epochs"]:
        titles = {"last": "corrected"}
    lines = []
    for epoch, title in titles.items():
        metrics = record["metrics"][epoch]
        groups = ", ".join(
            f"{name.split('_')[0]} {'no class' if metrics[name] is None else format(metrics[name], '.2f')}"
            for name in ("many_shot", "medium_shot", "few_shot")
        )
        lines.append(f"{title}: top-1 {metrics['top1']:.2f} %, {groups}, ECE {metrics['ece']:.2f} %")
    lines.append(f"checkpoint: {folder / LAST}" if record["epochs"] else f"record: {folder / 'record.json'}")
    return "\n".join(lines)
