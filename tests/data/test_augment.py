"""Augmentation: exact against a per-sample reference, and statistics of the draws."""

# ruff: noqa: NPY002 - that numpy's global generator is left alone is what is tested

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sar_cls.data import Augmentation, center_crop, crop_and_flip, mixup, normalize


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference_crop_and_flip(images, offset, flip, padding, crop):
    """One sample at a time: pad, slice, mirror."""
    out = []
    for image, (top, left), mirror in zip(images, offset, flip, strict=True):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        window = padded[top : top + crop[0], left : left + crop[1]]
        out.append(window[:, ::-1] if mirror else window)
    return np.stack(out)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 9),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    padding=st.integers(0, 4),
    smaller=st.none() | st.tuples(st.integers(0, 8), st.integers(0, 8)),
    seed=st.integers(0, 1000),
)
def test_crop_and_flip__equals_pad_then_slice(n, size, padding, smaller, seed):
    crop = (
        None
        if smaller is None
        else tuple(max(1, s + 2 * padding - less) for s, less in zip(size, smaller, strict=True))
    )
    images = torch.randint(1, 256, (n, *size, 3), dtype=torch.uint8, generator=generator(seed))
    augmentation = Augmentation(padding=padding, crop_size=crop)
    draws = augmentation.draw(n, 4, size, generator(seed)).per_sample
    ours = crop_and_flip(images, draws["crop_offset"], draws["flip"], padding, crop)
    expected = reference_crop_and_flip(
        images.numpy(), draws["crop_offset"].numpy(), draws["flip"].numpy(), padding, crop or size
    )
    assert ours.dtype == torch.uint8
    assert np.array_equal(ours.numpy(), expected)


def test_crop_and_flip__devices_agree(device):
    images = torch.randint(256, (33, 12, 10, 3), dtype=torch.uint8, generator=generator())
    draws = Augmentation(crop_size=(9, 10)).draw(33, 8, (12, 10), generator()).per_sample
    ours = crop_and_flip(images.to(device), draws["crop_offset"].to(device), draws["flip"].to(device), 4, (9, 10))
    expected = reference_crop_and_flip(images.numpy(), draws["crop_offset"].numpy(), draws["flip"].numpy(), 4, (9, 10))
    assert ours.device.type == device.type
    assert np.array_equal(ours.cpu().numpy(), expected)


def test_crop_and_flip__centre_offset_is_identity_and_input_stays():
    images = torch.randint(256, (3, 8, 8, 3), dtype=torch.uint8, generator=generator())
    before = images.clone()
    same = crop_and_flip(images, torch.full((3, 2), 4), torch.zeros(3, dtype=torch.bool), 4)
    assert torch.equal(same, images)
    same.zero_()
    assert torch.equal(images, before)


def test_center_crop():
    images = torch.randint(256, (2, 9, 6, 3), dtype=torch.uint8, generator=generator())
    assert torch.equal(center_crop(images, 4), images[:, 2:6, 1:5])
    assert torch.equal(center_crop(images, (9, 6)), images)
    with pytest.raises(ValueError, match="does not fit"):
        center_crop(images, (4, 7))


@pytest.mark.parametrize("as_tensor", [True, False])
@pytest.mark.parametrize("shape", [(4, 32, 32), (1, 5, 7), (3, 1, 1)])
def test_normalize__against_float64(device, shape, as_tensor):
    mean, std = [129.304, 124.070, 112.434], [68.170, 65.392, 70.418]
    images = torch.randint(256, (*shape, 3), dtype=torch.uint8, generator=generator())
    expected = ((images.numpy().astype(np.float64) - mean) / std).transpose(0, 3, 1, 2)
    if as_tensor:
        ours = normalize(images.to(device), torch.tensor(mean, device=device), torch.tensor(std, device=device))
    else:
        ours = normalize(images.to(device), mean, std)
    assert ours.dtype == torch.float32
    assert ours.shape == expected.shape
    assert ours.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(ours.cpu().numpy(), expected, atol=2e-6)


def test_normalize__of_a_cropped_view():
    images = torch.randint(256, (2, 9, 9, 3), dtype=torch.uint8, generator=generator())
    ours = normalize(center_crop(images, 5), [0.0] * 3, [255.0] * 3)
    np.testing.assert_allclose(ours.numpy(), images[:, 2:7, 2:7].numpy().transpose(0, 3, 1, 2) / 255, rtol=1e-6)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("soft", [False, True])
def test_mixup__against_a_loop(device, dtype, soft):
    n, num_classes = 7, 4
    inputs = torch.randn(n, 3, 5, 6, generator=generator(), dtype=dtype).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(num_classes, (n,), generator=generator())
    one_hot = np.eye(num_classes)[labels.numpy()]
    targets = labels
    if soft:
        targets = torch.rand(n, num_classes, generator=generator(), dtype=dtype).softmax(1)
        one_hot = targets.double().numpy()
    draws = Augmentation(mixup_alpha=0.7).draw(n, n, (5, 6), generator(3))
    partner, lam = draws.per_sample["partner"], draws.per_batch["lam"][0]
    mixed, mixed_targets = mixup(inputs.to(device), targets.to(device), partner.to(device), lam.to(device), num_classes)
    weight = float(lam)
    for i in range(n):
        j = int(partner[i])
        expected = weight * inputs[i].double().numpy() + (1 - weight) * inputs[j].double().numpy()
        np.testing.assert_allclose(mixed[i].cpu().numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(
            mixed_targets[i].cpu().numpy(), weight * one_hot[i] + (1 - weight) * one_hot[j], atol=1e-6
        )
    assert mixed.dtype == mixed_targets.dtype == dtype
    assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_mixup__lam_of_one_and_zero():
    inputs = torch.randn(4, 2, generator=generator())
    labels, partner = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 3, 0])
    own, own_targets = mixup(inputs, labels, partner, torch.tensor(1.0), 3)
    other, other_targets = mixup(inputs, labels, partner, torch.tensor(0.0), 3)
    assert torch.equal(own, inputs)
    assert own_targets.argmax(1).tolist() == [0, 1, 2, 0]
    assert torch.equal(other, inputs[partner])
    assert other_targets.argmax(1).tolist() == [1, 2, 0, 0]


