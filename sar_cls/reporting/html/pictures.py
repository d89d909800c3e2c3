"""Predictions of segmentation nets side by side, as pictures that stand in the page itself (the SAR paper's Fig. 4)."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

from sar_cls.errors import InputError
from sar_cls.reporting.class_metric import is_dense
from sar_cls.reporting.groups import group_runs
from sar_cls.reporting.html.views import Runs
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite

TITLE = "Predictions side by side"
DPI = 130  # of the screen; a page of 300 dots an inch is too large a file
# Characters of all pictures together, so that the file stays below 5 MB.
MOST_PICTURES = 2_000_000


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        title: heading.
        caption: what it shows.
        data: PNG as base64.
    """

    title: str
    caption: str
    data: str


class Pictures:
    """Draws the pictures of one suite after the other, within one limit for all.

    Args:
        runs: folder and record of each run.
        warn: called with a sentence for what is left out.
        most: characters that all may take together.
    """

    def __init__(self, runs: Runs, warn: Warn, most: int = MOST_PICTURES) -> None:
        self._runs, self._warn, self._left = runs, warn, most

    def of(self, suite: Suite) -> list[Picture]:
        """A picture for each group of rows; none for classifiers and for runs that keep no predictions."""
        if not is_dense(suite):
            return []
        found = []
        try:
            for picture in self._drawn(suite):
                if len(picture.data) > self._left:
                    self._warn(f"{picture.title} are left out to keep the file small: --figures draws them.")
                    continue
                self._left -= len(picture.data)
                found.append(picture)
        except InputError as error:  # no matplotlib
            self._warn(f"predictions side by side are left out: {str(error).rstrip('.')}.")
        return found

    def _drawn(self, suite: Suite) -> Iterator[Picture]:
        from sar_cls.reporting.figures import qualitative
        from sar_cls.reporting.figures.series import DENSE_OUTPUTS, Missing, NothingToDraw
        from sar_cls.reporting.figures.sets import row_sets, row_styles, series_of
        from sar_cls.reporting.figures.style import paper_style, require_matplotlib

        groups = group_runs(suite, [record for _, record in self._runs], lambda _: None)  # the tables have warned
        series = series_of(
            suite, groups, {record["run_id"]: folder for folder, record in self._runs}, row_styles(suite)
        )
        missing = Missing()  # of which runs lack their file the view of the classes tells
        for rows in row_sets(suite, list(series)):
            chosen = [series[row.name, rows.imbalance] for row in rows.rows if (row.name, rows.imbalance) in series]
            usable = missing.readable(chosen, DENSE_OUTPUTS, self._warn)
            if not usable:
                continue
            require_matplotlib()
            group, stage = rows.rows[0].group, rows.rows[0].stage
            parts = [TITLE, *([group] if group else []), *([f"stage {stage}"] if suite.two_stage else [])]
            try:
                with paper_style():
                    data = qualitative.prepare(usable)
                    figure, caption = qualitative.draw(data), qualitative.caption(data, usable)
                    file = io.BytesIO()
                    figure.savefig(file, format="png", dpi=DPI)
            except NothingToDraw:
                continue
            except InputError as error:
                self._warn(f"a picture of predictions is left out: {str(error).rstrip('.')}.")
                continue
            yield Picture(", ".join(parts), caption, base64.b64encode(file.getvalue()).decode())
