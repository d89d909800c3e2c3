"""The runs behind ``longtail/stage1.py`` and ``longtail/stage2.py``: the same ones as the suites', found by method name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sar_cls.engine.config import row_config
from sar_cls.engine.dense import is_dense
from sar_cls.engine.first_stage import FirstStage
from sar_cls.engine.job import Job
from sar_cls.engine.net_checks import built_backbone, check_hold
from sar_cls.engine.options import Options
from sar_cls.engine.planned import PlannedRun, plan
from sar_cls.engine.recipe import resolve, run_name, second_stage_name
from sar_cls.errors import InputError
from sar_cls.mm.second_stage import hold_of
from sar_cls.runs.folder import LAST, RECORD_FILE
from sar_cls.suites.by_method import GENERAL
from sar_cls.suites.places import SUITE_FILE, home_of
from sar_cls.suites.rows import Row, list_suites, load_suite


def without_batch_norm(configs: Path) -> list[str]:
    """The second stages, by method, that a backbone without batch norm can have."""
    rows = {row.method: row for row in reversed(_rows(configs, GENERAL, 2)) if row.method}
    holds = {method: hold_of(row_config(row.source).model) for method, row in rows.items()}
    return [method for method in second_stage_methods(configs) if holds[method] != "shifted_bn"]


def _rows(configs: Path, suite: str, stage: int) -> list[Row]:
    home = home_of(suite, configs)
    if not (home / suite / SUITE_FILE).is_file():
        return []
    return [row for row in load_suite(home, suite).rows if row.stage == stage]


def first_stage_methods(configs: Path, suite: str = GENERAL) -> list[str]:
    """The names that ``stage1.py --method`` takes for a suite's data: a row's name, without a leading "mixup_"."""
    rows = [row for home in (GENERAL, suite) for row in _rows(configs, home, 1)]
    return list(dict.fromkeys(row.name.removeprefix("mixup_") for row in rows))


def second_stage_methods(configs: Path, suite: str = GENERAL) -> list[str]:
    """The names that ``stage2.py --method`` takes after a first stage of a suite."""
    rows = [row for home in (GENERAL, suite) for row in _rows(configs, home, 2)]
    return list(dict.fromkeys(row.method for row in rows if row.method))


def first_stage_run(
    configs: Path, dataset: str, method: str, seed: int, options: Options, work_dir: Path
) -> PlannedRun:
    """The first-stage run of a method on a data set.

    Args:
        configs: folder of the suites.
        dataset: "cifar100", "cifar10", "digits" or "folder".
        method: a name of :func:`first_stage_methods`.
        seed: of the run.
        options: of the command line.
        work_dir: folder of the runs.

    Returns:
        The run, its options completed by the data set where the config is that of another one.
    """
    suite = f"{dataset}_lt"
    list_suites(configs)  # says so where there are no configs at all
    for home in (suite, GENERAL):
        names = {row.name: row for row in _rows(configs, home, 1)}
        row = names.get(method) or names.get(f"mixup_{method}")
        if row is not None:
            break
    else:
        known = ", ".join(first_stage_methods(configs, suite))
        raise InputError(f"unknown method {method!r}: choose one of {known}")
    if home != suite:
        factor = options.imbalance or (
            load_suite(home_of(suite, configs), suite).imbalance if _rows(configs, suite, 1) else None
        )
        if factor is None and dataset == "folder":
            factor = "none"  # a folder of one's own has its own tail
        options = replace(options, dataset=dataset, imbalance=factor)
    resolved = resolve(row.source, options)
    folder = work_dir / suite / row.name / run_name(seed, options, resolved)
    return plan(Job(suite, row.name, row.source, seed, folder), options, resolved)


def run_folder(path: Path) -> Path:
    """The run that a path names: its folder, or ``last.pth`` in it (a second stage starts from the last epoch)."""
    if path.is_dir():
        return path
    if path.name == LAST and path.parent.is_dir():
        return path.parent
    if path.is_file():
        raise InputError(f"{path} is not the last checkpoint of a run: give the folder of a run, or its {LAST}")
    raise InputError(f"no run at {path}: give the folder that longtail/stage1.py printed")


def second_stage_run(configs: Path, stage1: Path, method: str, options: Options, work_dir: Path | None) -> PlannedRun:
    """The second-stage run that starts from a first one; data set, imbalance, validation split and seed are the first's.

    Args:
        configs: folder of the suites.
        stage1: folder of the first stage's run, or its ``last.pth``.
        method: a name of :func:`second_stage_methods`.
        options: of the command line.
        work_dir: folder of the runs; None for the first stage's own.

    Raises:
        InputError: there is no finished first stage, the method is unknown, or there is no work directory to tell.
    """
    folder = run_folder(stage1).absolute()
    found = FirstStage.read(folder, str(stage1))
    first = found.record
    suite = first["suite"]
    list_suites(configs)  # says so where there are no configs at all
    rows = [row for home in (suite, GENERAL) for row in _rows(configs, home, 2) if row.method == method]
    if not rows:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(second_stage_methods(configs, suite))}")
    if found.handover.segmentor is not None:
        rows = [row for row in rows if is_dense(row_config(row.source))]
        if not rows:
            raise InputError(f"{method} is for classifiers and {stage1} is of a segmentation net: choose disalign")
    asked, options = options.precision, replace(options, precision=options.precision or first["precision"])
    # The row that the suite has for this first stage; else what such a row does, under a name of its own.
    row = next((row for row in rows if (row.suite, row.after) == (suite, first["row"])), None)
    source = (row or rows[0]).source
    name = row.name if row is not None else f"{first['row']}_{method}"
    resolved = resolve(source, options, second_stage=True)
    if resolved.config.get("posthoc"):
        _check_untrained(method, options)
    if found.handover.segmentor is None:
        check_hold(resolved, *built_backbone(found.handover.backbone), method, without_batch_norm(configs))
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
    return plan(Job(suite, name, source, first["seed"], target, folder), options, resolved)


def _check_untrained(method: str, options: Options) -> None:
    """Raises InputError for what says how to train a second stage that trains nothing."""
    given = {"--epochs": options.stage2_epochs, "--full-epochs": options.full_epochs, "--hold": options.hold}
    for option, value in given.items():
        if value:
            raise InputError(f"{method} corrects the classifier and trains nothing: leave {option} out")


def summary(record: dict[str, Any], folder: Path) -> str:
    """What a finished stage prints: its training images, accuracy, shot groups, calibration and where its checkpoint is."""
    if record["extra"].get("unit") == "iterations":
        return _dense_summary(record, folder)
    titles = {"last": "last epoch", "best": f"best epoch on {record['best_on']} ({record['best_epoch']})"}
    if not record["epochs"]:
        titles = {"last": "corrected"}
    lines = [_about_images(record)]
    for epoch, title in titles.items():
        metrics = record["metrics"][epoch]
        groups = ", ".join(
            f"{name.split('_')[0]} {'no class' if metrics[name] is None else format(metrics[name], '.2f')}"
            for name in ("many_shot", "medium_shot", "few_shot")
        )
        lines.append(f"{title}: top-1 {metrics['top1']:.2f} %, {groups}, ECE {metrics['ece']:.2f} %")
    lines.append(f"checkpoint: {folder / LAST}" if record["epochs"] else f"record: {folder / RECORD_FILE}")
    return "\n".join(lines)


def _dense_summary(record: dict[str, Any], folder: Path) -> str:
    """The same of a segmentation net: mean IoU, that of head, body and tail, and where its checkpoint is."""
    lines = []
    titles = {"last": "last iteration", "best": f"best iteration on {record['best_on']} ({record['best_epoch']})"}
    for epoch, title in titles.items():
        metrics = record["metrics"][epoch]
        groups = [f"{name} {metrics[name]:.2f}" for name in ("head", "body", "tail") if metrics.get(name) is not None]
        lines.append(", ".join([f"{title}: mIoU {metrics['miou']:.2f} %", *groups]))
    return "\n".join([*lines, f"checkpoint: {folder / LAST}"])


def _about_images(record: dict[str, Any]) -> str:
    """How many images a run was trained on, of how many, in which order, and their fingerprint."""
    found, order = record["extra"].get("images_found"), record["extra"].get("data_order")
    parts = [f"{sum(record['train_counts']):,}" + (f" of {found:,} found" if found else "")]
    parts += [order] if order else []
    return f"training images: {', '.join(parts)}, fingerprint {record['data_fingerprint']['train']}"
