"""The tables of features and confusion as one text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sar_cls.reporting.confusion import compare_confusion
from sar_cls.reporting.geometry import compare_geometry
from sar_cls.reporting.tables.confusion_tables import confusion_tables
from sar_cls.reporting.tables.geometry_tables import geometry_tables
from sar_cls.runs.ledger import Warn
from sar_cls.suites.rows import Suite


def geometry_text(
    chosen: Sequence[Suite], runs: Sequence[tuple[Path, dict[str, Any]]], warn: Warn, form: str = "md"
) -> str:
    """The tables of the suites that have any, or a sentence; as CSV the figures of the geometry alone.

    Args:
        chosen: the suites.
        runs: folder and record of each run.
        warn: called with a sentence for what is left out.
        form: "md" or "csv".
    """
    tables = geometry_tables([(suite, compare_geometry(suite, runs, warn)) for suite in chosen])
    if form == "csv":
        return tables.to_csv()
    confusion = confusion_tables([(suite, compare_confusion(suite, runs, warn)) for suite in chosen])
    texts = [table.to_markdown() for table in (*tables.tables, *confusion)]
    return "\n\n".join(texts or ["No run has features or test outputs."]) + "\n"
