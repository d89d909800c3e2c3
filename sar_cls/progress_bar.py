"""A bar for terminals of 80 columns, with the title on a line of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

BAR_WIDTH = 10  # with it and a space, 69 of 80 columns are left for words


class TitledBar(Progress):
    """Two lines at the foot of a terminal: the title, and below it a bar and some words that are renewed all the time.

    Args:
        title: what is going on; a long one is broken, never cut.
        words: called for the words beside the bar; what does not fit is cut at their end.
        console: where to draw; stderr by default, so that results can be piped.
        total: steps in all.
        done: steps done before.
    """

    def __init__(
        self, title: str, words: Callable[[], str], console: Console | None = None, *, total: int, done: int = 0
    ) -> None:
        self.title = title
        columns = (BarColumn(bar_width=BAR_WIDTH), _Words(words))
        # Redirected, what is printed meanwhile would go to stderr too, also where stdout is a file.
        super().__init__(
            *columns, console=console or Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
        )
        self.task = self.add_task("", total=total, completed=done)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield Text(self.title, overflow="fold")
        yield from super().get_renderables()

    def advance_to(self, done: int) -> None:
        """Draws the bar up to ``done`` steps."""
        self.update(self.task, completed=done)


class _Words(ProgressColumn):
    def __init__(self, words: Callable[[], str], **options: Any) -> None:
        super().__init__(**options)
        self.words = words

    def render(self, task: Task) -> Text:
        return Text(self.words(), no_wrap=True, overflow="crop")
