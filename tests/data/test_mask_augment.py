"""Batched augmentation of images with masks against a slow program that goes pixel by pixel."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.data import VOID, MaskAugmentation, choose_place, photometric_distortion, scale_crop_flip


def slow_window(image: np.ndarray, mask: np.ndarray, scale: float, place: tuple, flip: bool, crop: tuple) -> tuple:
    """One window, from the definition: a resize with half-pixel centres, a crop, a mirror."""
    (height, width), (h, w) = mask.shape, crop
    scaled = [max(1, round(size * scale)) for size in (height, width)]
    first = [math.floor(place[axis] * (max(scaled[axis] - crop[axis], 0) + 1)) for axis in (0, 1)]
    pixels, labels = np.zeros((h, w, 3)), np.full((h, w), VOID)
    inside = np.zeros((h, w), dtype=bool)
    for i in range(h):
        for j in range(w):
            y, x = first[0] + i, first[1] + (w - 1 - j if flip else j)
            if y >= scaled[0] or x >= scaled[1]:
                continue
            inside[i, j] = True
            v, u = (y + 0.5) * height / scaled[0], (x + 0.5) * width / scaled[1]
            labels[i, j] = mask[int(v), int(u)]
            v, u = v - 0.5, u - 0.5
            top, left = math.floor(v), math.floor(u)
            for row, share in ((top, 1 - (v - top)), (top + 1, v - top)):
                for column, part in ((left, 1 - (u - left)), (left + 1, u - left)):
                    there = image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
                    pixels[i, j] += share * part * there.astype(float)
    return pixels, labels, inside


@pytest.mark.parametrize("crop", [(5, 7), (9, 4), (14, 20)])
def test_window_is_that_of_the_slow_program(crop: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(256, (6, 9, 12, 3), generator=generator, dtype=torch.uint8)
    masks = torch.randint(4, (6, 9, 12), generator=generator).to(torch.uint8)
    draws = MaskAugmentation(crop, (0.6, 1.7)).draw(6, 4, (9, 12), generator).per_sample
    draws["flip"] = torch.tensor([True, False] * 3)
    got, labels, inside = scale_crop_flip(images, masks, draws["scale"], draws["place"], draws["flip"], crop)
    for n in range(6):
        expected = slow_window(
            images[n].numpy(), masks[n].numpy(), float(draws["scale"][n]), draws["place"][n].tolist(),
            bool(draws["flip"][n]), crop,
        )  # fmt: skip
        assert np.array_equal(inside[n].numpy(), expected[2])
        assert np.array_equal(labels[n].numpy(), expected[1])
        found = got[n].permute(1, 2, 0).numpy()
        assert np.allclose(found[expected[2]], expected[0][expected[2]], atol=2e-3)
    if crop == (14, 20):  # larger than the smallest scaled image: the rest is void
        assert not inside.all()
        assert (labels[~inside] == VOID).all()


def test_without_change_the_window_is_the_image() -> None:
    images = torch.randint(256, (2, 6, 8, 3), dtype=torch.uint8)
    masks = torch.randint(3, (2, 6, 8)).to(torch.uint8)
    one, zero = torch.ones(2), torch.zeros(2, 2)
    got, labels, inside = scale_crop_flip(images, masks, one, zero, torch.tensor([False, True]), (6, 8))
    assert inside.all()
    assert torch.allclose(got[0].permute(1, 2, 0), images[0].float(), atol=1e-3)
    assert torch.allclose(got[1].permute(1, 2, 0).flip(1), images[1].float(), atol=1e-3)
    assert torch.equal(labels[1].flip(1), masks[1].long())


def slow_place(mask: np.ndarray, scale: float, places: np.ndarray, crop: tuple, ratio: float) -> list[float]:
    """mmseg's loop: look at a window, keep it or draw the next; after ten the last one is kept unseen."""
    nothing = np.zeros((*mask.shape, 3), dtype=np.uint8)
    for place in places[:-1]:
        labels = slow_window(nothing, mask, scale, tuple(place.tolist()), False, crop)[1]
        counts = [int((labels == label).sum()) for label in set(labels.ravel().tolist()) - {VOID}]
        if len(counts) > 1 and max(counts) / sum(counts) < ratio:
            return place.tolist()
    return places[-1].tolist()


