"""Regularizers in two processes: the same anchors in both, and statistics of the whole batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sar_cls import CAR, SAR, CenterLoss, Regularizer

from .cases import FEAT_DIM, NUM_CLASSES, NUM_SAMPLES, draw_batch, state_of
from .two_processes import run_in_two


class Model(nn.Module):
    """A backbone, a classifier and a regularizer, as they are trained."""

    def __init__(self, regularizer: Regularizer) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, FEAT_DIM)
        self.classifier = nn.Linear(FEAT_DIM, NUM_CLASSES)
        self.regularizer = regularizer

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        features = self.backbone(inputs)
        loss = nn.functional.cross_entropy(self.classifier(features), targets)
        return loss + torch.stack(list(self.regularizer(features, targets, self.classifier).values())).sum()


def distributed_cases() -> dict[str, Regularizer]:
    return {
        "SAR all": SAR(NUM_CLASSES, FEAT_DIM, delta=0.25, momentum=0.5),
        "SAR per class": SAR(NUM_CLASSES, FEAT_DIM, gate="per_class", delta=0.2, momentum=0.5),
        "CAR": CAR(NUM_CLASSES, FEAT_DIM, running_centers=True, linear_layer=True),
        "CenterLoss": CenterLoss(NUM_CLASSES, FEAT_DIM),
    }


def stateful_cases() -> dict[str, Regularizer]:
    """Those whose state follows the batch."""
    return {"CAR": CAR(NUM_CLASSES, FEAT_DIM, running_centers=True), "CenterLoss": CenterLoss(NUM_CLASSES, FEAT_DIM)}


def train_one_process(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    states = {}
    torch.manual_seed(100 + rank)  # every rank draws other anchors and other weights
    for name, regularizer in distributed_cases().items():
        drawn = state_of(regularizer)
        model = nn.parallel.DistributedDataParallel(Model(regularizer))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(12):
            optimizer.zero_grad()
            model(torch.randn(NUM_SAMPLES, 4), torch.randint(NUM_CLASSES, (NUM_SAMPLES,))).backward()
            optimizer.step()
        states[name] = {"drawn": drawn, "trained": state_of(regularizer)}
    for name, regularizer in stateful_cases().items():
        for seed in range(3):
            features, targets = draw_batch("cpu", seed)
            half = slice(rank * NUM_SAMPLES // 2, (rank + 1) * NUM_SAMPLES // 2)
            regularizer(features[half], targets[half])
        states[f"{name} in halves"] = {"trained": state_of(regularizer)}
    torch.save(states, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available() or os.name == "nt", reason="needs gloo and file rendezvous")
def test_processes_hold_the_same_anchors(tmp_path: Path) -> None:
    run_in_two(train_one_process, 2, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name in first:
        # The figures of the log hold the rank's own losses.
        for key in first[name]["trained"].keys() - {"_sums"}:
            assert torch.equal(first[name]["trained"][key], second[name]["trained"][key]), f"{name}: {key}"
    for name in ("SAR all", "SAR per class"):
        assert not torch.equal(first[name]["drawn"]["class_anchors"], second[name]["drawn"]["class_anchors"])
        assert torch.equal(first[name]["drawn"]["class_anchors"], first[name]["trained"]["class_anchors"])
        assert first[name]["trained"]["initialized"].any()
        assert first[name]["trained"]["semantic_anchors"].any()
    # Centres of two half batches are those of the whole batch in one process.
    for name, regularizer in stateful_cases().items():
        for seed in range(3):
            regularizer(*draw_batch("cpu", seed))
        for key, value in state_of(regularizer).items():
            torch.testing.assert_close(first[f"{name} in halves"]["trained"][key], value)
