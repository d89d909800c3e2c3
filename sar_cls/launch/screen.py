"""How far many runs are: on a terminal one screen that is renewed, elsewhere a line whenever a run has ended."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from sar_cls import messages
from sar_cls.launch.outcome import Attempt
from sar_cls.pace import duration

MOST_SHOWN = 20


class Screen:
    """Running, done, failed, passed over, time left, and what each running one said last.

    Args:
        total: runs that are to end.
        console: where to draw; stderr by default, so that results can be piped.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.total, self.begin = total, time.monotonic()
        self.running: dict[str, str] = {}
        self.ends: Counter[str] = Counter()
        console = console or Console(stderr=True)
        self.live: Live | None = None
        if console.is_terminal:
            # Redirected, what is printed meanwhile would go to stderr too, also where stdout is a file.
            self.live = Live(
                console=console,
                get_renderable=self._render,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )

    def __enter__(self) -> Screen:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live is not None:
            self.live.stop()

    def started(self, title: str) -> None:
        """A run was handed out."""
        self.running[title] = ""

    def said(self, title: str, line: str, *, everywhere: bool = True) -> None:
        """A run said something; ``everywhere`` also where there is no screen to renew."""
        if self.live is None:
            if everywhere:
                messages.remark(line)
        elif title in self.running:
            number = re.match(r"\[\d+/\d+\] ", title)  # a run names itself in full once, then by its number
            line = line.removeprefix(f"{title}: ").removeprefix(number.group() if number else "")
            self.running[title] = line

    def ended(self, attempt: Attempt) -> None:
        """A run has ended."""
        self.running.pop(attempt.title, None)
        self.ends[attempt.end] += 1
        if self.live is None and self.ends.total() < self.total:
            messages.remark(f"{self.ends.total()} of {self.total} runs, about {self._left()} left")

    def _left(self) -> str:
        ended = self.ends.total()
        return duration((time.monotonic() - self.begin) / ended * (self.total - ended))

    def summary(self) -> str:
        """``3 of 18 done, 1 failed, 2 running, about 1:02 left``."""
        ends = self.ends
        parts = [f"{ends['done']} of {self.total} done"]
        parts += [f"{ends[end]} {word}" for end, word in (("failed", "failed"), ("locked", "passed over")) if ends[end]]
        parts += [f"{len(self.running)} running"]
        return ", ".join(parts + ([f"about {self._left()} left"] if ends.total() else []))

    def _render(self) -> RenderableType:
        return Text("\n".join(self._lines()), no_wrap=True, overflow="ellipsis")

    def _lines(self) -> Iterable[str]:
        yield self.summary()
        shown = list(self.running.items())[:MOST_SHOWN]
        yield from (f"  {title}" + (f": {words}" if words else "") for title, words in shown)
        if len(self.running) > len(shown):
            yield f"  and {len(self.running) - len(shown)} more"
