"""How far a long preparation is: a bar on a terminal, elsewhere a line every few seconds.

It goes to stderr, so that tables can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sar_cls import messages
from sar_cls.pace import Pace

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def counting(title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Counts images up to ``total``, of which ``done`` were there before; yields the function that adds to it."""
    count, pace = done, Pace(total, done)

    def words() -> str:
        return f"{pace}, {count:,} of {total:,} images"

    if sys.stderr.isatty():
        from sar_cls.progress_bar import TitledBar  # imports rich

        with TitledBar(title, words, total=total, done=done) as bar:

            def draw(amount: int) -> None:
                nonlocal count
                count += amount
                pace.update(count)
                bar.advance_to(count)

            yield draw
        return
    printed = pace.started
    resumed = f", {done:,} are there already" if done else ""
    messages.remark(f"{title}: {total:,} images{resumed}")

    def say(amount: int) -> None:
        nonlocal count, printed
        count += amount
        pace.update(count)
        now = time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES or count == total:
            printed = now
            messages.remark(f"{title}: {words()}")

    yield say
