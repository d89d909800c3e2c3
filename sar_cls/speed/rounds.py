"""Interleaved rounds: in each, every contender does the same work once, so that a noisy machine hurts all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sar_cls import messages
from sar_cls.pace import duration
from sar_cls.speed.process import as_elsewhere


def _nothing() -> None:
    pass


def repeat(step: Callable[[], None], times: int) -> None:
    """Runs ``step`` so many times."""
    for _ in range(times):
        step()


@dataclass
class Contender:
    """Something to be timed.

    Attributes:
        name: short, for ``--only``.
        label: for tables.
        images: that one round goes through.
        run: one round; it may leave work on the device.
        process: before each round: sets the process up as the contender's own program would.
        settle: before each round, not timed: brings the contender to the state that it has in a long training.
        close: gives back processes and files.
        mode: how the step was run in the end; asked for after the last round.
    """

    name: str
    label: str
    images: int
    run: Callable[[], Any]
    process: Callable[[], Any] = as_elsewhere
    settle: Callable[[], Any] = _nothing
    close: Callable[[], Any] = _nothing
    mode: Callable[[], str] = str


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass
class Timing:
    """Rounds of one contender."""

    name: str
    label: str
    images: int
    seconds: list[float] = field(default_factory=list)
    mode: str = ""

    @property
    def rates(self) -> list[float]:
        """Images a second, round by round."""
        return [self.images / seconds for seconds in self.seconds]

    @property
    def rate(self) -> Spread:
        """Images a second."""
        return Spread.of(self.rates)

    def ratio_to(self, other: Timing) -> Spread:
        """How many times as fast as ``other``, from the ratios within each round."""
        return Spread.of([own / others for own, others in zip(self.rates, other.rates, strict=True)])


def measure(
    contenders: Sequence[Contender],
    rounds: int,
    device: torch.device,
    title: str = "",
    say: Callable[[str], None] | None = None,
) -> list[Timing]:
    """Times all contenders in ``rounds`` rounds, each time beginning with the next one.

    A first round is not timed: there libraries choose kernels, steps are compiled or captured, worker processes start.

    Args:
        contenders: in the order of the table.
        rounds: number of timed rounds.
        device: that is waited for before the clock is read.
        title: for the progress lines.
        say: prints a line; None prints to stderr.
    """
    say = say or messages.remark
    timings = [Timing(contender.name, contender.label, contender.images) for contender in contenders]
    begin = printed = time.monotonic()
    for number in range(-1, rounds):
        for turn in range(len(contenders)):
            index = (number + turn) % len(contenders)
            seconds = _time(contenders[index], device)
            if number >= 0:
                timings[index].seconds.append(seconds)
        now, done = time.monotonic(), number + 2
        if done <= rounds and (now - printed >= 5 or number < 0):
            printed = now
            left = (now - begin) / done * (rounds + 1 - done)
            state = f"round {done - 1} of {rounds}" if number >= 0 else "warmed up"
            say(f"{title}: {state}, about {duration(left)} left")
    for timing, contender in zip(timings, contenders, strict=True):
        timing.mode = contender.mode()
    return timings


def _time(contender: Contender, device: torch.device) -> float:
    contender.process()
    contender.settle()
    _wait_for(device)
    begin = time.perf_counter()
    contender.run()
    _wait_for(device)
    return time.perf_counter() - begin


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
