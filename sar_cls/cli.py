"""What the scripts share: argument types, and how an error becomes one line and an exit code."""

from __future__ import annotations

import argparse
import codecs
import importlib.util
import io
import math
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sar_cls import bounds, messages, ranks
from sar_cls.errors import InputError, ProcessLost, RunFailed, RunLocked
from sar_cls.files import check_file, check_folder, why
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.seeds import first_seeds

if TYPE_CHECKING:
    from sar_cls.engine.options import Options

Number = TypeVar("Number", int, float)
warn = messages.warn

ROOT = Path(__file__).resolve().parents[1]
# What stands for the signs of tables and messages on a terminal that does not know them.
_PLAIN_SIGNS = {
    "±": "+/-",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "Δ": "diff",
    "τ": "tau",
    "δ": "delta",
    "≥": ">=",
    "≤": "<=",
}
_PLAIN_SIGNS |= {"…": "...", "→": "->", "·": ".", "’": "'", "‘": "'", "“": '"', "”": '"', "•": "*"}


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


def pair(text: str) -> tuple[str, str]:
    """An argument type: KEY=VALUE."""
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE")
    return key, value


def add_configs(add: Callable[..., Any]) -> None:
    """Adds the option for suites of one's own; ``add`` is the ``add_argument`` of a group."""
    add("--configs", type=Path, metavar="DIR", help="folder of suites of your own (default: those that come along)")


def configs(arguments: argparse.Namespace) -> Path:
    """The folder of the suites.

    Raises:
        InputError: the one that was named is no folder.
    """
    folder = CONFIGS if arguments.configs is None else arguments.configs
    if arguments.configs is not None and not folder.is_dir():
        raise InputError(f"--configs {folder} is not a folder: name one that holds <suite>/suite.toml")
    return folder


