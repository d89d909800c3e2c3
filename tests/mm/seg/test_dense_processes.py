"""2 processes train and evaluate a segmentation net as one does, though their crops hold other numbers of labelled pixels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mm.seg.shared_dense_steps import CASES

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not hasattr(os, "fork"), reason="needs gloo and forks"
)
TESTS = Path(__file__).parents[2]
Results = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Runs all cases once; ``results(name, processes, rank)`` is what one process has left of one."""
    folder = tmp_path_factory.mktemp("steps")
    command = [sys.executable, "-m", "mm.seg.shared_dense_steps", str(folder)]
    subprocess.run(command, check=True, timeout=250, cwd=TESTS)
    return lambda name, processes, rank=0: torch.load(folder / f"{name}.{processes}.{rank}.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_steps_and_evaluation_are_those_of_one_process(name: str, results: Results) -> None:
    alone, together, other = results(name, 1), results(name, 2), results(name, 2, 1)
    for what in ("gradients", "state"):
        assert together[what].keys() == alone[what].keys()
        for key, value in alone[what].items():
            torch.testing.assert_close(
                together[what][key], value, rtol=1e-7, atol=1e-9, msg=lambda text, k=key: f"{k}: {text}"
            )
            assert torch.equal(together[what][key], other[what][key])
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-5)  # kept in float32
    assert together["losses"] == other["losses"]
    for size in (3, 8):
        for what in ("confusion", "predictions"):
            expected = alone[f"evaluated {size}"][what]
            assert torch.equal(together[f"evaluated {size}"][what], expected)
            assert torch.equal(other[f"evaluated {size}"][what], expected)


def test_parts_are_weighted_by_their_labelled_pixels(results: Results) -> None:
    """That the cases can tell: the mean over labelled pixels is not the mean over all, and the gate of SAR is open."""
    one, other = results("labelled pixels", 1)["gradients"], results("all pixels", 1)["gradients"]
    assert any(not torch.allclose(one[key], other[key], rtol=0.05) for key in one)
    assert bool(results("SAR", 2)["state"]["decode_head.regularizer.initialized"].all())
