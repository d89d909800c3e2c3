"""How every figure looks: sizes of a paper's column, type that is read there, colours that stay apart for everybody.

Text in SVG files is drawn as paths, so that a figure looks the same wherever it is opened; PDF files, for LaTeX, embed the fonts as
TrueType. Neither a date nor random names are in a file: the same runs give the same figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls.errors import InputError
from sar_cls.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.9  # inches: the width of one column of a paper with two, and of both
HEADING = 23  # signs that fit above a panel of half a column
SUFFIXES = ("png", "svg", "pdf")
# Okabe and Ito's colours, which stay apart for colour-blind readers; without the yellow, which is too faint on white. Black is the
# first, which is a suite's first row: the baseline.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
GREY = "#777777"
_RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "svg.fonttype": "path",
    "svg.hashsalt": "sar-cls",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class RowStyle:
    """What a row is drawn with in every figure. Rows of one colour differ in line and marker."""

    color: str
    linestyle: str
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of a line."""
        return {"color": self.color, "linestyle": self.linestyle}


def style(index: int) -> RowStyle:
    """The style number ``index``, from 0; 28 differ in colour and line."""
    return RowStyle(COLOURS[index % len(COLOURS)], LINE_STYLES[index % len(LINE_STYLES)], MARKERS[index % len(MARKERS)])


def paper_style() -> AbstractContextManager[None]:
    """A context in which matplotlib's settings are those of this project's figures.

    Raises:
        InputError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context

    return rc_context(_RC)


def new_figure(height: float, width: float = COLUMN) -> Figure:
    """A figure of its own, apart from pyplot's global state; sizes in inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(number: int, height: float, extra: float = 0.0, **keywords: Any) -> tuple[Figure, list[Axes]]:
    """A figure of small panels: one or two a line in a column's width, four a line over the page where there are many.

    Args:
        number: of panels.
        height: of a panel, in inches, with its heading.
        extra: height of what else there is, such as a legend.
        keywords: for ``Figure.subplots``.
    """
    columns = 4 if number > 8 else min(number, 2)
    lines = -(-number // columns)
    figure = new_figure(height * lines + extra, PAGE if columns == 4 else COLUMN)
    grid = figure.subplots(lines, columns, squeeze=False, **keywords)
    for axis in grid.flat[number:]:
        axis.remove()
    shown = list(grid.flat[:number])
    if keywords.get("sharex"):
        for axis in shown[max(0, number - columns) :]:  # the lowest of each column
            axis.tick_params(labelbottom=True)
    return figure, shown


def lowest(axes: Sequence[Axes]) -> list[Axes]:
    """Of the panels of a figure those below which there is none."""
    return list(axes[max(0, len(axes) - _columns(axes)) :])


def leftmost(axes: Sequence[Axes]) -> list[Axes]:
    """Of the panels of a figure those to the left of which there is none."""
    return list(axes[:: _columns(axes)])


def _columns(axes: Sequence[Axes]) -> int:
    grid = axes[0].get_gridspec()
    return 1 if grid is None else grid.ncols


def legend_height(labels: Sequence[str], width: float = COLUMN) -> float:
    """How high a legend below the axes is, in inches."""
    return 0.08 + 0.135 * -(-len(labels) // _legend_columns(labels, width))


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], **keywords: Any) -> None:
    """The legend below all axes, where it hides nothing, in as many columns as fit."""
    columns = _legend_columns(labels, figure.get_size_inches()[0])
    # Filled line by line, as it is read, where matplotlib fills column by column.
    order = [index for column in range(columns) for index in range(column, len(labels), columns)]
    figure.legend(
        [handles[index] for index in order], [labels[index] for index in order],
        loc="outside lower center", ncols=columns, handlelength=2.4, columnspacing=1.2, borderaxespad=0.1, **keywords,
    )  # fmt: skip


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into so many inches; about, from the number of signs."""
    for columns in range(len(labels), 1, -1):
        longest = [max(len(label) for label in labels[column::columns]) for column in range(columns)]
        if sum(0.053 * length + 0.4 for length in longest) <= width - 0.1:
            return columns
    return 1


def save(figure: Figure, path: Path) -> list[Path]:
    """Writes ``path`` with each of `SUFFIXES`, each whole or not at all; returns the files."""
    written = []
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    for suffix in SUFFIXES:
        file = path.with_name(f"{path.name}.{suffix}")
        with replacing(file) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata.get(suffix))
        written.append(file)
    return written


def require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("figures need matplotlib; install it with: pip install 'sar-cls[viz]'") from error
