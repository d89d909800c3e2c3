"""Training as others do it, on the same images with the same network: (d) published long-tail codes, (e) mmpretrain itself."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR100
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sar_cls.data import ImageSet
from sar_cls.mm.loaders import DataSplits
from sar_cls.speed.rounds import Contender, repeat
from sar_cls.speed.setting import MIXUP_ALPHA, Setting, row_config
from sar_cls.steps.precision import autocast
from sar_cls.torchvision_shim import import_torchvision

# Batches that each worker process keeps ready (torch's default).
PREFETCHED = 2


def pil_dataset(image_set: ImageSet, mean: list[float], std: list[float]) -> Dataset:
    """torchvision's CIFAR-100 class over the given images, with the transforms of the published codes.

    Args:
        image_set: the images.
        mean: on the scale 0-255.
        std: likewise.
    """
    torchvision = import_torchvision()
    transforms = torchvision.transforms
    size = image_set.images.shape[1]
    transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([value / 255 for value in mean], [value / 255 for value in std]),
        ]
    )
    # Its constructor would want the official files; all that it reads an image with is kept.
    dataset = torchvision.datasets.CIFAR100.__new__(torchvision.datasets.CIFAR100)
    torchvision.datasets.VisionDataset.__init__(dataset, root="", transform=transform)
    dataset.data, dataset.targets = image_set.images.cpu().numpy(), image_set.labels.tolist()
    return dataset


def pil_loader(setting: Setting, splits: DataSplits, config: Any) -> DataLoader:
    """A DataLoader with worker processes over :func:`pil_dataset`."""
    dataset = pil_dataset(splits.train, config.data_preprocessor.mean, config.data_preprocessor.std)
    return DataLoader(
        dataset,
        setting.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
        pin_memory=setting.device.type == "cuda",
    )


def endless(loader: Any) -> Iterator[Any]:
    """Batches of one epoch after the other."""
    while True:
        yield from loader


def settling_steps(setting: Setting) -> int:
    """Steps after which the batches that workers prepared while others were timed are used up."""
    return PREFETCHED * setting.workers + 1


def stock_step(setting: Setting, splits: DataSplits, *, as_published: bool = False) -> Contender:
    """(d) torchvision's data set, PIL transforms, DataLoader workers; eager, contiguous; loss and accuracy read at every step.

    Args:
        setting: what to measure.
        splits: the images.
        as_published: in float32 whatever the setting says, as the published long-tail codes train.
    """
    if as_published:
        setting = replace(setting, precision="fp32")
    config = row_config(replace(setting, optimizer="default"), len(splits.train.classes), mixup=False)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model.to_dict(), data_preprocessor=config.data_preprocessor.to_dict()))
    model.to(setting.device).train()
    options = {key: value for key, value in config.optim_wrapper.optimizer.items() if key not in ("type", "_scope_")}
    optimizer = torch.optim.SGD(model.parameters(), **options)
    criterion = nn.CrossEntropyLoss()
    batches = endless(pil_loader(setting, splits, config))
    sums = {"loss": 0.0, "top1": 0.0, "top5": 0.0}

    def step() -> None:
        images, targets = next(batches)
        images = images.to(setting.device, non_blocking=True)
        targets = targets.to(setting.device, non_blocking=True)
        lam = np.random.beta(MIXUP_ALPHA, MIXUP_ALPHA)  # noqa: NPY002
        partner = torch.randperm(len(images)).to(setting.device)
        mixed = lam * images + (1 - lam) * images[partner]
        with autocast(setting.device, setting.precision):
            logits = model(mixed)
            loss = lam * criterion(logits, targets) + (1 - lam) * criterion(logits, targets[partner])
        top1, top5 = _accuracies(logits, targets)
        for name, value in (("loss", loss), ("top1", top1), ("top5", top5)):
            sums[name] += value.item() * len(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Contender(
        "stock_fp32" if as_published else "stock",
        f"(d) torchvision, PIL, DataLoader with {setting.workers} workers, .item() a step"
        + (", fp32 as published" if as_published else ""),
        setting.steps * setting.batch_size,
        run=lambda: repeat(step, setting.steps),
        settle=lambda: repeat(step, settling_steps(setting)),
        close=batches.close,  # type: ignore[attr-defined]
        mode=lambda: "eager",
    )


def _accuracies(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    found = logits.detach().topk(5, dim=1).indices == targets[:, None]
    return found[:, :1].any(dim=1).float().mean(), found.any(dim=1).float().mean()


@DATASETS.register_module()
class GivenCIFAR100(CIFAR100):
    """mmpretrain's CIFAR-100 data set over images that are at hand, instead of files with the official checksums."""

    def __init__(self, images: np.ndarray, labels: list[int], classes: tuple[str, ...], **kwargs: Any) -> None:
        self.given = images, labels
        super().__init__(data_root="given", split="train", metainfo=dict(classes=classes), **kwargs)
        del self.given

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{"img": image, "gt_label": int(label)} for image, label in zip(*self.given, strict=True)]


