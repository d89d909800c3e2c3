"""Keeping runs: their records beside the tables made of them, without weights, for ``results/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sar_cls.files import replacing
from sar_cls.reporting.tables.costs import cost_tables, read_costs, write_costs
from sar_cls.reporting.tables.geometry_text import geometry_text
from sar_cls.reporting.tables.suite_tables import save_tables, write_tables
from sar_cls.runs.keep import keep_runs
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite


def keep(
    chosen: Sequence[Suite],
    runs: Sequence[tuple[Path, dict[str, Any]]],
    folder: Path,
    warn: Warn,
    *,
    geometry: bool = False,
) -> list[Path]:
    """Copies the runs of the chosen suites, and writes the tables of those that have any.

    Args:
        chosen: the suites.
        runs: folder and record of each run.
        folder: to copy to.
        warn: called with a sentence for what a table leaves out, and for each damaged file, which is not copied.
        geometry: whether the tables of features and confusion are written as well.

    Returns:
        The folders of the copies.
    """
    names, rows = {suite.name for suite in chosen}, {row.key for suite in chosen for row in suite.rows}
    copies = keep_runs(
        [(d, record) for d, record in runs if record["suite"] in names or (record["suite"], record["row"]) in rows],
        folder,
        warn,
    )
    for suite in chosen:
        if any(record["suite"] == suite.name for _, record in runs):
            write_tables(suite, folder, warn=warn)
            if geometry:
                for form in ("md", "csv"):  # each whole or not at all
                    with replacing(folder / suite.name / f"geometry.{form}") as temporary:
                        temporary.write_text(geometry_text([suite], runs, warn, form), encoding="utf-8")
    return copies


def keep_costs(measured: Sequence[Suite], work_dir: Path, folder: Path) -> None:
    """Copies what was measured, and writes its tables."""
    for suite in measured:
        found = read_costs(suite, work_dir)
        if found:
            write_costs(suite, folder, found)
            save_tables(cost_tables(suite, folder), suite, folder)
