"""What is wrong with a row beside the others of its suite; the sentences name file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sar_cls.errors import InputError
from sar_cls.suites.toml_file import SuiteFile

if TYPE_CHECKING:
    from sar_cls.suites.rows import Row

NAME = re.compile(r"[a-z0-9_]+")


def check_name(file: SuiteFile, index: int, name: str, before: Sequence[Row]) -> None:
    """Whether a name can be a folder's and is not taken."""
    where = file.where("name", index)
    if not NAME.fullmatch(name):
        raise InputError(f"{where}: the row name {name!r} may hold only small letters, digits and underscores.")
    if name in {row.name for row in before}:
        raise InputError(f"{where}: the row name {name!r} stands twice in this suite; rename one.")


def check_baseline(file: SuiteFile, index: int, row: Row, baselines: Mapping[str, str | None]) -> None:
    """Whether the baseline is another row, and not one that is compared with this row in its turn.

    Args:
        file: of the suite.
        index: of the row's entry there.
        row: the row.
        baselines: of all rows of the suite, by their names.
    """
    where = file.where("baseline", index)
    if row.baseline is not None and (row.baseline == row.name or row.baseline not in baselines):
        raise InputError(f"{where}: the baseline {row.baseline!r} must be another row of this suite.")
    if row.name in _chain(row.name, baselines):
        raise InputError(
            f"{where}: the baseline {row.baseline!r} is compared with {row.name!r} in its turn; leave one out."
        )


def check_label(file: SuiteFile, index: int, row: Row) -> None:
    """Whether a table can show the row."""
    if not row.label.strip():
        raise InputError(f"{file.where('label', index)}: the label is empty; say how the table shows the row.")


def _chain(name: str, baselines: Mapping[str, str | None]) -> list[str]:
    """The baseline of a row, the baseline's own, and so on, until there is none or one comes again."""
    found: list[str] = []
    following = baselines.get(name)
    while following is not None and following not in found:
        found.append(following)
        following = baselines.get(following)
    return found
