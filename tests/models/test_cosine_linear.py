"""The cosine classifier against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.models import CosineLinear


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_cosine_against_a_loop(device: torch.device, scale: float) -> None:
    torch.manual_seed(0)
    classifier = CosineLinear(5, 3, scale).to(device).double()
    with torch.no_grad():
        classifier.weight.mul_(torch.tensor([[0.1], [1.0], [7.0]], device=device))
    x = torch.randn(4, 5, device=device, dtype=torch.float64) * 3
    out = classifier(x).detach().cpu().numpy()
    features, weights = x.cpu().numpy(), classifier.weight.detach().cpu().numpy()
    for n in range(4):
        for c in range(3):
            cosine = (features[n] * weights[c]).sum() / np.sqrt((features[n] ** 2).sum() * (weights[c] ** 2).sum())
            assert out[n, c] == pytest.approx(scale * cosine, rel=1e-10)


def test_full_precision_under_autocast(device: torch.device) -> None:
    torch.manual_seed(0)
    classifier = CosineLinear(64, 10, 30.0).to(device)
    x = torch.randn(4, 64, device=device).bfloat16()
    with torch.autocast(device.type, torch.bfloat16):
        out = classifier(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, classifier(x.float()))


def test_a_zero_feature_gives_zero_logits() -> None:
    assert torch.equal(CosineLinear(4, 3)(torch.zeros(2, 4)), torch.zeros(2, 3))


def test_refuses_a_scale_that_is_not_positive() -> None:
    with pytest.raises(ValueError, match="scale"):
        CosineLinear(4, 3, 0.0)
