"""Configs of runs that take a second, and what is left of a run on disk."""

from __future__ import annotations

from pathlib import Path

from sar_cls.cli import CONFIGS

# Suites of segmentation nets: their configs inherit mmseg's, and their nets have other parts.
DENSE_SUITES = ("ade20k", "camvid", "cityscapes", "pascal_context")
# A long tail of the digits: a few hundred images of 8x8 pixels.
TINY = f"""
_base_ = "{CONFIGS}/digits_lt/mixup.py"
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2)
"""
TINY_SAR = TINY + 'model = dict(head=dict(regularizer=dict(type="SAR")))\n'


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, locks aside."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
