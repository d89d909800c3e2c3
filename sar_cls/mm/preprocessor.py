"""From a uint8 batch on the device to what the network eats: crop, flip, normalise, mixup, the whole batch at once."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from sar_cls.data.augment import Augmentation, Draws, center_crop, crop_and_flip, mixup, normalize


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
        memory_format: str = "channels_last",
        batch_augments: None = None,
    ) -> None:
        super().__init__()
        if batch_augments is not None:  # mmpretrain's classifier hands its train_cfg down under this name
            raise ValueError("train_cfg with batch augments needs mmpretrain's own pipeline: here use mixup_alpha")
        if mixup_alpha is not None and num_classes is None:
            raise ValueError("mixup makes soft labels: give num_classes along with mixup_alpha")
        self.augmentation = Augmentation(padding=padding, crop_size=crop_size, flip=flip, mixup_alpha=mixup_alpha)
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
            data: ``inputs`` uint8 [N, H, W, 3], ``targets`` int64 [N] and, for training, ``draws``.
            training: whether to augment.

        Returns:
            ``inputs`` float32 [N, 3, h, w] and ``data_samples``: labels [N], or soft labels [N, C] under mixup.
        """
        images, targets = data["inputs"], data["targets"]
        augmentation = self.augmentation
        if training:
            draws = data["draws"]
            images = crop_and_flip(
                images, draws["crop_offset"], draws["flip"], augmentation.padding, augmentation.crop_size
            )
        elif augmentation.crop_size is not None:
            images = center_crop(images, augmentation.crop_size)
        inputs = normalize(images, self.mean, self.std)  # channels_last as it comes
        if self.memory_format == "contiguous":
            inputs = inputs.contiguous()
        if training and augmentation.mixup_alpha is not None:
            assert self.num_classes is not None
            inputs, targets = mixup(inputs, targets, draws["partner"], draws["lam"], self.num_classes)
        return {"inputs": inputs, "data_samples": targets}
