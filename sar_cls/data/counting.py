"""How far a long preparation is: a bar on a terminal, elsewhere a line every few seconds.

It goes to stderr, so that tables can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def counting(title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Counts images up to ``total``, of which ``done`` were there before; yields the function that adds to it."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total, completed=done)
            yield lambda amount: bar.advance(task, amount)
        return
    started = printed = time.monotonic()
    count = done
    resumed = f", {done:,} are there already" if done else ""
    print(f"{title}: {total:,} images{resumed}", file=sys.stderr, flush=True)

    def advance(amount: int) -> None:
        nonlocal count, printed
        count += amount
        now = time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES or count == total:
            printed = now
            left = (now - started) / (count - done) * (total - count)
            print(f"{title}: {count:,} of {total:,} images, {left:.0f} s left", file=sys.stderr, flush=True)

    yield advance