def test_mixup__integer_inputs():
    images = torch.zeros(2, 3, 3, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="normalise the images first"):
        mixup(images, torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor(0.5), 2)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 15))
def test_draw__partner_is_a_permutation_inside_each_batch(n, batch_size):
    draws = Augmentation(mixup_alpha=1.0).draw(n, batch_size, (8, 8), generator())
    steps = math.ceil(n / batch_size)
    assert draws.per_batch["lam"].shape == (steps,)
    assert draws.per_sample["partner"].shape == (n,)
    for batch in draws.per_sample["partner"].split(batch_size):
        assert sorted(batch.tolist()) == list(range(len(batch)))


def test_draw__shapes_dtypes_and_range():
    draws = Augmentation(padding=2, crop_size=(6, 7), mixup_alpha=1.0).draw(5000, 128, (8, 5), generator())
    offset = draws.per_sample["crop_offset"]
    assert (offset.dtype, draws.per_sample["flip"].dtype) == (torch.int64, torch.bool)
    assert (draws.per_sample["partner"].dtype, draws.per_batch["lam"].dtype) == (torch.int64, torch.float32)
    assert offset[:, 0].unique().tolist() == list(range(8 + 4 - 6 + 1))
    assert offset[:, 1].unique().tolist() == list(range(5 + 4 - 7 + 1))


def test_draw__statistics():
    from scipy.stats import beta, chisquare, kstest

    n = 40_000
    draws = Augmentation(padding=4, flip=0.3, mixup_alpha=0.5).draw(n, 10, (32, 32), generator(1))
    cells = (draws.per_sample["crop_offset"] * torch.tensor([9, 1])).sum(1)
    assert chisquare(torch.bincount(cells, minlength=81).numpy()).pvalue > 1e-4
    assert abs(draws.per_sample["flip"].float().mean().item() - 0.3) < 4 * math.sqrt(0.21 / n)
    assert kstest(draws.per_batch["lam"].numpy(), beta(0.5, 0.5).cdf).pvalue > 1e-4
    pairs = torch.arange(10).repeat(n // 10) * 10 + draws.per_sample["partner"]
    assert chisquare(torch.bincount(pairs, minlength=100).numpy()).pvalue > 1e-4
    both = torch.stack([draws.per_sample["flip"].float(), *draws.per_sample["crop_offset"].float().T])
    assert (torch.corrcoef(both) - torch.eye(3)).abs().max() < 0.03


@pytest.mark.parametrize(("flip", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_draw__flip_never_and_always(flip, share):
    assert Augmentation(flip=flip).draw(1000, 10, (8, 8), generator()).per_sample["flip"].float().mean() == share


def test_draw__depends_on_the_generator_alone():
    augmentation = Augmentation(mixup_alpha=1.0)
    first, again = (augmentation.draw(50, 16, (8, 8), generator(7)) for _ in range(2))
    other = augmentation.draw(50, 16, (8, 8), generator(8))
    for name in first.per_sample:
        assert torch.equal(first.per_sample[name], again.per_sample[name])
        assert not torch.equal(first.per_sample[name], other.per_sample[name])
    assert torch.equal(first.per_batch["lam"], again.per_batch["lam"])
    assert not torch.equal(first.per_batch["lam"], other.per_batch["lam"])


def test_draw__crops_do_not_depend_on_batch_size_or_mixup():
    base = Augmentation().draw(50, 16, (8, 8), generator()).per_sample
    other = Augmentation(mixup_alpha=0.2).draw(50, 7, (8, 8), generator()).per_sample
    assert torch.equal(base["crop_offset"], other["crop_offset"])
    assert torch.equal(base["flip"], other["flip"])


def test_draw__leaves_global_generators_alone():
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    Augmentation(mixup_alpha=1.0).draw(50, 16, (8, 8), generator())
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": -1}, "padding"),
        ({"crop_size": 0}, "crop_size"),
        ({"flip": 1.5}, "flip"),
        ({"flip": math.nan}, "flip"),
        ({"mixup_alpha": 0.0}, "mixup_alpha"),
        ({"mixup_alpha": math.nan}, "mixup_alpha"),
        ({"mixup_alpha": math.inf}, "mixup_alpha"),
    ],
)
def test_validation(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)


def test_draw__impossible_requests():
    with pytest.raises(ValueError, match="does not fit"):
        Augmentation(padding=1, crop_size=11).draw(4, 2, (8, 8), generator())
    with pytest.raises(ValueError, match="batch_size"):
        Augmentation().draw(4, 0, (8, 8), generator())


@pytest.mark.parametrize("offset", [[-1, 0], [0, -1], [9, 0], [0, 9]])
def test_crop_offset_outside_is_an_error_and_not_another_image_s_pixels(offset: list[int]) -> None:
    images = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
    offsets = torch.tensor([[0, 0], offset, [8, 8]])
    with pytest.raises(IndexError, match="offset"):
        crop_and_flip(images, offsets, torch.zeros(3, dtype=torch.bool), padding=4)
