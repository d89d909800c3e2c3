"""Types of command-line arguments: numbers within their bounds, and a parser whose errors are one line."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from sar_cls import bounds, messages

Number = TypeVar("Number", int, float)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        messages.remark(f"{self.prog}: {message} (see --help)")
        sys.exit(2)


def number(kind: Callable[[str], Number], fits: Callable[[Number], bool], wanted: str) -> Callable[[str], Number]:
    """An argument type for numbers.

    Args:
        kind: ``int`` or ``float``.
        fits: whether a number of this kind is a good argument.
        wanted: what a good one is, for the message to somebody who gave another.
    """

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}")
        return value

    return read


positive_int = number(int, lambda value: value >= 1, "a whole number of at least 1")
virtual_batch = number(int, lambda value: value >= 2, "a whole number of at least 2")


def up_to(most: int) -> Callable[[str], int]:
    """An argument type for whole numbers from 1 to ``most``."""

    def read(text: str) -> int:
        value = positive_int(text)
        if value > most:
            raise argparse.ArgumentTypeError(f"{text!r} must be at most {most}")
        return value

    return read


epochs, threads, jobs = up_to(bounds.MOST_EPOCHS), up_to(bounds.MOST_THREADS), up_to(bounds.MOST_JOBS)
iterations = up_to(bounds.MOST_ITERATIONS)
image_size = up_to(bounds.MOST_PIXELS)
number_of_seeds = up_to(bounds.MOST_SEEDS)
seed = number(int, lambda value: 0 <= value < bounds.SEEDS, f"a whole number from 0 to {bounds.SEEDS - 1}")
fraction = number(float, lambda value: 0 < value < 1, "a number between 0 and 1")
_imbalance_factor = number(
    float,
    lambda value: 1 <= value < math.inf,
    "a number of at least 1 (1 is balanced, 100 the paper's), or none for the classes as they are",
)


def imbalance(text: str) -> float | str:
    """An argument type: an imbalance factor, or "none"."""
    return "none" if text == "none" else _imbalance_factor(text)


def path(text: str) -> Path:
    """An argument type: a path. An empty one, which a variable of the shell that is not set leaves, would be the current folder."""
    return Path(path_text(text))


def path_text(text: str) -> str:
    """The same, as it was written."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty: name one (is a variable of the shell not set?)")
    return text


def pair(text: str) -> tuple[str, str]:
    """An argument type: KEY=VALUE."""
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE")
    return key, value
