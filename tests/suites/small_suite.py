"""A small suite in a file: what the tests of suites write, change and break."""

from __future__ import annotations

from pathlib import Path

HEAD = 'title = "A suite"\nmetric = "top1"\n'
ROWS = '[[rows]]\nname = "plain"\nlabel = "Plain"\n\n[[rows]]\nname = "sar"\nlabel = "+SAR"\nbaseline = "plain"\n'


def write_suite(configs: Path, text: str, name: str = "small") -> Path:
    """Writes the file of a suite into its folder among ``configs``."""
    (configs / name).mkdir(parents=True, exist_ok=True)
    path = configs / name / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path
