"""What stands still in the second stage of a segmentation net, plain and in a cascade."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("mmseg", reason="mmsegmentation is not installed: pip install 'sar-cls[seg]'")

from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import sar_cls.mm.seg  # noqa: F401
from sar_cls.mm.head import head_of

C = 5
BN = dict(type="BN", requires_grad=True)
FCN: dict[str, Any] = dict(
    type="RegularizedFCNHead", in_channels=32, in_index=1, channels=6, num_convs=1, num_classes=C, norm_cfg=BN
)
OCR: dict[str, Any] = dict(
    type="RegularizedOCRHead", in_channels=32, in_index=1, channels=6, ocr_channels=4, num_classes=C, norm_cfg=BN
)
DISALIGN = dict(type="disalign", confidence="normalized")
LOSS = dict(type="GeneralizedReweighting", class_counts=[9, 8, 7, 6, 5])


def build(cascade: bool) -> nn.Module:
    last = dict(OCR if cascade else FCN, classifier=DISALIGN, loss_decode=LOSS, dropout_ratio=0.5)
    more = dict(num_stages=2) if cascade else {}
    config = dict(
        type="SecondStageCascade" if cascade else "SecondStageSegmentor",
        backbone=dict(type="LibraryPyramid", name="timm:test_efficientnet"),
        decode_head=[FCN, last] if cascade else last,
        test_cfg=dict(mode="whole"),
        **more,
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(config)


@pytest.mark.parametrize("cascade", [False, True])
def test_a_step_moves_the_calibration_alone(cascade: bool) -> None:
    model = build(cascade).train()
    calibration = head_of(model).calibration
    named = {id(parameter) for parameter in calibration.parameters()}
    assert {id(value) for value in model.parameters() if value.requires_grad} == named
    assert calibration.training
    assert not head_of(model).dropout.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks = torch.randint(C, (2, 1, 32, 32), generator=torch.Generator().manual_seed(1))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=mask), metainfo=dict(img_shape=(32, 32))) for mask in masks]
    losses = model.loss(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)), samples)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(".calibration." in name for name in moved)
    assert {"magnitude", "margin"} <= {name.rsplit(".", 1)[-1] for name in moved}


def test_evaluated_and_trained_again_it_still_stands() -> None:
    model = build(False)
    model.eval()
    assert not head_of(model).calibration.training
    model.train()
    assert not any(module.training for module in model.backbone.modules())
    assert head_of(model).calibration.training


def test_scores_are_calibrated_at_inference_too() -> None:
    model = build(False).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = model(images, mode="tensor")
        head_of(model).calibration.margin[2] = 50.0
        assert bool((model(images, mode="tensor").argmax(1) == 2).all())
        assert not bool((before.argmax(1) == 2).all())
