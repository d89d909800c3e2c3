"""What every regularizer promises: the contract of ``Regularizer``, checked for each method and its options."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sar_cls
import sar_cls.regularizers.sar
from sar_cls import REGULARIZERS, SAR, Regularizer

from .cases import CASES, FEAT_DIM, NUM_CLASSES, all_cases, assert_same_state, build, draw_batch, state_of, step


def test_registry_names_are_class_names() -> None:
    assert set(REGULARIZERS) == {"SAR", "CAR", "FixedAnchors", "CenterLoss", "INC", "SupCon"}
    for name, kind in REGULARIZERS.items():
        assert kind.__name__ == name
        assert issubclass(kind, Regularizer)
        assert getattr(sar_cls, name) is kind
    assert {name for name, _ in CASES.values()} == set(REGULARIZERS)


def test_a_new_method_is_one_method() -> None:
    class FeatureNorm(Regularizer):
        def losses(self, features: Tensor, targets: Any, classifier: Any) -> dict[str, Tensor]:
            return {"loss_norm": features.square().mean()}

    features, targets = draw_batch("cpu")
    losses = FeatureNorm(NUM_CLASSES, FEAT_DIM)(features.half(), targets)
    assert losses["loss_norm"].dtype == torch.float32
    assert losses["loss_norm"].item() == pytest.approx(features.half().float().square().mean().item())
    with pytest.raises(NotImplementedError, match="losses"):
        Regularizer(NUM_CLASSES, FEAT_DIM)(features, targets)


def test_example_in_the_docstring() -> None:
    result = doctest.testmod(sar_cls.regularizers.sar)
    assert result.attempted > 0
    assert result.failed == 0


@all_cases
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_same_keys_and_float32_scalars_at_every_step(case: str, soft: bool, device: torch.device) -> None:
    module, classifier = build(case, device)
    keys = list(module(*draw_batch(device), classifier))
    assert all(key.startswith("loss_") for key in keys)
    for seed in range(4):
        losses, gradients = step(module, classifier, *draw_batch(device, seed, soft))
        assert list(losses) == keys
        for loss in losses.values():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert torch.isfinite(loss)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@all_cases
def test_eval_changes_nothing(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    keys = list(module(*draw_batch(device, 0), classifier))
    module.eval()
    before = state_of(module)
    with torch.no_grad():
        losses = module(*draw_batch(device, 1), classifier)
    assert list(losses) == keys
    assert_same_state(before, state_of(module))


@pytest.mark.parametrize("case", ["SAR open", "SAR closed", "SAR per class", "CAR running, linear", "CenterLoss"])
def test_training_does_change_state(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    before = state_of(module)
    module(*draw_batch(device, 1), classifier)
    after = state_of(module)
    assert any(not torch.equal(before[name], after[name]) for name in before)


@all_cases
def test_checkpoint_continues_identically(case: str, device: torch.device, tmp_path: Path) -> None:
    module, classifier = build(case, device)
    for seed in range(3):
        module(*draw_batch(device, seed), classifier)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)
    name, arguments = CASES[case]
    resumed = REGULARIZERS[name](NUM_CLASSES, FEAT_DIM, **arguments).to(device)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    if isinstance(module, SAR):
        assert bool(module.initialized.any()) == (case != "SAR closed")
        module.diagnostics()  # figures of the log are not part of a checkpoint
    for seed in range(3, 6):
        first, first_gradients = step(module, classifier, *draw_batch(device, seed))
        second, second_gradients = step(resumed, classifier, *draw_batch(device, seed))
        assert all(torch.equal(first[key], second[key]) for key in first)
        for a, b in zip(first_gradients, second_gradients, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)  # type: ignore[arg-type]
        assert_same_state(state_of(module), state_of(resumed))


@all_cases
def test_batch_of_one_and_fewer_samples_than_classes(case: str, device: torch.device) -> None:
    module, classifier = build(case, device)
    features, targets = draw_batch(device)
    for count in (1, 2):
        losses, gradients = step(module, classifier, features[:count], targets[:count])
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)
