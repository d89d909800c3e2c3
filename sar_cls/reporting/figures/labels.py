"""What the entries of a figure are called, and what its caption says of their runs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from sar_cls.reporting.figures.series import Series


def names(series: Sequence[Series], with_runs: bool = True) -> tuple[list[str], str]:
    """What the entries of a picture are called: each by what tells it from the others, and a remark on what all share.

    Args:
        series: the entries of the picture.
        with_runs: whether the number of runs is said too.

    Returns:
        A label for each entry, and the remark; it is empty where there is nothing to say.
    """
    details = [[_short(detail) for detail in entry.details] for entry in series]
    runs = [number_of_runs(entry) for entry in series] if with_runs else [""] * len(series)
    shared = [detail for detail in details[0] if all(detail in others for others in details)]
    labels = []
    for entry, own, number in zip(series, details, runs, strict=True):
        more = [detail for detail in own if detail not in shared] + ([number] if len(set(runs)) > 1 else [])
        labels.append(entry.label + (f" ({', '.join(more)})" if more else ""))
    if with_runs and len(set(runs)) == 1:
        shared.append(runs[0] + (" each" if len(series) > 1 else ""))
    return labels, ", ".join(shared)


def provenance(series: Sequence[Series]) -> str:
    """A sentence for a caption: which runs are drawn, with which seeds, and what is not as in the rows' recipes."""
    labels, shared = names(series)
    seeds = {entry.seeds for entry in series if entry.seeds}
    told = [f"{shared}" if shared else ""]
    if len(seeds) == 1 and len(shown := next(iter(seeds))) <= 10:
        told.append(f"seed{'s' if len(shown) > 1 else ''} {', '.join(map(str, shown))}")
    return f"{listed(labels)}: {'; '.join(part for part in told if part)}." if any(told) else f"{listed(labels)}."


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def number_of_runs(entry: Series) -> str:
    """``3 runs``."""
    return f"{len(entry.run_dirs)} run{'s' if len(entry.run_dirs) > 1 else ''}"


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most ``width`` signs."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))


def slug(text: str) -> str:
    """The text as a part of a file's name, which LaTeX takes: Greek letters by their names, nothing beyond ASCII."""
    for sign, name in {"τ": "tau", "δ": "delta", "λ": "lambda", "α": "alpha"}.items():
        text = text.replace(sign, name)
    text = text.encode("ascii", "ignore").decode()
    return "-".join("".join(char.lower() if char.isalnum() else " " for char in text).split())


def _short(detail: str) -> str:
    """A detail without the hashes of weights: tables and records have them."""
    return re.sub(r"([-_][0-9a-f]{8})+$", "", detail)
