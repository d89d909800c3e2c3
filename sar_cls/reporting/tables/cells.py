"""The cells, labels and footnotes of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sar_cls.official_images import ARCHIVE, MAY_DIFFER, RECOVERED
from sar_cls.reporting.comparison import Line
from sar_cls.reporting.families import Adjusted
from sar_cls.reporting.paper import TABLE_NOTES, disagreeing
from sar_cls.reporting.stats import PairedDifference, Summary
from sar_cls.reporting.tables.absent_notes import absent_notes

EMPTY = "–"


class Notes:
    """Numbers the remarks of a table as they come up: the same remark, the same number."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def mark(self, line: Line) -> str:
        """The line's number in brackets, with a space in front; empty where there is nothing to remark."""
        if not line.deviations:
            return ""
        remark = f"{', '.join(line.deviations)}: not a reproduction."
        if remark not in self.remarks:
            self.remarks.append(remark)
        return f" [{self.remarks.index(remark) + 1}]"

    def texts(self) -> list[str]:
        return [f"[{number}] {remark}" for number, remark in enumerate(self.remarks, 1)]


class Cells:
    """Makes the cells of lines, in the order in which the table shows them.

    Args:
        with_paper: whether the table has columns for the paper's figures.
        paper_task: of which other task those are; then there is no column for the difference to them.
        with_adjusted: whether the table has a column for differences as those of a family.
    """

    def __init__(self, with_paper: bool, paper_task: str | None = None, with_adjusted: bool = False) -> None:
        self.with_paper = with_paper
        self.paper_task = paper_task
        self.with_adjusted = with_adjusted
        self.notes = Notes()
        self._rows_shown: set[str] = set()

    def columns(self, baseline: str) -> list[str]:
        """Names of the columns after the method's."""
        ours = ["last epoch: mean ± std (n)", "best epoch"]
        compared = [f"Δ {baseline} [95 %]", *(["Holm p [simultaneous 95 %]"] if self.with_adjusted else [])]
        if not self.with_paper:
            return [*ours, *compared]
        if self.paper_task is not None:
            return [f"paper ({self.paper_task})", *ours, *compared]
        return ["paper", *ours, "Δ paper", *compared]

    def empty(self, label: str) -> list[str]:
        """A line of which only the label is known."""
        return [label, *[EMPTY] * len(self.columns(""))]

    def of(self, line: Line) -> list[str]:
        """The label and the cells of a line. The paper's figure stands in the first line of its row only."""
        first = line.row.name not in self._rows_shown
        self._rows_shown.add(line.row.name)
        paper = str(line.paper) if line.paper and first else EMPTY
        to_paper = f"{line.to_paper:+.2f}" if line.to_paper is not None else EMPTY
        last = f"{mean_cell(line.last)} (n = {line.last.n})" if line.last.n else EMPTY
        published = [paper] if self.with_paper else []
        distance = [to_paper] if self.with_paper and self.paper_task is None else []
        ours = [last, mean_cell(line.best)]
        compared = [difference_cell(line.to_baseline)]
        compared += [adjusted_cell(line.adjusted)] if self.with_adjusted else []
        return [label_cell(line, self.notes), *published, *ours, *distance, *compared]


def mean_cell(summary: Summary | None) -> str:
    """``78.12 ± 0.21``, or the mean alone where there is one run."""
    if summary is None or summary.mean is None:
        return EMPTY
    return f"{summary.mean:.2f}" + (f" ± {summary.std:.2f}" if summary.std is not None else "")


def difference_cell(difference: PairedDifference | None) -> str:
    """``+0.71 [+0.20, +1.22] (3 pairs)``, with ``n.s.`` where the interval holds 0."""
    if difference is None or difference.mean is None:
        return EMPTY
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.2f} (1 pair)"
    doubt = "" if difference.significant else " n.s."
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]{doubt} ({difference.n} pairs)"


def adjusted_cell(adjusted: Adjusted | None) -> str:
    """``0.012 [+0.10, +1.32]``: the adjusted p-value and the interval that holds together with the family's others."""
    if adjusted is None:
        return EMPTY
    p = "< 0.001" if adjusted.p < 0.001 else f"{adjusted.p:.3f}"
    return f"{p} [{adjusted.low:+.2f}, {adjusted.high:+.2f}]"


def label_cell(line: Line, notes: Notes, label: str | None = None) -> str:
    """The row's label (or ``label``), how the runs differ from its recipe, and the number of the footnote about that."""
    return _named(line, label) + notes.mark(line)


def _named(line: Line, label: str | None = None) -> str:
    details = ", ".join((*line.deviations, *line.others))
    return (label or line.row.label) + (f" ({details})" if details else "")


