"""A row that one suite takes over from another: its runs are made once, and both show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sar_cls.errors import InputError
from sar_cls.suites.toml_file import SuiteFile

if TYPE_CHECKING:
    from sar_cls.suites.rows import Row, Suite

# What says what a row is: it stands in the suite that the row is of.
_DEFINING = ("config", "like", "set", "grid", "after", "method")


def taken_over(
    file: SuiteFile, index: int, entry: dict[str, Any], before: Sequence[Row], load: Callable[[str], Suite]
) -> Row:
    """The row of the entry's name in the suite that the entry names, with the label, baseline and group that it has here.

    Args:
        file: the suite that takes it over.
        index: of the entry.
        entry: its name, the other ``suite``, and how it is shown here.
        before: the rows that stand above.
        load: reads the other suite.

    Raises:
        InputError: there is no such suite or row, the entry says what the other suite says already, or the row is a second stage
            and its first is not above.
    """
    where = file.where("suite", index)
    for key in _DEFINING:
        if key in entry:
            raise InputError(
                f"{file.where(key, index)}: {key} stands in suite {entry['suite']!r} for this row; leave it out here."
            )
    try:
        row = load(entry["suite"]).row(entry["name"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if row.first is not None and row.first not in {other.key for other in before}:
        raise InputError(f"{where}: the row starts from {'/'.join(row.first)}, which must stand above in this suite.")
    return replace(
        row,
        label=entry["label"],
        baseline=entry.get("baseline"),
        paper=entry.get("paper"),
        paper_task=file.head.get("paper_task"),
        group=entry.get("group", ""),
        also_in=tuple(entry.get("also_in", ())),
        optional=entry.get("optional", False),
        family="",
        after_suite="" if row.first is None else row.first[0],
    )
