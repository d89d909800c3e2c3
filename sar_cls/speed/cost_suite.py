"""Measuring the rows of a suite (``measure = "cost"``): parameters, operations, memory and time, in training and at inference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sar_cls.engine.options import Options, threads
from sar_cls.errors import RunFailed
from sar_cls.files import why
from sar_cls.mm.loaders import DataSplits
from sar_cls.reporting.tables.costs import write_costs
from sar_cls.runs import provenance
from sar_cls.speed.contenders import build_model, own_step, preloaded
from sar_cls.speed.cost import measure_cost
from sar_cls.speed.process import as_here
from sar_cls.speed.rounds import Contender, Spread, Timing, measure, repeat
from sar_cls.speed.setting import Setting, load_images, setting_config
from sar_cls.steps.modes import DEFAULT_MODE
from sar_cls.steps.precision import DEFAULT_PRECISION, autocast
from sar_cls.suites.rows import Row, Suite

ROUNDS, STEPS, BATCH_SIZE = 5, 5, 128


def measure_suite(
    suite: Suite,
    rows: Iterable[Row],
    options: Options,
    work_dir: Path,
    *,
    splits: DataSplits | None = None,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Measures rows beside their baselines and keeps the figures of each baseline, once they are whole, in the work directory.

    Args:
        suite: the suite.
        rows: those to measure; a baseline is measured along with its rows.
        options: of which device, data root, precision, mode, memory format and threads count.
        work_dir: the work directory.
        splits: the images; None loads CIFAR-100 or makes random ones.
        rounds: timed rounds.
        steps: steps in a round.
        batch_size: images in a batch.

    Raises:
        InputError: the images, or a config, are not as they should be.
        RunFailed: the figures could not be written.
    """
    device = torch.device(options.device)
    images = "images: given"
    if splits is None:
        splits, images = load_images(options.data_root)
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    with threads(options.threads):
        as_here()
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # as in a run
        origin = provenance.collect(accelerator)
        where = (
            f"{accelerator or origin['machine']['cpu']}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        )
        for baseline, members in families(suite, rows).items():
            setting = Setting(
                net=baseline,
                device=device,
                batch_size=batch_size,
                precision=options.precision or DEFAULT_PRECISION,
                memory_format=options.memory_format,
                mode=options.mode or DEFAULT_MODE,
                steps=steps,
            )
            figures = _measure(members, setting, splits, rounds)
            part = {"rows": figures, "setting": setting.title, "images": images, "where": where, **origin}
            try:
                write_costs(suite, work_dir, {baseline: part})
            except OSError as error:
                raise RunFailed(f"the figures of {baseline} are not written, {why(error)}") from error


def families(suite: Suite, rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Name of a baseline -> it and those of ``rows`` that are compared with it, in the suite's order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        baseline = suite.row(row.baseline) if row.baseline else row
        members = found.setdefault(baseline.name, [baseline])
        if row.name != baseline.name:
            members.append(row)
    return found


def _measure(rows: Sequence[Row], setting: Setting, splits: DataSplits, rounds: int) -> dict[str, dict[str, Any]]:
    """The figures of a baseline and its rows, by name; the baseline is the first."""
    figures: dict[str, dict[str, Any]] = {}
    for row in rows:
        figures[row.name] = asdict(measure_cost(setting, splits, row.label, row.source))
        del figures[row.name]["method"]
    training = [own_step(setting, splits, name=row.name, label=row.label, source=row.source) for row in rows]
    inference = [_inference(setting, splits, row) for row in rows]
    for key, contenders in (("step_seconds", training), ("inference_seconds", inference)):
        for timing, reference in _timed(contenders, rounds, setting, key.partition("_")[0]):
            figures[timing.name][key] = asdict(Spread.of([seconds / setting.steps for seconds in timing.seconds]))
            if timing is not reference:
                ratios = [own / other for own, other in zip(timing.seconds, reference.seconds, strict=True)]
                figures[timing.name][f"{key}_ratio"] = asdict(Spread.of(ratios))
    return figures


def _timed(contenders: Sequence[Contender], rounds: int, setting: Setting, what: str) -> list[tuple[Timing, Timing]]:
    """The timing of each contender, beside that of the first."""
    try:
        timings = measure(contenders, rounds, setting.device, f"{what}, {setting.title}")
    finally:
        for contender in contenders:
            contender.close()
    return [(timing, timings[0]) for timing in timings]


def _inference(setting: Setting, splits: DataSplits, row: Row) -> Contender:
    """The forward pass over one batch that is ready on the device."""
    config = setting_config(setting, len(splits.train.classes), mixup=False, source=row.source)
    model = build_model(config, setting).eval()
    inputs, _ = preloaded(setting, splits, config)

    @torch.inference_mode()
    def forward() -> None:
        with autocast(setting.device, setting.precision):
            model(inputs)

    return Contender(
        row.name,
        row.label,
        setting.steps * len(inputs),
        run=lambda: repeat(forward, setting.steps),
        process=as_here,
        settle=forward,
    )
