"""What the scripts share: the options of a run, and folders that can be written."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sar_cls import argument_types, messages
from sar_cls.errors import InputError
from sar_cls.files import check_file, check_folder
from sar_cls.suites.places import CONFIGS
from sar_cls.suites.seeds import first_seeds

if TYPE_CHECKING:
    from sar_cls.engine.options import Options

warn = messages.warn

ROOT = Path(__file__).resolve().parents[1]


def add_configs(add: Callable[..., Any]) -> None:
    """Adds the option for suites of one's own; ``add`` is the ``add_argument`` of a group."""
    add(
        "--configs",
        type=argument_types.path,
        metavar="DIR",
        help="folder of suites of your own (default: those that come along)",
    )


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
        type=argument_types.epochs,
        metavar="N",
        help="epochs instead of the recipe's; milestones and warm-up scale, tables mark the run"
        + ("" if second_stage else " (a first stage's; second stages keep their own)"),
    )
    if not second_stage:
        add("--backbone", metavar="NAME", help="timm:NAME or torchvision:NAME instead of the config's backbone")
        add(
            "--bn-batch",
            type=argument_types.virtual_batch,
            metavar="N",
            help="batch norm over each N images of a batch, as on devices with N images each (default: the whole batch)",
        )
        add(
            "--weights",
            type=argument_types.path_text,
            metavar="SOURCE",
            help="pre-trained weights: a file, timm:NAME, or none",
        )
        add(
            "--image-size",
            type=argument_types.image_size,
            metavar="N",
            help="bring the images of a folder to N x N pixels (default: as they are, all of one size)",
        )
        add(
            "--val-fraction",
            type=argument_types.fraction,
            metavar="F",
            help="hold out training images to choose the best epoch, by their classes' mean accuracy",
        )
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
        type=argument_types.threads,
        metavar="N",
        help="threads of torch on the CPU, which move results a little (default: the cores, or OMP_NUM_THREADS)",
    )
    add = parser.add_argument_group("where things are").add_argument
    add("--data-root", type=argument_types.path_text, metavar="DIR", help="folder of the data sets (default: data)")
    add("--download", action="store_true", help="download a missing CIFAR set")
    folder = "the first stage's" if second_stage else "work_dirs"
    default = None if second_stage else Path("work_dirs")
    add(
        "--work-dir",
        type=argument_types.path,
        default=default,
        metavar="DIR",
        help=f"folder of the runs (default: {folder})",
    )
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


def run_options(arguments: argparse.Namespace, *, elsewhere: bool = False, **more: Any) -> Options:
    """The options of a run from the arguments that :func:`add_run_options` added, and ``more``.

    Args:
        arguments: of the command line.
        elsewhere: whether other machines will run it: a device that is named need not be here.
        more: further options.

    Raises:
        InputError: the device is not there, or a package that an option needs.
    """
    # Takes seconds, so not before the arguments are known to be good.
    from sar_cls.engine.options import Options, named_device, usable_device

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
    device = (named_device if elsewhere else usable_device)(arguments.device)
    return Options(device=device, **given, **more)


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
    """Makes sure that ``path`` is or can become a file, in a folder that is or can be made, without leaving anything behind.

    Args:
        path: the file.
        option: the argument that named it, for the message.

    Raises:
        InputError: it is a folder, or its folder cannot be made or is not writable.
    """
    return check_file(path, f"give another {option}")
