"""A training step must not wait for its device. This is seen without a GPU by running it on torch's meta device.

A meta tensor has no values, so whatever reads one (``.item()``, a branch, a boolean index) fails there; and since no operation of
a step may take or make a tensor elsewhere, neither does a copy from or to the host go unseen. The CUDA tests of ``test_captured``
ask the driver itself.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sar_cls.losses import LOSSES
from sar_cls.regularizers import REGULARIZERS, Regularizer
from sar_cls.regularizers.nearest_prototypes import NearestPrototypes, PrototypeEmbedding
from sar_cls.regularizers.proto_seg import ASSIGNMENTS, ProtoSeg
from sar_cls.steps.step import EagerStep

from .small_steps import BranchOnValue, C, build_loader, build_model

COUNTS = [40, 20, 10, 4, 1]
REGULARIZER_CASES: dict[str, dict[str, Any] | None] = {
    "none": None,
    **{name: {"type": name} for name in sorted(REGULARIZERS)},
    "SAR per_class": {"type": "SAR", "gate": "per_class"},
    "SAR warming up": {"type": "SAR", "aux_warmup": 3},
}


@pytest.fixture(autouse=True)
def no_autocast_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch knows no autocast for meta tensors, not even one that is switched off."""
    autocast = torch.autocast

    def on(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else autocast(device_type, *args, **kwargs)

    monkeypatch.setattr(torch, "autocast", on)


class OneDeviceOnly(TorchDispatchMode):
    """Refuses every operation with a tensor, of any size, that is not on the one device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, Tensor) and value.device.type != self.device:
                raise AssertionError(f"{func} has a tensor {list(value.shape)} on {value.device}")
        return result


def sgd(model: nn.Module) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True))


def run_steps(model: Any) -> int:
    """Steps of the real loop's loader, preprocessor, model and optimizer on the meta device; the number of operations."""
    batches = list(build_loader(model))
    model = model.to("meta")
    step = EagerStep(model, sgd(model))
    step.begin_epoch()
    ready = [_to_meta(batch) for batch in batches]
    step(ready[0])  # the optimizer makes its buffers
    with OneDeviceOnly("meta") as watched:
        for batch in ready[1:]:
            step(batch)
    return watched.operations


def _to_meta(batch: dict[str, Any]) -> dict[str, Any]:
    return {key: _to_meta(value) if isinstance(value, dict) else value.to("meta") for key, value in batch.items()}


@pytest.mark.parametrize("mixup", [True, False], ids=["mixup", "hard"])
@pytest.mark.parametrize("case", REGULARIZER_CASES)
def test_no_step_reads_a_value_or_touches_the_host(case: str, mixup: bool) -> None:
    assert run_steps(build_model(REGULARIZER_CASES[case], mixup=mixup)) > 100


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("weights", [None, (2,), (2, 8, 8)], ids=["plain", "images", "pixels"])
@pytest.mark.parametrize("case", [*(name for name, case in REGULARIZER_CASES.items() if case), "CAR published"])
def test_no_step_on_feature_maps_reads_a_value_or_touches_the_host(
    case: str, weights: tuple[int, ...] | None, soft: bool
) -> None:
    """Labels of another resolution, some of them ignored, and a 1x1 convolution."""
    arguments = dict(REGULARIZER_CASES.get(case) or {"type": "CAR"})
    name = arguments.pop("type")
    if case == "CAR published":
        module: Regularizer = REGULARIZERS["CAR"].published_dense(C, 6, running_centers=True)  # type: ignore[attr-defined]
    else:
        module = REGULARIZERS[name](C, 6, **arguments)
    module, classifier = module.to("meta"), nn.Conv2d(6, C, 1, device="meta")
    maps = torch.empty(2, 6, 4, 4, device="meta", requires_grad=True)
    targets = torch.empty(2, C, 8, 8, device="meta") if soft else torch.empty(2, 8, 8, device="meta").long()
    sample_weights = None if weights is None else torch.empty(weights, device="meta")
    with OneDeviceOnly("meta") as watched:
        losses = module(maps, targets, classifier, sample_weights)
        torch.stack(list(losses.values())).sum().backward()
    assert watched.operations > 20
    assert all(loss.shape == () for loss in losses.values())


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_no_step_with_prototypes_reads_a_value_or_touches_the_host(assignment: str, soft: bool) -> None:
    """ProtoSeg has a classifier of its own, and is not one of ``REGULARIZERS``."""
    module = ProtoSeg(C, 6, assignment=assignment).to("meta")
    embedding, nearest = PrototypeEmbedding(6).to("meta"), NearestPrototypes(6, C, 3).to("meta")
    maps = torch.empty(2, 6, 4, 4, device="meta", requires_grad=True)
    targets = torch.empty(2, C, 8, 8, device="meta") if soft else torch.empty(2, 8, 8, device="meta").long()
    with OneDeviceOnly("meta") as watched:
        embedded = embedding(maps)
        losses = module(embedded, targets, nearest)
        (torch.stack(list(losses.values())).sum() + nearest(embedded).sum()).backward()
    assert watched.operations > 20
    assert set(losses) == {"loss_ppc", "loss_ppd"}
    assert all(loss.shape == () for loss in losses.values())


# LDAM takes no soft labels.
@pytest.mark.parametrize(("name", "mixup"), [(n, m) for n in LOSSES for m in (True, False) if not (m and n == "LDAM")])
def test_no_loss_reads_a_value_or_touches_the_host(name: str, mixup: bool) -> None:
    model = build_model({"type": "SAR"}, mixup=mixup)
    registered = "SoftmaxFocalLoss" if name == "FocalLoss" else name
    model.head.loss_module = MODELS.build({"type": registered, "class_counts": COUNTS})
    assert run_steps(model) > 100


def test_a_loader_s_batches_are_cut_on_the_device() -> None:
    """After what is drawn for an epoch has been moved there, taking a batch touches the host no more."""
    model = build_model()
    loader = build_loader(model)
    object.__setattr__(loader.image_set, "images", loader.image_set.images.to("meta"))
    loader.device = torch.device("meta")
    batches = iter(loader)
    next(batches)
    with OneDeviceOnly("meta") as watched:
        assert len(list(batches)) == len(loader) - 1
    assert watched.operations > 0


class OnHost(Regularizer):
    """Makes a tensor on the host at every step."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        return {"loss_norm": features.square().mean() * torch.tensor(2.0)}


class BooleanIndex(Regularizer):
    """The size of its result is known only to the device."""

    def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
        return {"loss_norm": features[features > 0].mean()}


@pytest.mark.parametrize("offender", [BranchOnValue, OnHost, BooleanIndex])
def test_the_watch_sees_offenders(offender: type[Regularizer]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
        run_steps(build_model(offender(C, 64)))
