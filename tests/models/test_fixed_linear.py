"""The classifier that is not trained, against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sar_cls.models import FixedLinear


@pytest.mark.parametrize("anchors", ["normal", "simplex", "separated"])
@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_cosines_against_a_loop(anchors: str, scale: float, device: torch.device) -> None:
    classifier = FixedLinear(5, 4, anchors, scale, seed=0).to(device).double()
    x = torch.randn(3, 5, dtype=torch.float64, device=device)
    out, features, weights = classifier(x).cpu().numpy(), x.cpu().numpy(), classifier.weight.cpu().numpy()
    for n in range(3):
        for c in range(4):
            expected = scale * features[n] @ weights[c] / np.linalg.norm(features[n]) / np.linalg.norm(weights[c])
            assert out[n, c] == pytest.approx(expected, rel=1e-6)  # the directions are held in float32
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1, rtol=1e-6)


def test_nothing_learns_and_all_is_saved() -> None:
    classifier = FixedLinear(6, 4, seed=1)
    assert list(classifier.parameters()) == []
    assert list(classifier.state_dict()) == ["weight"]
    other = FixedLinear(6, 4, seed=2)
    assert not torch.equal(other.weight, classifier.weight)
    other.load_state_dict(classifier.state_dict())
    assert torch.equal(other.weight, classifier.weight)


def test_simplex_without_room_names_the_projection() -> None:
    with pytest.raises(ValueError, match="projection to 99") as caught:
        FixedLinear(64, 100)
    assert "\n" not in str(caught.value)
    assert FixedLinear(64, 100, "separated").weight.shape == (100, 64)


def test_refuses_a_scale_that_is_not_positive() -> None:
    with pytest.raises(ValueError, match="scale"):
        FixedLinear(6, 4, scale=0.0)


def test_full_precision_under_autocast(device: torch.device) -> None:
    classifier = FixedLinear(64, 10, seed=0).to(device)
    x = torch.randn(4, 64, device=device).bfloat16()
    with torch.autocast(device.type, torch.bfloat16):
        out = classifier(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, classifier(x.float()))
