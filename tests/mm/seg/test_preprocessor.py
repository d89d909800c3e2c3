"""Crops in which no class fills the window, through the preprocessor that a config names."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from sar_cls.mm.seg.preprocessor import MaskBatchPreprocessor


def shares(cat_max_ratio: float) -> torch.Tensor:
    """The largest share of a class in each of 40 crops; a tenth of every image is of another class than the rest."""
    how = MaskBatchPreprocessor(
        [0.0] * 3, [1.0] * 3, (8, 8), (1.0, 1.0), photometric=False, cat_max_ratio=cat_max_ratio
    )
    masks = torch.zeros(40, 16, 40, dtype=torch.uint8)
    masks[:, :, 18:22] = 1
    draws = how.draw(40, 8, (16, 40), torch.Generator().manual_seed(0)).per_sample
    batch = {"inputs": torch.zeros(40, 16, 40, 3, dtype=torch.uint8), "targets": masks, "draws": draws}
    labels = how(batch, True)["data_samples"]
    ones = (labels == 1).float().mean(dim=(1, 2, 3))
    return torch.maximum(ones, 1 - ones)


def test_no_class_fills_a_crop_where_the_config_says_so() -> None:
    assert (shares(1.0) > 0.75).float().mean() > 0.5
    assert (shares(0.75) < 0.75).float().mean() > 0.8  # a tenth of the images finds no such window in ten
