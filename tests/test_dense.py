"""Feature maps flattened to vectors, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sar_cls.dense import flatten_maps, flatten_targets, resize_labels

SIZES = [((4, 6), (4, 6)), ((8, 12), (4, 6)), ((3, 5), (6, 10)), ((7, 9), (4, 5)), ((5, 4), (8, 3)), ((1, 1), (2, 3))]


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[N, ..., h, w] -> [N, ..., H, W] pixel by pixel."""
    (height, width), (old_height, old_width) = size, labels.shape[-2:]
    out = np.zeros((*labels.shape[:-2], height, width), dtype=labels.dtype)
    for r in range(height):
        for c in range(width):
            out[..., r, c] = labels[..., r * old_height // height, c * old_width // width]
    return out


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_labels_at_another_resolution(old: tuple[int, int], new: tuple[int, int], device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 200, (2, *old), generator=generator)
    labels[0, 0, 0] = 255
    resized = resize_labels(labels.to(device), new)
    assert resized.dtype == torch.int64
    assert np.array_equal(resized.cpu().numpy(), nearest(labels.numpy(), new))
    soft = torch.rand(2, 3, *old, dtype=torch.float64, generator=generator)
    assert np.array_equal(resize_labels(soft.to(device), new).cpu().numpy(), nearest(soft.numpy(), new))


def test_the_choice_of_pixels_is_that_of_interpolate() -> None:
    """Sizes at which other rules (nearest-exact, rounding) take other pixels; large and negative labels come through."""
    labels = torch.tensor([[[2**24 - 1, -100, 3, 4, 5, 6, 7]]]).expand(1, 7, 7).contiguous()
    expected = F.interpolate(labels.unsqueeze(1).double(), size=(4, 3), mode="nearest").squeeze(1).long()
    assert torch.equal(resize_labels(labels, (4, 3)), expected)
    exact = F.interpolate(labels.unsqueeze(1).double(), size=(4, 3), mode="nearest-exact").squeeze(1).long()
    assert not torch.equal(expected, exact)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_maps_as_rows(memory_format: torch.memory_format) -> None:
    maps = torch.randn(2, 3, 4, 5).to(memory_format=memory_format)
    rows = flatten_maps(maps)
    assert rows.is_contiguous()
    i = 0
    for n in range(2):
        for r in range(4):
            for c in range(5):
                assert torch.equal(rows[i], maps[n, :, r, c])
                i += 1


@pytest.mark.parametrize("ignore_index", [255, -1])
@pytest.mark.parametrize("weighting", [None, "images", "pixels"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_targets_of_the_pixels(ignore_index: int, weighting: str | None, soft: bool) -> None:
    old, new, num_classes = (7, 9), (4, 5), 3
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(num_classes, (2, *old), generator=generator)
    labels[torch.rand(2, *old, generator=generator) < 0.3] = ignore_index
    given = {
        None: None,
        "images": torch.tensor([0.5, 2.0]),
        "pixels": torch.rand(2, *old, generator=generator, dtype=torch.float64),
    }[weighting]
    targets = labels
    if soft:
        counts = (labels != ignore_index).unsqueeze(1)
        targets = torch.rand(2, num_classes, *old, generator=generator) * counts
    flat, weights = flatten_targets(targets, new, ignore_index, given)
    small, small_targets = nearest(labels.numpy(), new), nearest(targets.numpy(), new)
    i = ignored = 0
    for n in range(2):
        for r in range(new[0]):
            for c in range(new[1]):
                counts_here = small[n, r, c] != ignore_index
                ignored += not counts_here
                expected = float(counts_here)
                if given is not None:
                    expected *= float(given[n] if weighting == "images" else nearest(given.numpy(), new)[n, r, c])
                assert weights[i].item() == pytest.approx(expected)
                if soft:
                    assert flat[i].tolist() == small_targets[n, :, r, c].tolist()
                else:
                    assert flat[i].item() == (small[n, r, c] if counts_here else 0)
                i += 1
    assert len(flat) == len(weights) == i
    assert 0 < ignored < i
