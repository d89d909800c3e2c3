"""From a uint8 batch on the device to what the network eats: crop, flip, normalise, mixup, the whole batch at once."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from sar_cls.data.augment import Augmentation, Draws, center_crop, crop_and_flip, mixup, normalize, of_view


@MODELS.register_module()
class BatchPreprocessor(nn.Module):
    """Augments and normalises uint8 batches [N, H, W, 3] to float32 [N, 3, h, w].

    It holds no random numbers: the loader draws them for a whole epoch with :meth:`draw` and hands each batch its share, so that a
    step is a pure function of its batch.

    Args:
        mean: of the three channels, on the scale 0-255.
        std: of the three channels, on the scale 0-255.
        padding: pixels of zeros on each side before the random crop.
        crop_size: side of the crop; None keeps the image's own size.
        flip: probability of a horizontal flip.
        mixup_alpha: parameter of mixup's Beta distribution; None for no mixup.
        num_classes: C, needed for mixup's soft labels.
        views: crops and flips of each image while training. With 2 a batch of N images is one of 2 N samples, first all of the
            first view, then all of the second, as a contrastive loss wants it (:class:`sar_cls.SupCon`), at twice the cost.
        memory_format: of the output, "channels_last" or "contiguous"; the network's weights should have the same.
        batch_augments: must be None; mmpretrain's classifiers pass it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: list[float],
        std: list[float],
        padding: int = 0,
        crop_size: int | None = None,
        flip: float = 0.0,
        mixup_alpha: float | None = None,
        num_classes: int | None = None,
        views: int = 1,
        memory_format: str = "channels_last",
        batch_augments: None = None,
    ) -> None:
        super().__init__()
        if batch_augments is not None:  # mmpretrain's classifier hands its train_cfg down under this name
            raise ValueError("train_cfg with batch augments needs mmpretrain's own pipeline: here use mixup_alpha")
        if mixup_alpha is not None and num_classes is None:
            raise ValueError("mixup makes soft labels: give num_classes along with mixup_alpha")
        self.augmentation = Augmentation(
            padding=padding, crop_size=crop_size, flip=flip, mixup_alpha=mixup_alpha, views=views
        )
        self.num_classes = num_classes
        self.memory_format = memory_format
        # Not part of a checkpoint: mmpretrain's own preprocessor keeps none there either.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def draw(self, num_samples: int, batch_size: int, image_size: tuple[int, int], generator: torch.Generator) -> Draws:
        """The random numbers of one epoch; see :meth:`sar_cls.data.augment.Augmentation.draw`."""
        return self.augmentation.draw(num_samples, batch_size, image_size, generator)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Tensor]:
        """Turns a batch of the loader into the arguments of an mmpretrain classifier.

        Args:
            data: ``inputs`` uint8 [N, H, W, 3], ``targets`` int64 [N] and, for training, ``draws``. Where one of several processes
                has its part of a batch, "partner" has fewer entries than there are images: those behind are partners alone.
            training: whether to augment.

        Returns:
            ``inputs`` float32 [N, 3, h, w] and ``data_samples``: labels [N], or soft labels [N, C] under mixup; with several
            views N is so many times larger.
        """
        images, targets = data["inputs"], data["targets"]
        augmentation = self.augmentation
        if not training:
            if augmentation.crop_size is not None:
                images = center_crop(images, augmentation.crop_size)
            return {"inputs": self._normalized(images), "data_samples": targets}
        views = [self._view(images, targets, data["draws"], view) for view in range(augmentation.views)]
        if len(views) == 1:
            ((inputs, targets),) = views
        else:
            inputs, targets = (torch.cat(parts) for parts in zip(*views, strict=True))
        return {"inputs": inputs, "data_samples": targets}

    def _normalized(self, images: Tensor) -> Tensor:
        inputs = normalize(images, self.mean, self.std)  # channels_last as it comes
        return inputs.contiguous() if self.memory_format == "contiguous" else inputs

    def _view(self, images: Tensor, targets: Tensor, draws: dict[str, Tensor], view: int) -> tuple[Tensor, Tensor]:
        augmentation = self.augmentation
        offset, flip = draws[of_view("crop_offset", view)], draws[of_view("flip", view)]
        inputs = self._normalized(crop_and_flip(images, offset, flip, augmentation.padding, augmentation.crop_size))
        if augmentation.mixup_alpha is None:
            return inputs, targets
        assert self.num_classes is not None
        return mixup(inputs, targets, draws["partner"], draws["lam"], self.num_classes)
