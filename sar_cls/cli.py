"""What the scripts share: argument types, and how an error becomes one line and an exit code."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sar_cls import bounds
from sar_cls.errors import InputError, RunLocked

if TYPE_CHECKING:
    from sar_cls.engine.options import Options

Number = TypeVar("Number", int, float)

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
# The paper's seeds (Tab. 12, 14, 15) first, then 0, 1, 2, ...
PAPER_SEEDS = (1270964153, 1024, 5555)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
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


def up_to(most: int) -> Callable[[str], int]:
    """An argument type for whole numbers from 1 to ``most``."""

    def read(text: str) -> int:
        value = positive_int(text)
        if value > most:
            raise argparse.ArgumentTypeError(f"{text!r} must be at most {most}")
        return value

    return read


epochs, threads, jobs = up_to(bounds.MOST_EPOCHS), up_to(bounds.MOST_THREADS), up_to(bounds.MOST_JOBS)
number_of_seeds = up_to(bounds.MOST_SEEDS)
seed = number(int, lambda value: 0 <= value < bounds.SEEDS, f"a whole number from 0 to {bounds.SEEDS - 1}")
fraction = number(float, lambda value: 0 < value < 1, "a number between 0 and 1")
imbalance = number(
    float, lambda value: 1 <= value < math.inf, "a number of at least 1 (1 is balanced, 100 the paper's)"
)


def add_run_options(parser: argparse.ArgumentParser, *, second_stage: bool = False) -> None:
    """Adds the options that every script with runs has: how to run, and where things are."""
    add = parser.add_argument_group("how to run it").add_argument
    add(
        "--epochs",
        type=epochs,
        metavar="N",
        help="epochs instead of the recipe's; milestones and warm-up scale, tables mark the run"
        + ("" if second_stage else " (a first stage's; second stages keep their own)"),
    )
    if not second_stage:
        add("--backbone", metavar="NAME", help="timm:NAME or torchvision:NAME instead of the config's backbone")
        add("--weights", metavar="SOURCE", help="pre-trained weights: a file, timm:NAME, or none")
        add("--val-fraction", type=fraction, metavar="F", help="hold out training images to choose the best epoch")
    add(
        "--precision",
        choices=["fp32", "bf16"],
        help="default: the config's, or fp32",
    )
    add("--deterministic", action="store_true", help="ask torch for deterministic algorithms")
    add(
        "--mode",
        choices=["eager", "compile", "cudagraph"],
        help="how a training step is run, where it can be had (default: eager)",
    )
    add(
        "--memory-format",
        choices=["channels_last", "contiguous"],
        default="channels_last",
        help="default: channels_last",
    )
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add(
        "--threads",
        type=threads,
        metavar="N",
        help="threads of torch on the CPU, which move results a little (default: the cores, or OMP_NUM_THREADS)",
    )
    add = parser.add_argument_group("where things are").add_argument
    add("--data-root", metavar="DIR", help="folder of the data sets (default: data)")
    add("--download", action="store_true", help="download a missing CIFAR set")
    folder = "the first stage's" if second_stage else "work_dirs"
    default = None if second_stage else Path("work_dirs")
    add("--work-dir", type=Path, default=default, metavar="DIR", help=f"folder of the runs (default: {folder})")
    add("--tensorboard", action="store_true", help="write TensorBoard files beside each run")


def run_options(arguments: argparse.Namespace, **more: Any) -> Options:
    """The options of a run from the arguments that :func:`add_run_options` added, and ``more``.

    Raises:
        InputError: the device is not there, or a package that an option needs.
    """
    # Takes seconds, so not before the arguments are known to be good.
    from sar_cls.engine.options import Options, usable_device

    if arguments.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard: install it with pip install 'sar-cls[viz]'")
    names = (
        "data_root",
        "download",
        "precision",
        "tensorboard",
        "deterministic",
        "mode",
        "memory_format",
        "threads",
        "val_fraction",
        "backbone",
        "weights",
    )
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return Options(device=usable_device(arguments.device), **given, **more)


def seeds(number: int) -> list[int]:
    """The first ``number`` seeds of the benchmark."""
    return [*PAPER_SEEDS, *range(max(0, number - len(PAPER_SEEDS)))][:number]


def writable_folder(path: Path, option: str = "--work-dir") -> Path:
    """Makes sure that ``path`` is or can become a folder to write in, without leaving anything behind.

    Args:
        path: the folder.
        option: the argument that named it, for the message.

    Raises:
        InputError: it is a file, or not writable.
    """
    nearest = path.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{path} cannot be a folder, {nearest} is a file: give another {option}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{path} is not writable: give another {option}")
    return path


def wait_asleep() -> None:
    """Has OpenMP's threads sleep while they wait for each other, unless the environment says how they are to wait.

    They spin by default, and on a machine with other work each spins away the time that the other needs: a step of ResNet-8 with
    two threads on two busy cores took 20 to 100 ms asleep and 700 to 2,600 ms spinning. No number depends on it. To be called
    before torch is imported: libgomp reads it once.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def main_with_exit_code(main: Callable[[], int]) -> NoReturn:
    """Runs ``main`` and exits: with its own code, 2 for bad input, 3 and one line for a locked run, 130 for Ctrl-C."""
    wait_asleep()
    try:
        code = main()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        code = 2
    except RunLocked as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        code = 3
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last whole epoch", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our output went away, for example head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
