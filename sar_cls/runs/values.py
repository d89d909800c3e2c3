"""Which values a run record may hold, beyond the types of its fields.

A record is a file, and files are copied, edited and damaged: what is read from one names folders, is compared and averaged, so
it is checked once, where it is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# A separator, a drive's colon or a control character would make another path of a name.
_NO_NAME = re.compile(r"[/\\:\x00-\x1f\x7f]")
_NAMES = ("suite", "row", "run")
# What the command line may change about a recipe -> what it must be, where anything is computed with it.
_OVERRIDES = {
    "imbalance": (
        "a number of at least 1, or none",
        lambda value: value == "none" or (_is_number(value) and value >= 1),
    ),
    "val_fraction": ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1),
    "classes": ("a whole number of at least 1", lambda value: _is_whole(value) and value >= 1),
    "dataset": ("text", lambda value: isinstance(value, str)),
    "backbone": ("text", lambda value: isinstance(value, str)),
    "weights": ("text", lambda value: isinstance(value, str)),
}
# What a later version adds is only shown.
_ANY_OVERRIDE = ("a plain value", lambda value: isinstance(value, (str, int, float, type(None))))


def is_name(text: object) -> bool:
    """Whether a text from a file can be taken for the name of a folder: one that leads nowhere but into its parent."""
    return (
        isinstance(text, str)
        and 0 < len(text.encode("utf-8", "surrogatepass")) <= 255
        and not text.startswith(".")
        and _NO_NAME.search(text) is None
    )


def values_problem(record: Mapping[str, Any]) -> str | None:
    """What is wrong with the values of a record, or of a ``stage1`` reference, whose fields have the right types.

    Returns:
        A few words; None where all is sound.
    """
    for field in _NAMES:
        if not is_name(record[field]):
            return f"the field {field!r} is no plain name"
    if not 0 <= record["seed"] < 2**32:
        return "the field 'seed' is no whole number from 0 to 2^32 - 1"
    if not is_name(record["precision"]):
        return "the field 'precision' is no plain name"
    for name, value in record["overrides"].items():
        wanted, fits = _OVERRIDES.get(name, _ANY_OVERRIDE)
        if not fits(value):
            return f"overrides[{name!r}] is not {wanted}"
    for split in {"train", "test", *record["data_fingerprint"]}:
        if not isinstance(record["data_fingerprint"].get(split), str):
            return f"data_fingerprint[{split!r}] is no text"
    return _result_problem(record) if "metrics" in record else None


def _result_problem(record: Mapping[str, Any]) -> str | None:
    """The part of a record that a ``stage1`` reference does not have."""
    for epoch in ("last", "best"):
        for name, value in record["metrics"][epoch].items():
            if not (_is_figure(value) or (isinstance(value, list) and all(_is_figure(v, str) for v in value))):
                return f"metrics[{epoch!r}][{name!r}] is no number"
    if record["best_on"] not in ("test", "val"):
        return "the field 'best_on' is neither test nor val"
    if not isinstance(record["git"].get("commit"), (str, type(None))):
        return "git['commit'] is no text"
    for field in ("wall_seconds", "images_per_second"):
        if not _is_figure(record[field]):
            return f"the field {field!r} is no number"
    return None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """A number that can be computed with: finite, and not a whole number beyond what a float holds."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_figure(value: object, *others: type) -> bool:
    return value is None or _is_number(value) or isinstance(value, others)
