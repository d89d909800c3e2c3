"""The whole batched pipeline beside a loop over samples and pixels in NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.data import DeviceLoader, ImageSet, InstanceBalanced
from sar_cls.mm.preprocessor import BatchPreprocessor

MEAN, STD = [129.304, 124.070, 112.434], [68.170, 65.392, 70.418]


def image_set(n: int, height: int, width: int, classes: int, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    return ImageSet(
        images=torch.randint(256, (n, height, width, 3), generator=generator, dtype=torch.uint8),
        labels=torch.arange(n) % classes,
        classes=tuple(f"c{index}" for index in range(classes)),
        name="synthetic",
        split="train",
    )


def reference(
    images: np.ndarray,
    labels: np.ndarray,
    offsets: np.ndarray,
    flips: np.ndarray,
    padding: int,
    crop: tuple[int, int],
    partner: np.ndarray | None = None,
    lam: float = 1.0,
    classes: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, flip, normalise and mix, one sample at a time."""
    made = []
    for image, (top, left), flip in zip(images, offsets, flips, strict=True):
        padded = np.pad(image.astype(np.float64), ((padding, padding), (padding, padding), (0, 0)))
        window = padded[top : top + crop[0], left : left + crop[1]]
        if flip:
            window = window[:, ::-1]
        made.append(((window - MEAN) / STD).transpose(2, 0, 1))
    if partner is None:
        return np.stack(made), labels
    one_hot = np.eye(classes)[labels]
    inputs = [lam * made[i] + (1 - lam) * made[j] for i, j in enumerate(partner)]
    soft = [lam * one_hot[i] + (1 - lam) * one_hot[j] for i, j in enumerate(partner)]
    return np.stack(inputs), np.stack(soft)


@pytest.mark.parametrize("mixup_alpha", [None, 1.0, 0.2])
@pytest.mark.parametrize(
    ("size", "padding", "crop_size", "flip"),
    [((32, 32), 4, None, 0.5), ((9, 7), 2, None, 0.5), ((12, 12), 0, 8, 1.0), ((10, 14), 3, 6, 0.0)],
)
def test_training_is_the_per_sample_pipeline(
    size: tuple[int, int],
    padding: int,
    crop_size: int | None,
    flip: float,
    mixup_alpha: float | None,
    device: torch.device,
) -> None:
    classes = 4
    preprocessor = BatchPreprocessor(
        MEAN, STD, padding=padding, crop_size=crop_size, flip=flip, mixup_alpha=mixup_alpha, num_classes=classes
    ).to(device)
    data = image_set(11, *size, classes).to(device)
    loader = DeviceLoader(data, 4, InstanceBalanced(data.labels), draw=preprocessor.draw, seed=5)
    crop = size if crop_size is None else (crop_size, crop_size)
    flips, shifts, weights = [], [], []
    for epoch in range(2):
        loader.set_epoch(epoch)
        for batch in loader:
            draws = {name: value.cpu().numpy() for name, value in batch["draws"].items()}
            got = preprocessor(batch, True)
            inputs, targets = reference(
                batch["inputs"].cpu().numpy(),
                batch["targets"].cpu().numpy(),
                draws["crop_offset"],
                draws["flip"],
                padding,
                crop,
                draws.get("partner"),
                float(draws.get("lam", 1.0)),
                classes,
            )
            assert got["inputs"].dtype == torch.float32
            assert got["inputs"].is_contiguous(memory_format=torch.channels_last)
            np.testing.assert_allclose(got["inputs"].cpu().numpy(), inputs, atol=2e-6, rtol=1e-5)
            np.testing.assert_allclose(got["data_samples"].cpu().numpy(), targets, atol=1e-6)
            if mixup_alpha is None:
                assert got["data_samples"].dtype == torch.int64
            else:
                assert got["data_samples"].shape == (len(batch["targets"]), classes)
                assert sorted(draws["partner"]) == list(range(len(batch["targets"])))
                weights.append(float(draws["lam"]))
            flips += draws["flip"].tolist()
            shifts += draws["crop_offset"].tolist()
    assert set(flips) == {0.0: {False}, 0.5: {False, True}, 1.0: {True}}[flip]
    assert len({tuple(shift) for shift in shifts}) > 5
    assert len(set(weights)) == len(weights)  # one lambda a batch


