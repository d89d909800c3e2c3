"""Small nets, regularizers that break a rule each, and a few epochs of any step; for the tests of the steps."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS, OPTIM_WRAPPERS
from torch import Tensor, nn

import sar_cls.mm  # noqa: F401
from sar_cls.data import DeviceLoader, ImageSet
from sar_cls.mm.head import RegularizedLinearClsHead
from sar_cls.regularizers import Regularizer
from sar_cls.steps.step import EagerStep

C, BATCH = 5, 8


class BranchOnValue(Regularizer):
    """What the contract forbids: a branch on the value of a tensor."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        norm = features.square().mean()
        return {"loss_norm": norm if norm.item() > 1 else 0.5 * norm}


class FailsInCapture(Regularizer):
    """Waits for the device where the warm-up does not see it."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        norm = features.square().mean()
        if torch.cuda.is_current_stream_capturing():
            norm.item()
        return {"loss_norm": norm}


class Counting(Regularizer):
    """State outside of tensors: a recorded step would not follow it."""

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__(num_classes, feat_dim)
        self.calls = 0

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        self.calls += 1
        return {"loss_norm": features.square().mean() * self.calls}


class Rebinding(Regularizer):
    """A buffer that is replaced instead of written in place."""

    centre: Tensor

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__(num_classes, feat_dim)
        self.register_buffer("centre", torch.zeros(feat_dim))

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        loss = (features - self.centre).square().mean()
        self.centre = 0.9 * self.centre + 0.1 * features.detach().mean(dim=0)
        return {"loss_norm": loss}


def build_model(regularizer: Any = None, *, mixup: bool = True, seed: int = 3) -> Any:
    torch.manual_seed(seed)
    config = dict(
        type="mmpretrain.ImageClassifier",
        backbone=dict(type="CIFARResNet", depth=8),
        head=dict(
            type="RegularizedLinearClsHead",
            num_classes=C,
            in_channels=64,
            loss=dict(type="CrossEntropyLoss", **({"use_soft": True} if mixup else {})),
            regularizer=regularizer,
        ),
        data_preprocessor=dict(
            type="BatchPreprocessor",
            mean=[120.0] * 3,
            std=[60.0] * 3,
            padding=1,
            flip=0.5,
            **(dict(mixup_alpha=1.0, num_classes=C) if mixup else {}),
        ),
    )
    model = MODELS.build(config)
    assert isinstance(model.head, RegularizedLinearClsHead)
    return model.to(memory_format=torch.channels_last).train()


def build_optimizer(model: nn.Module, precision: str = "fp32", fused: bool | None = None, **more: Any) -> OptimWrapper:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True, fused=fused)
    return OPTIM_WRAPPERS.build(dict(type="AutocastOptimWrapper", optimizer=optimizer, precision=precision, **more))


def build_loader(model: Any, num_samples: int = 3 * BATCH + 3, device: torch.device | str = "cpu") -> DeviceLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (num_samples, 8, 8, 3), generator=generator, dtype=torch.uint8)
    labels = torch.arange(num_samples) % C
    images = images // 2 + (labels * 25).to(torch.uint8)[:, None, None, None]
    image_set = ImageSet(images, labels, tuple("abcde"), name="random", split="train").to(torch.device(device))
    return DeviceLoader(image_set, BATCH, draw=model.data_preprocessor.draw)


def rates(step: int) -> float:
    """A schedule that changes at some steps and stays at others."""
    return 0.125 * 0.5 ** (step // 3)  # exact in float32, in which a graph holds it


def train(step: EagerStep, loader: DeviceLoader, epochs: int = 3) -> list[dict[str, float]]:
    """Trains with a schedule by steps and returns each epoch's mean losses."""
    means, done = [], 0
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        loader.set_epoch(epoch)
        step.model.train()
        step.begin_epoch()
        for batch in loader:
            for group in step.optim_wrapper.optimizer.param_groups:
                group["lr"] = rates(done)
            step(batch)
            done += 1
        means.append(step.means())
    return means


def state_of(step: EagerStep) -> dict[str, Tensor]:
    state = {f"model.{name}": value for name, value in step.model.state_dict().items()}
    momentum = step.optim_wrapper.optimizer.state.values()
    return state | {f"momentum.{i}": entry["momentum_buffer"] for i, entry in enumerate(momentum)}


def assert_same(step: EagerStep, expected: EagerStep, *, exactly: bool, tolerance: float = 1e-4) -> None:
    got, wanted = state_of(step), state_of(expected)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        if exactly:
            assert torch.equal(got[name], value), name
        else:
            torch.testing.assert_close(got[name], value, rtol=tolerance, atol=tolerance, msg=name)


def eager(regularizer: Any = None, *, device: torch.device | str = "cpu", epochs: int = 3, **parts: Any) -> Any:
    """An eagerly trained model and its losses."""
    precision, fused = parts.pop("precision", "fp32"), parts.pop("fused", torch.device(device).type == "cuda")
    model = build_model(regularizer, **parts).to(device)
    # A graph takes the fused kernel: beside another one every step would differ by a rounding.
    step = EagerStep(model, build_optimizer(model, precision, fused=fused or None))
    return step, train(step, build_loader(model, device=device), epochs)
