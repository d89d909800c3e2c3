"""Which pictures are drawn: of runs, or of a table's rows side by side, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls.errors import InputError
from sar_cls.files import refusing, replacing
from sar_cls.reporting.figures.pictures import (
    epochs_plot,
    examples_picture,
    per_class_plot,
    readings_plot,
    reliability_diagram,
    require_matplotlib,
)
from sar_cls.reporting.figures.series import (
    CLASS_ACCURACIES,
    DENSE_OUTPUTS,
    HISTORIES,
    OUTPUTS,
    Missing,
    Series,
    Source,
)
from sar_cls.reporting.groups import group_runs
from sar_cls.runs.folder import SEGMENTATION_FILE
from sar_cls.runs.ledger import Warn, default_warn
from sar_cls.suites.rows import Row, Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_suites(
    suites: Iterable[Suite],
    runs: Sequence[tuple[Path, Mapping[str, Any]]],
    out_dir: Path | str,
    warn: Warn = default_warn,
) -> list[Path]:
    """Draws the rows of each suite side by side: one set of pictures for each stage, row group and imbalance factor.

    Of a row that was run by several recipes, the first line of its table is drawn.

    Args:
        suites: the suites, without the ones that they include.
        runs: run directories and records.
        out_dir: folder of the pictures; it is made where it is missing.
        warn: called with a sentence for each picture or run that is left out.

    Returns:
        The files, in the order of drawing.
    """
    run_dirs = {record["run_id"]: run_dir for run_dir, record in runs}
    records = [record for _, record in runs]
    written: list[Path] = []
    missing = Missing()
    for suite in suites:
        groups = group_runs(suite, records, lambda _: None)  # the table has warned already
        entries: dict[tuple[str, float | None], Series] = {}
        for row in suite.rows:
            for group in groups[row.name]:
                series = Series(
                    label=suite.full_label(row),
                    run_dirs=tuple(run_dirs[run["run_id"]] for run in group.runs),
                    train_counts=tuple(group.runs[0]["train_counts"]),
                    details=tuple(group.recipe.deviations(row)),
                )
                entries.setdefault((row.name, group.recipe.imbalance), series)
        for name, rows, imbalance in _sets(suite, list(entries)):
            chosen = [entries[row.name, imbalance] for row in rows if (row.name, imbalance) in entries]
            written += _draw(chosen, out_dir, name, warn, missing)
    missing.tell(warn)
    return written


def _sets(suite: Suite, ran: Sequence[tuple[str, float | None]]) -> list[tuple[str, list[Row], float | None]]:
    """Name, rows and imbalance factor of each set of pictures: the rows of a stage and group, and those shown beside them.

    Beside the rows of a group stand their baselines and the rows that name the group in ``also_in``.
    """
    sets: dict[tuple[str, str, str, str], tuple[str, list[Row], float | None]] = {}
    for name, imbalance in ran:
        row = suite.row(name)
        factor = f"if{imbalance:g}" if imbalance is not None else ""
        key = (suite.name, factor, _slug(row.group), f"stage{row.stage}" if suite.two_stage else "")
        if key in sets:
            continue
        own = [other for other in suite.rows if (other.group, other.stage) == (row.group, row.stage)]
        baselines = {other.baseline for other in own if (other.name, imbalance) in ran}
        rows = [
            other
            for other in suite.rows
            if other.stage == row.stage
            and (other in own or other.name in baselines or (row.group and row.group in other.also_in))
        ]
        sets[key] = ("-".join(part for part in key if part), rows, imbalance)
    return list(sets.values())


def plot_series(series: Sequence[Series], out_dir: Path | str, name: str, warn: Warn = default_warn) -> list[Path]:
    """Draws every picture that the runs' files allow, as ``<out_dir>/<name>-<picture>.png`` and ``.svg``.

    Raises:
        InputError: matplotlib is not installed, or the folder cannot be made.
    """
    missing = Missing()
    written = _draw(series, out_dir, name, warn, missing)
    missing.tell(warn)
    return written


def _draw(series: Sequence[Series], out_dir: Path | str, name: str, warn: Warn, missing: Missing) -> list[Path]:
    require_matplotlib()
    from matplotlib import rc_context

    out_dir = Path(out_dir)
    with refusing(out_dir, "name another folder for the plots"):
        out_dir.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, tuple[Callable[[Sequence[Series]], Figure | None], Source]] = {
        "reliability": (reliability_diagram, OUTPUTS),
        "per-class": (per_class_plot, CLASS_ACCURACIES),
        "examples": (examples_picture, DENSE_OUTPUTS),
        "epochs": (epochs_plot, HISTORIES),
        "readings": (readings_plot, HISTORIES),
    }
    is_dense = any((folder / SEGMENTATION_FILE).exists() for entry in series for folder in entry.run_dirs)
    other = OUTPUTS if is_dense else DENSE_OUTPUTS  # files that runs of the other kind have
    pictures = {name: picture for name, picture in pictures.items() if picture[1] is not other}
    sources = dict.fromkeys(source for _, source in pictures.values())
    drawable = {source: missing.readable(series, source, warn) for source in sources}
    written: list[Path] = []
    for picture, (draw, source) in pictures.items():
        try:
            figure = draw(drawable[source]) if drawable[source] else None
        except InputError as error:
            warn(f"the picture {name}-{picture} is left out: {error}")
            continue
        if figure is None:
            continue
        for suffix in ("png", "svg"):
            path = out_dir / f"{name}-{picture}.{suffix}"
            # Neither a date nor random names in the file, so that the same runs give the same picture.
            with rc_context({"svg.hashsalt": "sar-cls"}), replacing(path) as temporary:
                figure.savefig(temporary, format=suffix, dpi=150, metadata={"Date": None} if suffix == "svg" else None)
            written.append(path)
    return written


def _slug(text: str) -> str:
    return "-".join("".join(char.lower() if char.isalnum() else " " for char in text).split())
