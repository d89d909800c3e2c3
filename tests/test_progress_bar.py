"""The bar on a terminal of 80 columns: nothing that matters is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sar_cls.progress_bar import TitledBar

TITLE = "[102/150] cifar100_lt/mixup_sar_constant_weights_mislas seed 1270964153, and a sentence more"
WORDS = "11:02:03 left, 1:12:05 so far, epoch 123/200, loss 2.312, val 12.34 %"


def screen(width: int, words: str = WORDS) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)
    bar = TitledBar(TITLE, lambda: words, console, total=10, done=3)
    with console.capture() as capture:
        console.print(bar.get_renderable())
    return capture.get().splitlines()


def test_title_in_full_and_all_words_on_80_columns() -> None:
    *title, line = screen(80)
    assert "".join(title).replace(" ", "") == TITLE.replace(" ", "")  # a break takes the place of a space
    assert line.rstrip().endswith(WORDS)
    assert len(line.rstrip()) <= 80


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrower_terminal_cuts_the_end(width: int) -> None:
    *title, line = screen(width)
    assert "".join(title).replace(" ", "") == TITLE.replace(" ", "")  # a break takes the place of a space
    assert len(line) <= width
    shown = line.lstrip("━╸ ")
    assert WORDS.startswith(shown)
    assert "11:02:03 left" in shown
