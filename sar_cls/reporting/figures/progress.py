"""How far the drawing of many figures is, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from sar_cls.pace import Pace

INTERVAL = 5.0  # seconds between two lines; what is drawn before the first one needs none


class Progress:
    """Counts figures, those that cannot be made among them, and says how long the others will take.

    Args:
        total: figures in all.
        say: called with each line; None for none.
    """

    def __init__(self, total: int, say: Callable[[str], None] | None = None) -> None:
        self.total, self.done, self.say = total, 0, say
        self.pace = Pace(total)
        self.said = self.pace.started

    def step(self) -> None:
        """Says that one more figure is done with."""
        self.done += 1
        self.pace.update(self.done)
        now = time.monotonic()
        if self.say is not None and self.done < self.total and now - self.said >= INTERVAL:
            self.said = now
            self.say(f"figures: {self.done} of {self.total}, {self.pace}")
