"""Tables of a suite from its finished runs, as Markdown that GitHub renders and as CSV.

The headline is the accuracy at the last epoch; the best epoch stands beside it. Runs by another recipe than the row's
own stand in lines of their own that say so, and are never set against the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls.files import replacing
from sar_cls.reporting.comparison import Line, beside_runs, compare, to_frame
from sar_cls.reporting.tables.absent_notes import absent_notes
from sar_cls.reporting.tables.cells import EMPTY, Cells, Notes, general_notes, label_cell, mean_cell
from sar_cls.runs import ledger
from sar_cls.suites.rows import Suite

if TYPE_CHECKING:
    import pandas as pd

    from sar_cls.reporting.stats import Summary

_BY_COUNT = {"many_shot", "medium_shot", "few_shot"}
_BY_INDEX = {"many_shot_index", "medium_shot_index", "few_shot_index"}
_HEAD_BODY_TAIL = {"head", "body", "tail"}
METRIC_LABELS = {
    "top1": "top-1",
    "top5": "top-5",
    "ece": "ECE",
    "errors_within_superclass": "near mistakes",
    "many_shot": "many",
    "medium_shot": "medium",
    "few_shot": "few",
    "many_shot_index": "many (by index)",
    "medium_shot_index": "medium (by index)",
    "few_shot_index": "few (by index)",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "head_index": "head (by index)",
    "body_index": "body (by index)",
    "tail_index": "tail (by index)",
}


@dataclass(frozen=True)
class Table:
    """A table that is ready to print.

    Attributes:
        title: heading.
        frame: cells as strings, columns named as shown.
        notes: footnotes, in order.
    """

    title: str
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        from tabulate import tabulate

        lines = [self.frame.columns, *self.frame.itertuples(index=False)]
        headers, *cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
        body = tabulate(cells, headers=headers, tablefmt="pipe", disable_numparse=True)
        parts = [f"### {self.title}", *([body] if len(self.frame.columns) else [])]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts)


@dataclass(frozen=True)
class SuiteTables:
    """All tables of a suite and of those that it includes.

    Attributes:
        tables: the printed tables.
        frame: the same results as numbers, a line for each row and recipe.
    """

    tables: tuple[Table, ...]
    frame: pd.DataFrame

    def to_markdown(self) -> str:
        return "\n\n".join(table.to_markdown() for table in self.tables) + "\n"

    def to_csv(self) -> str:
        return self.frame.to_csv(index=False, lineterminator="\n", float_format=_csv_number)


def _csv_number(value: float) -> str:
    """Six digits; of millions all before the point, since such a number is a count (of pixels, of parameters)."""
    return f"{value:.0f}" if abs(value) >= 1e6 else f"{value:.6g}"


def suite_tables(suite: Suite, work_dir: Path | str, *, warn: ledger.Warn = ledger.default_warn) -> SuiteTables:
    """Tables of a suite from the finished runs of a work directory; without runs they hold the paper's figures.

    Args:
        suite: the suite; the ones that it includes follow it.
        work_dir: the work directory; it need not exist.
        warn: called with a sentence for each run that is left out; by default ``warnings.warn``.
    """
    records = [record for _, record in ledger.scan(work_dir, warn)]
    return tables_from_records(suite.all_suites, records, warn)


def tables_from_records(
    suites: Iterable[Suite], records: Sequence[Mapping[str, Any]], warn: ledger.Warn = ledger.default_warn
) -> SuiteTables:
    """Tables of the given suites, without those that they include, from run records.

    Where there are runs, they hold no rows that nobody has asked for (see :func:`beside_runs`).
    """
    results = beside_runs([(suite, compare(suite, records, warn)) for suite in suites])
    tables: list[Table] = []
    for suite, lines in results:
        for imbalance in dict.fromkeys(line.imbalance for line in lines):
            tables += _variant_tables(suite, imbalance, [line for line in lines if line.imbalance == imbalance])
    return SuiteTables(tuple(tables), to_frame(results))


def write_tables(suite: Suite, work_dir: Path | str, *, warn: ledger.Warn = ledger.default_warn) -> SuiteTables:
    """Writes ``<work_dir>/<suite>/table.md`` and ``table.csv`` atomically and returns the tables."""
    tables = suite_tables(suite, work_dir, warn=warn)
    save_tables(tables, suite, work_dir)
    return tables


def save_tables(tables: SuiteTables, suite: Suite, work_dir: Path | str) -> None:
    """Writes the tables of a suite to the two files of :func:`table_files`, each whole or not at all."""
    texts = (tables.to_markdown(), tables.to_csv())
    for path, text in zip(table_files(suite, work_dir), texts, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def table_files(suite: Suite, work_dir: Path | str) -> tuple[Path, Path]:
    """Where the tables of a suite are written, as Markdown and as CSV."""
    folder = Path(work_dir) / suite.name
    return folder / "table.md", folder / "table.csv"


def variant_title(suite: Suite, imbalance: float | None) -> str:
    """Heading of what was run of a suite at an imbalance factor."""
    title = suite.title + (f", imbalance factor {imbalance:g}" if imbalance is not None else "")
    if suite.imbalance is not None and imbalance is None:
        title += ", all training images"
    return title


def table_title(suite: Suite, imbalance: float | None) -> str:
    """The same, with the paper's table where the factor is the paper's."""
    is_papers = suite.paper_table and imbalance == (None if suite.imbalance is None else float(suite.imbalance))
    return variant_title(suite, imbalance) + (suite.origin if is_papers else "")


def _variant_tables(suite: Suite, imbalance: float | None, lines: Sequence[Line]) -> list[Table]:
    """Main table, further rows and extra metrics of one variant of a suite."""
    title = table_title(suite, imbalance)
    main = [line for line in lines if not line.row.optional]
    started_from = {line.row.after for line in lines if line.row.optional}
    optional = any(line.row.optional for line in lines)
    further = [line for line in lines if optional and (line.row.optional or line.row.name in started_from)]
    tables = []
    for part, heading in ((main, title), (further, f"{title}: further rows")):
        if part:
            tables.append((_two_stage_table if suite.two_stage else _table)(suite, heading, part))
    if suite.extra_metrics:
        extra = _extra_table(suite, f"{title}: {_extra_heading(suite)}", lines)
        tables += [extra] if extra is not None else []
    return tables


def _table(suite: Suite, title: str, lines: Sequence[Line]) -> Table:
    import pandas as pd

    cells = Cells(_any_paper(lines), suite.paper_task, _any_family(lines))
    rows = [cells.of(line) for line in lines]
    columns = ["method", *cells.columns(_baseline_name(suite, lines))]
    return Table(
        title, pd.DataFrame(rows, columns=columns), (*cells.notes.texts(), *general_notes(lines, suite.paper_table))
    )


def _two_stage_table(suite: Suite, title: str, lines: Sequence[Line]) -> Table:
    """Stage 1 and stage 2 side by side; a second stage stands beside the very runs it started from.

    Without a line of the second stage its columns are left out.
    """
    import pandas as pd

    cells = Cells(_any_paper(lines), suite.paper_task, _any_family(lines))
    stages: list[list[Line]] = [[line for line in lines if line.row.stage == stage] for stage in (1, 2)]
    rows = []
    for one, two in _pairs(*stages):
        if one is not None:
            left = cells.of(one)
        else:  # the first stage is not here; its name is
            left = cells.empty(suite.row(two.row.after).label if two and two.row.after else EMPTY)
        right = cells.of(two) if two is not None else cells.empty(EMPTY)
        rows.append([*left, *right] if stages[1] else left)
    columns: list[str] = []
    for number, stage in enumerate(stages if stages[1] else stages[:1], 1):
        names = cells.columns(_baseline_name(suite, stage))
        columns += [f"stage {number}", *(f"{number}: {name}" for name in names)]
    return Table(
        title, pd.DataFrame(rows, columns=columns), (*cells.notes.texts(), *general_notes(lines, suite.paper_table))
    )


def _pairs(stage1: Sequence[Line], stage2: Sequence[Line]) -> Iterator[tuple[Line | None, Line | None]]:
    """Each first-stage line with the second stages that started from its runs; second stages left over come last.

    Beside a first-stage line without one stands, empty, the second stage that the suite has for it.
    """
    left = list(stage2)
    for one in stage1:
        after = [two for two in stage2 if two.row.after == one.row.name]
        joined = [two for two in after if _started_from(two, one)]
        left = [two for two in left if not any(two is other for other in joined)]
        if not joined:
            awaited = {two.row.name: two for two in after if not two.row.optional}
            joined = [two.without_runs() for two in awaited.values()]
            left = [two for two in left if two.group is not None]
        if not joined:
            yield one, None
        for two in joined:
            yield one, two
    for two in left:
        yield None, two


def _started_from(two: Line, one: Line) -> bool:
    if two.group is None or one.group is None:
        return two.group is None and one.group is None
    return any(run["stage1"]["run_id"] in one.group.run_ids for run in two.group.runs)


def _any_paper(lines: Sequence[Line]) -> bool:
    return any(line.paper is not None for line in lines)


def _any_family(lines: Sequence[Line]) -> bool:
    return any(line.adjusted is not None for line in lines)


def _extra_cell(summary: Summary | None, runs: int) -> str:
    """Mean ± std, with the number of runs behind it where not all of them know the metric (records of before it was made)."""
    of_some = summary is not None and 0 < summary.n < runs
    return mean_cell(summary) + (f" ({summary.n} of {runs})" if of_some and summary is not None else "")


def _extra_table(suite: Suite, title: str, lines: Sequence[Line]) -> Table | None:
    """Further metrics at the last epoch, a line for each row and stage; None where nothing is known.

    A published figure stands beside what it is to be compared with: ours of the best epoch, where it is of the best epoch.
    """
    import pandas as pd

    notes, rows = Notes(), []
    shown: set[str] = set()
    published = [metric for metric in suite.extra_metrics if any(metric in line.extra_paper for line in lines)]
    of_best = {metric for line in lines for metric, figure in line.extra_paper.items() if "best epoch" in figure.note}
    for line in lines:
        if line.group is None and not line.extra_paper:
            continue
        cells = [label_cell(line, notes, suite.full_label(line.row)), str(line.last.n or EMPTY)]
        for metric in suite.extra_metrics:
            cells.append(_extra_cell(line.extra.get(metric), line.last.n))
            if metric in published:
                cells += [mean_cell(line.extra_best.get(metric))] if metric in of_best else []
                figure = line.extra_paper.get(metric)
                cells.append(f"{figure.value:.2f}" if figure and line.row.name not in shown else EMPTY)
        rows.append(cells)
        shown.add(line.row.name)
    if not rows:
        return None
    columns = ["method", "n"]
    for metric in suite.extra_metrics:
        label = METRIC_LABELS.get(metric, metric)
        if metric in of_best:
            columns += [f"{label}, last epoch", f"{label}, best epoch", f"{label}, published (best epoch)"]
        else:
            columns += [label, f"{label}, published"] if metric in published else [label]
    texts = notes.texts()
    if _BY_INDEX & set(suite.extra_metrics):
        texts.append(
            "many, medium, few (by index): mean accuracy of fixed ranges of classes, sorted by falling frequency, as in MiSLAS's "
            "code: 0-35, 36-70, 71-99 of 100 classes, 0-2, 3-6, 7-9 of 10."
        )
    if _BY_COUNT & set(suite.extra_metrics):
        texts.append(
            "many, medium, few: mean accuracy of the classes with more than 100, with 20 to 100, and with fewer than 20 "
            "training images; empty where there is no such class."
        )
    if _HEAD_BODY_TAIL & set(suite.extra_metrics):
        texts.append(
            "head, body, tail: mean IoU of classes by falling number of training pixels, in the shares of ADE20K's groups (20, 55 "
            "and 75 of 150 classes)."
        )
    if {f"{group}_index" for group in _HEAD_BODY_TAIL} & set(suite.extra_metrics):
        texts.append(
            "head, body, tail (by index): mean IoU of ADE20K's published ranges of classes: 0-19, 20-74, 75-149."
        )
    texts += absent_notes(lines)
    if "ece" in suite.extra_metrics:
        texts.append("ECE: expected calibration error, 15 bins.")
    if "errors_within_superclass" in suite.extra_metrics:
        texts.append(
            "near mistakes: share of the mistakes that stay inside the right superclass; rows of unlike accuracy do not compare."
        )
    sources = {(f.source, f.note) for line in lines for f in line.extra_paper.values()}
    texts += [f"Published by {source} ({note})." for source, note in sorted(sources)]
    return Table(title, pd.DataFrame(rows, columns=columns), tuple(texts))


def _baseline_name(suite: Suite, lines: Sequence[Line]) -> str:
    """The baseline's label where all lines have the same one (for a second stage: its first stage's), else "baseline"."""
    labels = set()
    for line in lines:
        if line.row.baseline is not None:
            row = suite.row(line.row.baseline)
            labels.add(suite.row(row.after).label if row.after and line.row.after else row.label)
    return labels.pop() if len(labels) == 1 else "baseline"


def _extra_heading(suite: Suite) -> str:
    shots = (_BY_COUNT | _BY_INDEX) & set(suite.extra_metrics)
    groups = (_HEAD_BODY_TAIL | {f"{group}_index" for group in _HEAD_BODY_TAIL}) & set(suite.extra_metrics)
    names = (
        (["shot groups"] if shots else [])
        + (["groups of classes"] if groups else [])
        + (["calibration"] if "ece" in suite.extra_metrics else [])
    )
    return " and ".join(names) or "further metrics"
