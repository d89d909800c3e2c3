"""Measurements as Markdown tables and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from sar_cls.speed.cost import Cost
from sar_cls.speed.jobs import Throughput
from sar_cls.speed.profile import Profile
from sar_cls.speed.rounds import Spread, Timing


def timing_table(timings: Sequence[Timing], references: Sequence[tuple[str, str]]) -> str:
    """A row a contender: images a second, and the ratio to each reference, quartiles in brackets.

    Args:
        timings: of the contenders.
        references: (name, heading) of those that the others are compared with; one that was not timed is left out.
    """
    by_name = {timing.name: timing for timing in timings}
    shown = [(by_name[name], heading) for name, heading in references if name in by_name]
    with_mode = any(timing.mode for timing in timings)
    headings = ["", *(["mode"] if with_mode else []), "images/s", *(heading for _, heading in shown)]
    rows = []
    for timing in timings:
        row = [timing.label, *([timing.mode] if with_mode else []), _rate(timing.rate)]
        rows.append(row + ["1" if timing is other else _ratio(timing.ratio_to(other)) for other, _ in shown])
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)


def timing_data(timings: Sequence[Timing], references: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The same as plain data, with the seconds of every round."""
    by_name = {timing.name: timing for timing in timings}
    return [
        {
            "name": timing.name,
            "label": timing.label,
            "mode": timing.mode,
            "images_per_round": timing.images,
            "seconds": timing.seconds,
            "images_per_second": asdict(timing.rate),
            "ratio_to": {name: asdict(timing.ratio_to(by_name[name])) for name, _ in references if name in by_name},
        }
        for timing in timings
    ]


def cost_table(costs: Sequence[Cost]) -> str:
    """A row a method; what it adds is in per cent of the first row."""
    first = costs[0]
    rows = [
        [
            cost.method,
            f"{cost.parameters / 1e6:.4f}",
            _more(cost.parameters, first.parameters),
            f"{cost.forward / 1e9:.4f}",
            _more(cost.forward, first.forward),
            f"{cost.step / 1e9:.4f}",
            _more(cost.step, first.step),
            f"{cost.peak_bytes / 2**20:.1f}",
            _more(cost.peak_bytes, first.peak_bytes),
        ]
        for cost in costs
    ]
    headings = ["regularizer", "parameters [M]", "", "forward [GFLOP/step]", "", "step [GFLOP]", "", "peak [MiB]", ""]
    table = tabulate(rows, headings, tablefmt="github", disable_numparse=True)
    at_inference = {(cost.inference_parameters, cost.inference) for cost in costs}
    parameters, operations = first.inference_parameters, first.inference
    if len(at_inference) == 1:
        note = f"At inference all are the same: {parameters / 1e6:.4f} M parameters, {operations / 1e6:.2f} MFLOP an image."
    else:
        note = f"At inference they DIFFER: {sorted(at_inference)} (parameters, FLOP an image)."
    paper = (
        "Paper (Tab. 20, HRNet on Cityscapes, in training): +SAR 65.86 -> 67.42 M parameters, 374.34 -> 374.37 GFLOP."
    )
    return f"{table}\n\n{note} A multiplication and an addition are two operations.\n{paper}"


def start_up_table(waits: Mapping[str, Spread]) -> str:
    """Seconds from the command to what is named, quartiles in brackets."""
    rows = [[name, f"{wait.median:.2f} [{wait.low:.2f}, {wait.high:.2f}]"] for name, wait in waits.items()]
    return tabulate(rows, ["", "s after the command"], tablefmt="github", disable_numparse=True)


def jobs_table(throughputs: Sequence[Throughput]) -> str:
    """A row a number of runs at a time; the ratio is to the first row."""
    first = throughputs[0].runs_an_hour
    rows = [
        [
            item.jobs,
            item.threads,
            item.wait,
            f"{item.seconds_epoch:.3f}",
            f"{item.runs_an_hour:.2f}",
            f"{item.runs_an_hour / first:.2f}",
        ]
        for item in throughputs
    ]
    headings = ["runs at a time", "threads of each", "waiting", "s an epoch of each", "whole runs an hour", "ratio"]
    table = tabulate(rows, headings, tablefmt="github", disable_numparse=True)
    return f"{table}\n\nA whole run has {throughputs[0].recipe_epochs} epochs."


def profile_table(profile: Profile) -> str:
    """The most expensive operations, a line a piece."""
    rows = [[name, f"{milliseconds:.3f}", f"{calls:.1f}"] for name, milliseconds, calls in profile.operations]
    table = tabulate(rows, ["operation", "ms a step", "calls a step"], tablefmt="github", disable_numparse=True)
    kernels = "" if profile.kernels is None else f"\n\n{profile.kernels:.0f} kernels a step."
    return f"{table}{kernels}\n\nTrace: {profile.trace}"


def _rate(rate: Spread) -> str:
    return f"{rate.median:,.0f} [{rate.low:,.0f}, {rate.high:,.0f}]"


def _ratio(ratio: Spread) -> str:
    digits = 3 if ratio.median < 10 else 1
    return f"{ratio.median:.{digits}f} [{ratio.low:.{digits}f}, {ratio.high:.{digits}f}]"


def _more(value: int, first: int) -> str:
    return "" if value == first else f"{100 * (value / first - 1):+.3f} %"
