"""A suite's results as data: one line for each row, variant and recipe, beside the paper's figure and the baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sar_cls.reporting.families import Adjusted, adjust
from sar_cls.reporting.groups import Group, baseline_of, distinctions, group_runs
from sar_cls.reporting.paper import Figure, find, find_of_other_task
from sar_cls.reporting.stats import PairedDifference, Summary, paired_difference, summarize
from sar_cls.reporting.unpaired import why_unpaired
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Row, Suite

if TYPE_CHECKING:
    import pandas as pd


NO_RUNS = Summary(None, None, 0)


@dataclass(frozen=True)
class Line:
    """What is known of one row by one recipe.

    Attributes:
        row: the row.
        imbalance: imbalance factor; None for a suite that is not long-tailed.
        group: the runs; None for a row without any.
        paper: the published figure of the headline metric, or of another task where the row says so (``paper_task``).
        last: headline metric at the last epoch.
        best: headline metric at the best epoch.
        to_paper: last epoch minus paper; None where the runs are no reproduction or the figure is of another task.
        to_baseline: paired difference at the last epoch; None without a baseline to compare with.
        baseline: the runs of that baseline.
        unpaired: how the baseline was run, where it was and there is no such difference: "with other seeds"; else "".
        adjusted: the same difference as one of those of all rows that are compared with these runs; None where it is the only one.
        extra: further metrics at the last epoch.
        extra_best: the same at the best epoch, which is the one of the highest headline metric.
        extra_paper: published figures of the further metrics.
        deviations: how the recipe differs from the row's own.
        others: what tells this line from other reproductions of the row, for instance the precision.
        other_threads: whether a run and its pair of the baseline were computed on the CPU with different numbers of threads.
        other_instructions: whether they were computed with different instructions of CPUs, AVX2 and AVX512 for instance.
        other_devices: whether they were computed on a CPU and a GPU, or on two kinds of GPU.
    """

    row: Row
    imbalance: float | None
    group: Group | None
    paper: Figure | None
    last: Summary
    best: Summary
    to_paper: float | None = None
    to_baseline: PairedDifference | None = None
    baseline: Group | None = None
    unpaired: str = ""
    adjusted: Adjusted | None = None
    extra: dict[str, Summary] = field(default_factory=dict)
    extra_best: dict[str, Summary] = field(default_factory=dict)
    extra_paper: dict[str, Figure] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    other_threads: bool = False
    other_instructions: bool = False
    other_devices: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is neither a run nor a published figure."""
        return self.group is None and self.paper is None and not self.extra_paper

    def without_runs(self) -> Line:
        """The line of the same row with the published figures alone."""
        return Line(self.row, self.imbalance, None, self.paper, NO_RUNS, NO_RUNS, extra_paper=self.extra_paper)


def compare(suite: Suite, records: Iterable[Mapping[str, Any]], warn: Warn) -> list[Line]:
    """The lines of a suite (without the included ones): variants one after the other, rows in the suite's order.

    The suite's own imbalance factor comes first, with every row that is not optional, whether it was run or not, and with the
    optional ones that alone have a published figure. Other imbalance factors follow where there are runs, from mild to strong.
    """
    groups = group_runs(suite, records, warn)
    own = None if suite.imbalance is None else float(suite.imbalance)
    seen = {group.recipe.imbalance for row_groups in groups.values() for group in row_groups}
    variants = [own, *sorted(seen - {own}, key=lambda factor: factor or 0.0)]
    return _adjusted(
        [line for variant in variants for row in suite.rows for line in _lines(suite, row, variant, groups)]
    )


