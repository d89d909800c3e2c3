"""How far the drawing is: lines after some seconds, and every figure counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from sar_cls.reporting.figures import progress
from sar_cls.reporting.figures.gallery import KINDS, draw_figures
from sar_cls.runs.ledger import scan

from ..table_suites import PAIRS, make_suite


def test_lines_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    said: list[str] = []
    shown = progress.Progress(3, said.append)
    for _ in range(3):
        shown.step()
    assert [line.partition(",")[0] for line in said] == ["figures: 1 of 3", "figures: 2 of 3"]
    assert all(" left, " in line for line in said)


def test_nothing_is_said_of_quick_work() -> None:
    shown = progress.Progress(3, pytest.fail)
    for _ in range(3):
        shown.step()


def test_every_figure_of_a_suite_is_counted(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    said: list[str] = []
    suite = make_suite(work_dir, "lt", PAIRS)
    draw_figures([suite], scan(work_dir), work_dir / "figures", lambda _: None, said.append)
    total = 1 + 2 * len(KINDS)  # the differences, and the rows of each stage
    assert [line.partition(",")[0] for line in said] == [f"figures: {done} of {total}" for done in range(1, total)]
