"""Every figure of some suites, made from saved files alone, each as PNG, SVG and PDF with its caption as a text file beside it.

A figure is a module of its own with three functions: ``prepare`` takes what is to be drawn from the runs, ``draw`` draws it and
knows no files, ``caption`` says in words what it shows. `draw_figures` returns what was made and, of what was not, why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import refusing, replacing
from sar_cls.reporting.comparison import Line, compare
from sar_cls.reporting.figures import (
    class_accuracy,
    class_gain,
    class_geometry,
    collapse,
    curves,
    differences,
    feature_map,
    qualitative,
    reliability,
    sensitivity,
)
from sar_cls.reporting.figures.progress import Progress
from sar_cls.reporting.figures.series import (
    CLASS_ACCURACIES,
    DENSE_OUTPUTS,
    FEATURES,
    GEOMETRY,
    HISTORIES,
    OUTPUTS,
    Missing,
    NothingToDraw,
    Series,
    Source,
)
from sar_cls.reporting.figures.sets import row_sets, row_styles, series_of
from sar_cls.reporting.figures.style import paper_style, require_matplotlib, save
from sar_cls.reporting.groups import group_runs
from sar_cls.runs.ledger import Warn, default_warn
from sar_cls.suites.rows import Suite


@dataclass(frozen=True)
class MadeFigure:
    """A figure that was asked for.

    Attributes:
        name: of its files, without suffix: ``cifar100_lt-if100-stage1-reliability``.
        kind: which figure it is: ``reliability``.
        title: of its kind, for a heading: "Reliability diagrams".
        suite: name of the suite.
        rows: names of the rows that are in it; empty for a figure of the whole suite.
        caption: in sentences; empty where it was not made.
        paths: suffix -> file, for ``png``, ``svg``, ``pdf`` and ``txt`` (the caption); empty where it was not made.
        reason: why it was not made, in a sentence without a full stop; empty where it was.
    """

    name: str
    kind: str
    title: str
    suite: str
    rows: tuple[str, ...] = ()
    caption: str = ""
    paths: Mapping[str, Path] | None = None
    reason: str = ""

    @property
    def made(self) -> bool:
        """Whether its files are there."""
        return self.paths is not None


@dataclass(frozen=True)
class Kind:
    """A figure of rows side by side.

    Attributes:
        name: its part of the file names.
        title: for a heading.
        source: the files that it is drawn from.
        prepare: the runs -> what is drawn; `InputError` where it cannot be drawn.
        draw: what is drawn -> a matplotlib figure.
        caption: both -> its caption.
        split: the runs -> those that get a figure each; None for one figure of all.
    """

    name: str
    title: str
    source: Source
    prepare: Callable[[Sequence[Series]], Any]
    draw: Callable[[Any], Any]
    caption: Callable[[Any, Sequence[Series]], str]
    split: Callable[[Sequence[Series]], list[Series]] | None = None


KINDS = (
    Kind(
        "class-geometry", "Class geometry over seeds (the paper's Fig. 1)", FEATURES,
        class_geometry.prepare, class_geometry.draw, class_geometry.caption, class_geometry.rows_with_anchors,
    ),
    Kind(
        "features", "Features of test images (the paper's Fig. 3)", FEATURES,
        feature_map.prepare, feature_map.draw, feature_map.caption,
    ),
    Kind("collapse", "Neural collapse", GEOMETRY, collapse.prepare, collapse.draw, collapse.caption),
    Kind(
        "class-gain", "Gain of each class", CLASS_ACCURACIES,
        class_gain.prepare, class_gain.draw, class_gain.caption,
    ),
    Kind(
        "class-accuracy", "Accuracy of each class", CLASS_ACCURACIES,
        class_accuracy.prepare, class_accuracy.draw, class_accuracy.caption,
    ),
    Kind("reliability", "Reliability diagrams", OUTPUTS, reliability.prepare, reliability.draw, reliability.caption),
    Kind(
        "examples", "Predictions side by side (the paper's Fig. 4)", DENSE_OUTPUTS,
        qualitative.prepare, qualitative.draw, qualitative.caption,
    ),
    Kind("training", "Training curves", HISTORIES, curves.prepare_training, curves.draw, curves.caption_training),
    Kind("gate", "The gate over training", HISTORIES, curves.prepare_readings, curves.draw, curves.caption_readings),
)  # fmt: skip


# What is drawn of segmentation nets. Of classifiers it is all but the examples.
DENSE_KINDS = ("examples", "training", "gate")


def draw_figures(
    suites: Iterable[Suite],
    runs: Sequence[tuple[Path, Mapping[str, Any]]],
    out_dir: Path | str,
    warn: Warn = default_warn,
    say: Callable[[str], None] | None = None,
) -> list[MadeFigure]:
    """Draws everything that the runs of some suites allow.

    Of each suite and imbalance factor the rows against their baselines and its grids; of each stage and group of rows the `KINDS`,
    side by side. Of a row that was run by several recipes, the first line of its table is drawn.

    Args:
        suites: the suites, without the ones that they include.
        runs: run directories and records.
        out_dir: folder of the figures; it is made where it is missing.
        warn: called with a sentence for each figure or run that is left out for a fault of its files; where a figure has no
            meaning (no gate in any row, say) only its ``reason`` tells.
        say: called now and then with a line about how many are done and how long the others will take.

    Returns:
        The figures in the order of drawing, also those that could not be made.

    Raises:
        InputError: matplotlib is not installed, or the folder cannot be made or written to.
    """
    require_matplotlib()
    out_dir = Path(out_dir)
    with refusing(out_dir, "name another folder for the figures"):
        out_dir.mkdir(parents=True, exist_ok=True)
    run_dirs = {record["run_id"]: run_dir for run_dir, record in runs}
    records = [record for _, record in runs]
    easel = Easel(out_dir, warn)
    parts: deque[tuple[int, Callable[[], None]]] = deque()  # so many figures each
    for suite in suites:
        groups = group_runs(suite, records, lambda _: None)  # the table has warned already
        styles = row_styles(suite)
        series = series_of(suite, groups, run_dirs, styles)
        if not series:
            continue
        lines = compare(suite, records, lambda _: None)
        for imbalance in dict.fromkeys(imbalance for _, imbalance in series):
            own = [line for line in lines if line.imbalance == imbalance]
            number = 2 if sensitivity.sweeps_of(suite) else 1
            parts.append((number, partial(easel.of_suite, suite, own, imbalance, styles)))
        for rows in row_sets(suite, list(series)):
            chosen = [series[row.name, rows.imbalance] for row in rows.rows if (row.name, rows.imbalance) in series]
            parts.append((len(KINDS), partial(easel.of_rows, chosen, rows.name, suite.name)))
    easel.progress = Progress(sum(number for number, _ in parts), say)
    while parts:
        parts.popleft()[1]()  # and the files of its runs leave the memory with the last of their figures
    easel.missing.tell(warn)
    return easel.made


class Easel:
    """Draws one figure after the other and keeps the list of them.

    Args:
        out_dir: folder of the figures.
        warn: called with a sentence for what is left out.
    """

    def __init__(self, out_dir: Path, warn: Warn) -> None:
        self.out_dir = out_dir
        self.warn = warn
        self.missing = Missing()
        self.made: list[MadeFigure] = []
        self.progress = Progress(0)
        self._drawn: set[tuple[str, tuple[Path, ...]]] = set()

    def of_suite(self, suite: Suite, lines: Sequence[Line], imbalance: float | None, styles: Mapping[str, Any]) -> None:
        """The figures of a whole suite: rows against baselines, and grids."""
        name = suite.name + (f"-if{imbalance:g}" if imbalance is not None else "")
        sweeps = sensitivity.sweeps_of(suite)
        without = [row.name for _, rows in sweeps.values() for row in rows]
        plain = MadeFigure(f"{name}-differences", "differences", "Rows against their baselines", suite.name)
        self._make(
            plain, lambda: differences.prepare(suite, lines, styles, without), differences.draw,
            lambda data: differences.caption(data, suite),
        )  # fmt: skip
        self.progress.step()
        if sweeps:
            plain = MadeFigure(f"{name}-sensitivity", "sensitivity", "Sensitivity to settings", suite.name)
            self._make(
                plain, lambda: sensitivity.prepare(suite, lines, styles), sensitivity.draw,
                lambda data: sensitivity.caption(data, suite),
            )  # fmt: skip
            self.progress.step()

    def of_rows(self, series: Sequence[Series], name: str, suite: str = "") -> None:
        """The figures of rows side by side, as far as their files allow."""
        drawable: dict[Source, list[Series]] = {}
        is_dense = any(entry.is_dense for entry in series)
        for kind in KINDS:
            if kind.name in DENSE_KINDS if is_dense else kind.source is not DENSE_OUTPUTS:
                if kind.source not in drawable:
                    drawable[kind.source] = self.missing.readable(series, kind.source, self.warn)
                plain = MadeFigure(f"{name}-{kind.name}", kind.name, kind.title, suite)
                self._one_or_many(plain, kind, drawable[kind.source])
            self.progress.step()

    def _one_or_many(self, plain: MadeFigure, kind: Kind, usable: Sequence[Series]) -> None:
        """A kind of figure of the rows whose files can be read: one of all of them, or one of each."""
        if not usable:
            files = " nor ".join(kind.source.files)
            self.made.append(_without(plain, f"no run has {files}, or none that can be read"))
        elif kind.split is None:
            self._of_kind(plain, kind, usable)
        else:
            entries = kind.split(usable)
            if not entries:
                self.made.append(_without(plain, "no row has semantic anchors"))
            # A row that stands in several sets is drawn once.
            fresh = [entry for entry in entries if (kind.name, entry.run_dirs) not in self._drawn]
            for entry in fresh:
                self._drawn.add((kind.name, entry.run_dirs))
                own = MadeFigure(f"{plain.name}-{entry.row or 'runs'}", kind.name, kind.title, plain.suite)
                self._of_kind(own, kind, [entry])

    def _of_kind(self, plain: MadeFigure, kind: Kind, series: Sequence[Series]) -> None:
        rows = tuple(entry.row for entry in series)
        self._make(
            MadeFigure(plain.name, plain.kind, plain.title, plain.suite, rows),
            lambda: kind.prepare(series), kind.draw, lambda data: kind.caption(data, series),
        )  # fmt: skip

    def _make(
        self,
        plain: MadeFigure,
        prepare: Callable[[], Any],
        draw: Callable[[Any], Any],
        caption: Callable[[Any], str],
    ) -> None:
        """Draws and writes a figure, or notes why it is not there."""
        try:
            with paper_style():
                data = prepare()
                figure, text = draw(data), caption(data)
        except InputError as error:
            reason = str(error).rstrip(".")
            self.made.append(_without(plain, reason))
            if not isinstance(error, NothingToDraw):
                self.warn(f"the figure {plain.name} is left out: {reason}")
            return
        with paper_style():
            files = save(figure, self.out_dir / plain.name)
        words = self.out_dir / f"{plain.name}.txt"
        with replacing(words) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
        paths = {file.suffix.removeprefix("."): file for file in (*files, words)}
        self.made.append(MadeFigure(plain.name, plain.kind, plain.title, plain.suite, plain.rows, text, paths))


def _without(plain: MadeFigure, reason: str) -> MadeFigure:
    return MadeFigure(plain.name, plain.kind, plain.title, plain.suite, plain.rows, reason=reason)
