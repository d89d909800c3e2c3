"""The published figures: the SAR paper's tables 7-20, MiSLAS's and mmpretrain's own, each with table and row of origin.

They stand in ``paper.csv``. Tables 7 and 11-20 are of segmentation (mIoU): they stand beside ours in suites that say so
(``paper_task``). A figure that is given as a range has its upper end in ``value_max``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAPER_CSV = Path(__file__).with_name("paper.csv")
# Where two sources publish the same figure, the paper that is reproduced here has precedence.
_SOURCES = ("SAR", "MiSLAS", "mmpretrain")
# Table -> what has to be known where our figures stand beside the paper's.
TABLE_NOTES = {
    "10": "The paper's Tab. 10 follows the published code of MiSLAS, whose figures are of the best test epoch, with the best of "
    "stage 2 starting from that of stage 1; Δ paper takes our last epoch, and our best epoch of stage 2 is one of its own.",
}


@dataclass(frozen=True)
class Figure:
    """One published number.

    Attributes:
        source: "SAR" (the paper that is reproduced), "MiSLAS" or "mmpretrain".
        table: number of the table, or where else it is published.
        dataset: data set, with the imbalance factor where there is one.
        row: the row of the table.
        stage: 1 or 2; None where the table has no stages.
        metric: "top1", "ece", "miou", "iou", "flops" or "parameters".
        unit: "%", "GFLOPs" or "M" (million).
        value: the number; the lower end of a range.
        value_max: the upper end of a range, else None.
        note: what else has to be known.
    """

    source: str
    table: str
    dataset: str
    row: str
    stage: int | None
    metric: str
    unit: str
    value: float
    value_max: float | None
    note: str

    def __str__(self) -> str:
        """The number with two decimals, or both ends of a range."""
        return f"{self.value:.2f}" + ("" if self.value_max is None else f" to {self.value_max:.2f}")


@cache
def figures() -> tuple[Figure, ...]:
    """All published figures, in the order of the file."""
    with PAPER_CSV.open(newline="", encoding="utf-8") as file:
        return tuple(
            Figure(
                source=line["source"],
                table=line["table"],
                dataset=line["dataset"],
                row=line["row"],
                stage=int(line["stage"]) if line["stage"] else None,
                metric=line["metric"],
                unit=line["unit"],
                value=float(line["value"]),
                value_max=float(line["value_max"]) if line["value_max"] else None,
                note=line["note"],
            )
            for line in csv.DictReader(file)
        )


def find(dataset: str | None, row: str | None, metric: str, stage: int | None = 1) -> Figure | None:
    """The published figure for a data set, row, metric and stage; None where none was published."""
    hits = [f for f in figures() if (f.dataset, f.row, f.metric, f.stage) == (dataset, row, metric, stage)]
    return min(hits, key=lambda figure: _SOURCES.index(figure.source), default=None)


def disagreeing(figure: Figure) -> list[Figure]:
    """What the same source publishes of the same row in other tables with another value."""
    same = (figure.source, figure.dataset, figure.row, figure.metric)
    return [
        other
        for other in figures()
        if (other.source, other.dataset, other.row, other.metric) == same
        and other.stage in (figure.stage, None)
        and other.value != figure.value
    ]


def find_of_other_task(dataset: str | None, row: str | None) -> Figure | None:
    """The paper's figure in percent for a data set and row, whatever its metric; None where there is none."""
    hits = (f for f in figures() if (f.source, f.dataset, f.row, f.unit) == ("SAR", dataset, row, "%"))
    return next(hits, None)