@pytest.mark.parametrize("mixup_alpha", [None, 1.0])
@pytest.mark.parametrize("crop_size", [None, 5])
def test_evaluation_only_crops_the_middle_and_normalises(
    crop_size: int | None, mixup_alpha: float | None, device: torch.device
) -> None:
    preprocessor = BatchPreprocessor(
        MEAN, STD, padding=4, crop_size=crop_size, flip=1.0, mixup_alpha=mixup_alpha, num_classes=3
    ).to(device)
    data = image_set(6, 9, 8, 3).to(device)
    (batch,) = DeviceLoader(data, 6)
    got = preprocessor(batch, False)
    images = data.images.cpu().numpy().astype(np.float64)
    if crop_size is not None:
        images = images[:, 2:7, 1:6]  # (9 - 5) // 2 and (8 - 5) // 2
    np.testing.assert_allclose(
        got["inputs"].cpu().numpy(), ((images - MEAN) / STD).transpose(0, 3, 1, 2), atol=2e-6, rtol=1e-5
    )
    assert torch.equal(got["data_samples"], data.labels)


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
@pytest.mark.parametrize("mixup_alpha", [None, 1.0])
def test_two_views_are_two_batches_in_one(mixup_alpha: float | None, memory_format: str, device: torch.device) -> None:
    """The first view is what one view would be; the second has crops and flips of its own, and the first one's mixup."""
    one, two = (
        BatchPreprocessor(
            *(MEAN, STD),
            padding=3,
            mixup_alpha=mixup_alpha,
            num_classes=3,
            flip=0.5,
            views=views,
            memory_format=memory_format,
        ).to(device)
        for views in (1, 2)
    )
    data = image_set(11, 9, 8, 3).to(device)
    batches = [list(DeviceLoader(data, 4, draw=module.draw, seed=5)) for module in (one, two)]
    moved = []
    for alone, both in zip(*batches, strict=True):
        first, got = one(alone, True), two(both, True)
        number = len(alone["targets"])
        layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
        assert got["inputs"].is_contiguous(memory_format=layout)
        assert torch.equal(got["inputs"][:number], first["inputs"])
        assert torch.equal(
            got["data_samples"], first["data_samples"].repeat(2, *[1] * (first["data_samples"].ndim - 1))
        )
        draws = both["draws"] | {"crop_offset": both["draws"]["crop_offset_2"], "flip": both["draws"]["flip_2"]}
        assert torch.equal(got["inputs"][number:], one({**both, "draws": draws}, True)["inputs"])
        moved += (both["draws"]["crop_offset"] != both["draws"]["crop_offset_2"]).any(dim=1).tolist()
        evaluated, alone_evaluated = two(both, False)["inputs"], one(alone, False)["inputs"]
        assert torch.equal(evaluated, alone_evaluated)
    assert sum(moved) > 5


def test_refuses_no_view() -> None:
    with pytest.raises(ValueError, match="views must be at least 1"):
        BatchPreprocessor(MEAN, STD, views=0)


def test_it_leaves_nothing_in_a_checkpoint() -> None:
    assert BatchPreprocessor(MEAN, STD).state_dict() == {}


def test_a_batch_is_left_as_it_was() -> None:
    preprocessor = BatchPreprocessor(MEAN, STD, padding=1, flip=0.5, mixup_alpha=1.0, num_classes=3)
    data = image_set(6, 8, 8, 3)
    before = data.images.clone()
    for batch in DeviceLoader(data, 3, draw=preprocessor.draw):
        first, again = preprocessor(batch, True), preprocessor(batch, True)  # a pure function of its batch
        assert torch.equal(first["inputs"], again["inputs"])
        assert torch.equal(first["data_samples"], again["data_samples"])
    assert torch.equal(data.images, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(mixup_alpha=1.0), "num_classes"),
        (dict(mixup_alpha=0.0, num_classes=3), "mixup_alpha"),
        (dict(batch_augments=dict(augments=[])), "mixup_alpha"),
        (dict(padding=-1), "padding"),
        (dict(flip=1.5), "flip"),
        (dict(crop_size=0), "crop_size"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchPreprocessor(MEAN, STD, **arguments)