def families(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines that are compared with one and the same runs of a baseline, family by family."""
    found: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if line.baseline is not None:
            found.setdefault((line.imbalance, line.baseline.row.name, line.baseline.run_ids), []).append(line)
    return list(found.values())


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    """The lines with what their differences are worth beside the others of their family."""
    adjusted = {
        id(line): value
        for family in families(lines)
        for line, value in zip(family, adjust([line.to_baseline for line in family]), strict=True)
    }
    return [replace(line, adjusted=adjusted.get(id(line))) for line in lines]


def beside_runs(results: Sequence[tuple[Suite, Sequence[Line]]]) -> list[tuple[Suite, list[Line]]]:
    """What is worth showing of some suites' lines: all where nothing was run, else no rows that nobody has asked for.

    Where there are runs, suites and variants without any are left out. Of the others a line without runs stays where it holds a
    published figure and a row of its group and stage was run, so that a part of a table stands beside the paper's whole.
    """
    ran = {_part(suite, line) for suite, lines in results for line in lines if line.group is not None}
    if not ran:
        return [(suite, list(lines)) for suite, lines in results]
    kept = []
    for suite, lines in results:
        wanted = [line for line in lines if line.group is not None or (not line.empty and _part(suite, line) in ran)]
        kept += [(suite, wanted)] if wanted else []
    return kept


def _part(suite: Suite, line: Line) -> tuple[str, float | None, str, int]:
    """Suite, variant, group and stage of a line."""
    return suite.name, line.imbalance, line.row.group, line.row.stage


def to_frame(results: Iterable[tuple[Suite, Iterable[Line]]]) -> pd.DataFrame:
    """The lines of some suites as numbers, for CSV and further work; metrics and their differences in percent."""
    import pandas as pd

    frame = pd.DataFrame([_entry(suite, line) for suite, lines in results for line in lines])
    if frame.empty:
        return pd.DataFrame(columns=["suite", "row", "epochs", "epochs_recipe", "n", "pairs"])
    for column in ("epochs", "epochs_recipe", "n", "pairs", "family"):
        frame[column] = frame[column].astype("Int64")
    return frame


LINE_COLUMNS = ("suite", "imbalance", "stage", "row", "label", "deviations", "precision", "config_hash")


def line_columns(suite: Suite, line: Line) -> dict[str, Any]:
    """What says of which line a number is, in tables of numbers that have several for each: ``LINE_COLUMNS``."""
    recipe = line.group.recipe if line.group else None
    values = (
        suite.name,
        line.imbalance,
        line.row.stage,
        line.row.name,
        line.row.label,
        "; ".join(line.deviations) or None,
        recipe.precision if recipe else None,
        recipe.config_hash if recipe else None,
    )
    return dict(zip(LINE_COLUMNS, values, strict=True))


def _entry(suite: Suite, line: Line) -> dict[str, Any]:
    recipe = line.group.recipe if line.group else None
    difference = line.to_baseline
    entry: dict[str, Any] = {
        "suite": suite.name,
        "imbalance": line.imbalance,
        "stage": line.row.stage,
        "row": line.row.name,
        "label": line.row.label,
        "after": line.row.after,
        "metric": suite.metric,
        "paper": line.paper.value if line.paper else None,
        "paper_max": line.paper.value_max if line.paper else None,
        "paper_source": f"{line.paper.source}, {_origin(line.paper)}" if line.paper else None,
        "paper_task": line.row.paper_task if line.paper else None,
        "reproduction": not line.deviations if recipe else None,
        "deviations": "; ".join(line.deviations) or None,
        "epochs": recipe.epochs if recipe else None,
        "epochs_recipe": recipe.epochs_recipe if recipe else None,
        "precision": recipe.precision if recipe else None,
        "config_hash": recipe.config_hash if recipe else None,
        "seeds": " ".join(str(run["seed"]) for run in line.group.runs) if line.group else None,
        "n": line.last.n,
        "last_mean": line.last.mean,
        "last_std": line.last.std,
        "best_mean": line.best.mean,
        "best_std": line.best.std,
        "to_paper": line.to_paper,
        "baseline": line.row.baseline,
        "to_baseline": difference.mean if difference else None,
        "to_baseline_low": difference.low if difference else None,
        "to_baseline_high": difference.high if difference else None,
        "pairs": difference.n if difference else None,
        "significant": difference.significant if difference else None,
        "p": difference.p if difference else None,
        "family": line.adjusted.size if line.adjusted else None,
        "p_holm": line.adjusted.p if line.adjusted else None,
        "simultaneous_low": line.adjusted.low if line.adjusted else None,
        "simultaneous_high": line.adjusted.high if line.adjusted else None,
    }
    for metric in suite.extra_metrics:
        summary = asdict(line.extra[metric]) if metric in line.extra else {}
        entry |= {f"{metric}_mean": summary.get("mean"), f"{metric}_std": summary.get("std")}
        entry[f"{metric}_best_mean"] = line.extra_best[metric].mean if metric in line.extra_best else None
        entry[f"{metric}_paper"] = line.extra_paper[metric].value if metric in line.extra_paper else None
    return entry


def _lines(suite: Suite, row: Row, imbalance: float | None, groups: Mapping[str, list[Group]]) -> list[Line]:
    """The lines of a row in one variant; without runs, one line that holds the paper's figures alone."""
    found = [group for group in groups[row.name] if group.recipe.imbalance == imbalance]
    dataset = suite.published_dataset(imbalance)
    figure, extra_paper = None, {}
    if row.paper and row.paper_task:
        figure = find_of_other_task(dataset, row.paper)
    elif row.paper:
        figure = find(dataset, row.paper, suite.metric, row.stage)
        extra_paper = {m: find(dataset, row.paper, m, row.stage) for m in suite.extra_metrics}
    published = {metric: value for metric, value in extra_paper.items() if value is not None}
    if not found:
        if row.optional and not _alone(suite, row, figure):
            return []
        return [Line(row, imbalance, None, figure, NO_RUNS, NO_RUNS, extra_paper=published)]
    lines = []
    target = figure.value if figure and row.paper_task is None else None
    for group in found:
        last = summarize(group.values("last", suite.metric).values())
        deviations = tuple(group.recipe.deviations(row))
        baseline = baseline_of(group, groups)
        lines.append(
            Line(
                row=row,
                imbalance=imbalance,
                group=group,
                paper=figure,
                last=last,
                best=summarize(group.values("best", suite.metric).values()),
                to_paper=None if target is None or last.mean is None or deviations else last.mean - target,
                to_baseline=_difference(group, baseline, suite.metric) if baseline else None,
                baseline=baseline,
                unpaired="" if baseline else why_unpaired(group, groups),
                extra={m: summarize(group.values("last", m).values()) for m in suite.extra_metrics},
                extra_best={m: summarize(group.values("best", m).values()) for m in suite.extra_metrics},
                extra_paper=published,
                deviations=deviations,
                others=distinctions(group, found),
                other_threads=baseline is not None and _differ(_threads, group, baseline),
                other_instructions=baseline is not None and _differ(_instructions, group, baseline),
                other_devices=baseline is not None and _other_devices(group, baseline),
            )
        )
    return lines


def _alone(suite: Suite, row: Row, figure: Figure | None) -> bool:
    """Whether a row has a published figure that no row of its suite has that is not optional."""
    others = {(other.paper, other.stage) for other in suite.rows if not other.optional}
    return figure is not None and row.paper_task is None and (row.paper, row.stage) not in others


def _difference(group: Group, baseline: Group, metric: str) -> PairedDifference:
    return paired_difference(group.values("last", metric), baseline.values("last", metric))


def _differ(read: Callable[[Mapping[str, Any]], list[Any] | None], group: Group, baseline: Group) -> bool:
    """Whether a pair was computed with different threads or instructions, as far as both records know theirs."""
    theirs = {run["seed"]: read(run) for run in baseline.runs}
    pairs = [(read(run), theirs.get(run["seed"])) for run in group.runs]
    return any(one and other and one != other for one, other in pairs)


def _other_devices(group: Group, baseline: Group) -> bool:
    theirs = {run["seed"]: _device(run) for run in baseline.runs}
    return any(_device(run) != theirs.get(run["seed"], _device(run)) for run in group.runs)


def _device(run: Mapping[str, Any]) -> str:
    """The GPU by name, "cpu" for any CPU."""
    return str(run["machine"].get("accelerator") or run["device"].partition(":")[0])


def _threads(run: Mapping[str, Any]) -> list[int] | None:
    """The numbers of threads of a run in their order; None on a GPU, where they do not matter, and where it is not known."""
    machine = run["machine"]
    if run["device"] != "cpu" or machine.get("threads") is None:
        return None
    return machine.get("threads_used") or [machine["threads"]]


def _instructions(run: Mapping[str, Any]) -> list[str] | None:
    """Likewise the instructions of the CPU."""
    machine = run["machine"]
    if run["device"] != "cpu" or machine.get("cpu_capability") is None:
        return None
    return machine.get("cpu_capabilities_used") or [machine["cpu_capability"]]


def _origin(figure: Figure) -> str:
    return f"Tab. {figure.table}" if figure.table.isdigit() else figure.table
