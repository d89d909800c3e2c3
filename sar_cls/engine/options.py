"""What the command line may say about a run, beside its row and seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sar_cls import ranks
from sar_cls.bounds import MOST_THREADS, SEEDS
from sar_cls.errors import InputError


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        device: "cpu", "cuda", "cuda:1" ...
        data_root: folder of the data sets; None for the default.
        download: whether a missing data set may be downloaded.
        epochs: epochs of a first stage instead of the recipe's; the run is marked.
        iterations: the same for a recipe that counts iterations.
        stage2_epochs: the same for a second stage.
        stage2_iterations: the same for a second stage whose recipe counts iterations.
        full_epochs: whether an epoch of a second stage is all that its sampler gives, not the published number of batches.
        precision: "fp32" or "bf16"; None for the config's, or the default.
        val_fraction: share of the training images held out to choose the best epoch, by the mean accuracy of their classes.
        imbalance: imbalance factor instead of the config's; "none" takes all training images, with the tail they have.
        dataset: image set instead of the config's.
        classes: the first so many classes of CIFAR or CUB-200.
        backbone: ``timm:NAME`` or ``torchvision:NAME`` instead of the config's backbone.
        bn_batch: images that batch norm normalises together instead of the config's (whole batches where it has none).
        hold: how a second stage keeps its backbone, "shifted_bn" or "frozen", instead of the config's.
        weights: file or name of pre-trained weights instead of the config's; "none" starts from random ones.
        image_size: side in pixels that the images of a folder are brought to; None takes them as they are.
        tensorboard: whether to write TensorBoard files beside the record.
        mlflow: address of an MLflow store to write to as well; "" for the folder ``mlruns``; None for none.
        deterministic: whether to ask torch for deterministic algorithms.
        mode: how a training step is run, "eager", "compile" or "cudagraph"; None for the default.
        memory_format: of images and weights, "channels_last" or "contiguous".
        threads: of torch on the CPU; None for torch's own number (the cores, or OMP_NUM_THREADS). Results depend on it a little.
        sync_bn: of several processes that train one run, whether batch norm sees the whole batch, not the part of each.
        local_statistics: of several processes, whether regularizers and losses take their statistics over the part of each.
        features: whether to keep the features of the last epoch (see :mod:`sar_cls.runs.features`). No part of the recipe.
    """

    device: str = "cpu"
    data_root: str | None = None
    download: bool = False
    epochs: int | None = None
    iterations: int | None = None
    stage2_epochs: int | None = None
    stage2_iterations: int | None = None
    full_epochs: bool = False
    precision: str | None = None
    val_fraction: float | None = None
    imbalance: float | str | None = None
    dataset: str | None = None
    classes: int | None = None
    backbone: str | None = None
    bn_batch: int | None = None
    hold: str | None = None
    weights: str | None = None
    image_size: int | None = None
    tensorboard: bool = False
    mlflow: str | None = None
    deterministic: bool = False
    mode: str | None = None
    memory_format: str = "channels_last"
    threads: int | None = None
    sync_bn: bool = False
    local_statistics: bool = False
    features: bool = True


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Has torch compute with so many threads inside the block; None leaves it as it is.

    Raises:
        InputError: there are too many of them, also by ``OMP_NUM_THREADS``.
    """
    before = torch.get_num_threads()
    wanted = before if number is None else number
    if not 1 <= wanted <= MOST_THREADS:
        source = "OMP_NUM_THREADS" if number is None else "--threads"
        raise InputError(f"{wanted} threads are not possible: set {source} to a number from 1 to {MOST_THREADS}")
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_of_each(runs: int) -> int:
    """The threads of each of several runs at a time: its share of the cores; torch's own number for a single one."""
    if runs == 1:
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // runs)


def check_seed(seed: int) -> None:
    """Raises InputError where NumPy's generators do not take a seed."""
    if not 0 <= seed < SEEDS:
        raise InputError(f"the seed {seed} is too large or negative: use one from 0 to {SEEDS - 1}")


def visible_devices(name: str | None) -> list[str]:
    """The devices to run on: the one that is named, else every CUDA device that is visible, else the CPU; where several processes
    train one run, this one's.

    Raises:
        InputError: there is no such device here.
    """
    every = name is None and torch.cuda.is_available() and ranks.processes() == 1
    count = torch.cuda.device_count() if every else 1
    return [f"cuda:{index}" for index in range(count)] if count > 1 else [usable_device(name)]


def usable_device(name: str | None) -> str:
    """The name of a torch device that is there: ``name``, or without one CUDA where there is any, else the CPU. Of several
    processes that train one run each has a CUDA device of its own.

    Raises:
        InputError: there is no such device here, or not one for each process.
    """
    is_cuda = torch.cuda.is_available() if name is None else name.partition(":")[0] == "cuda"
    if ranks.processes() > 1 and is_cuda and torch.cuda.is_available():
        return _own_device(name)
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    device = _device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"--device {name}: this torch sees no CUDA device; use --device cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise InputError(
                f"--device {name}: there are only {torch.cuda.device_count()} CUDA devices, counted from 0"
            )
    elif device.index not in (None, 0):
        raise InputError(f"--device {name}: the CPU is one device; use --device cpu")
    else:
        return "cpu"  # torch's checkpoints do not know cpu:0
    return str(device)


def named_device(name: str | None) -> str:
    """``name``, which another machine is to have; "cpu" stands for whatever that will be where none is named.

    Raises:
        InputError: it is no name of a device that any machine could have.
    """
    return "cpu" if name is None else str(_device(name))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}: use cpu, cuda, or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: only cpu and cuda are supported")
    return device


def _own_device(name: str | None) -> str:
    """The CUDA device of this process, one of several."""
    count, own = torch.cuda.device_count(), f"cuda:{ranks.local_rank()}"
    if ranks.local_processes() > count:
        raise InputError(
            f"{ranks.local_processes()} processes and {count} CUDA device{'s' if count > 1 else ''}: each process needs one of its "
            f"own, give torchrun --nproc-per-node {count}, or --device cpu"
        )
    if name not in (None, "cuda", own):
        raise InputError(f"--device {name}: of several processes each has a CUDA device of its own, use --device cuda")
    return own
