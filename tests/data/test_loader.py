"""DeviceLoader: what is yielded, in which order, and on what that depends."""

# ruff: noqa: NPY002 - that numpy's global generator is left alone is what is tested

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sar_cls.data import Augmentation, ClassAware, DeviceLoader, Draws, ImageSet, InstanceBalanced, epoch_generator
from sar_cls.mm.preprocessor import BatchPreprocessor


def numbered_set(n: int = 23, classes: int = 4, device: str | torch.device = "cpu") -> ImageSet:
    """Image i is filled with the value i, so that every batch tells what it holds."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 6, 5, 3).contiguous()
    names = tuple(map(str, range(classes)))
    return ImageSet(images, torch.arange(n) % classes, names, "numbers", "train").to(device)


def order_of(loader: DeviceLoader) -> list[list[int]]:
    return [batch["inputs"][:, 0, 0, 0].tolist() for batch in loader]


def test_in_order_without_a_sampler(device):
    image_set = numbered_set(device=device)
    loader = DeviceLoader(image_set, 5)
    batches = list(loader)
    assert len(loader) == len(batches) == 5
    assert [len(batch["targets"]) for batch in batches] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat([batch["inputs"] for batch in batches]), image_set.images)
    assert torch.equal(torch.cat([batch["targets"] for batch in batches]), image_set.labels)
    assert all(batch["draws"] == {} for batch in batches)
    assert batches[0]["inputs"].dtype == torch.uint8
    assert batches[0]["inputs"].device.type == device.type


def test_drop_last():
    loader = DeviceLoader(numbered_set(), 5, drop_last=True)
    assert len(loader) == 4
    assert order_of(loader) == [list(range(start, start + 5)) for start in (0, 5, 10, 15)]


def test_sampler__every_image_once_with_its_label():
    image_set = numbered_set()
    loader = DeviceLoader(image_set, 5, InstanceBalanced(image_set.labels), seed=3)
    inputs = torch.cat([batch["inputs"] for batch in loader])
    targets = torch.cat([batch["targets"] for batch in loader])
    numbers = inputs[:, 0, 0, 0].long()
    assert sorted(numbers.tolist()) == list(range(23))
    assert numbers.tolist() != list(range(23))
    assert torch.equal(targets, numbers % 4)


def test_order__depends_on_seed_and_epoch_alone():
    image_set = numbered_set()

    def order(seed: int, epoch: int) -> list[list[int]]:
        loader = DeviceLoader(image_set, 5, InstanceBalanced(image_set.labels), seed=seed)
        loader.set_epoch(epoch)
        return order_of(loader)

    loader = DeviceLoader(image_set, 5, InstanceBalanced(image_set.labels), seed=1)
    seen = {}
    for epoch in (0, 1, 2):
        loader.set_epoch(epoch)
        torch.rand(5)
        seen[epoch] = order_of(loader)
    assert seen[2] == order(1, 2)  # as in a run resumed at epoch 2
    assert order_of(loader) == seen[2]
    assert seen[0] != seen[1] != seen[2]
    assert order(1, 0) != order(2, 0)


@pytest.mark.parametrize("drop_last", [False, True])
def test_draws__slices_of_what_the_epoch_generator_gives(device, drop_last):
    image_set = numbered_set(device=device)
    augmentation = Augmentation(padding=2, crop_size=(4, 5), mixup_alpha=1.0)
    loader = DeviceLoader(
        image_set, 5, InstanceBalanced(image_set.labels), draw=augmentation.draw, seed=9, drop_last=drop_last
    )
    loader.set_epoch(4)
    expected = augmentation.draw(20 if drop_last else 23, 5, (6, 5), epoch_generator(9, 4, "augment"))
    batches = list(loader)
    assert len(batches) == (4 if drop_last else 5)
    for name, value in expected.per_sample.items():
        assert torch.equal(torch.cat([batch["draws"][name] for batch in batches]).cpu(), value)
    for step, batch in enumerate(batches):
        assert set(batch["draws"]) == {"crop_offset", "flip", "partner", "lam"}
        assert batch["draws"]["lam"].shape == ()
        assert batch["draws"]["lam"].item() == expected.per_batch["lam"][step].item()
        assert all(value.device.type == device.type for value in batch["draws"].values())
        assert int(batch["draws"]["partner"].max()) == len(batch["targets"]) - 1


def test_draws__do_not_change_the_order():
    image_set = numbered_set()
    sampler = InstanceBalanced(image_set.labels)
    assert order_of(DeviceLoader(image_set, 5, sampler, draw=Augmentation().draw)) == order_of(
        DeviceLoader(image_set, 5, sampler)
    )


def test_draws__of_ones_own():
    def draw(num_samples, batch_size, image_size, generator):
        assert image_size == (6, 5)
        return Draws({"noise": torch.rand(num_samples, 2, generator=generator)}, {"step": torch.arange(5)})

    batches = list(DeviceLoader(numbered_set(), 5, draw=draw))
    assert [batch["draws"]["step"].item() for batch in batches] == [0, 1, 2, 3, 4]
    assert batches[4]["draws"]["noise"].shape == (3, 2)


@pytest.mark.parametrize("batches", [1, 4, 5, 12])
def test_batches_per_epoch__all_full(batches):
    image_set = numbered_set()
    loader = DeviceLoader(
        image_set, 5, InstanceBalanced(image_set.labels), draw=Augmentation().draw, batches_per_epoch=batches
    )
    seen = list(loader)
    assert len(loader) == len(seen) == batches
    assert all(len(batch["targets"]) == len(batch["draws"]["flip"]) == 5 for batch in seen)
    numbers = [number for batch in order_of(loader) for number in batch]
    shown = torch.bincount(torch.tensor(numbers), minlength=23)
    assert int(shown.max()) - int(shown.min()) <= 1  # one round after the other


def test_batches_per_epoch__without_a_sampler_goes_round():
    loader = DeviceLoader(numbered_set(n=7), 3, batches_per_epoch=4)
    assert order_of(loader) == [[0, 1, 2], [3, 4, 5], [6, 0, 1], [2, 3, 4]]


def test_length__of_stage_two_in_the_published_code():
    labels = torch.arange(1000) % 100  # the sampler's length: largest class times classes
    image_set = ImageSet(
        torch.zeros(1000, 1, 1, 3, dtype=torch.uint8), labels, tuple(map(str, range(100))), "x", "train"
    )
    assert len(DeviceLoader(image_set, 128, ClassAware(labels))) == 8
    assert len(DeviceLoader(image_set, 128, ClassAware(labels), batches_per_epoch=86)) == 86


def test_global_generators_stay():
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    image_set = numbered_set()
    list(DeviceLoader(image_set, 5, InstanceBalanced(image_set.labels), draw=Augmentation(mixup_alpha=1.0).draw))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 5, "batches_per_epoch": 0}, "batches_per_epoch"),
        ({"batch_size": 24, "drop_last": True}, "23 images give no full batch of 24"),
    ],
)
def test_validation(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeviceLoader(numbered_set(), **arguments)


@pytest.mark.cuda
def test_images_can_stay_on_the_cpu() -> None:
    cpu = numbered_set(10)
    kept = DeviceLoader(cpu, 4, draw=Augmentation(padding=1).draw, device=torch.device("cuda"))
    moved = DeviceLoader(cpu.to(torch.device("cuda")), 4, draw=Augmentation(padding=1).draw)
    for one, other in zip(kept, moved, strict=True):
        assert one["inputs"].device.type == "cuda"
        for key in ("inputs", "targets"):
            assert torch.equal(one[key], other[key])
        assert all(torch.equal(one["draws"][name], other["draws"][name]) for name in other["draws"])


def joined(batches: list[dict]) -> dict:
    """The parts of one batch put together again, without the partners that each has brought along."""
    own = [len(batch["draws"].get("partner", batch["targets"])) for batch in batches]
    assert sum(batch["share"] * number for batch, number in zip(batches, own, strict=True)) >= sum(own)
    names = batches[0]["draws"].keys() - {"partner", "lam"}
    found = {name: torch.cat([b["draws"][name][:n] for b, n in zip(batches, own, strict=True)]) for name in names}
    return found | {
        key: torch.cat([b[key][:n] for b, n in zip(batches, own, strict=True)]) for key in ("inputs", "targets")
    }


@pytest.mark.parametrize("processes", [2, 3, 4, 6])
@pytest.mark.parametrize("alpha", [None, 0.3])
def test_parts__together_they_are_the_batch_with_the_same_draws(processes, alpha):
    """23 images in batches of 12: the last one has 11, which nobody shares evenly."""
    image_set = numbered_set()
    draw = Augmentation(padding=2, flip=0.5, mixup_alpha=alpha).draw
    sampler = InstanceBalanced(image_set.labels)

    def loader(part):
        return DeviceLoader(image_set, 12, sampler, draw=draw, seed=4, part=part)

    whole = loader((0, 1))
    parts = [loader((rank, processes)) for rank in range(processes)]
    assert {len(part) for part in parts} == {len(whole)} == {2}
    assert {part.num_samples for part in parts} == {23}
    for expected, *found in zip(whole, *parts, strict=True):
        together = joined(found)
        assert torch.equal(together["inputs"], expected["inputs"])
        assert torch.equal(together["targets"], expected["targets"])
        assert torch.equal(together["crop_offset"], expected["draws"]["crop_offset"])
        assert torch.equal(together["flip"], expected["draws"]["flip"])
        sizes = [round(batch["share"] * len(expected["targets"]) / processes) for batch in found]
        assert sum(sizes) == len(expected["targets"])
        assert max(sizes) - min(sizes) <= 1
        if alpha is not None:
            partners = torch.cat([batch["inputs"][batch["draws"]["partner"]] for batch in found])
            assert torch.equal(partners, expected["inputs"][expected["draws"]["partner"]])
            assert all(torch.equal(batch["draws"]["lam"], expected["draws"]["lam"]) for batch in found)


def test_parts__mixed_images_are_those_of_the_whole_batch():
    image_set = numbered_set()
    preprocessor = BatchPreprocessor([10.0] * 3, [5.0] * 3, padding=2, flip=0.5, mixup_alpha=0.5, num_classes=4)
    loaders = [
        DeviceLoader(image_set, 12, draw=preprocessor.draw, seed=4, part=part) for part in ((0, 1), (0, 2), (1, 2))
    ]
    for whole, *parts in zip(*loaders, strict=True):
        expected, *found = (preprocessor(batch, training=True) for batch in (whole, *parts))
        for name in ("inputs", "data_samples"):
            assert torch.equal(torch.cat([part[name] for part in found]), expected[name])


@pytest.mark.parametrize(("batch_size", "processes"), [(5, 2), (11, 11)])
def test_parts__that_cannot_be_had(batch_size, processes):
    """5 images for 2, and a last batch of one image for 11."""
    with pytest.raises(ValueError, match=f"cannot be shared by {processes} processes: use fewer of them, or drop_last"):
        DeviceLoader(numbered_set(), batch_size, part=(0, processes))


def test_batches__some_of_an_epoch():
    loader = DeviceLoader(numbered_set(), 5)
    assert [batch["inputs"][0, 0, 0, 0].item() for batch in loader.batches(range(1, 4))] == [5, 10, 15]
