"""Reading and checking a ``suite.toml``; whatever is wrong with it is said with file and line."""

from __future__ import annotations

import difflib
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import why
from sar_cls.suites.metric_names import METRICS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# key -> (type, required). Everything else in a suite.toml is a spelling mistake.
_SUITE_KEYS: dict[str, tuple[type, bool]] = {
    "title": (str, True),
    "metric": (str, False),
    "measure": (str, False),
    "rows": (list, True),
    "paper_table": (str, False),
    "paper_dataset": (str, False),
    "paper_task": (str, False),
    "imbalance": (int, False),
    "extra_metrics": (list, False),
    "include": (list, False),
}
_ROW_KEYS: dict[str, tuple[type, bool]] = {
    "name": (str, True),
    "label": (str, True),
    "suite": (str, False),
    "config": (str, False),
    "like": (str, False),
    "baseline": (str, False),
    "paper": (str, False),
    "after": (str, False),
    "method": (str, False),
    "group": (str, False),
    "also_in": (list, False),
    "optional": (bool, False),
    "set": (dict, False),
    "grid": (dict, False),
}
# What can be measured of a row that is not trained.
MEASURES = ("cost",)
_TYPE_NAMES = {str: "a string", list: "an array", bool: "true or false", int: "a whole number", dict: "a table"}


@dataclass(frozen=True)
class SuiteFile:
    """The entries of a ``suite.toml``, of the right keys and types.

    Attributes:
        path: the file.
        text: its content.
        head: the entries of the suite itself, ``rows`` among them.
    """

    path: Path
    text: str
    head: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The entries of each row."""
        return self.head["rows"]

    def where(self, key: str | None, row: int | None = None) -> str:
        """File and line of a key in the suite's head, or in the row of this index; without a key, of its first line."""
        return f"{self.path}:{_line(self.text, key, row)}"


def read_suite_file(path: Path) -> SuiteFile:
    """Reads a ``suite.toml``.

    Raises:
        InputError: it does not parse, or holds unknown, missing or wrong entries.
    """
    text = _read_text(path)
    file = SuiteFile(path, text, _parse(path, text))
    _check_keys(file, file.head, _SUITE_KEYS, row=None)
    for index, entry in enumerate(file.rows):
        if not isinstance(entry, dict):
            raise InputError(f"{file.where('rows')}: rows must be tables, each under its own [[rows]].")
        _check_keys(file, entry, _ROW_KEYS, row=index)
        if not all(isinstance(item, str) for item in entry.get("also_in", [])):
            raise InputError(f"{file.where('also_in', index)}: also_in must be an array of strings.")
    if not file.rows:
        raise InputError(f"{file.where('rows')}: the suite has no rows; add one under [[rows]].")
    for key in ("extra_metrics", "include"):
        if not all(isinstance(item, str) for item in file.head.get(key, [])):
            raise InputError(f"{file.where(key)}: {key} must be an array of strings.")
    if "measure" in file.head:
        _check_measured(file)
    elif "metric" not in file.head:
        raise InputError(f"{file.where(None)}: the key 'metric' is missing; add it here.")
    if "paper_task" in file.head and not ("paper_dataset" in file.head and file.head["paper_task"].strip()):
        wanted = "must say of which task the paper's figures are, and needs paper_dataset beside it"
        raise InputError(f"{file.where('paper_task')}: paper_task {wanted}; add it or leave paper_task out.")
    for key, names in (
        ("metric", [file.head["metric"]] if "metric" in file.head else []),
        ("extra_metrics", file.head.get("extra_metrics", [])),
    ):
        for name in names:
            if name not in METRICS:
                raise InputError(f"{file.where(key)}: {unknown('metric', name, METRICS)}")
    return file


def _check_measured(file: SuiteFile) -> None:
    """A suite whose rows are measured has nothing of one whose rows are trained."""
    if file.head["measure"] not in MEASURES:
        raise InputError(f"{file.where('measure')}: {unknown('measure', file.head['measure'], MEASURES)}")
    for key in ("metric", "extra_metrics", "imbalance", "include"):
        if key in file.head:
            raise InputError(f"{file.where(key)}: the rows of this suite are measured, not trained; remove {key}.")
    for index, entry in enumerate(file.rows):
        if "after" in entry:
            raise InputError(f"{file.where('after', index)}: a row that is measured has no second stage; remove after.")


def unknown(kind: str, name: str, known: Iterable[str], place: str = "") -> str:
    """One sentence about an unknown name: the nearest known ones first, else all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
    return f"unknown {kind} {name!r}{place}; {hint}{'?' if near else '.'}"


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(why(error, path)) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8.") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\s*\(at line (\d+), column \d+\)", str(error))
        # tomllib names no line for a file that ends too early: the last one then.
        line = int(found.group(1)) if found else max(1, len(text.splitlines()))
        message = re.sub(r"\s*\(at .*\)$", "", str(error))
        raise InputError(f"{path}:{line}: not valid TOML ({message}); correct this line.") from error


def _check_keys(
    file: SuiteFile, entry: Mapping[str, Any], allowed: Mapping[str, tuple[type, bool]], row: int | None
) -> None:
    for key, value in entry.items():
        if key not in allowed:
            raise InputError(f"{file.where(key, row)}: {unknown('key', key, list(allowed))}")
        kind = allowed[key][0]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(f"{file.where(key, row)}: {key} must be {_TYPE_NAMES[kind]}.")
    for key, (_, required) in allowed.items():
        if required and key not in entry:
            raise InputError(f"{file.where(None, row)}: the key {key!r} is missing; add it here.")


@functools.lru_cache(maxsize=64)
def _places(text: str) -> tuple[list[str], list[int]]:
    """The lines of a suite file, and the numbers (from 1) of those where a row begins; asked for at every row."""
    lines = text.splitlines()
    return lines, [number for number, line in enumerate(lines, 1) if re.match(r"\s*\[\[\s*rows\s*\]\]", line)]


def _line(text: str, key: str | None, row: int | None) -> int:
    """Line (from 1) of ``key`` in the suite's head (``row`` None) or in a row; else the first line of that block."""
    lines, starts = _places(text)
    if row is None:
        first, last = 1, (starts[0] - 1 if starts else len(lines))
    elif row < len(starts):
        first, last = starts[row], (starts[row + 1] - 1 if row + 1 < len(starts) else len(lines))
    else:  # rows written as one inline array
        first, last = 1, len(lines)
    if key is not None:
        pattern = re.compile(rf"""\s*(\[+\s*)?["']?{re.escape(key)}["']?\s*(=|\]|\.)""")
        for number in range(first, last + 1):
            if pattern.match(lines[number - 1]):
                return number
    return first
