"""ARB-loss with the sizes of the batch; with those of the training set it is in test_all_losses.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.losses import ARBLoss, BalancedSoftmax

from . import loss_references as ref

COUNTS = [500, 60, 7, 1]


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 2, 2, 3], [1, 1, 1], [3]])
def test_sizes_of_the_batch_against_a_loop(labels: list[int], device: torch.device) -> None:
    logits = np.random.default_rng(0).normal(size=(len(labels), 4))
    sizes = [float(labels.count(c)) for c in range(4)]
    expected = sum(ref.arb(z, y, sizes) for z, y in zip(logits, labels, strict=True)) / len(labels)
    loss = ARBLoss(COUNTS).to(device)(torch.tensor(logits, device=device), torch.tensor(labels, device=device))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_soft_sizes_of_the_batch_against_a_loop(device: torch.device) -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4), size=5)
    targets[:, 2] = 0
    targets /= targets.sum(1, keepdims=True)
    sizes = targets.sum(0)
    expected = sum(
        targets[i, c] * ref.arb(logits[i], c, list(sizes)) for i in range(5) for c in range(4) if targets[i, c] > 0
    )
    loss = ARBLoss(COUNTS).to(device)(torch.tensor(logits, device=device), torch.tensor(targets, device=device))
    assert loss.item() == pytest.approx(expected / 5, rel=1e-6)


def test_sizes_of_the_training_set_are_balanced_softmax() -> None:
    torch.manual_seed(0)
    logits, labels = 5 * torch.randn(20, 4, dtype=torch.float64), torch.randint(4, (20,))
    expected = BalancedSoftmax(COUNTS)(logits, labels)
    torch.testing.assert_close(ARBLoss(COUNTS, sizes="train")(logits, labels), expected, rtol=1e-6, atol=0)
    assert not torch.isclose(ARBLoss(COUNTS)(logits, labels), expected, rtol=1e-2)


def test_a_class_that_is_not_in_the_batch_is_not_repelled() -> None:
    logits = torch.randn(6, 4, requires_grad=True)
    ARBLoss(COUNTS)(logits, torch.tensor([0, 1, 1, 2, 2, 0])).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[:, 3], torch.zeros(6))
    assert bool((logits.grad[:, :3] != 0).all())


def test_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="'batch' or 'train'"):
        ARBLoss(COUNTS, sizes="epoch")
