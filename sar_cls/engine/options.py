"""What the command line may say about a run, beside its row and seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sar_cls.errors import InputError


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        device: "cpu", "cuda", "cuda:1" ...
        data_root: folder of the data sets; None for the default.
        download: whether a missing data set may be downloaded.
        epochs: epochs of a first stage instead of the recipe's; the run is marked.
        stage2_epochs: the same for a second stage.
        full_epochs: whether an epoch of a second stage is all that its sampler gives, not the published number of batches.
        precision: "fp32" or "bf16"; None for the config's, or the default.
        val_fraction: share of the training images held out to choose the best epoch.
        imbalance: imbalance factor instead of the config's; "none" takes all training images, with the tail they have.
        dataset: image set instead of the config's.
        classes: the first so many classes of CUB-200.
        backbone: ``timm:NAME`` or ``torchvision:NAME`` instead of the config's backbone.
        bn_batch: images that batch norm normalises together instead of the config's (whole batches where it has none).
        hold: how a second stage keeps its backbone, "shifted_bn" or "frozen", instead of the config's.
        weights: file or name of pre-trained weights instead of the config's; "none" starts from random ones.
        tensorboard: whether to write TensorBoard files beside the record.
        deterministic: whether to ask torch for deterministic algorithms.
        mode: how a training step is run, "eager", "compile" or "cudagraph"; None for the default.
        memory_format: of images and weights, "channels_last" or "contiguous".
    """

    device: str = "cpu"
    data_root: str | None = None
    download: bool = False
    epochs: int | None = None
    stage2_epochs: int | None = None
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
    tensorboard: bool = False
    deterministic: bool = False
    mode: str | None = None
    memory_format: str = "channels_last"


def usable_device(name: str | None) -> str:
    """The name of a torch device that is there: ``name``, or without one CUDA where there is any, else the CPU.

    Raises:
        InputError: there is no such device here.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}: use cpu, cuda, or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"--device {name}: this torch sees no CUDA device; use --device cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise InputError(
                f"--device {name}: there are only {torch.cuda.device_count()} CUDA devices, counted from 0"
            )
    elif device.type != "cpu":
        raise InputError(f"--device {name}: only cpu and cuda are supported")
    return str(device)
