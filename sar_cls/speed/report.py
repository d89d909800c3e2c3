"""What ``benchmarks/speed.py`` does with its arguments: measure, print tables, write JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sar_cls import messages
from sar_cls.errors import InputError, RunFailed
from sar_cls.files import replacing, why
from sar_cls.memory import allocating
from sar_cls.mm.loaders import DataSplits
from sar_cls.runs import provenance
from sar_cls.speed import contenders, cost, data_path, dense, evaluation, profile
from sar_cls.speed import markdown as table
from sar_cls.speed.jobs import jobs_setting, measure_jobs
from sar_cls.speed.process import as_here
from sar_cls.speed.rounds import Contender, Timing, measure
from sar_cls.speed.setting import Setting, load_images, settings
from sar_cls.speed.start_up import measure_start_up, start_up_setting
from sar_cls.steps.modes import DEFAULT_MODE
from sar_cls.steps.precision import DEFAULT_PRECISION

STEP_REFERENCES = ((contenders.BARE, "ratio to (a)"), (contenders.LOOP, "ratio to (b)"))


def run(arguments: Any, device_name: str, splits: DataSplits | None = None) -> int:
    """Measures what was asked for.

    Args:
        arguments: of the command line.
        device_name: a device that is there.
        splits: the images; None loads them. Those of ``--dense`` are always loaded.
    """
    device = torch.device(device_name)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    as_here()
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as in a run
    arguments.mode = arguments.mode or DEFAULT_MODE
    arguments.precision = arguments.precision or [DEFAULT_PRECISION]
    kinds = ("data_path", "evaluation", "cost", "profile", "start_up", "jobs", "dense")
    own = any(getattr(arguments, kind) for kind in kinds)
    dense_alone = bool(arguments.dense) and not (arguments.all or any(getattr(arguments, kind) for kind in kinds[:-1]))
    images, masked = "images: given", None
    if splits is None and not dense_alone:
        splits, images = load_images(arguments.data_root)
    if arguments.dense:
        masked, about = dense.load_masked_images(arguments.data_root)
        images = about if dense_alone else f"{images}; {about}"
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    origin = provenance.collect(accelerator)
    threads = torch.get_num_threads()
    messages.result(
        f"{images}; {accelerator or origin['machine']['cpu']}, {threads} threads; torch {torch.__version__}\n"
    )
    results: list[dict[str, Any]] = []
    if splits is not None:
        for setting in settings(arguments, device):
            _check_batch(setting.batch_size, splits)
            with allocating(f"measuring {setting.title}", "choose a smaller --batch-size"):
                results += _measure_setting(arguments, setting, splits, step=arguments.all or not own)
    if masked is not None:
        _check_batch(arguments.batch_size or dense.BATCH, masked)
        with allocating("measuring segmentation nets", "choose a smaller --batch-size"):
            results += _measure_dense(arguments, settings(arguments, device), masked)
    if arguments.json is not None:
        data = {**origin, "device": device.type, "threads": threads, "images": images, "results": results}
        try:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            with replacing(arguments.json) as temporary:
                temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise RunFailed(f"the figures above are not written, {why(error, arguments.json)}") from error
    return 0


def _check_batch(batch_size: int, splits: DataSplits) -> None:
    """A bare step on fewer images than are counted would be too fast, and a DataLoader would never give a batch."""
    if batch_size > len(splits.train):
        raise InputError(
            f"--batch-size {batch_size} is more than the {len(splits.train):,} training images: choose a smaller one"
        )


def _measure_dense(arguments: Any, like: Sequence[Setting], splits: DataSplits) -> list[dict[str, Any]]:
    """The training steps of segmentation nets, with each precision once."""
    results = []
    for precision in dict.fromkeys(setting.precision for setting in like):
        for net in arguments.dense:
            setting = replace(like[0], net=net, precision=precision, batch_size=arguments.batch_size or dense.BATCH)
            entrants = dense.build_dense(setting, splits, arguments.only or dense.NAMES)
            try:
                timings = measure(entrants, arguments.rounds, setting.device, f"dense training step, {setting.title}")
            finally:
                for entrant in entrants:
                    entrant.close()
            text = table.timing_table(timings, STEP_REFERENCES)
            messages.result(f"### dense training step: {setting.title}\n\n{text}\n")
            plain = {**asdict(setting), "device": setting.device.type}
            figures = table.timing_data(timings, STEP_REFERENCES)
            results.append({"kind": "dense training step", "setting": plain, "figures": figures})
    return results


def _measure_setting(arguments: Any, setting: Setting, splits: DataSplits, *, step: bool) -> list[dict[str, Any]]:
    results = []

    def keep(kind: str, text: str, figures: Any, measured: Setting = setting) -> None:
        messages.result(f"### {kind}: {measured.title}\n\n{text}\n")
        plain = {**asdict(measured), "device": measured.device.type}
        results.append({"kind": kind, "setting": plain, "figures": figures})

    def time(kind: str, entrants: list[Contender], references: Sequence[tuple[str, str]]) -> list[Timing]:
        try:
            timings = measure(entrants, arguments.rounds, setting.device, f"{kind}, {setting.title}")
        finally:
            for entrant in entrants:
                entrant.close()
        keep(kind, table.timing_table(timings, references), table.timing_data(timings, references))
        return timings

    if step:
        time("training step", contenders.build(setting, splits, arguments.only or contenders.NAMES), STEP_REFERENCES)
    if arguments.all or arguments.data_path:
        time("data path", data_path.build(setting, splits), [(data_path.DATALOADER, "ratio to (g)")])
    if arguments.all or arguments.evaluation:
        timings = time("evaluation", evaluation.build(setting, splits), [(evaluation.EVALUATION, "ratio to the first")])
        best = max(timings[1:], key=lambda timing: timing.rate.median)
        ratio = best.ratio_to(timings[0])
        messages.result(
            f"Evaluation takes {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times as long as the {best.label}.\n"
        )
    if arguments.all or arguments.cost:
        costs = cost.measure_costs(setting, splits)
        plainly = replace(setting, mode=DEFAULT_MODE, optimizer="default")
        keep("cost", table.cost_table(costs), [asdict(item) for item in costs], plainly)
    if arguments.start_up:
        waits = measure_start_up(setting, arguments.data_root, arguments.rounds)
        spreads = {name: asdict(seconds) for name, seconds in waits.items()}
        keep("start-up", table.start_up_table(waits), spreads, start_up_setting(setting))
    if arguments.jobs:
        throughputs = measure_jobs(
            setting,
            arguments.jobs,
            arguments.data_root,
            arguments.epochs,
            threads=arguments.threads,
            waits=arguments.wait,
        )
        rates = [{**asdict(item), "runs_an_hour": item.runs_an_hour} for item in throughputs]
        keep("runs at a time", table.jobs_table(throughputs), rates, jobs_setting(setting))
    if arguments.profile is not None:
        found = profile.profile_step(setting, splits, arguments.profile)
        figures = {**asdict(found), "trace": Path(found.trace).name}
        keep("profile", table.profile_table(found), figures)
    return results