def general_notes(lines: Sequence[Line], paper_table: str | None = None) -> list[str]:
    """What holds for the whole table: how the columns are meant, and which code and machines the runs come from.

    Args:
        lines: of the table.
        paper_table: number of the paper's table, if there is one.
    """
    runs = [run for line in lines if line.group for run in line.group.runs]
    notes = []
    if any(line.to_paper is not None for line in lines):
        notes.append("Δ paper: mean at the last epoch minus the paper's figure.")
    task = next((line.row.paper_task for line in lines if line.paper is not None), None)
    if task is not None:
        notes.append(
            f"The paper's figures are of another task ({task}): they say nothing about ours, and no difference is given."
        )
    if paper_table in TABLE_NOTES and task is None and any(line.paper is not None for line in lines):
        notes.append(TABLE_NOTES[paper_table])
    if task is None:
        for label, figure in [(line.row.label, line.paper) for line in lines if line.paper is not None]:
            for other in disagreeing(figure):
                text = f"{label}: {other} in the paper's Tab. {other.table}, {figure} in its Tab. {figure.table}."
                notes += [] if text in notes else [text]
    differences = [line.to_baseline for line in lines if line.to_baseline is not None]
    if any(difference.significant is not None for difference in differences):
        notes.append(
            "Δ to the baseline: mean difference at the last epoch over paired seeds with its 95 % interval (paired t-test); "
            "n.s.: not significant, the interval holds 0."
        )
    notes += _unpaired(lines)
    sizes = sorted({line.adjusted.size for line in lines if line.adjusted is not None})
    if sizes:
        notes.append(
            "Holm p: of the paired t-test, adjusted for all rows of the suite compared with the same baseline runs (here "
            f"{' or '.join(map(str, sizes))}; Holm 1979): any error among those below 0.05 has a probability of at most 5 %. "
            "Simultaneous 95 %: intervals at 1 - 0.05/rows (Bonferroni), which all hold at once with at least 95 %. Holm's test is "
            "the sharper of the two: p < 0.05 can stand beside an interval that holds 0."
        )
    if any(difference.n == 1 for difference in differences):
        notes.append("1 pair: one seed says nothing about significance.")
    if any(line.other_threads for line in lines):
        notes.append(
            "Some pairs were computed with different numbers of CPU threads, which alone moves a result by as much as another "
            "seed can."
        )
    if any(line.other_instructions for line in lines):
        notes.append(
            "Some pairs were computed on CPUs of different instructions (AVX2, AVX512), which alone moves a result by as much as "
            "another seed can."
        )
    if any(line.other_devices for line in lines):
        notes.append(
            "Some pairs were computed on different devices, which round otherwise; what a seed draws is the same on all."
        )
    lost = sum("lost_best_epoch" in run["extra"] for run in runs)
    if lost:
        notes.append(
            f"In {lost} run{'s' if lost > 1 else ''} the checkpoint of the best epoch was lost: the best of the epochs after it "
            "stands for it."
        )
    others = {(f.source, f.table, f.note) for line in lines if (f := line.paper) is not None and f.source != "SAR"}
    for source, table, note in sorted(others):
        notes.append(f"The paper column is {source}'s here: {table}{f' ({note})' if note else ''}.")
    if runs:
        splits = " or ".join(sorted({"validation" if run["best_on"] == "val" else run["best_on"] for run in runs}))
        notes.append(f"In percent; the headline is the last epoch, the best epoch is the best on the {splits} set.")
        if any((run.get("extra") or {}).get("unit") == "iterations" for run in runs):
            notes.append(
                "Trained by iterations: the last epoch is the last iteration, the best epoch the best of the evaluations."
            )
        notes += absent_notes(lines)
        notes += _orders(lines)
        notes.append(provenance(runs))
    return notes


def _unpaired(lines: Sequence[Line]) -> list[str]:
    """Which lines have no difference although their baselines were run, a sentence for each reason."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.unpaired:
            found.setdefault(line.unpaired, []).append(_named(line) + (", stage 2" if line.row.stage == 2 else ""))
    return [
        f"No difference is given of {'; '.join(dict.fromkeys(labels))}: the baseline was run {reason}, and only runs by one "
        "recipe with the same seeds are compared."
        for reason, labels in found.items()
    ]


def _orders(lines: Sequence[Line]) -> list[str]:
    """From which order of CIFAR's images the subsets that count as published ones were drawn; what else was is a deviation."""
    recipes = [line.group.recipe for line in lines if line.group is not None]
    notes = []
    if any(recipe.order == ARCHIVE for recipe in recipes):
        notes.append("Long-tailed training images: drawn from the official archive.")
    if any(recipe.order == RECOVERED for recipe in recipes):
        factors = sorted({recipe.imbalance for recipe in recipes if recipe.order == RECOVERED and recipe.imbalance})
        bounds = [f"{MAY_DIFFER[factor]} images at imbalance {factor:g}" for factor in factors if factor in MAY_DIFFER]
        doubt = f": at most {', '.join(bounds)} can differ from those of the official archive" if bounds else ""
        notes.append(f"Long-tailed training images: drawn from the recovered official order{doubt}.")
    return notes


def _device(run: Mapping[str, Any]) -> str:
    """The GPU by name, or a CPU by the instructions that it computed with, where they are known."""
    machine = run["machine"]
    if run["device"] == "cpu" and machine.get("cpu_capability"):
        return f"cpu ({machine['cpu_capability']})"
    return str(machine.get("accelerator") or run["device"])


def provenance(runs: Sequence[Mapping[str, Any]]) -> str:
    """Code, torch, device and precision of the runs, in a sentence."""
    commits = {
        (run["git"].get("commit") or "unknown")[:10] + (" with changes" if run["git"].get("dirty") else "")
        for run in runs
    }
    torch_versions = {str(run["versions"].get("torch")) for run in runs}
    devices = {f"{_device(run)} in {run['precision']}" for run in runs}
    facts = (("code", commits), ("torch", torch_versions), ("on", devices))
    listed = "; ".join(f"{name} {', '.join(sorted(values))}" for name, values in facts)
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}: {listed}."