def add_run_options(parser: argparse.ArgumentParser, *, second_stage: bool = False, two_stages: bool = False) -> None:
    """Adds the options that every script with runs has: how to run, and where things are.

    Args:
        parser: of the script.
        second_stage: whether it runs second stages alone.
        two_stages: whether it runs both.
    """
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
        add(
            "--bn-batch",
            type=virtual_batch,
            metavar="N",
            help="batch norm over each N images of a batch, as on devices with N images each (default: the whole batch)",
        )
        add("--weights", metavar="SOURCE", help="pre-trained weights: a file, timm:NAME, or none")
        add(
            "--image-size",
            type=image_size,
            metavar="N",
            help="bring the images of a folder to N x N pixels (default: as they are, all of one size)",
        )
        add("--val-fraction", type=fraction, metavar="F", help="hold out training images to choose the best epoch")
    if two_stages or second_stage:
        add(
            "--hold",
            choices=["shifted_bn", "frozen"],
            help="how a second stage keeps its backbone (default: its config's); frozen for one without batch norm",
        )
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
    add(
        "--sync-bn",
        action="store_true",
        help="under torchrun: batch norm over the whole batch (default: over the part of each process)",
    )
    add(
        "--local-statistics",
        action="store_true",
        help="under torchrun: class centres and sizes of regularizers and losses over the part of each process (default: over the "
        "whole batch)",
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
    add(
        "--mlflow",
        nargs="?",
        const="",
        metavar="URI",
        help="log each run to this MLflow store as well (without URI: the folder mlruns here)",
    )
    add(
        "--no-features",
        dest="features",
        action="store_false",
        help="do not keep test features and class means of the last epoch (about 2 bytes a test image and channel)",
    )


def run_options(arguments: argparse.Namespace, **more: Any) -> Options:
    """The options of a run from the arguments that :func:`add_run_options` added, and ``more``.

    Raises:
        InputError: the device is not there, or a package that an option needs.
    """
    # Takes seconds, so not before the arguments are known to be good.
    from sar_cls.engine.options import Options, usable_device

    if arguments.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard: install it with pip install 'sar-cls[viz]'")
    if arguments.mlflow is not None and importlib.util.find_spec("mlflow") is None:
        raise InputError("--mlflow needs the package mlflow: install it with pip install 'sar-cls[mlflow]'")
    names = (
        "data_root",
        "download",
        "precision",
        "tensorboard",
        "mlflow",
        "deterministic",
        "mode",
        "memory_format",
        "threads",
        "sync_bn",
        "local_statistics",
        "val_fraction",
        "backbone",
        "bn_batch",
        "hold",
        "weights",
        "image_size",
        "features",
    )
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return Options(device=usable_device(arguments.device), **given, **more)


def seeds(number: int) -> list[int]:
    """The first ``number`` seeds of the benchmark."""
    return first_seeds(number)


def writable_folder(path: Path, option: str = "--work-dir") -> Path:
    """Makes sure that ``path`` is or can become a folder to write in, without leaving anything behind.

    Args:
        path: the folder.
        option: the argument that named it, for the message.

    Raises:
        InputError: it is a file, a link that leads nowhere, or not writable.
    """
    return check_folder(path, f"give another {option}")


def writable_file(path: Path, option: str) -> Path:
    """Makes sure that ``path`` is or can become a file in a folder that is there, without leaving anything behind.

    Args:
        path: the file.
        option: the argument that named it, for the message.

    Raises:
        InputError: it is a folder, or its folder is not there or not writable.
    """
    folder = path.absolute().parent
    if not folder.exists():
        raise InputError(f"{option} {path}: there is no folder {path.parent}, make it or give another {option}")
    return check_file(path, f"give another {option}")


@contextmanager
def interruptible() -> Iterator[None]:
    """Ends with ``KeyboardInterrupt`` where Ctrl-C was pressed inside, whatever became of it there.

    Above all for the import of large libraries: some of their modules catch whatever is raised in an optional import, or turn it
    into an error of their own, and the program would go on, or end for a wrong reason.
    """
    # Signals are the main thread's; and where Ctrl-C means nothing (nohup), it stays so.
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    pressed = False

    def note(signal_number: int, frame: object) -> NoReturn:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def show_what_the_terminal_can() -> None:
    """From now on a sign that the terminal's encoding lacks is printed as plain text that means the same.

    For the C locale, Latin-1 and Windows code pages, where ``print("±")`` would end the program. Files are UTF-8 all the same.
    """
    codecs.register_error("sar_cls.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        # Streams that a test or a notebook put there have no encoding to fail at.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="sar_cls.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain_sign(sign) for sign in error.object[error.start : error.end]), error.end


def _plain_sign(sign: str) -> str:
    if sign in _PLAIN_SIGNS:
        return _PLAIN_SIGNS[sign]
    bare = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()  # a letter without its accent
    # Half of a file name that is no text stays recognisable.
    return bare or ("?" if unicodedata.category(sign) != "Cs" else f"\\x{ord(sign) & 0xFF:02x}")


def wait_asleep() -> None:
    """Has OpenMP's threads spin for a short while only before they sleep, unless the environment says how they are to wait.

    By default they spin for long, and on a machine with other work each spins away the time that the other needs. On a quiet
    machine these 10,000 turns cost nothing on small nets and about 3 % of a ResNet-32 step; to sleep at once
    (``OMP_WAIT_POLICY=PASSIVE``) cost 13 % of that step and more than half of the speed of the digits. No number depends on it. To
    be called before torch is imported: libgomp reads it once.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = "10000"


def main_with_exit_code(main: Callable[[], int]) -> NoReturn:
    """Runs ``main`` and exits: with its own code; 2 and one line for bad input, or for what the file system has against the
    work before it begins; 1 and one line for a failed run; 3 and one line for a locked one; 130 for Ctrl-C.

    Of several processes that torchrun has started the first one runs ``main``; the others train with it and end with its code.
    """
    show_what_the_terminal_can()
    wait_asleep()
    if ranks.processes() > 1:
        # Else torch adds a page about sockets to the sentence that another process is gone. It reads this when it is imported.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    sys.exit(code_of(main) if ranks.processes() == 1 else code_of_team(main))


def code_of_team(main: Callable[[], int]) -> int:
    """The exit code of one of several processes, see :func:`main_with_exit_code`."""
    from sar_cls.engine import members

    if not ranks.is_first():
        return code_of(members.follow)
    code = 1
    try:
        code = code_of(main)
    except SystemExit as error:  # of the argument parser
        code = error.code if isinstance(error.code, int) else 1
        raise
    finally:
        members.dismiss(code)
    return code


def code_of(main: Callable[[], int]) -> int:
    """The exit code of ``main``, whatever it raises; why it ends is printed."""
    try:
        with interruptible():
            code = main()
        sys.stdout.flush()  # a full disk behind it is noticed here, not when Python is gone
    except InputError as error:
        messages.complain(str(error))
        code = 2
    except RunLocked as error:
        messages.complain(str(error))
        code = 3
    except RunFailed as error:
        messages.complain(str(error))
        code = 1
    except ProcessLost as error:
        if str(error):  # else that process has said it
            messages.complain(str(error))
        code = 1
    except KeyboardInterrupt:
        messages.remark("\ninterrupted; the same command goes on from the last whole epoch")
        code = 130
    except BrokenPipeError:  # the reader of our output went away, for example head
        _drop_output()
        code = 1
    except OSError as error:
        is_output = error.filename is None  # a file would have a name
        messages.complain(why(error, "the output" if is_output else None))
        if is_output:
            _drop_output()
        code = 1 if is_output else 2
    return code


def _drop_output() -> None:
    """Sends what is left of the output nowhere, so that Python has nothing to complain about when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
