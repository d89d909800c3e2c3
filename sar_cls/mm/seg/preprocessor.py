"""From a uint8 batch with masks on the device to what a segmentation net eats, the whole batch at once."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from sar_cls.data.augment import Draws, normalize
from sar_cls.data.mask_augment import MaskAugmentation, choose_place, photometric_distortion, scale_crop_flip


@MODELS.register_module()
class MaskBatchPreprocessor(nn.Module):
    """Augments and normalises uint8 batches [N, H, W, 3] and their masks.

    It holds no random numbers: the loader draws them with :meth:`draw` and hands each batch its share.

    Args:
        mean: of the three channels, on the scale 0-255.
        std: of the three channels, on the scale 0-255.
        crop_size: (height, width) of the training crops.
        scale: range of the factor by which images are resized before the crop.
        flip: probability of a horizontal flip.
        photometric: whether brightness, contrast, saturation and hue are changed.
        cat_max_ratio: share of a crop that no class may reach, see :class:`sar_cls.data.mask_augment.MaskAugmentation`.
        memory_format: of the output, "channels_last" or "contiguous"; the network's weights should have the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: list[float],
        std: list[float],
        crop_size: tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        flip: float = 0.5,
        photometric: bool = True,
        cat_max_ratio: float = 1.0,
        memory_format: str = "channels_last",
    ) -> None:
        super().__init__()
        self.augmentation = MaskAugmentation(
            crop_size=tuple(crop_size),  # type: ignore[arg-type]  # a config has lists
            scale=tuple(scale),  # type: ignore[arg-type]
            flip=flip,
            photometric=photometric,
            cat_max_ratio=cat_max_ratio,
        )
        self.memory_format = memory_format
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def draw(self, num_samples: int, batch_size: int, image_size: tuple[int, int], generator: torch.Generator) -> Draws:
        """The random numbers of one epoch; see :meth:`sar_cls.data.mask_augment.MaskAugmentation.draw`."""
        return self.augmentation.draw(num_samples, batch_size, image_size, generator)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Turns a batch of the loader into the arguments of an mmseg segmentor.

        Args:
            data: ``inputs`` uint8 [N, H, W, 3], ``targets`` uint8 [N, H, W] and, for training, ``draws``.
            training: whether to augment.

        Returns:
            ``inputs`` float32 [N, 3, h, w], 0 where a crop has no image, and ``data_samples``: for training the masks, int64
            [N, 1, h, w] with 255 where a pixel has no class; else None, whole images are shown.
        """
        images, masks = data["inputs"], data["targets"]
        if not training:
            inputs = normalize(images, self.mean, self.std)  # channels_last as it comes
            return {"inputs": self._laid_out(inputs), "data_samples": None}
        draws, how = data["draws"], self.augmentation
        place = draws["place"]
        if how.cat_max_ratio < 1:
            place = choose_place(masks, draws["scale"], place, draws["other_places"], how.crop_size, how.cat_max_ratio)
        pixels, masks, inside = scale_crop_flip(images, masks, draws["scale"], place, draws["flip"], how.crop_size)
        if how.photometric:
            pixels = photometric_distortion(pixels, draws["photometric"])
        inputs = (pixels - self.mean.view(1, 3, 1, 1)) / self.std.view(1, 3, 1, 1) * inside[:, None]
        return {"inputs": self._laid_out(inputs), "data_samples": masks[:, None]}

    def _laid_out(self, inputs: Tensor) -> Tensor:
        wanted = torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format
        return inputs.contiguous(memory_format=wanted)