class _PlainRunner(Runner):
    """mmengine's Runner on a named device, silent about the compilers of the machine."""

    def __init__(self, device: torch.device, **kwargs: Any) -> None:
        self.device = device
        super().__init__(**kwargs)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        return model.to(self.device)

    def _log_env(self, env_cfg: dict) -> None:
        pass


def mmpretrain_step(setting: Setting, splits: DataSplits) -> Contender:
    """(e) mmpretrain's data set, transforms, preprocessor, mixup, head and default hooks in mmengine's own loop."""
    folder = tempfile.TemporaryDirectory(prefix="sar_cls-speed-")
    runner = _mmpretrain_runner(setting, splits, folder.name)
    loop = runner.train_loop
    runner.call_hook("before_train_epoch")
    runner.model.train()
    batches = endless(runner.train_dataloader)

    def step() -> None:
        loop.run_iter(loop.iter % len(loop.dataloader), next(batches))

    def close() -> None:
        batches.close()  # type: ignore[attr-defined]
        folder.cleanup()

    return Contender(
        "mmpretrain",
        f"(e) mmpretrain's own pipeline, {setting.workers} workers",
        setting.steps * setting.batch_size,
        run=lambda: repeat(step, setting.steps),
        settle=lambda: repeat(step, settling_steps(setting)),
        close=close,
        mode=lambda: "eager",
    )


def _mmpretrain_runner(setting: Setting, splits: DataSplits, folder: str) -> Runner:
    num_classes = len(splits.train.classes)
    config = row_config(replace(setting, optimizer="default"), num_classes)
    model = config.model.to_dict()
    model["head"] = {key: value for key, value in model["head"].items() if key not in ("regularizer", "classifier")}
    model["head"]["type"] = "LinearClsHead"
    model["train_cfg"] = dict(augments=dict(type="Mixup", alpha=MIXUP_ALPHA))
    model["data_preprocessor"] = dict(
        type="ClsDataPreprocessor",
        num_classes=num_classes,
        mean=list(config.data_preprocessor.mean),
        std=list(config.data_preprocessor.std),
        to_rgb=False,
        to_onehot=True,
    )
    images, size = splits.train.images.cpu().numpy(), splits.train.images.shape[1]
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        dataset = DATASETS.build(
            dict(
                type="GivenCIFAR100",
                images=images,
                labels=splits.train.labels.tolist(),
                classes=splits.train.classes,
                pipeline=[
                    dict(type="RandomCrop", crop_size=size, padding=4),
                    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
                    dict(type="PackInputs"),
                ],
            )
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        runner = _PlainRunner(
            setting.device,
            model=model,
            work_dir=folder,
            train_dataloader=dict(
                batch_size=setting.batch_size,
                num_workers=setting.workers,
                persistent_workers=setting.workers > 0,
                drop_last=True,
                dataset=dataset,
                sampler=dict(type="DefaultSampler", shuffle=True),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=200),
            optim_wrapper=config.optim_wrapper.to_dict(),
            param_scheduler=config.get("param_scheduler"),
            # mmpretrain's own hooks; a checkpoint would come once an epoch.
            default_hooks=dict(
                timer=dict(type="IterTimerHook"),
                logger=dict(type="LoggerHook", interval=100),
                param_scheduler=dict(type="ParamSchedulerHook"),
                checkpoint=None,
                sampler_seed=dict(type="DistSamplerSeedHook"),
                visualization=dict(type="VisualizationHook", enable=False),
            ),
            default_scope="mmpretrain",
            visualizer=dict(type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")]),
            experiment_name=f"speed-{uuid.uuid4().hex}",
            log_level="ERROR",
        )
        prepare(runner)
    return runner


def prepare(runner: Runner) -> None:
    """Does all of ``train()`` but the epochs: initial weights, optimizer, schedulers."""
    runner.train_loop.stop_training = True
    runner.train()
    runner.train_loop.stop_training = False
