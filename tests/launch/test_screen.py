"""How far all runs are: one screen on a terminal, lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sar_cls.launch.outcome import Attempt
from sar_cls.launch.screen import MOST_SHOWN, Screen


def screen_of(total: int) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(total, Console(file=out, force_terminal=True, width=80, height=30)), out


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(2, Console(file=io.StringIO())) as screen:
        screen.started("a")
        screen.said("a", "a: 1 epoch")
        screen.said("a", "a: detail", everywhere=False)
        screen.ended(Attempt("a", "done", "a: top-1"))
        screen.started("b")
        screen.ended(Attempt("b", "failed", "b: failed"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["a: 1 epoch", "1 of 2 runs, about 0:00 left"]  # of the last one the table speaks


def test_one_screen_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen, out = screen_of(5)
    with screen:
        for title in "abc":
            screen.started(title)
        screen.said("a", "a: 1:02 left, epoch 3/20", everywhere=False)
        screen.said("gone", "gone: nobody cares")
        screen.ended(Attempt("b", "failed", ""))
        assert screen.live is not None
        screen.live.refresh()
    drawn = out.getvalue()
    assert "0 of 5 done, 1 failed, 2 running, about 0:00 left" in drawn
    assert "  a: 1:02 left, epoch 3/20" in drawn
    assert "gone" not in drawn
    assert capsys.readouterr().err == ""


def test_a_run_is_one_line__named_once_and_cut_at_the_edge() -> None:
    screen, out = screen_of(2)
    with screen:
        title = "[1/2] digits/baseline seed 1270964153"
        screen.started(title)
        screen.said(title, f"{title}: 20 epochs")
        assert list(screen._lines())[1] == f"  {title}: 20 epochs"
        screen.said(title, "[1/2] 0:12 left, 0:15 so far, epoch 11/20, loss 0.079, test 95.06 %")
        assert screen.live is not None
        screen.live.refresh()
    drawn = out.getvalue()
    assert f"  {title}: 0:12 left, 0:15 so far, epoch 11/20" in drawn
    assert "[1/2] 0:12" not in drawn
    assert "…" in drawn
    assert "95.06 %" not in drawn


def test_the_summary_and_no_more_lines_than_fit() -> None:
    screen, _ = screen_of(100)
    assert screen.summary() == "0 of 100 done, 0 running"
    for number in range(MOST_SHOWN + 7):
        screen.started(f"run {number}")
    screen.ended(Attempt("run 0", "done", ""))
    screen.ended(Attempt("run 1", "locked", ""))
    assert screen.summary().startswith(f"1 of 100 done, 1 passed over, {MOST_SHOWN + 5} running, about ")
    lines = list(screen._lines())
    assert len(lines) == MOST_SHOWN + 2
    assert lines[-1] == "  and 5 more"
