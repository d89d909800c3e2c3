"""How long work has taken and how long it may take still, in words: the time left first, since a narrow terminal cuts line ends."""

from __future__ import annotations

import time


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Pace:
    """Time left and time so far of some work, from what was done since the start.

    Args:
        total: steps in all.
        done: steps that were done before; they say nothing about the speed.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.first, self.done = total, done, done
        self.started = self.updated = time.monotonic()

    def update(self, done: int) -> None:
        """Says how many steps are done by now, those before the start among them."""
        self.done, self.updated = done, time.monotonic()

    def __str__(self) -> str:
        """``1:02:03 left, 2:03 so far``."""
        now = time.monotonic()
        so_far = f"{duration(now - self.started)} so far"
        if self.done <= self.first:
            return f"starting, {so_far}"
        left = (self.updated - self.started) / (self.done - self.first) * (self.total - self.done)
        return f"{duration(max(0.0, left - (now - self.updated)))} left, {so_far}"
