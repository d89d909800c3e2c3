"""Metrics computed anew from what finished runs saved: test logits, or counts of pixels. Records stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sar_cls.errors import InputError
from sar_cls.files import why
from sar_cls.runs.dense_outputs import is_dense_run, read_dense_outputs, recompute_dense
from sar_cls.runs.ledger import Warn
from sar_cls.runs.outputs import has_rounded_logits, recompute
from sar_cls.runs.per_class import PER_CLASS_FILE, write_dense_per_class, write_per_class


def recomputed(record: dict[str, Any], run_dir: Path, warn: Warn) -> dict[str, Any]:
    """The record with new metrics, or as it is, with a warning, where its outputs are not there.

    ``per_class.csv`` is written anew; the file of the record is not.
    """
    try:
        if is_dense_run(record):  # a segmentation net, which keeps counts of its pixels and no logits
            outputs = read_dense_outputs(run_dir)
            new = recompute_dense(record, outputs)
            found = {"last": outputs.last, "best": outputs.best}
            names = [str(name) for name in outputs.classes]
            write = partial(write_dense_per_class, run_dir, record["train_counts"], names, found)
        else:
            new = recompute(record, run_dir)
            write = partial(write_per_class, run_dir, new)
    except InputError as error:
        named = "" if str(run_dir) in str(error) else f" of {run_dir}"
        warn(f"recorded metrics{named} are kept: {error}")
        return record
    try:
        write()
    except OSError as error:
        warn(f"{PER_CLASS_FILE} is left as it is: {why(error, run_dir / PER_CLASS_FILE)}")
    return new


def warn_of_rounded_logits(run_dirs: Sequence[Path], warn: Warn) -> None:
    """Says once, for all runs together, that recomputed figures come from logits that were saved in half precision."""
    rounded = [run_dir for run_dir in run_dirs if has_rounded_logits(run_dir)]
    if rounded:
        others = f" and {len(rounded) - 1} more" if len(rounded) > 1 else ""
        warn(
            f"the test logits of {rounded[0]}{others} were saved in float16 by an older version: ties go to the lower class, and "
            "recomputed figures can be off by some hundredths of a point."
        )
