"""Progress of a run: on stderr alone, the time left first, short lines."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from sar_cls.mm.progress import ProgressHook

TITLE = "[102/150] cifar100_lt/mixup_sar_constant_weights_mislas seed 1270964153"


def run_of(hook: ProgressHook, epochs: int = 3, steps: int = 100, first: int = 0) -> None:
    """Calls the hook as the training loop does, with one reading of the losses in the middle of each epoch."""
    runner: Any = SimpleNamespace(iter=first * steps, epoch=first, max_epochs=epochs, max_iters=epochs * steps)
    runner.selection, runner.headline, runner.selects_by = "val", "top1", "val_top1"
    runner.train_loop = SimpleNamespace(counts_iterations=False)
    hook.before_train(runner)
    for epoch in range(first, epochs):
        runner.iter = epoch * steps + steps // 2
        hook.after_log_interval(runner, steps // 2 - 1, {"loss": 2.0})
        runner.iter, runner.epoch = (epoch + 1) * steps, epoch + 1
        hook.after_epoch(runner, {"epoch": epoch + 1, "loss": 1.5, "val_top1": 12.344, "test_top1": 99.0})
    hook.after_train(runner)


def test_lines_on_stderr__title_once_and_then_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    run_of(ProgressHook(TITLE, interval=0))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"{TITLE}: 3 epochs",
        "[102/150] 0:00 left, 0:00 so far, epoch 1/3, loss 2.000",
        "[102/150] 0:00 left, 0:00 so far, epoch 1/3, loss 1.500, val 12.34 %",
        "[102/150] 0:00 left, 0:00 so far, epoch 2/3, loss 2.000, val 12.34 %",
        "[102/150] 0:00 left, 0:00 so far, epoch 2/3, loss 1.500, val 12.34 %",
        "[102/150] 0:00 left, 0:00 so far, epoch 3/3, loss 2.000, val 12.34 %",
    ]


def test_without_a_number_the_line_is_the_words_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run_of(ProgressHook("digits/sar seed 1", interval=0), epochs=2, first=1)  # a resumed run
    assert capsys.readouterr().err.splitlines() == [
        "digits/sar seed 1: 2 epochs",
        "0:00 left, 0:00 so far, epoch 2/2, loss 2.000",
    ]


def test_a_quick_run_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run_of(ProgressHook(TITLE))
    assert capsys.readouterr() == ("", "")


def test_bar_on_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    hook = ProgressHook(TITLE)
    file = io.StringIO()
    hook.console = Console(file=file, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    run_of(hook, epochs=200)
    assert capsys.readouterr() == ("", "")
    assert hook.bar is None
    drawn = file.getvalue()
    assert TITLE in drawn
    assert "0:00 left, 0:00 so far, epoch 200/200, loss 1.500, val 12.34 %" in drawn


def test_by_default_a_terminal_is_drawn_on_through_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    assert ProgressHook(TITLE).console.file is terminal