def test_an_image_smaller_than_its_window_lies_upper_left_and_after_a_flip_upper_right() -> None:
    images, masks = torch.zeros(2, 4, 6, 3, dtype=torch.uint8), torch.zeros(2, 4, 6, dtype=torch.uint8)
    one, flip = torch.ones(2), torch.tensor([False, True])
    _, labels, inside = scale_crop_flip(images, masks, one, torch.rand(2, 2), flip, (7, 8))
    expected = torch.zeros(2, 7, 8, dtype=torch.bool)
    expected[0, :4, :6] = expected[1, :4, 2:] = True
    assert torch.equal(inside, expected)
    assert torch.equal(labels == VOID, ~expected)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), ratio=st.sampled_from([0.3, 0.5, 0.75, 0.9]), crop=st.sampled_from([(4, 5), (9, 14)])
)
def test_the_window_is_the_first_without_a_class_that_fills_it(seed: int, ratio: float, crop: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    how = MaskAugmentation(crop, (0.5, 1.5), cat_max_ratio=ratio)
    draws = how.draw(4, 2, (9, 12), generator).per_sample
    # Stripes of a class, of void, and a few single pixels: some windows hold one class, some two, some nothing.
    masks = torch.tensor([0, 0, 0, 1, VOID, VOID])[torch.arange(12) * 6 // 12].to(torch.uint8).repeat(4, 9, 1)
    masks[1:3][torch.rand(2, 9, 12, generator=generator) < 0.2] = 2
    masks[3] = torch.randint(3, (9, 12), generator=generator).to(torch.uint8)
    got = choose_place(masks, draws["scale"], draws["place"], draws["other_places"], crop, ratio)
    for n in range(4):
        places = torch.cat([draws["place"][n : n + 1], draws["other_places"][n]]).numpy()
        assert len(places) == 11
        assert got[n].tolist() == slow_place(masks[n].numpy(), float(draws["scale"][n]), places, crop, ratio)


def test_windows_are_tried_in_turn_and_the_last_is_taken_unseen() -> None:
    mask = torch.zeros(1, 1, 12, dtype=torch.uint8)
    mask[0, 0, 8] = 1  # of the windows of two pixels only those at columns 7 and 8 hold two classes
    one = torch.ones(1)

    def at(*columns: int) -> torch.Tensor:
        return torch.tensor([[0.0, (column + 0.5) / 11] for column in columns])

    for first, others, expected in (
        (7, [0, 8, 8], 7),
        (0, [3, 8, 7], 8),
        (0, [1, 2, 3], 3),
        (0, [1, 2, 7], 7),
    ):
        got = choose_place(mask, one, at(first), at(*others)[None], (1, 2), 0.75)
        assert torch.equal(got, at(expected))


def test_all_else_is_drawn_as_without_the_limit() -> None:
    one, other = (
        MaskAugmentation((4, 4), cat_max_ratio=ratio).draw(5, 2, (9, 12), torch.Generator().manual_seed(1)).per_sample
        for ratio in (1.0, 0.75)
    )
    assert set(other) - set(one) == {"other_places"}
    assert other["other_places"].shape == (5, 10, 2)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_choosing_touches_no_host() -> None:
    with torch.device("meta"):
        masks = torch.empty(2, 9, 12, dtype=torch.uint8)
        found = choose_place(masks, torch.empty(2), torch.empty(2, 2), torch.empty(2, 10, 2), (4, 5), 0.75)
    assert found.device.type == "meta"  # a value that is read, or a shape that depends on one, would have failed
    assert found.shape == (2, 2)


def slow_pixel(rgb: list[float], values: list[float]) -> list[float]:
    """mmseg's order of changes for one pixel, with the HSV of the standard library."""
    brightness, contrast, saturation, hue, contrast_first = values

    def cut(pixel: list[float]) -> list[float]:
        return [min(max(value, 0.0), 255.0) for value in pixel]

    pixel = cut([value + brightness for value in rgb])
    if contrast_first:
        pixel = cut([value * contrast for value in pixel])
    h, s, v = colorsys.rgb_to_hsv(*[value / 255 for value in pixel])
    pixel = [255 * value for value in colorsys.hsv_to_rgb((h + hue) % 1, min(s * saturation, 1), v)]
    return pixel if contrast_first else cut([value * contrast for value in pixel])


def test_photometric_distortion_is_that_of_the_slow_program() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (8, 3, 4, 5), generator=generator).double()
    images[0, :, 0, 0] = 77.0  # grey has no hue
    images[0, :, 0, 1] = 0.0
    values = MaskAugmentation((4, 5)).draw(8, 8, (4, 5), generator).per_sample["photometric"].double()
    assert set(values[:, 4].tolist()) == {0.0, 1.0}
    got = photometric_distortion(images, values)
    for n in range(8):
        for i in range(4):
            for j in range(5):
                assert got[n, :, i, j].tolist() == pytest.approx(
                    slow_pixel(images[n, :, i, j].tolist(), values[n].tolist()), abs=1e-6
                )


def test_draws_have_the_published_ranges_and_frequencies() -> None:
    draws = MaskAugmentation((4, 4), (0.5, 2.0)).draw(4000, 8, (8, 8), torch.Generator().manual_seed(0)).per_sample
    photometric = draws["photometric"]
    assert 0.5 <= float(draws["scale"].min()) < 0.51
    assert 1.99 < float(draws["scale"].max()) <= 2.0
    assert float(photometric[:, 0].abs().max()) <= 32
    assert float(photometric[:, 3].abs().max()) <= 0.1
    for column, off in enumerate([0.0, 1.0, 1.0, 0.0]):
        assert float((photometric[:, column] == off).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(draws["flip"].float().mean()) == pytest.approx(0.5, abs=0.05)


def test_draws_of_a_sample_do_not_depend_on_the_batch() -> None:
    first, second = (
        MaskAugmentation((4, 4)).draw(9, size, (8, 8), torch.Generator().manual_seed(0)).per_sample for size in (2, 5)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": (0, 4)}, "crop_size"),
        ({"crop_size": (4, 4), "scale": (2.0, 0.5)}, "scale must be two factors"),
        ({"crop_size": (4, 4), "flip": 2.0}, "probability"),
        ({"crop_size": (4, 4), "cat_max_ratio": 0.0}, "cat_max_ratio is a share"),
        ({"crop_size": (4, 4), "cat_max_ratio": 1.1}, "cat_max_ratio is a share"),
    ],
)
def test_bad_values_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskAugmentation(**arguments)


def test_a_crop_beyond_the_largest_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="a crop of 17 pixels does not fit an image of 8 pixels scaled by at most 2"):
        MaskAugmentation((4, 17)).draw(1, 1, (8, 8), torch.Generator())
