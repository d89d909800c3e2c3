"""A recorded step of a segmentation net beside the eager one, with the stand-in for CUDA of ``steps.test_captured``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from steps.small_steps import assert_same, build_optimizer, train
from steps.test_captured import CopyingRecorder

from mm.seg.shared_dense_steps import BATCH, CASES, STEPS, build, scenes
from sar_cls.data import DeviceLoader
from sar_cls.steps.captured import WARM_UP, GraphStep
from sar_cls.steps.step import EagerStep


def built(case: str) -> tuple[EagerStep, DeviceLoader]:
    torch.manual_seed(5)
    loss, regularizer, _ = CASES[case]
    model = build(loss, regularizer, "BN")
    draw: Any = model.data_preprocessor.draw
    loader = DeviceLoader(scenes(), BATCH, draw=draw, seed=11, batches_per_epoch=STEPS)
    return EagerStep(model, build_optimizer(model, fused=True)), loader


@pytest.mark.parametrize("case", ["labelled pixels", "SAR", "CAR", "ProtoSeg"])
def test_a_recorded_step_follows_the_eager_one(case: str) -> None:
    eager, loader = built(case)
    expected = train(eager, loader, epochs=3)
    inner, loader = built(case)
    recorder, said = CopyingRecorder(), []
    recorder.step = inner
    step = GraphStep(inner, BATCH, say=said.append, recorder=recorder)
    found = train(step, loader, epochs=3)
    assert said == []
    assert (step.mode, recorder.records, recorder.replays) == ("cudagraph", 1, 3 * STEPS - WARM_UP)
    for got, wanted in zip(found, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert_same(step, eager, exactly=False)
