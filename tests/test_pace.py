"""Time left and time so far: which is which, and what they are computed from."""

from __future__ import annotations

import pytest

from sar_cls import pace as pace_module
from sar_cls.pace import Pace, duration


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (9.6, "0:10"), (61, "1:01"), (3599.6, "1:00:00"), (3723, "1:02:03"), (360000, "100:00:00")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_left_and_so_far_are_told_apart(clock: Clock) -> None:
    pace = Pace(total=100)
    assert str(pace) == "starting, 0:00 so far"
    clock.now += 10
    pace.update(20)
    assert str(pace) == "0:40 left, 0:10 so far"
    clock.now += 5  # between two updates the time left shrinks as time goes by
    assert str(pace) == "0:35 left, 0:15 so far"
    clock.now += 60
    assert str(pace) == "0:00 left, 1:15 so far"


def test_what_was_done_before_says_nothing_about_the_speed(clock: Clock) -> None:
    pace = Pace(total=100, done=90)
    clock.now += 10
    pace.update(95)
    assert str(pace) == "0:10 left, 0:10 so far"
